// What values a model's tensors take on real samples, and what of it eight bits should cover.
// Threads: values. On failure: as Reference::run.
#pragma once

#include <map>
#include <vector>

#include "base/result.h"
#include "inference/graph/reference.h"

namespace skerry::inference::compile {

struct Range {
  float low = 0, high = 0;            // that eight bits cover best
  std::vector<double> channel_means;  // along dimension 1, or the last of what has five or more
  std::vector<double> channel_tops;   // largest magnitude seen in each
};

// Of every computed value and input.
Result<std::map<graph::ValueId, Range>> measure_ranges(const graph::Graph& graph, const std::vector<graph::Array>& samples);

// The range whose eight bits lose least in the mean square: all that was seen, percentiles of it, or the one that keeps most of the
// distribution's entropy (Kullback-Leibler, as in Migacz 2017). `counts`: over equal bins from low to high.
Range best_range(float low, float high, const std::vector<double>& counts);

// The values on 256 steps: unsigned from 0 when nothing is negative, signed and symmetric when both sides matter, else with a zero point.
graph::Value on_grid(graph::Value value, const Range& range);

}  // namespace skerry::inference::compile
