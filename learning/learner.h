// The loop of learning: labels become a job, the job a candidate, the candidate passes the gate or not. One job at a time.
// Threads: step() from one thread; why(), progress() and train_now() from any.
// On failure: a job that fails ends with its reason in the decision log (why()) and in the version's record; serving is not touched.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "inference/engine.h"
#include "learning/models.h"
#include "learning/options.h"
#include "learning/trials.h"
#include "learning/trigger.h"
#include "learning/worker_process.h"
#include "storage/store.h"

namespace skerry::learning {

struct LearnerStatus {
  std::string state;            // "waiting", "training har/2", "paused har/2", "disabled"
  std::string why;              // the last decision in words
  uint64_t jobs_started = 0, jobs_ended = 0, jobs_failed = 0, promoted = 0, rejected = 0, rolled_back = 0;
  std::vector<TrialStatus> trials;
};

class Learner {
 public:
  Learner(storage::Store& store, inference::Engine& engine, Models& models, const Options& options,
          std::unique_ptr<WorkerLauncher> worker, std::unique_ptr<LoadProbe> probe, const Clock& clock);
  ~Learner();  // kills a running worker; its job resumes at the next start

  Duration step();
  void train_now(const std::string& model);   // as soon as the device is idle
  // Repeats the job of a version from its folder, as soon as the device is idle: from the same parent, without the labels that were withdrawn or
  // changed since. What comes of it passes the gate as any candidate. Answers how many labels are left out. Error: not_found (no such version, its
  // folder is gone), invalid (its parent does not serve, none of its labels is left out).
  Result<uint32_t> retrain(const std::string& model, uint32_t version);
  LearnerStatus status() const;
  const Watch& watch() const;                 // what is known of the serving versions from labels

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::learning
