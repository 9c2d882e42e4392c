// The arithmetic of an int8 convolution or linear step, folded into one factor and one offset per output channel:
//   y = clamp(round(factor[c] * sum(x * w) + offset[c] + residual * r), low, high)
// where x, r and y are stored integers: scales, zero points, bias and simple activations are in these numbers (Jacob et al. 2018, section 2).
// Threads: values. On failure: none; the plan was checked.
#pragma once

#include <vector>

#include "inference/plan/plan.h"

namespace skerry::inference::plan {

struct Folded {
  std::vector<float> factor, offset;
  float residual = 0;
  bool bounded = false;       // low or high are inside what the output's type clamps to anyway
  float low = 0, high = 0;
  bool activate = false;      // the activation is not a clamp: y above is in real units, then activate, then output_factor and output_zero
  float output_factor = 1, output_zero = 0;
  int32_t padding_zero = 0;   // x's zero point, when it could not be folded because padding must count as it
};

Folded fold(const Plan& plan, const Step& step);

}  // namespace skerry::inference::plan
