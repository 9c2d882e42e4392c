#include "inference/compile/internal/equalize.h"

#include <algorithm>
#include <cmath>

#include "inference/graph/channels.h"

namespace skerry::inference::compile {
namespace {

using graph::ChannelGroups;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::ValueId;

constexpr double kFactorMax = 64;  // beyond, weights would lose what values gain

ValueId input_of(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

const graph::Conv* conv_of(const Node& node) { return std::get_if<graph::Conv>(&node.operation); }
bool is_weighted(const Node& node) { return conv_of(node) || std::holds_alternative<graph::Linear>(node.operation); }

// Where weight i of a node [out, in / groups, window...] lies.
struct WeightShape {
  size_t out = 1, per_group = 1, window = 1, groups = 1;

  WeightShape(const Graph& graph, const Node& node) {
    const auto& shape = graph.value(node.inputs[1]).shape;
    out = static_cast<size_t>(shape[0]);
    per_group = static_cast<size_t>(shape[1]);
    for (size_t d = 2; d < shape.size(); ++d) window *= static_cast<size_t>(shape[d]);
    if (const auto* conv = conv_of(node)) groups = static_cast<size_t>(conv->groups);
  }
  size_t row(size_t i) const { return i / (per_group * window); }
  size_t input(size_t i) const { return row(i) / (out / groups) * per_group + i / window % per_group; }
};

struct Sizes {
  std::vector<double> values, weights;  // per channel, of the largest
};

void raise(std::vector<double>& to, size_t at, double value, size_t channels) {
  to.resize(std::max(to.size(), channels));
  to[at] = std::max(to[at], value);
}

// How large each channel of each group is, and the weights that read it.
std::map<ValueId, Sizes> sizes_of(const Graph& graph, const ChannelGroups& groups, const std::map<ValueId, Range>& ranges) {
  std::map<ValueId, Sizes> out;
  for (const auto& [id, range] : ranges) {
    const auto top = std::max_element(range.channel_tops.begin(), range.channel_tops.end());
    if (!groups.is_free(id) || top == range.channel_tops.end() || !(*top > 0)) continue;
    for (size_t c = 0; c < range.channel_tops.size(); ++c) raise(out[groups.of(id)].values, c, range.channel_tops[c] / *top, range.channel_tops.size());
  }
  for (const Node& node : graph.nodes) {
    if (!is_weighted(node) || !groups.is_free(node.inputs[0])) continue;
    const WeightShape shape(graph, node);
    const std::vector<float> weights = graph::real_values(graph.value(node.inputs[1]));
    std::vector<double> tops(shape.out);
    for (size_t i = 0; i < weights.size(); ++i) tops[shape.row(i)] = std::max(tops[shape.row(i)], std::fabs(double{weights[i]}));
    for (size_t i = 0; i < weights.size(); ++i) {
      const double top = tops[shape.row(i)];
      if (top > 0) raise(out[groups.of(node.inputs[0])].weights, shape.input(i), std::fabs(double{weights[i]}) / top, shape.per_group * shape.groups);
    }
  }
  return out;
}

// What the values of each channel are divided by.
std::vector<double> factors(const Sizes& sizes, double strength) {
  if (sizes.values.empty() || sizes.values.size() != sizes.weights.size()) return {};
  std::vector<double> out(sizes.values.size(), 1.0);
  double logs = 0, used = 0;
  for (size_t c = 0; c < out.size(); ++c) {
    if (!(sizes.values[c] > 1e-6) || !(sizes.weights[c] > 1e-6)) continue;  // a dead channel
    out[c] = std::pow(sizes.values[c], strength) / std::pow(sizes.weights[c], 1 - strength);
    logs += std::log(out[c]);
    used += 1;
  }
  const double middle = used > 0 ? std::exp(logs / used) : 1;
  for (size_t c = 0; c < out.size(); ++c) {
    const bool dead = !(sizes.values[c] > 1e-6) || !(sizes.weights[c] > 1e-6);
    out[c] = dead ? 1 : std::clamp(out[c] / middle, 1 / kFactorMax, kFactorMax);
  }
  return out;
}

}  // namespace

Graph equalized(const Graph& graph, const std::map<ValueId, Range>& ranges, double strength) {
  const ChannelGroups groups(graph, graph::ChannelChange::scaling);
  std::map<ValueId, std::vector<double>> by_group;
  for (const auto& [id, sizes] : sizes_of(graph, groups, ranges)) by_group[id] = factors(sizes, strength);
  auto of = [&](ValueId id) -> const std::vector<double>* {
    const auto found = groups.is_free(id) ? by_group.find(groups.of(id)) : by_group.end();
    return found == by_group.end() || found->second.empty() ? nullptr : &found->second;
  };
  Graph out = graph;
  for (Node& node : out.nodes) {
    if (!is_weighted(node)) continue;
    const auto *in = of(node.inputs[0]), *made = of(node.outputs[0]);
    if (!in && !made) continue;
    const WeightShape shape(graph, node);
    std::vector<float> weights = graph::real_values(graph.value(node.inputs[1]));
    for (size_t i = 0; i < weights.size(); ++i) {
      weights[i] = static_cast<float>(weights[i] * (in ? (*in)[shape.input(i)] : 1.0) / (made ? (*made)[shape.row(i)] : 1.0));
    }
    const ValueId old = node.inputs[1], bias = input_of(node, 2);
    node.inputs[1] = out.add_constant(graph.value(old).name, graph.value(old).shape, weights);
    if (!made || bias == kNoValue) continue;
    std::vector<float> shifts = graph::real_values(graph.value(bias));
    for (size_t c = 0; c < shifts.size(); ++c) shifts[c] = static_cast<float>(shifts[c] / (*made)[c]);
    node.inputs[2] = out.add_constant(graph.value(bias).name, graph.value(bias).shape, shifts);
  }
  return out;
}

}  // namespace skerry::inference::compile
