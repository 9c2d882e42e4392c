// ONNX files (opset 11 to 17, fp32 and quantized with QuantizeLinear/DequantizeLinear or QLinear operators) into graphs. A batch of 1 in
// the file becomes an unknown batch where the model allows it. Shape calculations are folded; quantizations are kept.
// Threads: any. On failure: invalid for damaged files, unavailable naming operator, node and opset for what is not supported. Memory stays
// within a multiple of the file's size; constants come from the file alone, never from external data files.
#pragma once

#include <cstddef>
#include <span>

#include "inference/graph/graph.h"

namespace skerry::inference::frontends {

Result<graph::Graph> from_onnx(std::span<const std::byte> file);

}  // namespace skerry::inference::frontends
