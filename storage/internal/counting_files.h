// A file system for RocksDB that counts what is written through it: log, tables, manifest and RocksDB's own messages alike.
// Threads: any.
#pragma once

#include <rocksdb/file_system.h>

#include <atomic>
#include <cstdint>
#include <memory>

namespace skerry::storage::internal {

std::shared_ptr<rocksdb::FileSystem> with_counter(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<std::atomic<uint64_t>> written_bytes);

}  // namespace skerry::storage::internal
