#include "learning/gate.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace skerry::learning {
namespace {

std::string percent(uint32_t correct, uint32_t of) { return fmt::format("{}/{} = {:.2f} %", correct, of, of == 0 ? 0.0 : 100.0 * correct / of); }

std::string both(const char* what, const Paired& p) {
  return fmt::format("{}: {}, before {} ({} gained, {} lost)", what, percent(p.candidate_correct, p.examples),
                     percent(p.parent_correct, p.examples), p.gained, p.lost);
}

// How many standard errors the counts lie above a difference of `delta`; q is the most likely probability of "lost" under it.
double score(double n, double gained, double lost, double delta) {
  const double a = 2 * n, b = -gained - lost + (2 * n - gained + lost) * delta, c = -lost * delta * (1 - delta);
  const double q = std::max(0.0, (std::sqrt(std::max(0.0, b * b - 4 * a * c)) - b) / (2 * a));
  const double variance = n * (2 * q + delta * (1 - delta));
  const double off = gained - lost - n * delta;
  if (variance <= 1e-12) return off > 0 ? 1e9 : off < 0 ? -1e9 : 0;
  return off / std::sqrt(variance);
}

GateDecision judge_labels(const inference::GateSpec& spec, const LabelCounts& labels) {
  const double contradicted = labels.labels == 0 ? 0 : static_cast<double>(labels.contradicted) / labels.labels;
  if (contradicted <= spec.unexplained_max) return {true, false, fmt::format("{} of {} labels contradicted by the others", labels.contradicted, labels.labels)};
  return {false, false, fmt::format("{:.0f} % of the {} labels are contradicted by the others, at most {:.0f} % may: look at the labels", 100 * contradicted,
                             labels.labels, 100 * spec.unexplained_max)};
}

GateDecision judge_own(const inference::GateSpec& spec, const Paired& own) {
  const std::string found = both("held-out examples", own);
  const double bound = paired_lower_bound(own.examples, own.gained_apart, own.lost_apart, spec.confidence);
  const double chance = mcnemar_mid_p(own.gained_apart, own.lost_apart);
  const bool better = bound > spec.gain_min && (spec.gain_min < 0 || chance <= 1 - spec.confidence);
  const std::string sure = fmt::format("{}; with {:.0f} % confidence {:+.2f} points or more, chance alone p = {:.3f}", found, 100 * spec.confidence,
                                       100 * bound, chance);
  if (better) return {true, false, sure};
  return {false, false, fmt::format("{}; it must be better by more than {:.2f} points", sure, 100 * spec.gain_min)};
}

GateDecision judge_reference(const inference::GateSpec& spec, const Paired& reference) {
  if (reference.examples == 0) return {true, false, "no reference examples"};
  const std::string found = both("reference examples", reference);
  const double bound = paired_lower_bound(reference.examples, reference.gained, reference.lost, spec.confidence);
  if (bound > -spec.reference_loss_max) return {true, false, found};
  const double at_best = paired_lower_bound(reference.examples, 0, 0, spec.confidence);
  if (at_best <= -spec.reference_loss_max) {
    return {false, false, fmt::format("{} reference examples can't show that less than {:.2f} points are lost: keep more of them, or raise "
                               "gate.reference_loss_max above {:.3f}", reference.examples, 100 * spec.reference_loss_max, -at_best)};
  }
  return {false, false, fmt::format("{}; forgets: up to {:.2f} points with {:.0f} % confidence, less than {:.2f} may be lost", found, -100 * bound,
                             100 * spec.confidence, 100 * spec.reference_loss_max)};
}

}  // namespace

bool Paired::consistent() const {
  const int64_t difference = static_cast<int64_t>(candidate_correct) - parent_correct;
  return parent_correct <= examples && candidate_correct <= examples && gained <= candidate_correct && lost <= parent_correct &&
         difference == static_cast<int64_t>(gained) - lost && gained_apart <= gained && lost_apart <= lost &&
         static_cast<uint64_t>(parent_correct) + gained <= examples;
}

bool LabelCounts::consistent() const { return doubted <= contradicted && contradicted <= labels; }

double normal_quantile(double p) {
  static constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02, -3.066479806614716e+01, 2.506628277459239e+00};
  static constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01, -1.328068155288572e+01};
  static constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00, 4.374664141464968e+00, 2.938163982698783e+00};
  static constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  constexpr double kTail = 0.02425;
  if (p < kTail || p > 1 - kTail) {
    const double q = std::sqrt(-2 * std::log(p < kTail ? p : 1 - p));
    const double x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) / ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    return p < kTail ? x : -x;
  }
  const double q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q / (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

double mcnemar_mid_p(uint32_t gained, uint32_t lost) {
  const double n = static_cast<double>(gained) + lost;
  auto probability = [n](double k) { return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) - n * std::log(2.0)); };
  double tail = 0.5 * probability(gained);
  for (double k = gained + 1.0; k <= n; ++k) tail += probability(k);
  return std::min(1.0, tail);
}

double paired_lower_bound(uint32_t examples, uint32_t gained, uint32_t lost, double confidence) {
  if (examples == 0) return -1;
  const double n = examples, z = normal_quantile(confidence), estimate = (static_cast<double>(gained) - lost) / n;
  double low = -1, high = estimate;  // the score falls as delta rises: where it is z lies the bound
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (score(n, gained, lost, middle) > z ? low : high) = middle;
  }
  return low;
}

GateDecision decide_gate(const inference::GateSpec& spec, const GateInputs& in) {
  if (!in.holdout.consistent() || !in.reference.consistent() || !in.labels.consistent()) {  // only a broken report has them: never a reason to pass
    return {false, false, "the report's counts of correct answers contradict each other"};
  }
  if (!in.finite) return {false, false, "the candidate answers NaN or infinity"};
  if (in.holdout.examples < std::max<uint32_t>(spec.examples_min, 1)) {
    return {false, false, fmt::format("only {} held-out examples, {} are needed to judge", in.holdout.examples, spec.examples_min)};
  }
  GateDecision labels = judge_labels(spec, in.labels);
  if (!labels.pass) return labels;
  const GateDecision own = judge_own(spec, in.holdout);
  const bool unproven = !own.pass && in.holdout.gained_apart > in.holdout.lost_apart;
  if (!own.pass && !unproven) return own;
  const GateDecision reference = judge_reference(spec, in.reference);
  const std::string reason = fmt::format("{}; {}; {}", own.reason, reference.reason, labels.reason);
  return {own.pass && reference.pass, unproven && reference.pass, reason};
}

}  // namespace skerry::learning
