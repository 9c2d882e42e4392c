#include "inference/graph/channels.h"

#include <algorithm>
#include <numeric>

namespace skerry::inference::graph {
namespace {

ValueId input_of(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

}  // namespace

ChannelGroups::ChannelGroups(const Graph& graph, ChannelChange change)
    : graph_(graph), change_(change), parent_(graph.values.size()), fixed_(graph.values.size()) {
  std::iota(parent_.begin(), parent_.end(), ValueId{0});
  for (const Node& node : graph.nodes) look(node);
  for (ValueId id : graph.inputs) fix(id);
  for (ValueId id : graph.outputs) fix(id);
}

ValueId ChannelGroups::of(ValueId id) const {
  while (parent_[id] != id) id = parent_[id];
  return id;
}

void ChannelGroups::tie(ValueId a, ValueId b) {
  const ValueId from = of(a), to = of(b);
  fixed_[to] = fixed_[to] || fixed_[from];
  parent_[from] = to;
}

void ChannelGroups::look(const Node& node) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  if (const auto* conv = std::get_if<Conv>(&node.operation)) {
    if (change_ == ChannelChange::removal && conv->groups > 1) {  // the number of groups is part of the model's code
      fix(x);
      fix(y);
    }
    return weighted(node, conv->activation);
  }
  if (const auto* linear = std::get_if<Linear>(&node.operation)) {
    if (graph_.value(x).shape.size() != 2) fix(x);  // its channels are not dimension 1
    if (graph_.value(y).shape.size() != 2) fix(y);
    return weighted(node, linear->activation);
  }
  const auto* binary = std::get_if<Binary>(&node.operation);
  if (binary && (binary->kind == Binary::Kind::add || change_ == ChannelChange::removal) && goes_through(binary->activation) &&
      same_shape(node.inputs[0], node.inputs[1])) {
    tie(node.inputs[1], y);
    return tie(x, y);
  }
  if (passes(node)) return tie(x, y);
  for (ValueId id : node.inputs) fix(id);
  for (ValueId id : node.outputs) fix(id);
}

void ChannelGroups::weighted(const Node& node, const ActivationSpec& activation) {
  const ValueId y = node.outputs[0], bias = input_of(node, 2), residual = input_of(node, 3);
  if (!graph_.value(node.inputs[1]).is_constant() || (bias != kNoValue && !graph_.value(bias).is_constant())) {
    fix(node.inputs[0]);
    fix(y);
  }
  if (!goes_through(activation)) fix(y);
  if (residual == kNoValue) return;
  if (same_shape(residual, y)) return tie(residual, y);
  fix(residual);
  fix(y);
}

// One input and one output, each channel on its own.
bool ChannelGroups::passes(const Node& node) const {
  const auto &from = graph_.value(node.inputs[0]).shape, &to = graph_.value(node.outputs[0]).shape;
  if (std::holds_alternative<Pool>(node.operation)) return true;
  if (const auto* activate = std::get_if<Activate>(&node.operation)) return goes_through(activate->activation);
  if (const auto* reduce = std::get_if<Reduce>(&node.operation)) return reduce->axes.front() > 1 && to.size() > 1;
  if (std::holds_alternative<Reshape>(node.operation)) {  // what lies behind the channels is folded or unfolded: [n, c, 1, 1] to [n, c]
    return from.size() > 1 && to.size() > 1 && from[0] == to[0] && from[1] == to[1];
  }
  return change_ == ChannelChange::removal && std::holds_alternative<BatchNorm>(node.operation);
}

// Scaling: f(s x) = s f(x) for every s > 0.
bool ChannelGroups::goes_through(const ActivationSpec& a) const {
  return change_ == ChannelChange::removal || a.kind == Activation::none || a.kind == Activation::relu || a.kind == Activation::leaky_relu;
}

bool ChannelGroups::same_shape(ValueId a, ValueId b) const {
  return !graph_.value(a).is_constant() && !graph_.value(b).is_constant() && graph_.value(a).shape == graph_.value(b).shape;
}

}  // namespace skerry::inference::graph
