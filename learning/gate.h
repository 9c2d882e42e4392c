// The gate: may this candidate's int8 artefact replace the serving one? Pure, on counts over the same examples.
#pragma once

#include <cstdint>
#include <string>

#include "inference/package.h"

namespace skerry::learning {

struct GateInputs {               // correct answers of int8 artefacts
  uint32_t holdout = 0, parent_holdout_correct = 0, candidate_holdout_correct = 0;
  uint32_t reference = 0, parent_reference_correct = 0, candidate_reference_correct = 0;
  bool finite = true;             // no NaN or infinity in any output
};

struct GateDecision {
  bool pass = false;
  std::string reason;             // with the numbers, for people
};

GateDecision decide_gate(const inference::GateSpec& spec, const GateInputs& inputs);

}  // namespace skerry::learning
