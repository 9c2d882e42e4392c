// RocksDB's environment over a file system of ours, in which nobody has to wait for a sleeping thread. One that could not write a table
// sleeps for a second before it goes on, and a database is closed only when it has: reads would wait for that whenever the disk was full.
// Threads: any.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <memory>

namespace skerry::storage::internal {

class WakingClock;

class WakingEnv final : public rocksdb::EnvWrapper {
 public:
  explicit WakingEnv(std::shared_ptr<rocksdb::FileSystem> files);
  void SleepForMicroseconds(int micros) override;

  void wake();   // ends every sleep, also those to come...
  void sleep();  // ...until here

 private:
  const std::shared_ptr<WakingClock> clock_;
};

}  // namespace skerry::storage::internal
