// Shared syncs of the write-ahead log (group commit), and what happens when one fails.
//
// A ticket is the number of a write. ensure(ticket) returns once everything up to it is on the disk; callers that wait
// at the same time share one sync. After a failed sync the kernel may have dropped the pages and would call the next
// sync a success, so the log is not trusted again: everything in memory has to be written anew as tables (Store does
// that, then calls repaired()). Threads: any; wrote() and repaired() under the store's commit mutex.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>

#include "base/result.h"
#include "storage/internal/database.h"

namespace skerry::storage::internal {

class WalSync {
 public:
  explicit WalSync(const Database& db) : db_(db) {}

  uint64_t wrote();  // after a successful write: its ticket
  Status ensure(uint64_t ticket);
  Status ensure_all() { return ensure(written()); }
  void repaired();  // everything written so far is on the disk by other means
  uint64_t written() const;
  bool pending() const;  // something is not on the disk yet
  std::optional<Error> failure() const;

 private:
  const Database& db_;
  mutable std::mutex mutex_;  // guards all below; not held while syncing
  std::condition_variable changed_;
  bool syncing_ = false;
  uint64_t written_ = 0, synced_ = 0;
  std::optional<Error> failure_;
};

}  // namespace skerry::storage::internal
