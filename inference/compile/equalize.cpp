#include "inference/compile/internal/equalize.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace skerry::inference::compile {
namespace {

using graph::Activation;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::ValueId;

constexpr double kFactorMax = 64;  // beyond, weights would lose what values gain

ValueId input_of(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

// f(s x) = s f(x) for every s > 0.
bool scales(const graph::ActivationSpec& a) {
  return a.kind == Activation::none || a.kind == Activation::relu || a.kind == Activation::leaky_relu;
}

// Values that must be scaled alike, and those that can't be.
class Groups {
 public:
  explicit Groups(const Graph& graph) : graph_(graph), parent_(graph.values.size()), fixed_(graph.values.size()) {
    std::iota(parent_.begin(), parent_.end(), ValueId{0});
    for (ValueId id : graph.inputs) fixed_[id] = true;
    for (ValueId id : graph.outputs) fixed_[id] = true;
    for (const Node& node : graph.nodes) look(node);
    for (ValueId id = 0; id < parent_.size(); ++id) {
      if (fixed_[id]) fixed_[of(id)] = true;
    }
  }

  ValueId of(ValueId id) const {
    while (parent_[id] != id) id = parent_[id];
    return id;
  }
  bool is_free(ValueId id) const { return !fixed_[of(id)] && !graph_.value(id).is_constant(); }

 private:
  void look(const Node& node) {
    const ValueId x = node.inputs[0], y = node.outputs[0];
    if (const auto* conv = std::get_if<graph::Conv>(&node.operation)) return weighted(node, conv->activation);
    if (const auto* linear = std::get_if<graph::Linear>(&node.operation)) {
      if (graph_.value(x).shape.size() != 2) fix(x);  // its channels are not dimension 1
      if (graph_.value(y).shape.size() != 2) fix(y);
      return weighted(node, linear->activation);
    }
    const auto* binary = std::get_if<graph::Binary>(&node.operation);
    if (binary && binary->kind == graph::Binary::Kind::add && scales(binary->activation) && same_shape(node.inputs[0], node.inputs[1])) {
      tie(node.inputs[1], y);
      return tie(x, y);
    }
    if (std::holds_alternative<graph::Pool>(node.operation) || keeps_channels(node)) return tie(x, y);
    const auto* activate = std::get_if<graph::Activate>(&node.operation);
    if (activate && scales(activate->activation)) return tie(x, y);
    for (ValueId id : node.inputs) fix(id);
    for (ValueId id : node.outputs) fix(id);
  }

  void weighted(const Node& node, const graph::ActivationSpec& activation) {
    const ValueId y = node.outputs[0], bias = input_of(node, 2), residual = input_of(node, 3);
    if (!graph_.value(node.inputs[1]).is_constant() || (bias != kNoValue && !graph_.value(bias).is_constant())) {
      fix(node.inputs[0]);
      fix(y);
    }
    if (!scales(activation)) fix(y);
    if (residual == kNoValue) return;
    if (same_shape(residual, y)) return tie(residual, y);
    fix(residual);
    fix(y);
  }

  // Everything behind the channels becomes one: [n, c, 1, 1] to [n, c].
  bool keeps_channels(const Node& node) const {
    const auto &from = graph_.value(node.inputs[0]).shape, &to = graph_.value(node.outputs[0]).shape;
    if (const auto* reduce = std::get_if<graph::Reduce>(&node.operation)) {
      return reduce->axes.front() > 1 && to.size() > 1;
    }
    return std::holds_alternative<graph::Reshape>(node.operation) && from.size() > 1 && to.size() > 1 && from[0] == to[0] && from[1] == to[1];
  }
  bool same_shape(ValueId a, ValueId b) const {
    return !graph_.value(a).is_constant() && !graph_.value(b).is_constant() && graph_.value(a).shape == graph_.value(b).shape;
  }
  void tie(ValueId a, ValueId b) { parent_[of(a)] = of(b); }
  void fix(ValueId id) {
    if (id != kNoValue) fixed_[id] = true;
  }

  const Graph& graph_;
  std::vector<ValueId> parent_;
  std::vector<bool> fixed_;
};

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
std::map<ValueId, Sizes> sizes_of(const Graph& graph, const Groups& groups, const std::map<ValueId, Range>& ranges) {
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
  const Groups groups(graph);
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
