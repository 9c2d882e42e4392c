#include "learning/models.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>

#include "base/log.h"

namespace skerry::learning {
namespace {

namespace fs = std::filesystem;
using storage::ModelState;
using storage::ModelVersion;

constexpr size_t kPackagesKept = 5;  // folders of a model besides the serving and the pinned one

std::string pin_note(const std::string& model) { return "pin/" + model; }

std::optional<uint32_t> version_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  uint32_t version = 0;
  auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), version);
  if (code != std::errc() || end != name.data() + name.size() || version == 0) return std::nullopt;
  return version;
}

std::map<std::string, std::set<uint32_t>> packages_in(const fs::path& models) {
  std::map<std::string, std::set<uint32_t>> out;
  std::error_code error;
  for (fs::directory_iterator model(models, error), end; !error && model != end; model.increment(error)) {
    if (!model->is_directory(error)) continue;
    std::error_code inner;
    for (fs::directory_iterator it(model->path(), inner); !inner && it != end; it.increment(inner)) {
      if (auto version = version_of(it->path())) out[model->path().filename().string()].insert(*version);
    }
  }
  return out;
}

const ModelVersion* serving_in(const std::vector<ModelVersion>& versions) {
  for (const ModelVersion& v : versions) {
    if (v.state == ModelState::serving) return &v;
  }
  return nullptr;
}

Status record(storage::Store& store, const ModelVersion& version) {
  storage::Effect effect;
  effect.versions = {version};
  SKERRY_TRY(store.commit(effect));
  return {};
}

// The version's record within the Effect that will change it: as given by the caller, else as stored.
Result<ModelVersion*> named(const std::string& model, uint32_t version, const std::vector<ModelVersion>& stored, storage::Effect& effect) {
  auto is_it = [&](const ModelVersion& v) { return v.model == model && v.version == version; };
  auto given = std::find_if(effect.versions.begin(), effect.versions.end(), is_it);
  if (given != effect.versions.end()) return &*given;
  auto known = std::find_if(stored.begin(), stored.end(), is_it);
  if (known == stored.end()) return fail(Code::not_found, "there is no version {} of '{}'", version, model.substr(0, 64));
  effect.versions.push_back(*known);
  return &effect.versions.back();
}

}  // namespace

Models::Models(storage::Store& store, inference::Engine& engine, const Clock& clock)
    : store_(store), engine_(engine), clock_(clock), decisions_(store, clock) {}

Status Models::start() {
  std::lock_guard lock(mutex_);
  const fs::path& folder = engine_.options().models;
  SKERRY_ASSIGN(std::vector<ModelVersion> known, store_.versions(""));
  std::map<std::string, std::vector<ModelVersion>> models;
  for (ModelVersion& v : known) models[v.model].push_back(std::move(v));

  for (const auto& [name, numbers] : packages_in(folder)) {
    std::vector<ModelVersion>& versions = models[name];
    for (uint32_t number : numbers) {
      if (std::any_of(versions.begin(), versions.end(), [&](const ModelVersion& v) { return v.version == number; })) continue;
      auto package = inference::Package::open(folder / name / std::to_string(number), engine_.options().package_bytes_max);
      if (!package.ok()) {
        log::error("models", "{}/{} is left out: {}", name, number, package.error().message);
        continue;
      }
      ModelVersion v;
      v.model = name;
      v.version = number;
      v.parent = package->info.parent;
      v.digest = package->digest;
      v.created_ns = v.changed_ns = clock_.now_ns();
      v.reason = "found in the models folder";
      SKERRY_TRY(record(store_, v));
      versions.push_back(std::move(v));
    }
  }

  for (const auto& [name, versions] : models) SKERRY_TRY(start_model(name));
  return {};
}

// The serving version, then the pinned last good one, then candidates, oldest first: the first that loads serves.
Status Models::start_model(const std::string& model) {
  SKERRY_ASSIGN(std::vector<ModelVersion> versions, store_.versions(model));
  auto rank = [](const ModelVersion& v) {
    return v.state == ModelState::serving ? 0 : v.pinned ? 1 : v.state == ModelState::candidate ? 2 : 3;
  };
  std::stable_sort(versions.begin(), versions.end(), [&](const ModelVersion& a, const ModelVersion& b) {
    return std::pair(rank(a), a.version) < std::pair(rank(b), b.version);
  });
  const bool had_serving = serving_in(versions) != nullptr;
  for (const ModelVersion& v : versions) {
    if (rank(v) == 3) break;
    Status loaded = engine_.load(model, v.version);
    if (loaded.ok()) {
      if (v.state == ModelState::serving) return engine_.serve(model, v.version);
      return switch_to(model, v.version, had_serving ? "the version that served can't be loaded" : "the first version of this model",
                       ModelState::rejected, {});
    }
    if (loaded.error().code == Code::unavailable || loaded.error().code == Code::exhausted) {
      // The runtime's trouble (a missing library, no memory), not the package's: do not condemn the version for it.
      log::error("models", "{}/{} can't be loaded now: {}", model, v.version, loaded.error().message);
      return {};
    }
    log::error("models", "{}/{} is rejected: {}", model, v.version, loaded.error().message);
    ModelVersion rejected = v;
    rejected.state = ModelState::rejected;
    rejected.pinned = false;
    rejected.reason = loaded.error().message;
    rejected.changed_ns = clock_.now_ns();
    SKERRY_TRY(record(store_, rejected));
  }
  return {};
}

