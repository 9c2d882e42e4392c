#include "storage/internal/block_scan.h"

namespace skerry::storage::internal {

BlockScan::BlockScan(const Database& db, Damage& damage, Family family, uint32_t series, int64_t from_ns, int64_t to_ns,
                     const rocksdb::Snapshot* snapshot)
    : db_(db), damage_(damage), family_(family), series_(series), to_ns_(to_ns), snapshot_(snapshot) {
  lower_ = key::run(series, from_ns, 0);
  // to_ns INT64_MAX still includes a block at that very time: nothing else of the series sorts after it.
  upper_ = to_ns == INT64_MAX ? key::build(key::u32(series + 1)) : key::run(series, to_ns, 0);
  lower_slice_ = lower_;
  upper_slice_ = upper_;
  if (from_ns >= to_ns) return;
  if (seek(from_ns)) {
    settle();
  } else {
    seek_past_damage(from_ns);
  }
}

// With a new iterator: one that met damage goes on answering with it (RocksDB 7.8).
bool BlockScan::seek(int64_t from_ns) {
  rocksdb::ReadOptions options;
  options.iterate_lower_bound = &lower_slice_;
  options.iterate_upper_bound = &upper_slice_;
  options.snapshot = snapshot_;
  it_ = db_.iterate(family_, options);
  it_->Seek(key::run(series_, from_ns, 0));
  return it_->Valid() || it_->status().ok();
}

void BlockScan::settle() {
  valid_ = it_->Valid();
  if (!valid_) return;
  Reader in(view(it_->key()));
  in.fixed32();
  first_ns_ = in.key_time();
  number_ = in.key64();
  SKERRY_CHECK(in.done(), "a key of the family {} has {} bytes", kFamilyNames[family_], it_->key().size());
}

void BlockScan::next() {
  it_->Next();
  if (it_->Valid() || it_->status().ok()) {
    settle();
  } else {
    seek_past_damage(first_ns_ == INT64_MAX ? first_ns_ : first_ns_ + 1);
  }
}

void BlockScan::seek_past_damage(int64_t from_ns) {
  valid_ = false;
  if (!it_->status().IsCorruption()) {
    status_ = db_.error(it_->status(), "read records");
    return;
  }
  damage_.found(key::run(series_, from_ns, 0), it_->status().ToString());
  // [from, bad] cannot be read; find the smallest readable start above it.
  uint64_t step = 1'000'000'000;
  int64_t bad = from_ns, good = from_ns;
  do {
    if (good == to_ns_) return;  // damaged to the end of the range
    bad = good;
    good =
        static_cast<uint64_t>(to_ns_) - static_cast<uint64_t>(bad) > step ? bad + static_cast<int64_t>(step) : to_ns_;
    step *= 2;
  } while (!seek(good));
  while (static_cast<uint64_t>(good) - static_cast<uint64_t>(bad) > 1) {
    const int64_t middle = bad + static_cast<int64_t>((static_cast<uint64_t>(good) - static_cast<uint64_t>(bad)) / 2);
    (seek(middle) ? good : bad) = middle;
  }
  if (seek(good)) settle();
}

std::string BlockScan::place() const { return it_->key().ToString(); }

}  // namespace skerry::storage::internal
