#include "learning/trigger.h"

#include <fmt/core.h>

#include "base/units.h"

namespace skerry::learning {
namespace {

std::string describe(const LoadSample& load) {
  return fmt::format("CPU {:.0f} %, {:.0f} inferences/s", 100 * load.cpu_others, load.requests_per_second);
}

// Idle only after a whole quiet stretch; no longer idle only when busy. What lies between leaves it as it was.
void follow_load(const Options& options, const LoadSample& load, TriggerState& state, SteadyTime now) {
  bool busy = load.cpu_others > options.busy_cpu_above || load.requests_per_second > options.busy_requests_above;
  bool quiet = !busy && load.cpu_others < options.idle_cpu_below &&
               load.requests_per_second < options.idle_requests_below;
  if (busy) state.idle = false;
  if (quiet && !state.quiet) state.quiet_since = now;
  state.quiet = quiet;
  if (quiet && now - state.quiet_since >= options.idle_for) state.idle = true;
}

}  // namespace

TriggerDecision decide_training(const Options& options, const TriggerInputs& in, TriggerState& state, SteadyTime now) {
  follow_load(options, in.load, state, now);
  TriggerDecision decision;
  if (in.job_running) {
    decision.pause = !state.idle;
    decision.reason = decision.pause ? fmt::format("paused: the device is busy ({})", describe(in.load))
                                     : fmt::format("training ({})", describe(in.load));
    return decision;
  }
  if (!in.job_paused) {
    if (in.holdout_examples < in.holdout_min) {
      decision.reason = fmt::format("waits for held-out examples: {} of {}", in.holdout_examples, in.holdout_min);
      return decision;
    }
    if (in.new_examples < in.labels_min && !in.asked_by_hand) {
      decision.reason = fmt::format("waits for labels: {} new examples of {}", in.new_examples, in.labels_min);
      return decision;
    }
  }
  if (!state.idle) {
    Duration still = options.idle_for - (now - state.quiet_since);
    decision.reason = state.quiet ? fmt::format("waits for {} more of quiet ({})", format_duration(still), describe(in.load))
                                  : fmt::format("waits until the device is idle ({})", describe(in.load));
    return decision;
  }
  decision.start = true;
  decision.reason = in.job_paused      ? "resumes: the device is idle"
                    : in.asked_by_hand ? "starts: asked by hand, the device is idle"
                                       : fmt::format("starts: {} new examples, the device is idle", in.new_examples);
  return decision;
}

}  // namespace skerry::learning
