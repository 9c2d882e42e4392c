// The count of bytes per bearer, kept in a note of the store: before bytes go, the store knows of them.
// Threads: reserve() and write() from the thread that steps; the rest with the Syncer's mutex.
// On failure: a store that refuses (a full disk) is no reason not to send: what a crash could forget then is at most what was sent meanwhile. A
// damaged count begins anew and is said in the log.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "storage/store.h"
#include "sync/budget.h"
#include "sync/environment.h"
#include "sync/policy_options.h"

namespace skerry::sync::internal {

class ByteAccount {
 public:
  explicit ByteAccount(storage::Store& store);
  // `bytes` more may go over the bearer, those on their way included. Takes the mutex while it reads, not while it writes.
  void reserve(std::mutex& mutex, const Policy& policy, const BearerPolicy& bearer, uint64_t bytes, int64_t wall_ns);
  // What went, answered or not, in bytes of bodies.
  void charge(const BearerPolicy& bearer, const std::string& purpose, uint64_t sent, uint64_t received, bool roaming, int64_t wall_ns);
  BearerUse use(const BearerPolicy& bearer, int64_t wall_ns) const;
  void write_exactly();  // at the end

 private:
  void write(const std::string& note);

  storage::Store& store_;
  Ledger ledger_;
};

}  // namespace skerry::sync::internal
