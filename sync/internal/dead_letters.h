// Entries that the hub refuses again and again while it takes others: kept in the store, with the reason, and sent as empty blocks, so that their class
// goes on. Kept in notes: an index, and the payload of each up to a bound.
// Threads: one.
// On failure: what the store does not take is not given up: the entry stays where it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/store.h"
#include "sync/syncer.h"

namespace skerry::sync {

namespace internal {

class DeadLetters {
 public:
  explicit DeadLetters(storage::Store& store);
  Status put(storage::OutboxClass outbox_class, const storage::OutboxItem& item, const std::string& reason);
  // Puts empty blocks in their place.
  void leave_out(storage::OutboxClass outbox_class, std::vector<storage::OutboxItem>& items) const;
  const std::vector<DeadLetter>& all() const { return all_; }

 private:
  storage::Store& store_;
  std::vector<DeadLetter> all_;
};

}  // namespace internal
}  // namespace skerry::sync
