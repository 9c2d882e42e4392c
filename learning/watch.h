// Looks at labels as they come: would the predecessor have answered better than what serves? Are errors becoming more frequent, or the inputs
// different from before (ADWIN)? Every label counts for the version that answered, on windows that no version had been trained on.
// Threads: step() from one thread; drift() and text() from any.
// On failure: labels of which the window can't be answered any more are passed over.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "inference/engine.h"
#include "learning/adwin.h"
#include "learning/paired_count.h"
#include "learning/rollout.h"
#include "storage/store.h"

namespace skerry::learning {

struct Watched {
  uint32_t version = 0, predecessor = 0;  // 0: there is none to go back to
  Paired counts;                          // the version as candidate, its predecessor as parent
  std::string drift;                      // what has changed, in words; empty: nothing since the last training
};

class Watch {
 public:
  Watch(storage::Store& store, inference::Engine& engine) : store_(store), engine_(engine) {}
  // Takes in what came since the last time: bounded work. refuse: go back to the predecessor.
  Result<StageDecision> step(const inference::LoadedModel& serving);
  Watched watched(const std::string& model) const;
  // A training has looked at what had changed.
  Status trained(const std::string& model);

 private:
  struct Memory {
    Watched watched;
    uint64_t last_example = 0, last_prediction = 0;
    Adwin errors{0.002}, inputs{0.002};
    PairedCount count;               // watched.counts is what it says
  };
  Result<Memory*> remember(const inference::LoadedModel& serving);
  Status take_labels(const inference::LoadedModel& serving, Memory& memory, bool& changed);
  Status take_inputs(const inference::LoadedModel& serving, Memory& memory, bool& changed);
  void compare(Memory& memory, const inference::LoadedModel& serving, const storage::Example& example, bool right);
  Status save(const std::string& model, const Memory& memory);

  storage::Store& store_;
  inference::Engine& engine_;
  mutable std::mutex mutex_;  // guards memories_
  std::map<std::string, Memory> memories_;
};

}  // namespace skerry::learning
