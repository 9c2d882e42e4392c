// A file system for RocksDB that fails on demand: power cuts, lost syncs, a full disk. It works over the real one, so a
// store that was closed can be looked at with ordinary means. The model: bytes are on the disk once their file was
// synced, a new file once its folder was synced; renames and deletions are at once. A file that was given its size before it was
// written to keeps it, with zeros where nothing was synced. After a failed sync the bytes in
// question never reach the disk, whatever later syncs answer: so do kernels. Threads: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace rocksdb {
class FileSystem;
}

namespace skerry::test {

class FaultFs {
 public:
  FaultFs();
  ~FaultFs();
  std::shared_ptr<rocksdb::FileSystem> file_system() const;  // for Options::file_system

  // A power cut: cut_power(), destroy the store (nobody tells it that what it still writes, renames or deletes comes to nothing),
  // restore_power() drops what was not synced.
  void cut_power();
  void restore_power();

  // The next `count` syncs fail. `device`: with an error of the device itself, which RocksDB holds for final; otherwise
  // one that it may retry.
  enum class SyncFault { retryable, device };
  void fail_syncs(uint32_t count, SyncFault fault = SyncFault::retryable);

  // The next sync of the manifest by a merge of tables fails, and says so that much later: a flush waits for it and fails too.
  void fail_merge(std::chrono::milliseconds late);
  // What fails says so later than it happened, as on a slow disk: what was well again meanwhile hears of it.
  void delay_faults(std::chrono::milliseconds late);

  void set_space_left(uint64_t bytes);  // writes beyond it fail, half done, as on a full disk
  void lift_space();

  struct Counts {
    uint64_t reads = 0, read_bytes = 0, syncs = 0, write_bytes = 0, merge_faults = 0;
  };
  Counts counts() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

void flip_bit(const std::filesystem::path& file, uint64_t byte, unsigned bit = 0);

}  // namespace skerry::test
