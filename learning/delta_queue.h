// Which deltas still have to go to the hub. One is under way at a time: what is promoted meanwhile waits here and is squashed into one that
// leads from what the hub knows to what serves. Kept in notes of the store, so that a delta, its residual and the state of its version
// become durable together.
// Threads: one (the learner's).
// On failure: a delta that can't be read ends its chain there, and what leads on from it is not sent; it is logged.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "storage/store.h"

namespace skerry::learning {

class DeltaQueue {
 public:
  explicit DeltaQueue(storage::Store& store) : store_(store) {}
  // Notes the delta and the residual of a version that may come to serve.
  void keep(storage::Effect& effect, const std::string& model, uint32_t version, const std::string& delta, const std::string& residual) const;
  void forget(storage::Effect& effect, const std::string& model, uint32_t version) const;
  // What rounding left over when the version was made; empty: nothing.
  Result<std::string> residual(const std::string& model, uint32_t version) const;
  // Adds to the effect what leads to `version`, which serves once the effect is true, and its residual again: both become true together.
  // Adds no delta while one is under way, or when the hub knows the version.
  Status queue(storage::Effect& effect, const std::string& model, uint32_t version) const;
  // Queues what had to wait.
  Status step(const std::string& model, uint32_t serving) const;

 private:
  struct Index;
  Result<Index> read_index(const std::string& model) const;
  Result<bool> add_chain(storage::Effect& effect, const std::string& model, uint32_t version) const;

  storage::Store& store_;
};

}  // namespace skerry::learning