Result<ModelVersion> Models::import(const fs::path& package_folder) {
  const uint64_t bytes_max = engine_.options().package_bytes_max;
  SKERRY_ASSIGN(inference::Package package, inference::Package::open(package_folder, bytes_max));
  std::lock_guard lock(mutex_);
  const std::string name = package.info.name;
  SKERRY_ASSIGN(std::vector<ModelVersion> versions, store_.versions(name));
  for (const ModelVersion& v : versions) {
    if (v.version != package.info.version) continue;
    if (v.digest == package.digest) return v;
    return fail(Code::invalid, "{}/{} exists with other content: give the package a new version", name, v.version);
  }
  SKERRY_ASSIGN(inference::Package installed, inference::install_package(package_folder, engine_.options().models, bytes_max));
  ModelVersion v;
  v.model = name;
  v.version = installed.info.version;
  v.parent = installed.info.parent;
  v.digest = installed.digest;
  v.created_ns = v.changed_ns = clock_.now_ns();
  v.reason = "imported";
  SKERRY_TRY(record(store_, v));
  if (!engine_.serving(name)) {
    SKERRY_TRY(engine_.load(name, v.version));
    SKERRY_TRY(switch_to(name, v.version, "the first version of this model", ModelState::retired, {}));
    v.state = ModelState::serving;
  }
  return v;
}

Status Models::promote(const std::string& model, uint32_t version, const std::string& reason, storage::Effect also) {
  std::lock_guard lock(mutex_);
  SKERRY_TRY(refuse_if_pinned(model, version));
  SKERRY_TRY(engine_.load(model, version));
  return switch_to(model, version, reason, ModelState::retired, std::move(also));
}

Status Models::refuse_if_pinned(const std::string& model, uint32_t version) const {
  const std::optional<uint32_t> pinned = pinned_by_hand(model);
  if (!pinned || *pinned == version) return {};
  return fail(Code::invalid, "{}/{} is pinned by hand: `skerry models unpin {}` first", model, *pinned, model);
}

std::optional<uint32_t> Models::pinned_by_hand(const std::string& model) const {
  Result<std::optional<std::string>> note = store_.note(pin_note(model));
  uint32_t version = 0;
  if (note.ok() && note->has_value()) std::from_chars((*note)->data(), (*note)->data() + (*note)->size(), version);
  return version == 0 ? std::nullopt : std::optional<uint32_t>(version);
}

Result<uint32_t> Models::pin(const std::string& model, uint32_t version, const std::string& reason) {
  std::lock_guard lock(mutex_);
  const std::optional<uint32_t> serving = engine_.serving(model);
  if (version == 0 && !serving) return fail(Code::not_found, "no version of '{}' serves: name one", model.substr(0, 64));
  if (version == 0) version = *serving;
  storage::Effect effect;
  effect.notes.emplace_back(pin_note(model), std::to_string(version));
  decisions_.add(effect, {0, model, version, "pin", "pinned", reason});
  if (serving == version) {
    SKERRY_TRY(store_.commit(effect));
    return version;
  }
  SKERRY_TRY(engine_.load(model, version));
  SKERRY_TRY(switch_to(model, version, reason, ModelState::retired, std::move(effect)));
  return version;
}

Status Models::unpin(const std::string& model, const std::string& reason) {
  std::lock_guard lock(mutex_);
  const std::optional<uint32_t> pinned = pinned_by_hand(model);
  if (!pinned) return fail(Code::not_found, "no version of '{}' is pinned by hand", model.substr(0, 64));
  storage::Effect effect;
  effect.notes.emplace_back(pin_note(model), "");
  decisions_.add(effect, {0, model, *pinned, "pin", "unpinned", reason});
  SKERRY_TRY(store_.commit(effect));
  return {};
}

Status Models::enter(const std::string& model, uint32_t version, ModelState stage, const std::string& reason, storage::Effect also) {
  std::lock_guard lock(mutex_);
  SKERRY_ASSIGN(std::vector<ModelVersion> versions, store_.versions(model));
  SKERRY_ASSIGN(ModelVersion * target, named(model, version, versions, also));
  target->state = stage;
  target->reason = reason;
  target->changed_ns = clock_.now_ns();
  SKERRY_TRY(store_.commit(also));
  log::info("models", "{}/{} is {}: {}", model, version, to_string(stage), reason);
  return {};
}

