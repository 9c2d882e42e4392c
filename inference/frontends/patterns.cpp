#include "inference/frontends/internal/patterns.h"

#include <algorithm>
#include <optional>

namespace skerry::inference::frontends {

using graph::Binary;
using graph::Graph;
using graph::kNoValue;
using graph::LayerNorm;
using graph::Node;
using graph::Reduce;
using graph::Shape;
using graph::Unary;
using graph::ValueId;

namespace {

class Matcher {
 public:
  explicit Matcher(Graph& graph) : graph_(graph), makers_(graph.values.size()), uses_(graph.values.size()) {
    for (Node& node : graph.nodes) {
      for (ValueId id : node.outputs) makers_[id] = &node;
      for (ValueId id : node.inputs) {
        if (id != kNoValue) ++uses_[id];
      }
    }
    for (ValueId id : graph.outputs) ++uses_[id];
  }

  // The node that computes a value in full precision with this operation.
  template <typename Op>
  const Node* made_by(ValueId id) const {
    const Node* node = makers_[id];
    return node != nullptr && std::holds_alternative<Op>(node->operation) && !graph_.value(id).quantization ? node : nullptr;
  }
  const Node* binary(ValueId id, Binary::Kind kind) const {
    const Node* node = made_by<Binary>(id);
    if (node == nullptr) return nullptr;
    const Binary& op = std::get<Binary>(node->operation);
    return op.kind == kind && op.activation.kind == graph::Activation::none ? node : nullptr;
  }
  const Node* unary(ValueId id, Unary::Kind kind) const {
    const Node* node = made_by<Unary>(id);
    return node != nullptr && std::get<Unary>(node->operation).kind == kind ? node : nullptr;
  }
  // The mean over the last dimensions, kept: from which axis on.
  const Node* mean(ValueId id, int64_t& axis) const {
    const Node* node = made_by<Reduce>(id);
    if (node == nullptr) return nullptr;
    const Reduce& op = std::get<Reduce>(node->operation);
    const int64_t rank = static_cast<int64_t>(graph_.value(node->inputs[0]).shape.size());
    axis = op.axes.front();
    const bool last = static_cast<int64_t>(op.axes.size()) == rank - axis;
    return op.kind == Reduce::Kind::mean && op.keep_dimensions && last ? node : nullptr;
  }
  std::optional<float> number(ValueId id) const {
    const graph::Value& value = graph_.value(id);
    if (!value.is_constant() || graph::elements(value.shape) != 1) return std::nullopt;
    return graph::real_values(value)[0];
  }
  bool used_once(ValueId id) const { return uses_[id] == 1; }

  // x, when `deviation` is x - mean(x).
  std::optional<ValueId> centred(ValueId deviation, int64_t& axis) const {
    const Node* difference = binary(deviation, Binary::Kind::sub);
    const Node* average = difference == nullptr ? nullptr : mean(difference->inputs[1], axis);
    if (average == nullptr || average->inputs[0] != difference->inputs[0]) return std::nullopt;
    return difference->inputs[0];
  }

  // epsilon, when `root` is sqrt(mean(d * d) + epsilon) of a centred d over the same axes. d may have been computed twice.
  std::optional<float> deviation_of(ValueId root, ValueId x, int64_t axis) const {
    const Node* square_root = unary(root, Unary::Kind::sqrt);
    const Node* sum = square_root == nullptr ? nullptr : binary(square_root->inputs[0], Binary::Kind::add);
    if (sum == nullptr) return std::nullopt;
    const size_t constant = number(sum->inputs[0]) ? 0 : 1;
    std::optional<float> epsilon = number(sum->inputs[constant]);
    int64_t mean_axis = 0, centre_axis = 0;
    const Node* variance = mean(sum->inputs[1 - constant], mean_axis);
    if (!epsilon || variance == nullptr || mean_axis != axis) return std::nullopt;
    const Node* squares = binary(variance->inputs[0], Binary::Kind::pow);
    if (squares != nullptr && number(squares->inputs[1]) != 2.0f) return std::nullopt;
    if (squares == nullptr) squares = binary(variance->inputs[0], Binary::Kind::mul);
    const bool itself =
        squares != nullptr && (std::get<Binary>(squares->operation).kind == Binary::Kind::pow || squares->inputs[0] == squares->inputs[1]);
    if (!itself || centred(squares->inputs[0], centre_axis) != x || centre_axis != axis) return std::nullopt;
    return epsilon;
  }

