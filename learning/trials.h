// A candidate's way from the gate to serving: shadow, canary, serving; and the watch that takes it back. What is under way is kept in the
// store and goes on after a restart. One whose gain is not proven is on probation first: it answers each window that gets a label, beside what
// serves. Training goes on meanwhile; of two on probation the one with more evidence stays.
// A shadow answers windows that the ledger holds already, in the learner's thread: it never stands between a request and its answer.
// Threads: begin() and step() from one; everything else from any.
// On failure: while the store refuses, everything stays as it is and is tried again.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "inference/engine.h"
#include "learning/delta_queue.h"
#include "learning/models.h"
#include "learning/paired_count.h"
#include "learning/rollout.h"
#include "learning/watch.h"
#include "storage/store.h"

namespace skerry::learning {

struct TrialStatus {
  std::string model;
  uint32_t version = 0;
  std::string stage;  // "probation", "shadow", "canary"
  std::string why;    // how far it is, in words
};

struct TrialCounts {
  uint64_t promoted = 0, refused = 0, rolled_back = 0;
};

struct Judged {  // by the gate
  GateDecision decision;
  Paired holdout;
};

class Trials {
 public:
  Trials(storage::Store& store, inference::Engine& engine, Models& models, const Clock& clock);

  // `record` passed the gate, or is unproven; its package is installed: it becomes the shadow, in one Effect with `also`. Error: as
  // Engine::load when it can't be loaded, as Store::commit.
  Status begin(storage::ModelVersion record, const Judged& judged, const std::string& delta, const std::string& residual, storage::Effect also);
  // Whether one that passed, or is unproven, may begin: not when one on probation has more evidence than it.
  bool has_room_for(const std::string& model, const Judged& judged) const;
  // Moves every trial and every watch on by a bounded piece.
  void step();
  // Whether training has to wait for one that passed the gate.
  bool under_way(const std::string& model) const;
  std::vector<TrialStatus> status() const;
  TrialCounts counts() const;
  const Watch& watch() const { return watch_; }
  Watch& watch() { return watch_; }
  const DeltaQueue& deltas() const { return deltas_; }

 private:
  struct Trial {
    std::string model;
    uint32_t version = 0, parent = 0;
    storage::ModelState stage = storage::ModelState::shadow;
    int64_t since_ns = 0;            // of the stage
    uint64_t last_prediction = 0;    // looked at by the shadow
    bool unproven = false;           // on probation, which comes before the shadow
    ProbationCounts probation;       // its live counts are those of `live`
    PairedCount live;
    uint64_t last_example = 0;       // looked at in probation
    ShadowCounts shadow;
    storage::LiveScore serving_before;  // when the canary began
    std::string gate_reason, why;
  };
  static std::string encode(const Trial& trial);
  static Result<Trial> decode(const std::string& text);
  void recover();
  Status advance(Trial& trial);
  Status advance_probation(Trial& trial, const inference::PackageInfo& info);
  Status observe_labels(Trial& trial, const inference::PackageInfo& info);
  Status advance_shadow(Trial& trial, const inference::RolloutSpec& spec);
  Status advance_canary(Trial& trial, const inference::RolloutSpec& spec);
  Status observe(Trial& trial, uint32_t windows_max);
  Status promote(Trial& trial, const std::string& reason);
  Status refuse(Trial& trial, const std::string& step, const std::string& reason);
  Status end(Trial& trial);
  void look_after(const std::string& model);
  void say(Trial& trial, const std::string& why);

  storage::Store& store_;
  inference::Engine& engine_;
  Models& models_;
  const Clock& clock_;
  Watch watch_;
  DeltaQueue deltas_;
  bool recovered_ = false;
  mutable std::mutex mutex_;  // guards the two below; only step() and begin() change them
  std::map<std::string, Trial> trials_;
  TrialCounts counts_;
};

}  // namespace skerry::learning
