#include "learning/rollout.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/units.h"

namespace skerry::learning {
namespace {

// Wilson 1927.
Bounds wilson(uint64_t correct, uint64_t of, double z) {
  if (of == 0) return {0, 1};
  const double n = static_cast<double>(of), p = static_cast<double>(correct) / n;
  const double middle = p + z * z / (2 * n), half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)), whole = 1 + z * z / n;
  return {std::max(0.0, (middle - half) / whole), std::min(1.0, (middle + half) / whole)};
}

double share(uint64_t correct, uint64_t of) { return of == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(of); }

}  // namespace

Bounds difference_bounds(uint64_t correct_a, uint64_t of_a, uint64_t correct_b, uint64_t of_b, double confidence) {
  if (of_a == 0 || of_b == 0) return {};
  const double z = normal_quantile(confidence), a = share(correct_a, of_a), b = share(correct_b, of_b);
  const Bounds wa = wilson(correct_a, of_a, z), wb = wilson(correct_b, of_b, z);
  return {a - b - std::hypot(a - wa.low, wb.high - b), a - b + std::hypot(wa.high - a, b - wb.low)};
}

// With p = sin^2 t the prior is flat in t, and the integrand smooth.
double evidence(uint32_t gained, uint32_t lost) {
  constexpr int kPoints = 4096;
  constexpr double kFrom = std::numbers::pi / 4, kStep = kFrom / kPoints;
  double sum = 0;
  for (int i = 0; i < kPoints; ++i) {
    const double s = std::sin(kFrom + (i + 0.5) * kStep), won = gained * std::log(2 * s * s) + lost * std::log(2 * (1 - s * s));
    sum += std::exp(std::min(won, 600.0));
  }
  return sum / kPoints;
}

StageDecision decide_probation(const inference::RolloutSpec& spec, const inference::GateSpec& gate, const ProbationCounts& counts, Duration since) {
  const Paired& live = counts.live;
  const uint32_t gained = counts.gained + live.gained_apart, lost = counts.lost + live.lost_apart;
  const double wanted = 1 / (1 - gate.confidence), better = evidence(gained, lost), worse = evidence(lost, gained);
  const std::string found = fmt::format("probation: on {} new labels {} gained, {} lost; with the held-out examples {} and {}, evidence {:.1f} of {:.0f}", live.examples,
                                        live.gained_apart, live.lost_apart, gained, lost, better, wanted);
  // By a bound, and not on a few labels: when something new happens, the first ones contradict both.
  if (live.examples >= gate.examples_min && wilson(counts.contradicted, live.examples, normal_quantile(gate.confidence)).low > gate.unexplained_max) {
    return {StageOutcome::refuse, fmt::format("{}; {} of the labels contradict both versions: look at the labels", found, counts.contradicted)};
  }
  const double bound = paired_lower_bound(live.examples, live.gained_apart, live.lost_apart, gate.confidence);
  if (better >= wanted && (gate.gain_min <= 0 || bound > gate.gain_min)) return {StageOutcome::pass, found};
  if (worse >= wanted) return {StageOutcome::refuse, fmt::format("{}; it is worse", found)};
  if (live.examples >= spec.probation_labels || since >= spec.probation_time) return {StageOutcome::refuse, fmt::format("{}; not proven", found)};
  return {StageOutcome::wait, found};
}

StageDecision decide_shadow(const inference::RolloutSpec& spec, const ShadowCounts& counts, Duration since) {
  const std::string found = fmt::format("shadow: {} of {} windows answered like the serving version", counts.agreed, counts.windows);
  if (counts.failed > 0) return {StageOutcome::refuse, fmt::format("{}; it could not answer {}", found, counts.failed)};
  if (counts.windows < spec.shadow_windows && since < spec.shadow_time) {
    return {StageOutcome::wait, fmt::format("{}; {} windows are wanted, or {}", found, spec.shadow_windows, format_duration(spec.shadow_time))};
  }
  if (counts.windows > 0 && share(counts.agreed, counts.windows) < spec.shadow_agreement_min) {
    return {StageOutcome::refuse, fmt::format("{}; at least {:.0f} % must be", found, 100 * spec.shadow_agreement_min)};
  }
  return {StageOutcome::pass, found};
}

StageDecision decide_canary(const inference::RolloutSpec& spec, const storage::LiveScore& canary, const storage::LiveScore& serving, Duration since) {
  if (spec.canary_share <= 0) return {StageOutcome::pass, "no canary asked for"};
  const Bounds bounds = difference_bounds(canary.correct, canary.labelled, serving.correct, serving.labelled, spec.confidence);
  const std::string found = fmt::format("canary: {} of {} labelled answers right, the serving version {} of {}", canary.correct, canary.labelled,
                                        serving.correct, serving.labelled);
  if (bounds.high < 0) {
    return {StageOutcome::refuse, fmt::format("{}; worse by {:.2f} points or more with {:.0f} % confidence", found, -100 * bounds.high, 100 * spec.confidence)};
  }
  if (canary.labelled < spec.canary_labels && since < spec.canary_time) {
    return {StageOutcome::wait, fmt::format("{}; {} labels are wanted, or {}", found, spec.canary_labels, format_duration(spec.canary_time))};
  }
  return {StageOutcome::pass, found};
}

StageDecision decide_rollback(const inference::RolloutSpec& spec, const Paired& watched) {
  const std::string found = fmt::format("on {} labels since it serves {:.2f} % right, its predecessor {:.2f} %", watched.examples, 100 * watched.candidate(),
                                        100 * watched.parent());
  if (watched.examples < spec.rollback_labels) return {StageOutcome::wait, fmt::format("{}; {} labels are needed to judge", found, spec.rollback_labels)};
  const double worse_by = paired_lower_bound(watched.examples, watched.lost_apart, watched.gained_apart, spec.confidence);
  if (worse_by > spec.rollback_loss) {
    return {StageOutcome::refuse, fmt::format("{}: worse by {:.2f} points or more with {:.0f} % confidence", found, 100 * worse_by, 100 * spec.confidence)};
  }
  return {StageOutcome::pass, found};
}

}  // namespace skerry::learning
