// A file system for RocksDB 7.8 that keeps it from what it does not survive: a manifest that cannot be written or a folder that cannot be
// synced. RocksDB forgets to give a memtable back when that happens while it is being flushed, or when a flush begins afterwards, and the
// next Resume() or Flush() then waits for ever (facebook/rocksdb#11872, mended in 8.8). As lost data the error stops writing at once,
// nothing waits, and opening anew reads the log again.
// Threads: any.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>

namespace skerry::storage::internal {

std::shared_ptr<rocksdb::FileSystem> with_final_errors(std::shared_ptr<rocksdb::FileSystem> target);

}  // namespace skerry::storage::internal
