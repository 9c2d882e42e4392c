#include "learning/gate.h"

#include <fmt/core.h>

namespace skerry::learning {
namespace {

double share(uint32_t correct, uint32_t of) { return of == 0 ? 0.0 : static_cast<double>(correct) / of; }

}  // namespace

GateDecision decide_gate(const inference::GateSpec& spec, const GateInputs& in) {
  // Counts beyond their total can only come from a broken report: never a reason to pass.
  if (in.parent_holdout_correct > in.holdout || in.candidate_holdout_correct > in.holdout ||
      in.parent_reference_correct > in.reference || in.candidate_reference_correct > in.reference) {
    return {false, "the report counts more correct answers than examples"};
  }
  if (!in.finite) return {false, "the candidate answers NaN or infinity"};
  if (in.holdout < spec.examples_min) {
    return {false, fmt::format("only {} held-out examples, {} are needed to judge", in.holdout, spec.examples_min)};
  }
  constexpr double kRounding = 1e-9;
  double parent = share(in.parent_holdout_correct, in.holdout), candidate = share(in.candidate_holdout_correct, in.holdout);
  std::string holdout = fmt::format("held-out examples: {}/{} = {:.2f} %, before {}/{} = {:.2f} %",
                                    in.candidate_holdout_correct, in.holdout, 100 * candidate,
                                    in.parent_holdout_correct, in.holdout, 100 * parent);
  if (candidate + kRounding < parent + spec.gain_min) {
    return {false, fmt::format("{}; a gain of {:.2f} points is needed", holdout, 100 * spec.gain_min)};
  }
  double loss = share(in.parent_reference_correct, in.reference) - share(in.candidate_reference_correct, in.reference);
  std::string reference = fmt::format("reference examples: {}/{}, before {}/{}", in.candidate_reference_correct,
                                      in.reference, in.parent_reference_correct, in.reference);
  if (loss > spec.reference_loss_max + kRounding) {
    return {false, fmt::format("{}; forgets: at most {:.2f} points may be lost ({})", reference,
                               100 * spec.reference_loss_max, holdout)};
  }
  return {true, fmt::format("{}; {}", holdout, reference)};
}

}  // namespace skerry::learning
