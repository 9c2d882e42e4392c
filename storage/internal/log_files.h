// The live files of RocksDB's write-ahead log, which the store syncs itself.
//
// RocksDB 7.8 aborts on an assertion when a log is synced after an append or a sync of it has failed, also by a thread that was about to
// when that happened. So it is never asked to: DB::Write has handed everything to the file when it returns, and a file may be synced
// while it is appended to. RocksDB's own syncs, of logs that a flush has closed, go the same way and are called a success; a failure is
// kept here, and the log is not trusted any more. Older files are synced first, so what survives has no holes; one that RocksDB has
// closed is not needed any more, because tables have what is in it.
// Threads: any.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace skerry::storage::internal {

class LogFile;

class LogFiles {
 public:
  // Everything that was written before the call is on the disk after it. Error: the first failure of an append or a sync.
  rocksdb::Status sync();
  // The first failure since forget().
  std::optional<rocksdb::Status> failure() const;
  void forget();  // the database was closed

  // For the file system:
  void note(const rocksdb::Status& failure);
  void opened(const std::shared_ptr<LogFile>& file, const std::string& path);
  void set_file_system(const std::shared_ptr<rocksdb::FileSystem>& files) { files_ = files; }

 private:
  rocksdb::Status sync_folder(const std::string& folder) const;

  std::shared_ptr<rocksdb::FileSystem> files_;
  mutable std::mutex mutex_;  // guards all below; not held while syncing
  std::vector<std::weak_ptr<LogFile>> live_;  // the oldest first
  std::string folder_;                        // of a new file whose name is not on the disk yet, else empty
  std::optional<rocksdb::Status> failure_;
};

// A file system that tells `logs` of every log file.
std::shared_ptr<rocksdb::FileSystem> with_log_files(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<LogFiles> logs);

}  // namespace skerry::storage::internal
