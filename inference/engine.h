// The serving table: which versions of which models answer. A swap loads and warms the new version first, then switches a
// pointer; requests under way finish on the old one, which is freed when the last of them is done.
// Every model has one input "input" [-1, channels, rows] and one output "scores" [-1, labels], both FP32. Inputs are RAW windows in the
// stream's own units: infer() normalises with the package's mean and deviation, so REST clients and pipelines can't differ.
// Threads: infer() from any number of threads; load, serve and unload from any thread, one at a time inside.
// On failure: a version that can't be loaded or answers NaN on the warm-up input is refused and the serving one stays.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "inference/options.h"
#include "inference/package.h"
#include "inference/runtime.h"
#include "inference/statistics.h"

namespace skerry::inference {

// One loaded version. Held by whoever uses it; freed with the last holder.
struct LoadedModel {
  Package package;
  std::shared_ptr<Session> session;
  std::vector<TensorSpec> inputs, outputs;  // batch dimension -1 first
};

struct Answer {
  std::string model;
  uint32_t version = 0;
  std::vector<Tensor> outputs;
};

// A version on trial (canary): it answers a share of the requests that name no version. Where it fails, the serving version answers.
struct Trial {
  uint32_t version = 0;
  double share = 0;  // [0, 1]
  // Evenly spread for tickets that count up, and the same for the same ticket.
  bool takes(uint64_t ticket) const;
};

class Engine {
 public:
  Engine(const Options& options, std::unique_ptr<Runtime> runtime, const Clock& clock);

  // Verifies, loads and warms NAME/VERSION from the models folder; does not serve it yet. Idempotent. Error: as Package::open, Runtime::load;
  // invalid when it does not answer the warm-up windows with finite scores.
  Status load(const std::string& model, uint32_t version);
  // Makes a loaded version the one that answers requests without a version. Error: not_found.
  Status serve(const std::string& model, uint32_t version);
  Status unload(const std::string& model, uint32_t version);  // Error: invalid for the serving one. Ends its trial
  // Begins or (nullopt) ends a trial. Error: not_found when the version is not loaded.
  Status set_trial(const std::string& model, std::optional<Trial> trial);
  std::optional<Trial> trial(const std::string& model) const;
  void withdraw(const std::string& model);  // unloads all versions: nobody answers for the model until one is loaded and serves again

  // The version asked for, else the serving one. Error: not_found.
  Result<std::shared_ptr<const LoadedModel>> find(const std::string& model, std::optional<uint32_t> version) const;
  std::vector<std::shared_ptr<const LoadedModel>> loaded() const;
  std::optional<uint32_t> serving(const std::string& model) const;

  // Checks inputs against the model (names, types, shapes, bytes, finite values), normalises and runs. Error: invalid (the inputs),
  // not_found, internal (the model answered something else than finite scores: names model and version).
  Result<Answer> infer(const std::string& model, std::optional<uint32_t> version, const std::vector<Tensor>& inputs);

  // The parts of infer(), for whoever lets requests wait or answers several together (scheduler.h). A picked version is held to the end of
  // its request, whatever is swapped meanwhile.
  struct Version {
    std::shared_ptr<const LoadedModel> model;  // null once unloaded
    std::shared_ptr<Counters> counters;
  };
  // The version asked for, else the serving one, or now and then the one on trial. Error: not_found.
  Result<Version> pick(const std::string& model, std::optional<uint32_t> version) const;
  Status check(const LoadedModel& model, const std::vector<Tensor>& inputs) const;
  // Of inputs that check() let pass. Counts the run, not the request.
  Result<std::vector<Tensor>> run(const Version& version, std::vector<Tensor> inputs, RunTimes& times) const;

  EngineStatistics statistics(const std::string& model, uint32_t version) const;  // kept after unload
  std::vector<std::pair<std::string, uint32_t>> known() const;                    // every version that was loaded since start
  const Options& options() const { return options_; }

 private:
  struct Entry {
    std::map<uint32_t, Version> versions;
    std::optional<uint32_t> serving;
    std::optional<Trial> trial;
  };
  Result<Version> lookup(const std::string& model, std::optional<uint32_t> version) const;

  const Options options_;
  const std::unique_ptr<Runtime> runtime_;
  const Clock& clock_;
  mutable std::shared_mutex mutex_;  // guards models_
  std::map<std::string, Entry> models_;
  mutable std::atomic<uint64_t> ticket_{0};  // of requests for models that have a trial
  std::mutex load_mutex_;            // one load at a time: memory of at most one extra version
};

}  // namespace skerry::inference
