// Store-and-forward: asks the policy, puts the next contiguous batches of a class on their way, trims the outbox by the hub's answers. Nothing is
// deleted before the hub said that it holds it; a lost answer costs repeated batches, which the hub recognises by their sequence.
// Threads: step() from one thread; everything else from any.
// On failure: any doubt about the hub's state leads to a HELLO, which brings its watermarks. A hub that knows more than this store
// ever queued means that an old disk image was restored: a new epoch begins. A hub that lost what it had acknowledged gets again what the store still
// keeps and declares the rest lost in its answer to the HELLO, and last_error and lost_at_hub say it here. An answer that cannot be true - an acknowledgement of what was never
// sent, garbage - moves nothing: the tries grow rarer (decorrelated jitter) and the outbox keeps everything.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/store.h"
#include "sync/environment.h"
#include "sync/options.h"
#include "sync/policy.h"
#include "sync/uplink.h"

namespace skerry::sync {

struct BearerStatus {
  std::string name;
  bool online = false;
  LinkFacts link;
  BearerUse use;
  uint64_t monthly_bytes = 0, daily_bytes = 0;  // budgets; 0: none
  uint64_t batch_goal = 0;
};

// An entry that the hub refuses for good: kept in the store's notes, sent as an empty block.
struct DeadLetter {
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  uint64_t seq = 0;
  std::string subject, reason;
  uint64_t bytes = 0, records = 0;
};

struct SyncStatus {
  bool enabled = false, online = false, held = false;
  std::string hub;
  std::string last_error;                     // empty while all is well; a declared loss at the hub stays
  uint64_t batches = 0, repeated = 0, failures = 0;
  uint64_t records = 0;                       // acknowledged since start
  uint64_t lost_at_hub = 0;                   // entries that the hub acknowledged and lost, since start
  uint64_t epochs_begun = 0;                  // since start
  Traffic traffic;
  std::vector<ClassDecision> decisions;       // as of now, with reasons
  std::vector<BearerStatus> bearers;
  std::set<std::string> revoked;              // transfer windows
  std::vector<DeadLetter> dead;               // since the store was made
};

class Syncer {
 public:
  // The bytes that the store remembers per bearer and month go on; a damaged count begins anew and is said in the log.
  Syncer(storage::Store& store, std::unique_ptr<Uplink> uplink, const Options& options, const Clock& clock, uint64_t seed,
         Environment environment);
  ~Syncer();
  // One thing: takes the answers that came, and then begins one batch, says HELLO, or waits some 50 ms for what is on its way. Returns zero when there is
  // more to do now, else the delay until something may change by time alone; call
  // sooner when something was queued.
  Duration step();
  void hold(bool held);                       // stop or resume sending; ingest is not affected
  SyncStatus status() const;

  Policy policy() const;
  void set_policy(Policy policy);             // takes effect with the next step; the backlog stays as it is
  void revoke_window(const std::string& name, bool revoked);  // as the network says; until taken back, also over a restart
  // Every condition of every class, as of now; of another policy when given.
  std::vector<ClassDecision> explain(const Policy* instead = nullptr) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::sync
