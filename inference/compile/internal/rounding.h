// Weights rounded one after another, each repairing in those still to come what the ones before changed in the layer's outputs on real samples
// (Frantar et al. 2023, after Hassibi and Stork 1993): at equal bits less is lost than by rounding each to the nearest.
// Threads: values. On failure: layers that are too wide, or whose samples say nothing, are left out and rounded to the nearest.
#pragma once

#include <map>
#include <vector>

#include "base/result.h"
#include "inference/graph/reference.h"

namespace skerry::inference::compile {

// What a layer reads, as second moments: per group a square matrix over its inputs (channel, then window), and how many rows were seen.
struct Moments {
  size_t width = 0, groups = 0;
  double rows = 0;
  std::vector<double> sums;
};

inline constexpr size_t kMomentsWidthMax = 1024;

// By index of node: of convolutions and linear layers up to kMomentsWidthMax wide.
Result<std::map<size_t, Moments>> measure_moments(const graph::Graph& graph, const std::vector<graph::Array>& samples);

// `weights` [out, width], rounded to whole steps of scale[row] within -127 to 127. `noise`: mean square that the inputs' own rounding adds.
std::vector<int8_t> rounded(const std::vector<float>& weights, const std::vector<float>& scale, const Moments& moments, double noise);

}  // namespace skerry::inference::compile
