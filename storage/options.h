// Options of the store; config/ fills them from [storage]. Defaults suit a device with 512 MB.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "storage/types.h"

namespace rocksdb {
class FileSystem;
}

namespace skerry::storage {

// What happens to records of streams whose quota is full.
// roll_up: of the oldest only minimum, maximum, mean, count... of every second are kept, then of every minute, then of every hour; only
// then they go.
enum class OnFull : uint8_t { reject = 1, drop_oldest = 2, drop_newest = 3, roll_up = 4 };
const char* to_string(OnFull on_full);

struct StreamRule {               // first match by series name wins; name may end in '*'
  std::string name = "*";
  Durability durability = Durability::interval;
  bool sync = true;               // queue its records for the hub
  Duration retention{};           // records go this long after their time; zero: never
  uint64_t quota_bytes = 0;       // on disk, of all streams of this rule together; 0: none
  OnFull on_full = OnFull::drop_oldest;
  bool drop_unsent = false;       // also what the hub does not have yet
};

struct OutboxRule {               // of a class; by default its entries wait for the hub for ever
  OutboxClass outbox_class = OutboxClass::telemetry;
  Duration ttl{};                 // what has waited this long is dropped; zero: never
  uint64_t quota_bytes = 0;       // of waiting payloads; 0: none. One entry may always wait, however large, but for drop_oldest
  // drop_oldest: what was dropped is told to the hub as lost. drop_newest: what is new gets no number and never reaches the hub; the loss
  // ledger counts it. reject: the whole effect is refused. Records that are not queued stay in their stream. roll_up is for streams only.
  OnFull on_full = OnFull::drop_oldest;
};

struct Options {
  std::filesystem::path path = "var/store";
  std::string node = "node";      // the node's name towards the hub
  Duration sync_interval = std::chrono::milliseconds(200);   // of Durability::interval
  std::vector<StreamRule> streams;
  std::vector<OutboxRule> outbox;                            // at most one per class
  uint64_t quota_bytes = 0;                                  // on disk, of the records of all streams; 0: none
  uint64_t write_buffer_bytes = 16 << 20;                    // the head is sealed when half of it is used
  uint64_t block_cache_bytes = 16 << 20;
  uint64_t wal_bytes_max = 64 << 20;
  uint32_t open_files_max = 256;
  Duration acked_grace = std::chrono::minutes(0);            // keep outbox entries this long after their acknowledgement
  uint64_t examples_per_class_max = 2000;                    // per model and role
  uint64_t examples_bytes_max = 128 << 20;                   // per model; the largest class gives way
  int64_t time_min_ns = 946'684'800'000'000'000;             // 2000-01-01: older records are refused as a wrong precision
  Duration time_ahead_max = std::chrono::hours(24);          // newer than now plus this is refused
  std::function<uint64_t()> draw_epoch = system_seed;        // a simulation draws from its own seed; zero is drawn again
  std::shared_ptr<rocksdb::FileSystem> file_system;          // tests inject faults here; null: the real one
};

}  // namespace skerry::storage
