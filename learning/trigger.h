// When to train: a pure function with hysteresis, and its reasons in words for `skerry learning why`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "learning/options.h"

namespace skerry::learning {

struct LoadSample {             // what the probe measured just now
  double cpu_others = 0;        // share of all cores used by other processes than the worker, [0, 1]
  double requests_per_second = 0;
  double celsius = 0;           // of the warmest zone; 0: not known
  bool on_battery = false;      // there is a battery, and no mains
  uint64_t memory_available = UINT64_MAX;  // bytes that programs may still take
};

// The load seam: /proc in production, a script in tests. Owned by the Learner.
class LoadProbe {
 public:
  virtual ~LoadProbe() = default;
  virtual LoadSample sample(double requests_per_second) = 0;
};
// From /proc and /sys. The worker runs at nice 19 and is counted as "nice" there, so it is left out, as is this process itself.
// Where /proc can't be read, the device counts as idle.
std::unique_ptr<LoadProbe> make_load_probe();

struct TriggerInputs {
  LoadSample load;
  uint64_t new_examples = 0;      // training examples since the last job of this model
  uint64_t holdout_examples = 0;
  uint32_t labels_min = 60;
  uint32_t holdout_min = 40;
  std::string drift;              // what has changed, in words; empty: nothing
  bool calendar_due = false;      // the package's calendar says so
  bool asked_by_hand = false;     // skips the label count, not the hold-out minimum
  bool job_running = false;
  bool job_paused = false;        // an unfinished job waits: it resumes as soon as the device is idle
};

struct TriggerState {             // what hysteresis remembers
  bool idle = false;
  SteadyTime quiet_since{};
  bool quiet = false;
};

struct TriggerDecision {
  bool start = false;
  bool pause = false;             // a running job should stop now; its checkpoint stays
  std::string reason;
};

// In words: "CPU 12 %, 3 inferences/s, ...".
std::string describe(const LoadSample& load);
TriggerDecision decide_training(const Options& options, const TriggerInputs& inputs, TriggerState& state, SteadyTime now);

}  // namespace skerry::learning
