#include "learning/trigger.h"

#include <fmt/core.h>

#include "base/units.h"

namespace skerry::learning {
namespace {

// Idle only after a whole quiet stretch; no longer idle only when busy. What lies between leaves it as it was.
void follow_load(const Options& options, const LoadSample& load, TriggerState& state, SteadyTime now) {
  const bool no_power = load.on_battery && !options.on_battery;
  const bool busy = load.cpu_others > options.busy_cpu_above || load.requests_per_second > options.busy_requests_above || no_power ||
                    load.celsius > options.busy_celsius_above || load.memory_available < options.memory_available_min / 2;
  const bool quiet = !busy && load.cpu_others < options.idle_cpu_below && load.requests_per_second < options.idle_requests_below &&
                     load.celsius < options.idle_celsius_below && load.memory_available >= options.memory_available_min;
  if (busy) state.idle = false;
  if (quiet && !state.quiet) state.quiet_since = now;
  state.quiet = quiet;
  if (quiet && now - state.quiet_since >= options.idle_for) state.idle = true;
}

}  // namespace

std::string describe(const LoadSample& load) {
  std::string out = fmt::format("CPU {:.0f} %, {:.0f} inferences/s", 100 * load.cpu_others, load.requests_per_second);
  if (load.celsius != 0) out += fmt::format(", {:.0f} degrees", load.celsius);
  if (load.on_battery) out += ", on battery";
  if (load.memory_available != UINT64_MAX) out += fmt::format(", {} of memory free", format_bytes(load.memory_available));
  return out;
}

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
    const bool reason = in.asked_by_hand || (in.new_examples > 0 && (in.calendar_due || !in.drift.empty()));
    if (in.new_examples < in.labels_min && !reason) {
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
                    : in.new_examples < in.labels_min && !in.drift.empty() ? fmt::format("starts: {}; {} new examples, the device is idle", in.drift, in.new_examples)
                    : in.new_examples < in.labels_min ? fmt::format("starts: its calendar says so; {} new examples, the device is idle", in.new_examples)
                                       : fmt::format("starts: {} new examples, the device is idle", in.new_examples);
  return decision;
}

}  // namespace skerry::learning
