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

// What is known of a candidate whose gain chance may have made. It answers nobody meanwhile.
struct ProbationCounts {
  uint32_t gained = 0, lost = 0;  // apart, on the held-out examples of its job
  Paired live;                    // on labels that came since, none of which its job had
  uint32_t contradicted = 0;      // of these: neither it nor its parent says so
};

// Evidence against "whenever the two differ, the candidate is right at most every other time": a mixture likelihood ratio over all probabilities above
// one half (Robbins 1970, Ann. Math. Stat. 41:1397) with Jeffreys' prior (Krichevsky & Trofimov 1981, IEEE Trans. Inf. Theory 27:199). It may be looked at after every label: under that hypothesis it ever reaches 1/a with
// probability a at most (Ville 1939).
double evidence(uint32_t gained, uint32_t lost);
// pass: proven, the shadow begins; refuse: worse, or not proven in time, or the labels are not to be believed. since: how long it has lasted.
StageDecision decide_probation(const inference::RolloutSpec& spec, const inference::GateSpec& gate, const ProbationCounts& counts, Duration since);
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
