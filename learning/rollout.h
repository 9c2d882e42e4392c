// The way of a candidate to serving, and back: pure decisions on counts, with the thresholds of the package. trials.h carries them out.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "inference/package.h"
#include "learning/gate.h"
#include "storage/types.h"

namespace skerry::learning {

enum class StageOutcome { wait, pass, refuse };

struct StageDecision {
  StageOutcome outcome = StageOutcome::wait;
  std::string reason;
};

struct ShadowCounts {
  uint32_t windows = 0;   // that the serving version had answered
  uint32_t agreed = 0;    // the shadow said the same
  uint32_t failed = 0;    // the shadow could not answer
};

// since: how long the stage has lasted.
StageDecision decide_shadow(const inference::RolloutSpec& spec, const ShadowCounts& counts, Duration since);
// Labelled answers of the two since the canary began; they are of different windows.
StageDecision decide_canary(const inference::RolloutSpec& spec, const storage::LiveScore& canary, const storage::LiveScore& serving, Duration since);
// `watched`: the serving version as candidate and its predecessor as parent, on labels that came since it serves. pass: it stays; refuse: back.
StageDecision decide_rollback(const inference::RolloutSpec& spec, const Paired& watched);

// Bounds of the difference of two independent proportions (Newcombe 1998, Stat. Med. 17:873, method 10), one-sided at `confidence` each.
struct Bounds {
  double low = -1, high = 1;
};
Bounds difference_bounds(uint64_t correct_a, uint64_t of_a, uint64_t correct_b, uint64_t of_b, double confidence);

}  // namespace skerry::learning
