// The decision log: what was decided about models and their training, when and why, for `skerry learning why` and people later on. Kept in
// the store, written in the very Effect that carries the decision out; the newest kDecisionsKept stay.
// Threads: any.
// On failure: an unreadable entry is left out.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/store.h"

namespace skerry::learning {

inline constexpr uint64_t kDecisionsKept = 500;

struct Decision {
  int64_t at_ns = 0;       // given by add()
  std::string model;
  uint32_t version = 0;    // 0: about the model as a whole
  std::string step;        // "train", "gate", "shadow", "canary", "serve", "rollback", "reject", "pin", "labels"
  std::string outcome;     // "started", "passed", "refused", ...
  std::string reason;      // with the numbers
};

class DecisionLog {
 public:
  DecisionLog(storage::Store& store, const Clock& clock);
  void add(storage::Effect& effect, Decision decision);
  Status write(Decision decision);  // alone. Error: as Store::commit
  std::vector<Decision> newest(const std::string& model, size_t count_max) const;  // newest first; all models when empty

 private:
  storage::Store& store_;
  const Clock& clock_;
  std::atomic<uint64_t> next_{1};
};

}  // namespace skerry::learning
