// Store-and-forward: asks the policy, sends the next contiguous batch of a class, trims the outbox by the hub's answer. Nothing is
// deleted before the hub said that it holds it; a lost answer costs one repeated batch, which the hub recognises by its sequence.
// Threads: step() from one thread; status(), hold() from any.
// On failure: any doubt about the hub's state leads to a HELLO, which brings its watermarks. A hub that knows more than this store
// ever queued means that an old disk image was restored: a new epoch begins.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "storage/store.h"
#include "sync/options.h"
#include "sync/policy.h"
#include "sync/uplink.h"

namespace skerry::sync {

struct SyncStatus {
  bool enabled = false, online = false, held = false;
  std::string hub;
  std::string last_error;
  uint64_t batches = 0, repeated = 0, failures = 0;
  uint64_t records = 0;                       // acknowledged since start
  Traffic traffic;
  std::vector<ClassDecision> decisions;       // the newest, with reasons
};

class Syncer {
 public:
  // `describe` is asked for the models line of each HELLO.
  Syncer(storage::Store& store, std::unique_ptr<Uplink> uplink, const Options& options, const Clock& clock, uint64_t seed,
         std::function<std::vector<std::string>()> describe);
  // At most one exchange. Returns zero when there is more to send now, else the delay until the next try.
  Duration step();
  void hold(bool held);                       // stop or resume sending; ingest is not affected
  SyncStatus status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::sync
