// TensorFlow Lite files (fp32, int8 with their own scales, hybrid weights) into graphs. Inputs and outputs keep the file's channels-last
// layout; inside, values stay channels-first from one convolution to the next, so that transposes remain only where layouts really meet. A
// batch of 1 in the file becomes an unknown batch where the model allows it.
// Threads: any. On failure: invalid for damaged files, unavailable naming the operator for what is not supported. Memory stays within a
// multiple of the file's size.
#pragma once

#include <cstddef>
#include <span>

#include "inference/graph/graph.h"

namespace skerry::inference::frontends {

Result<graph::Graph> from_tflite(std::span<const std::byte> file);

}  // namespace skerry::inference::frontends
