// A file system for RocksDB 7.8 that keeps it from what it does not survive.
//
// A manifest that cannot be written or a folder that cannot be synced: RocksDB forgets to give a memtable back when that happens while
// it is being flushed, or when a flush begins afterwards, and the next Resume() or Flush() then waits for ever (facebook/rocksdb#11872,
// mended in 8.8). As lost data the error stops writing at once, nothing waits, and opening anew reads the log again.
//
// A log that cannot be synced: RocksDB aborts when it is synced again, also by a thread that was waiting for the first sync. So RocksDB is
// not told; the store asks LogFailure after every sync, and before.
// Threads: any.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <mutex>
#include <optional>

namespace skerry::storage::internal {

// The first error of a log since forget().
class LogFailure {
 public:
  void note(const rocksdb::Status& status) {
    std::lock_guard lock(mutex_);
    if (!first_) first_ = status;
  }
  std::optional<rocksdb::Status> first() const {
    std::lock_guard lock(mutex_);
    return first_;
  }
  void forget() {
    std::lock_guard lock(mutex_);
    first_.reset();
  }

 private:
  mutable std::mutex mutex_;
  std::optional<rocksdb::Status> first_;
};

std::shared_ptr<rocksdb::FileSystem> with_final_errors(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<LogFailure> log_failure);

}  // namespace skerry::storage::internal