// The store first: after a crash in between, the start follows what the store says. The version is loaded and warm already, so the
// engine's part can't fail.
Status Models::switch_to(const std::string& model, uint32_t version, const std::string& reason, ModelState previous_becomes,
                         storage::Effect also) {
  SKERRY_ASSIGN(std::vector<ModelVersion> versions, store_.versions(model));
  SKERRY_ASSIGN(ModelVersion * target, named(model, version, versions, also));
  target->state = ModelState::serving;
  target->reason = reason;
  target->changed_ns = clock_.now_ns();
  uint32_t last_good = 0;
  for (ModelVersion v : versions) {
    if (v.version == version) continue;
    const bool was_serving = v.state == ModelState::serving;
    if (!was_serving && !v.pinned) continue;
    if (was_serving) {
      v.state = previous_becomes;
      v.changed_ns = clock_.now_ns();
      v.reason = previous_becomes == ModelState::rejected ? fmt::format("rolled back to {}: {}", version, reason)
                                                          : fmt::format("version {} took over", version);
    }
    v.pinned = was_serving && previous_becomes == ModelState::retired;
    if (v.pinned) last_good = v.version;
    also.versions.push_back(std::move(v));
  }
  const bool back = previous_becomes == ModelState::rejected;
  decisions_.add(also, {0, model, version, back ? "rollback" : "serve", back ? "back" : "promoted", reason});
  SKERRY_TRY(store_.commit(also));
  SKERRY_TRY(engine_.serve(model, version));
  log::info("models", "{}/{} serves: {}", model, version, reason);
  forget_old(model, version, last_good);
  return {};
}

// The pinned one stays loaded and warm: a rollback must not wait.
void Models::forget_old(const std::string& model, uint32_t serving, uint32_t last_good) {
  for (const auto& loaded : engine_.loaded()) {
    const inference::PackageInfo& info = loaded->package.info;
    if (info.name != model || info.version == serving || info.version == last_good) continue;
    if (Status done = engine_.unload(model, info.version); !done.ok()) log::warn("models", "{}", done.error().message);
  }
  remove_old_packages(model, serving, last_good);
}

// On disk the newest few stay besides these two: a node that learns for years must not fill up with what it once was, or never came to be.
void Models::remove_old_packages(const std::string& model, uint32_t serving, uint32_t last_good) {
  const auto packages = packages_in(engine_.options().models);
  auto it = packages.find(model);
  if (it == packages.end()) return;
  std::set<uint32_t> others = it->second;
  others.erase(serving);
  others.erase(last_good);
  while (others.size() > kPackagesKept) {
    std::error_code ignored;
    fs::remove_all(engine_.options().models / model / std::to_string(*others.begin()), ignored);
    others.erase(others.begin());
  }
}

Result<uint32_t> Models::rollback(const std::string& model, const std::string& reason) {
  std::lock_guard lock(mutex_);
  SKERRY_ASSIGN(std::vector<ModelVersion> versions, store_.versions(model));
  for (const ModelVersion& v : versions) {
    if (!v.pinned || v.state == ModelState::serving) continue;
    SKERRY_TRY(refuse_if_pinned(model, v.version));
    SKERRY_TRY(engine_.load(model, v.version));
    SKERRY_TRY(switch_to(model, v.version, reason, ModelState::rejected, {}));
    return v.version;
  }
  return fail(Code::not_found, "'{}' has no earlier version to roll back to", model.substr(0, 64));
}

Status Models::reject(const std::string& model, uint32_t version, const std::string& reason, storage::Effect also) {
  std::lock_guard lock(mutex_);
  SKERRY_ASSIGN(std::vector<ModelVersion> versions, store_.versions(model));
  SKERRY_ASSIGN(ModelVersion * target, named(model, version, versions, also));
  if (target->state == ModelState::serving) return fail(Code::invalid, "{}/{} is serving: roll back instead", model, version);
  target->state = ModelState::rejected;
  target->pinned = false;
  target->reason = reason;
  target->changed_ns = clock_.now_ns();
  decisions_.add(also, {0, model, version, "reject", "rejected", reason});
  SKERRY_TRY(store_.commit(also));
  log::info("models", "{}/{} is rejected: {}", model, version, reason);
  uint32_t last_good = 0;
  for (const ModelVersion& v : versions) {
    if (v.pinned && v.state != ModelState::serving) last_good = v.version;
  }
  if (const auto serving = engine_.serving(model)) remove_old_packages(model, *serving, last_good);
  return {};
}

Result<uint32_t> Models::next_version(const std::string& model) const {
  SKERRY_ASSIGN(std::vector<ModelVersion> versions, store_.versions(model));
  uint32_t highest = 0;
  for (const ModelVersion& v : versions) highest = std::max(highest, v.version);
  const auto packages = packages_in(engine_.options().models);
  if (auto it = packages.find(model); it != packages.end() && !it->second.empty()) highest = std::max(highest, *it->second.rbegin());
  return highest + 1;
}

}  // namespace skerry::learning
