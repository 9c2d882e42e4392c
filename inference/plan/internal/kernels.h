// The steps that are not worth a library call: portable loops, with a faster form where the processor has one. Each is made for one batch
// size and then run from any thread.
// Owns: tables that it computed, nothing of the plan: constants come by pointer as all tensors do.
// On failure: none; the plan was checked.
#pragma once

#include <cstddef>
#include <functional>

#include "inference/plan/plan.h"

namespace skerry::inference::plan {

using Pointers = std::byte* const*;  // where each tensor of the plan lies

struct Kernel {
  std::function<void(Pointers at, std::byte* scratch)> run;
  size_t scratch_bytes = 0;
};

// Any step but convolution, linear and reshape.
Kernel make_kernel(const Plan& plan, const Step& step, int64_t batch);

// An int8 depthwise convolution with per-channel multipliers, where the processor has a form of it that is faster than the library's; empty
// when not.
Kernel make_depthwise(const Plan& plan, const Step& step, int64_t batch);

float activated(const graph::ActivationSpec& activation, float x);

}  // namespace skerry::inference::plan
