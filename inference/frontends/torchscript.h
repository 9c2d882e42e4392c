// TorchScript modules (fp32, as torch.jit.save writes them) into graphs: loaded, set to evaluation, frozen, inlined, then walked once.
// Conditions on shapes are decided while walking; loops are not supported. This header is free of LibTorch, torchscript.cpp and
// torchscript_operators.cpp alone include it: programs that link the target pay for it.
// Threads: any, one module each. On failure: invalid for files that LibTorch can't load, unavailable naming the operator for what is not
// supported.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "inference/graph/graph.h"

namespace skerry::inference::frontends {

// TorchScript files don't say the shapes of their inputs; give them, the first dimension -1 for a batch.
Result<graph::Graph> from_torchscript(std::span<const std::byte> file, const std::vector<graph::Shape>& inputs);

}  // namespace skerry::inference::frontends
