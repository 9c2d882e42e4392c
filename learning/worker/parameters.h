// The parameters of a module that is being fine-tuned: which may change, and what of the change travels. Includes LibTorch.
// Threads: one.
#pragma once

#include <torch/script.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "learning/delta.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {

struct Parameters {
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;
  std::vector<at::Tensor> parent;  // copies of what they were
};

// Error: invalid for modules that can't be fine-tuned.
Result<Parameters> parameters_of(torch::jit::Module& module);
// Back to the parent.
void reset(Parameters& parameters);
std::vector<at::Tensor> copies(const std::vector<at::Tensor>& tensors);

// Masks are 0 or 1, of the shape of the parameters.
std::vector<at::Tensor> masks_of_all(const Parameters& parameters);
// 1 for the `share` of all parameters that moved most, 0 for the rest. By absolute moves: in units of its tensor's scale they fit the
// own windows as well and disturbed other people more (MotionSense).
std::vector<at::Tensor> masks_of_largest(const Parameters& parameters, double share);
// 1 for the parameters of the last layer that has any: those that share the last one's name up to its last point.
std::vector<at::Tensor> masks_of_head(const Parameters& parameters);

// The change as it will travel, with what was left over the last time (`residual`) where the masks let it; and the module gets exactly
// parent + that. Fills delta and residual of `trained`. One scale for all: the change is chosen by its absolute size.
Status settle(const Parameters& parameters, const std::vector<at::Tensor>& masks, const Delta& residual, Trained& trained);

}  // namespace skerry::learning::worker
