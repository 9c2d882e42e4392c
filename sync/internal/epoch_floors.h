// Where the epoch of this disk begins in each class: what was acknowledged up to there, the hub holds under an earlier epoch, and a hub that lost
// something of this epoch must not get it a second time. Kept in a note of the store, written before an epoch begins.
// Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "storage/store.h"

namespace skerry::sync::internal {

class EpochFloors {
 public:
  explicit EpochFloors(storage::Store& store);
  uint64_t of(storage::OutboxClass outbox_class) const;
  // An epoch is about to begin.
  Status raise(const std::vector<storage::OutboxStatus>& now);

 private:
  storage::Store& store_;
  std::map<storage::OutboxClass, uint64_t> floors_;
};

}  // namespace skerry::sync::internal
