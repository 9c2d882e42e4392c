// Rewrites that make a graph smaller and leave its answers as they are (in exact arithmetic; roundings of intermediates that disappear
// disappear with them).
// Threads: one graph, one thread. On failure: invalid or unavailable as check() says; the graph may be half rewritten then.
#pragma once

#include "inference/graph/graph.h"

namespace skerry::inference::graph {

// All passes, in an order that lets each see what the others left, until nothing changes; then shapes and check().
Status simplify(Graph& graph);

// The passes, for tests. Each answers how many things it changed.
using Changed = Result<size_t>;
Changed carry_quantization(Graph& graph);    // Quantize and Dequantize nodes become the quantization of the values around them
Changed fold_constants(Graph& graph);        // what is computed from constants alone is computed now
Changed fold_batch_norms(Graph& graph);      // into the weights before them, else into a multiplication and an addition
Changed fold_scales(Graph& graph);           // a constant per channel, added or multiplied after a convolution or linear node, into its weights
Changed move_transposes(Graph& graph);       // down, through whatever does not care, until they meet and cancel
Changed merge_padding(Graph& graph);         // zeros around an image into the padding of the convolution that follows
Changed pools_from_reduces(Graph& graph);    // a mean over all of an image is an average pool
Changed fuse_activations(Graph& graph);      // into the convolution, linear node or sum before them
Changed fuse_residuals(Graph& graph);        // a sum with the output of a convolution or linear node into that node
Changed remove_dead(Graph& graph);           // nodes that nobody needs; operations that do nothing

}  // namespace skerry::inference::graph
