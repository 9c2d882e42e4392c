// What each operation makes of its operands' shapes, and what it refuses. The one place where the rules of graph.h's operations are
// checked.
#pragma once

#include "inference/graph/graph.h"

namespace skerry::inference::graph {

// Ids in range, single assignment, topological order, constants that hold what their shape says, quantizations that fit their values.
Status check_structure(const Graph& graph);

// Shapes of the outputs, one per entry of node.outputs. The graph's structure must be sound, and the node's inputs must have their shapes.
Result<std::vector<Shape>> output_shapes(const Graph& graph, const Node& node);

std::string to_string(const Shape& shape);  // "[-1, 3, 32, 32]"

}  // namespace skerry::inference::graph
