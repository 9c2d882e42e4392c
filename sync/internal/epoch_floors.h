// Where the epoch of this disk begins in each class: the hub showed that it holds what is up to there under an earlier epoch, and a hub that lost
// something of this epoch must not get that a second time. What was acknowledged beyond it the hub did not show, and it goes again. Kept in a note of the store, written before an epoch begins.
// Threads: one.
#pragma once

#include <cstdint>
#include <map>

#include "storage/store.h"

namespace skerry::sync::internal {

class EpochFloors {
 public:
  explicit EpochFloors(storage::Store& store);
  uint64_t of(storage::OutboxClass outbox_class) const;
  // An epoch is about to begin.
  Status raise(const std::map<storage::OutboxClass, uint64_t>& floors);

 private:
  storage::Store& store_;
  std::map<storage::OutboxClass, uint64_t> floors_;
};

}  // namespace skerry::sync::internal
