// Channels of very different size share one grid of 256 steps badly: before quantization their sizes are evened out by factors that the layer
// before divides by and the layer after multiplies with, which changes no answer (Nagel et al. 2019, Xiao et al. 2023).
// Threads: values. On failure: none; what can't be scaled (behind a sigmoid, at inputs and outputs) stays as it is.
#pragma once

#include <map>

#include "inference/compile/internal/ranges.h"
#include "inference/graph/graph.h"

namespace skerry::inference::compile {

// `strength`: 0 evens out the weights that read a channel, 1 the values in it. The graph must be simplified and have its shapes.
graph::Graph equalized(const graph::Graph& graph, const std::map<graph::ValueId, Range>& ranges, double strength);

}  // namespace skerry::inference::compile
