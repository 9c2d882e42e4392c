// Walks the rows of one series in `head` or in `index` in order of their first time, stepping over what cannot be read: where RocksDB finds a
// damaged table block, the next readable key is looked for by doubling and halving the distance, so no more is lost
// than what is damaged. Threads: one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "storage/internal/damage.h"
#include "storage/internal/database.h"

namespace skerry::storage::internal {

class BlockScan {
 public:
  // Rows whose first time is in [from, to), as they stood at `snapshot` (null: now).
  BlockScan(const Database& db, Damage& damage, Family family, uint32_t series, int64_t from_ns, int64_t to_ns,
            const rocksdb::Snapshot* snapshot = nullptr);

  bool valid() const { return valid_; }
  void next();
  int64_t first_ns() const { return first_ns_; }
  uint64_t number() const { return number_; }
  std::string_view key() const { return view(it_->key()); }
  std::string_view bytes() const { return view(it_->value()); }
  std::string place() const;  // for Damage
  Damage& damage() const { return damage_; }
  const Status& status() const { return status_; }  // an error that is not damage, e.g. the disk is gone

 private:
  bool seek(int64_t from_ns);  // false when what lies there cannot be read
  void seek_past_damage(int64_t from_ns);
  void settle();  // takes the key apart

  const Database& db_;
  Damage& damage_;
  const Family family_;
  const uint32_t series_;
  const int64_t to_ns_;
  const rocksdb::Snapshot* const snapshot_;
  std::string lower_, upper_;
  rocksdb::Slice lower_slice_, upper_slice_;
  std::unique_ptr<rocksdb::Iterator> it_;
  bool valid_ = false;
  int64_t first_ns_ = 0;
  uint64_t number_ = 0;
  Status status_;
};

}  // namespace skerry::storage::internal