 private:
  const Graph& graph_;
  std::vector<const Node*> makers_;
  std::vector<size_t> uses_;
};

struct Found {
  ValueId x = kNoValue;
  LayerNorm op;
};

std::optional<Found> layer_norm(const Matcher& match, ValueId id) {
  const Node* quotient = match.binary(id, Binary::Kind::div);
  const Node* product = quotient == nullptr ? match.binary(id, Binary::Kind::mul) : nullptr;
  ValueId deviation = kNoValue, root = kNoValue;
  if (quotient != nullptr) {
    deviation = quotient->inputs[0];
    root = quotient->inputs[1];
  } else if (product != nullptr) {
    const Node* inverse = match.unary(product->inputs[1], Unary::Kind::reciprocal);
    if (inverse == nullptr) return std::nullopt;
    deviation = product->inputs[0];
    root = inverse->inputs[0];
  } else {
    return std::nullopt;
  }
  int64_t axis = 0;
  std::optional<ValueId> x = match.centred(deviation, axis);
  std::optional<float> epsilon = x ? match.deviation_of(root, *x, axis) : std::nullopt;
  if (!epsilon || !(*epsilon >= 0)) return std::nullopt;
  return Found{*x, LayerNorm{axis, *epsilon}};
}

// A constant of exactly the normalised dimensions, or kNoValue.
ValueId parameter(Graph& graph, const Node& node, ValueId other, const Shape& wanted) {
  ValueId id = node.inputs[0] == other ? node.inputs[1] : node.inputs[0];
  const graph::Value value = graph.value(id);
  Shape shape = value.shape;
  while (shape.size() > wanted.size() && shape[0] == 1) shape.erase(shape.begin());
  if (!value.is_constant() || value.type != graph::ElementType::f32 || shape != wanted) return kNoValue;
  graph::Value copy = value;
  copy.shape = wanted;
  return graph.add_value(std::move(copy));
}

}  // namespace

size_t fuse_layer_norms(Graph& graph) {
  size_t found = 0;
  const Matcher match(graph);
  for (Node& node : graph.nodes) {
    if (node.outputs.size() != 1) continue;
    std::optional<Found> norm = layer_norm(match, node.outputs[0]);
    if (!norm) continue;
    node.operation = norm->op;
    node.inputs = {norm->x, kNoValue, kNoValue};
    ++found;
  }
  if (found == 0) return 0;
  // Scale and shift move in, each from the only user of what came before.
  for (Node& node : graph.nodes) {
    const Binary* op = std::get_if<Binary>(&node.operation);
    if (op == nullptr || op->activation.kind != graph::Activation::none) continue;
    if (op->kind != Binary::Kind::mul && op->kind != Binary::Kind::add) continue;
    auto before = std::find_if(graph.nodes.begin(), graph.nodes.end(), [&](const Node& other) {
      return std::holds_alternative<LayerNorm>(other.operation) &&
             (other.outputs[0] == node.inputs[0] || other.outputs[0] == node.inputs[1]);
    });
    if (before == graph.nodes.end() || !match.used_once(before->outputs[0]) || graph.value(before->outputs[0]).quantization) continue;
    const size_t slot = op->kind == Binary::Kind::mul ? 1 : 2;
    const LayerNorm norm = std::get<LayerNorm>(before->operation);
    const Shape& x = graph.value(before->inputs[0]).shape;
    if (before->inputs.size() != 3 || before->inputs[slot] != kNoValue || (slot == 1 && before->inputs[2] != kNoValue)) continue;
    const int64_t from = norm.axis < 0 ? norm.axis + static_cast<int64_t>(x.size()) : norm.axis;
    ValueId constant = parameter(graph, node, before->outputs[0], {x.begin() + from, x.end()});
    if (constant == kNoValue) continue;
    std::vector<ValueId> inputs = before->inputs;
    inputs[slot] = constant;
    node.operation = norm;
    node.inputs = std::move(inputs);
  }
  return found;
}

}  // namespace skerry::inference::frontends
