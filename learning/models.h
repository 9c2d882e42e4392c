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
  // as last good. Error: not_found, invalid, corrupt.
  Status promote(const std::string& model, uint32_t version, const std::string& reason, storage::Effect also = {});
  // Back to the pinned last good version; the one that served is rejected. Error: not_found when there is none.
  Result<uint32_t> rollback(const std::string& model, const std::string& reason);
  // Recorded with its reason, in one Effect with `also`. Error: not_found, invalid for the serving version.
  Status reject(const std::string& model, uint32_t version, const std::string& reason, storage::Effect also = {});
  Result<uint32_t> next_version(const std::string& model) const;

 private:
  Status start_model(const std::string& model);
  Status switch_to(const std::string& model, uint32_t version, const std::string& reason, storage::ModelState previous_becomes,
                   storage::Effect also);
  void forget_old(const std::string& model, uint32_t serving, uint32_t last_good);

  storage::Store& store_;
  inference::Engine& engine_;
  const Clock& clock_;
  std::mutex mutex_;
};

}  // namespace skerry::learning
