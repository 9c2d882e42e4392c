// The life of model versions on this node: import, promote, roll back, remove, and what is loaded at start-up. The store says what is
// true; the engine follows. Every change is one Effect with its reason.
// Threads: any; one change at a time inside.
// On failure: the serving version keeps serving. A serving package that is damaged at start-up is marked rejected and the pinned last good
// version serves instead.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "inference/engine.h"
#include "learning/decisions.h"
#include "storage/store.h"

namespace skerry::learning {

class Models {
 public:
  Models(storage::Store& store, inference::Engine& engine, const Clock& clock);

  // Loads what the store says is serving. Packages found in the models folder that the store does not know are imported; the
  // first version of a model seen serves at once.
  Status start();
  // Copies a package into the models folder as a candidate. Error: as Package::open.
  Result<storage::ModelVersion> import(const std::filesystem::path& package_folder);
  // Load, warm up, switch, in one Effect with `also` (e.g. the queued delta): the version serves, the one before is retired but pinned
  // as last good. Error: not_found, invalid (also: another version is pinned by hand), corrupt.
  Status promote(const std::string& model, uint32_t version, const std::string& reason, storage::Effect also = {});
  // Back to the pinned last good version; the one that served is rejected. Error: not_found when there is none.
  Result<uint32_t> rollback(const std::string& model, const std::string& reason);
  // Recorded with its reason, in one Effect with `also`. Error: not_found, invalid for the serving version.
  Status reject(const std::string& model, uint32_t version, const std::string& reason, storage::Effect also = {});
  // A stage on the way to serving. Error: not_found, as Store::commit.
  Status enter(const std::string& model, uint32_t version, storage::ModelState stage, const std::string& reason, storage::Effect also = {});
  // Lets a version (0: the serving one) serve and nothing automatic replace it, until it is unpinned. Answers the version.
  Result<uint32_t> pin(const std::string& model, uint32_t version, const std::string& reason);
  Status unpin(const std::string& model, const std::string& reason);
  std::optional<uint32_t> pinned_by_hand(const std::string& model) const;
  Result<uint32_t> next_version(const std::string& model) const;
  DecisionLog& decisions() { return decisions_; }
  const DecisionLog& decisions() const { return decisions_; }

 private:
  Status start_model(const std::string& model);
  Status refuse_if_pinned(const std::string& model, uint32_t version) const;
  Status switch_to(const std::string& model, uint32_t version, const std::string& reason, storage::ModelState previous_becomes,
                   storage::Effect also);
  void forget_old(const std::string& model, uint32_t serving, uint32_t last_good);
  void remove_old_packages(const std::string& model, uint32_t serving, uint32_t last_good);

  storage::Store& store_;
  inference::Engine& engine_;
  const Clock& clock_;
  DecisionLog decisions_;
  std::mutex mutex_;
};

}  // namespace skerry::learning
