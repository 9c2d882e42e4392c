// Operations that exporters write out in many nodes, recognised and made one again. What is not recognised stays as it is, and right.
#pragma once

#include "inference/graph/graph.h"

namespace skerry::inference::frontends {

// (x - mean) / sqrt(mean of squares + epsilon), then perhaps * scale and + shift, over the last dimensions: layer_norm. The nodes that it
// replaces are left for whoever removes what nobody needs. Shapes must be inferred. Returns how many were found.
size_t fuse_layer_norms(graph::Graph& graph);

}  // namespace skerry::inference::frontends
