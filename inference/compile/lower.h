// From a graph to a plan. Values that have a quantization are integers where the operation can work on integers, reals elsewhere; images lie
// channels last, and a transpose costs nothing until somebody needs the other order.
// Threads: values. On failure: unavailable for what a plan can't hold, naming the node; invalid when the graph is not whole.
#pragma once

#include "base/result.h"
#include "inference/graph/graph.h"
#include "inference/plan/plan.h"

namespace skerry::inference::compile {

Result<plan::Plan> lower(const graph::Graph& graph);

// A model that was saved for batches of one serves any, if its operations allow: the first dimension of inputs becomes unknown. Answers
// whether they do; the graph is unchanged when not.
bool free_batch(graph::Graph& graph);

}  // namespace skerry::inference::compile
