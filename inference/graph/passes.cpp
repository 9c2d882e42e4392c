#include "inference/graph/passes.h"

#include <cmath>
#include <numeric>

#include "inference/graph/internal/rewrite.h"
#include "inference/graph/reference.h"

namespace skerry::inference::graph {
namespace {

constexpr int kRoundsMax = 32;

bool same_grid(const Value& a, const Value& b) { return a.type == b.type && a.quantization == b.quantization; }

// The nodes whose inputs are all constants, or computed by such nodes.
std::vector<bool> constant_nodes(const Graph& graph, size_t& count) {
  std::vector<bool> known(graph.values.size()), out(graph.nodes.size());
  for (size_t id = 0; id < graph.values.size(); ++id) known[id] = graph.values[id].is_constant();
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    auto is_output = [&](ValueId id) { return std::find(graph.outputs.begin(), graph.outputs.end(), id) != graph.outputs.end(); };
    out[i] = std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return id == kNoValue || known[id]; }) &&
             std::none_of(node.outputs.begin(), node.outputs.end(), is_output);
    if (!out[i]) continue;
    ++count;
    for (ValueId id : node.outputs) known[id] = true;
  }
  return out;
}

// Multiplies the weights of output channel c by factor[c] and sets the bias to bias * factor + shift.
void scale_weights(Graph& graph, Node& node, const std::vector<double>& factor, const std::vector<double>& shift) {
  const Value& old = graph.value(node.inputs[1]);
  std::vector<float> weights = real_values(old), bias(factor.size());
  const size_t each = weights.size() / factor.size();
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(weights[i] * factor[i / each]);
  if (input_or_none(node, 2) != kNoValue) bias = real_values(graph.value(node.inputs[2]));
  for (size_t c = 0; c < bias.size(); ++c) bias[c] = static_cast<float>(bias[c] * factor[c] + shift[c]);
  node.inputs[1] = graph.add_constant(old.name + ".folded", old.shape, weights);
  set_input(node, 2, graph.add_constant(node.name + ".bias", {static_cast<int64_t>(bias.size())}, bias));
}

// A node whose output is free to be changed by what follows: weights of real numbers, no activation, no residual.
bool is_open(const Graph& graph, const Node& node) {
  if (!is_weighted(node.operation) || input_or_none(node, 3) != kNoValue) return false;
  Operation copy = node.operation;
  return activation_of(copy)->kind == Activation::none && !graph.value(node.inputs[1]).quantization;
}

// The values of a constant that has one per channel of `shape` (channels are dimension 1, or the last of a linear node), or one for all.
std::optional<std::vector<double>> per_channel(const Graph& graph, ValueId id, const Shape& shape, bool linear) {
  const Value& value = graph.value(id);
  if (!value.is_constant() || value.quantization || value.shape.size() > shape.size()) return std::nullopt;
  const size_t channel = linear ? shape.size() - 1 : 1;
  const int64_t channels = shape[channel];
  for (size_t i = 0; i < value.shape.size(); ++i) {
    const size_t dimension = shape.size() - value.shape.size() + i;
    if (value.shape[i] != 1 && (dimension != channel || value.shape[i] != channels)) return std::nullopt;
  }
  const std::vector<float> real = real_values(value);
  std::vector<double> out(static_cast<size_t>(channels), real[0]);
  if (real.size() > 1) out.assign(real.begin(), real.end());
  return out;
}

std::vector<int64_t> composed(const std::vector<int64_t>& first, const std::vector<int64_t>& second) {
  std::vector<int64_t> out;
  for (int64_t d : second) out.push_back(first[static_cast<size_t>(d)]);
  return out;
}

bool is_identity(const std::vector<int64_t>& permutation) {
  for (size_t i = 0; i < permutation.size(); ++i) {
    if (permutation[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

const Transpose* transpose_of(const Graph& graph, const Links& links, ValueId id) {
  if (id == kNoValue || links.producer(id) == kNoNode) return nullptr;
  return std::get_if<Transpose>(&graph.nodes[links.producer(id)].operation);
}

// Inputs of one permutation through a node that treats all elements alike: the node on what was transposed, a transpose after it.
class TransposeMover {
 public:
  explicit TransposeMover(Graph& graph) : graph_(graph), links_(graph) {}

  bool at(size_t index) {
    Node& node = graph_.nodes[index];
    const bool movable = std::holds_alternative<Activate>(node.operation) || std::holds_alternative<Unary>(node.operation) ||
                         std::holds_alternative<Binary>(node.operation) || std::holds_alternative<Concat>(node.operation) ||
                         std::holds_alternative<Pad>(node.operation) || std::holds_alternative<Softmax>(node.operation);
    if (!movable || !find_permutation(node)) return false;
    std::vector<ValueId> inputs;
    for (ValueId id : node.inputs) {
      std::optional<ValueId> moved = without(id);
      if (!moved) return false;
      inputs.push_back(*moved);
    }
    rename_axes(node.operation);
    node.inputs = std::move(inputs);
    const ValueId out = node.outputs[0];
    Value before = graph_.value(out);  // as the node gives it now
    before.name += ".moved";
    for (size_t i = 0; i < permutation_.size(); ++i) before.shape[static_cast<size_t>(permutation_[i])] = graph_.value(out).shape[i];
    node.outputs[0] = graph_.add_value(std::move(before));
    Node after{node.name + ".transpose", Transpose{permutation_}, {node.outputs[0]}, {out}};
    graph_.nodes.insert(graph_.nodes.begin() + static_cast<std::ptrdiff_t>(index) + 1, std::move(after));
    return true;
  }

 private:
  bool find_permutation(const Node& node) {
    for (ValueId id : node.inputs) {
      const Transpose* transpose = transpose_of(graph_, links_, id);
      if (!transpose) continue;
      permutation_ = transpose->permutation;
      return permutation_.size() == graph_.value(node.outputs[0]).shape.size();
    }
    return false;
  }

  // The value before its transpose; a constant the other way round.
  std::optional<ValueId> without(ValueId id) {
    if (const Transpose* transpose = transpose_of(graph_, links_, id)) {
      if (transpose->permutation != permutation_ || graph_.value(id).quantization != graph_.value(input_of(id)).quantization) return std::nullopt;
      return input_of(id);
    }
    const Value value = graph_.value(id);
    if (!value.is_constant() || value.quantization || value.type != ElementType::f32) return std::nullopt;
    if (elements(value.shape) == 1) return id;
    Shape shape(permutation_.size() - std::min(permutation_.size(), value.shape.size()), 1);
    shape.insert(shape.end(), value.shape.begin(), value.shape.end());
    if (shape.size() != permutation_.size()) return std::nullopt;
    return inverse(value, shape);
  }

  ValueId inverse(const Value& value, const Shape& shape) {
    const std::vector<float> from = real_values(value);
    std::vector<float> to(from.size());
    Shape moved(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) moved[static_cast<size_t>(permutation_[i])] = shape[i];
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * moved[i];
    std::vector<int64_t> index(shape.size());
    for (float value_here : from) {
      int64_t at = 0;
      for (size_t i = 0; i < shape.size(); ++i) at += index[i] * strides[static_cast<size_t>(permutation_[i])];
      to[static_cast<size_t>(at)] = value_here;
      for (size_t i = shape.size(); i-- > 0;) {
        if (++index[i] < shape[i]) break;
        index[i] = 0;
      }
    }
    return graph_.add_constant(value.name + ".moved", moved, to);
  }

  void rename_axes(Operation& operation) const {
    auto renamed = [&](int64_t axis) {
      const auto rank = static_cast<int64_t>(permutation_.size());
      return permutation_[static_cast<size_t>(axis < 0 ? axis + rank : axis)];
    };
    if (auto* concat = std::get_if<Concat>(&operation)) concat->axis = renamed(concat->axis);
    if (auto* softmax = std::get_if<Softmax>(&operation)) softmax->axis = renamed(softmax->axis);
    if (auto* pad = std::get_if<Pad>(&operation)) {
      Pad moved = *pad;
      for (size_t i = 0; i < permutation_.size(); ++i) {
        moved.begin[static_cast<size_t>(permutation_[i])] = pad->begin[i];
        moved.end[static_cast<size_t>(permutation_[i])] = pad->end[i];
      }
      *pad = moved;
    }
  }

  ValueId input_of(ValueId id) const { return graph_.nodes[links_.producer(id)].inputs[0]; }

  Graph& graph_;
  Links links_;
  std::vector<int64_t> permutation_;
};

// Reduce after a transpose: the same axes under their names before it, when the order of the rest is the same.
bool reduce_before_transpose(Graph& graph, const Links& links, Node& node) {
  auto* reduce = std::get_if<Reduce>(&node.operation);
  const Transpose* transpose = reduce && !reduce->keep_dimensions ? transpose_of(graph, links, node.inputs[0]) : nullptr;
  if (!transpose) return false;
  std::vector<int64_t> axes, rest;
  for (size_t i = 0; i < transpose->permutation.size(); ++i) {
    const bool reduced = std::find(reduce->axes.begin(), reduce->axes.end(), static_cast<int64_t>(i)) != reduce->axes.end();
    (reduced ? axes : rest).push_back(transpose->permutation[i]);
  }
  if (!std::is_sorted(rest.begin(), rest.end())) return false;
  std::sort(axes.begin(), axes.end());
  const ValueId before = graph.nodes[links.producer(node.inputs[0])].inputs[0];
  reduce->axes = axes;
  node.inputs[0] = before;
  return true;
}

}  // namespace

Changed carry_quantization(Graph& graph) {
  Links links(graph);
  std::vector<bool> gone(graph.nodes.size());
  size_t changed = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node node = graph.nodes[i];
    if (std::holds_alternative<Dequantize>(node.operation) && !links.is_output(node.outputs[0])) {
      replace_uses(graph, node.outputs[0], node.inputs[0]);
      gone[i] = true;
    } else if (std::holds_alternative<Quantize>(node.operation)) {
      const ValueId x = node.inputs[0], y = node.outputs[0];
      const size_t producer = links.producer(x);
      if (graph.value(x).is_constant() || producer == kNoNode || !links.is_private(x) || graph.value(x).quantization) continue;
      std::replace(graph.nodes[producer].outputs.begin(), graph.nodes[producer].outputs.end(), x, y);
      gone[i] = true;
    }
    if (gone[i]) {
      ++changed;
      links = Links(graph);
    }
  }
  erase_marked(graph, gone);
  return changed;
}

Changed fold_constants(Graph& graph) {
  size_t count = 0;
  const std::vector<bool> constant = constant_nodes(graph, count);
  if (count == 0) return size_t{0};
  Graph part = graph;
  part.nodes.clear();
  part.outputs.clear();
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!constant[i]) continue;
    part.nodes.push_back(graph.nodes[i]);
    part.outputs.insert(part.outputs.end(), graph.nodes[i].outputs.begin(), graph.nodes[i].outputs.end());
  }
  for (ValueId id : part.inputs) part.value(id).shape = {1};  // nobody reads them
  for (ValueId id : part.inputs) part.value(id).type = ElementType::f32, part.value(id).quantization.reset();
  std::vector<Array> inputs(part.inputs.size(), Array{{1}, {0.0f}});
  SKERRY_TRY(infer_shapes(part));
  SKERRY_ASSIGN(Reference reference, Reference::open(part));
  SKERRY_ASSIGN(std::vector<Array> values, reference.run(inputs));
  for (size_t i = 0; i < values.size(); ++i) {
    const ValueId old = part.outputs[i];
    const ValueId made = graph.add_constant(graph.value(old).name, values[i].shape, values[i].data);
    replace_uses(graph, old, made);
  }
  erase_marked(graph, constant);
  return count;
}

Changed fold_batch_norms(Graph& graph) {
  const Links links(graph);
  std::vector<Node> nodes;
  size_t changed = 0;
  std::vector<bool> gone(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    const auto* norm = std::get_if<BatchNorm>(&node.operation);
    if (!norm) continue;
    ++changed;
    const std::vector<float> scale = real_values(graph.value(node.inputs[1])), shift = real_values(graph.value(node.inputs[2])),
                             mean = real_values(graph.value(node.inputs[3])), variance = real_values(graph.value(node.inputs[4]));
    std::vector<double> factor, offset;
    for (size_t c = 0; c < scale.size(); ++c) {
      factor.push_back(scale[c] / std::sqrt(double{variance[c]} + norm->epsilon));
      offset.push_back(shift[c] - mean[c] * factor[c]);
    }
    const ValueId x = node.inputs[0];
    const size_t producer = links.producer(x);
    const bool linear_on_rows = producer != kNoNode && std::holds_alternative<Linear>(graph.nodes[producer].operation) && graph.value(x).shape.size() != 2;
    if (producer != kNoNode && links.is_private(x) && is_open(graph, graph.nodes[producer]) && !linear_on_rows) {
      scale_weights(graph, graph.nodes[producer], factor, offset);
      graph.nodes[producer].outputs[0] = node.outputs[0];
      gone[i] = true;
      continue;
    }
    Shape shape(graph.value(x).shape.size(), 1);
    shape[1] = static_cast<int64_t>(factor.size());
    const ValueId by = graph.add_constant(node.name + ".factor", shape, {factor.begin(), factor.end()});
    const ValueId plus = graph.add_constant(node.name + ".offset", shape, {offset.begin(), offset.end()});
    const ValueId product = graph.add_value({node.name + ".product", ElementType::f32, graph.value(x).shape, std::nullopt, nullptr});
    const Node sum{node.name, Binary{Binary::Kind::add, {}}, {product, plus}, node.outputs};
    node = {node.name + ".product", Binary{Binary::Kind::mul, {}}, {x, by}, {product}};
    graph.nodes.insert(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, sum);
    erase_marked(graph, [&] { gone.insert(gone.begin() + static_cast<std::ptrdiff_t>(i) + 1, false); return gone; }());
    return changed;  // the links are of another graph now: the caller comes again
  }
  erase_marked(graph, gone);
  return changed;
}

Changed fold_scales(Graph& graph) {
  Links links(graph);
  std::vector<bool> gone(graph.nodes.size());
  size_t changed = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    const auto* binary = std::get_if<Binary>(&node.operation);
    if (!binary || (binary->kind != Binary::Kind::add && binary->kind != Binary::Kind::mul && binary->kind != Binary::Kind::sub)) continue;
    for (size_t side : {0, 1}) {
      const ValueId x = node.inputs[side], other = node.inputs[1 - side];
      const size_t producer = links.producer(x);
      if (producer == kNoNode || !links.is_private(x) || !is_open(graph, graph.nodes[producer]) || graph.value(x).quantization) continue;
      if (binary->kind == Binary::Kind::sub && side == 1) continue;
      Node& before = graph.nodes[producer];
      const bool linear = std::holds_alternative<Linear>(before.operation);
      const auto values = per_channel(graph, other, graph.value(x).shape, linear);
      if (!values || graph.value(node.outputs[0]).shape != graph.value(x).shape) continue;
      std::vector<double> factor(values->size(), 1.0), offset(values->size(), 0.0);
      if (binary->kind == Binary::Kind::mul) factor = *values;
      else offset = *values;
      for (double& o : offset) o = binary->kind == Binary::Kind::sub ? -o : o;
      scale_weights(graph, before, factor, offset);
      *activation_of(before.operation) = binary->activation;
      before.outputs[0] = node.outputs[0];
      gone[i] = true;
      ++changed;
      links = Links(graph);
      break;
    }
  }
  erase_marked(graph, gone);
  return changed;
}

Changed move_transposes(Graph& graph) {
  size_t changed = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Links links(graph);
    Node& node = graph.nodes[i];
    if (auto* second = std::get_if<Transpose>(&node.operation)) {
      const Transpose* first = transpose_of(graph, links, node.inputs[0]);
      const bool alike = first && same_grid(graph.value(node.inputs[0]), graph.value(graph.nodes[links.producer(node.inputs[0])].inputs[0]));
      if (alike) {
        const Node& before = graph.nodes[links.producer(node.inputs[0])];
        second->permutation = composed(first->permutation, second->permutation);
        node.inputs[0] = before.inputs[0];
        ++changed;
      }
      const bool whole = is_identity(second->permutation) && same_grid(graph.value(node.inputs[0]), graph.value(node.outputs[0]));
      if (whole && !links.is_output(node.outputs[0])) {
        replace_uses(graph, node.outputs[0], node.inputs[0]);
        graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
        ++changed;
        --i;
      }
    } else if (reduce_before_transpose(graph, links, node) || TransposeMover(graph).at(i)) {
      ++changed;
    }
  }
  return changed;
}

Changed merge_padding(Graph& graph) {
  size_t changed = 0;
  const Links links(graph);
  for (Node& node : graph.nodes) {
    auto* conv = std::get_if<Conv>(&node.operation);
    const size_t producer = conv ? links.producer(node.inputs[0]) : kNoNode;
    const auto* pad = producer == kNoNode ? nullptr : std::get_if<Pad>(&graph.nodes[producer].operation);
    if (!pad || pad->value != 0) continue;
    const ValueId x = graph.nodes[producer].inputs[0];
    const bool spatial = pad->begin[0] == 0 && pad->begin[1] == 0 && pad->end[0] == 0 && pad->end[1] == 0;
    if (!spatial || !same_grid(graph.value(x), graph.value(node.inputs[0]))) continue;
    for (size_t d = 0; d < conv->pads_begin.size(); ++d) {
      conv->pads_begin[d] += pad->begin[d + 2];
      conv->pads_end[d] += pad->end[d + 2];
    }
    node.inputs[0] = x;
    ++changed;
  }
  return changed;
}

Changed pools_from_reduces(Graph& graph) {
  size_t changed = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    const auto* reduce = std::get_if<Reduce>(&node.operation);
    const Shape shape = reduce ? graph.value(node.inputs[0]).shape : Shape{};
    if (!reduce || reduce->kind != Reduce::Kind::mean || shape.size() < 3 || shape.size() > 4) continue;
    std::vector<int64_t> spatial(shape.size() - 2);
    std::iota(spatial.begin(), spatial.end(), 2);
    if (reduce->axes != spatial) continue;
    const bool keep = reduce->keep_dimensions;
    const std::vector<int64_t> kernel(shape.begin() + 2, shape.end()), zeros(kernel.size(), 0), ones(kernel.size(), 1);
    node.operation = Pool{Pool::Kind::average, kernel, ones, zeros, zeros, false};
    ++changed;
    if (keep) continue;
    const ValueId out = node.outputs[0];
    Value pooled = graph.value(out);
    pooled.name += ".pooled";
    pooled.shape.resize(shape.size(), 1);
    node.outputs[0] = graph.add_value(std::move(pooled));
    Node reshape{node.name + ".reshape", Reshape{graph.value(out).shape}, {graph.nodes[i].outputs[0]}, {out}};
    graph.nodes.insert(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i) + 1, std::move(reshape));
  }
  return changed;
}

Changed fuse_activations(Graph& graph) {
  Links links(graph);
  std::vector<bool> gone(graph.nodes.size());
  size_t changed = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto* activate = std::get_if<Activate>(&graph.nodes[i].operation);
    if (!activate) continue;
    const ValueId x = graph.nodes[i].inputs[0];
    const size_t producer = links.producer(x);
    if (producer == kNoNode || !links.is_private(x)) continue;
    ActivationSpec* before = activation_of(graph.nodes[producer].operation);
    if (!before || before->kind != Activation::none) continue;
    *before = activate->activation;
    graph.nodes[producer].outputs[0] = graph.nodes[i].outputs[0];
    gone[i] = true;
    ++changed;
    links = Links(graph);
  }
  erase_marked(graph, gone);
  return changed;
}

Changed fuse_residuals(Graph& graph) {
  Links links(graph);
  std::vector<bool> gone(graph.nodes.size());
  size_t changed = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    const auto* binary = std::get_if<Binary>(&node.operation);
    if (!binary || binary->kind != Binary::Kind::add || node.inputs[0] == node.inputs[1]) continue;
    const Shape& shape = graph.value(node.outputs[0]).shape;
    if (graph.value(node.inputs[0]).shape != shape || graph.value(node.inputs[1]).shape != shape) continue;
    if (graph.value(node.inputs[0]).is_constant() || graph.value(node.inputs[1]).is_constant()) continue;
    size_t best = kNoNode, side = 0;
    for (size_t s : {0, 1}) {
      const size_t producer = links.producer(node.inputs[s]);
      if (producer == kNoNode || gone[producer] || !links.is_private(node.inputs[s])) continue;
      const Node& before = graph.nodes[producer];
      Operation copy = before.operation;
      const bool takes = is_weighted(before.operation) && input_or_none(before, 3) == kNoValue && activation_of(copy)->kind == Activation::none;
      if (takes && (best == kNoNode || producer > best)) best = producer, side = s;
    }
    if (best == kNoNode) continue;
    Node merged = graph.nodes[best];
    set_input(merged, 3, node.inputs[1 - side]);
    *activation_of(merged.operation) = binary->activation;
    merged.outputs = node.outputs;
    node = std::move(merged);
    gone[best] = true;
    ++changed;
    // The node that is gone computes nothing any more.
    graph.nodes[best].outputs = {graph.add_value({"gone", ElementType::f32, shape, std::nullopt, nullptr})};
    links = Links(graph);
  }
  erase_marked(graph, gone);
  return changed;
}

Changed remove_dead(Graph& graph) {
  size_t changed = 0;
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Links links(graph);
    const Node& node = graph.nodes[i];
    const bool dead = std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) { return links.uses(id) == 0; });
    const auto* activate = std::get_if<Activate>(&node.operation);
    const bool nothing = (activate && activate->activation.kind == Activation::none) ||
                         (std::holds_alternative<Reshape>(node.operation) && graph.value(node.inputs[0]).shape == graph.value(node.outputs[0]).shape &&
                          std::count(graph.value(node.inputs[0]).shape.begin(), graph.value(node.inputs[0]).shape.end(), -1) <= 1);
    const bool passes = nothing && !links.is_output(node.outputs[0]) && same_grid(graph.value(node.inputs[0]), graph.value(node.outputs[0]));
    if (!dead && !passes) continue;
    if (passes) replace_uses(graph, node.outputs[0], node.inputs[0]);
    graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
    ++changed;
  }
  return changed;
}

Status simplify(Graph& graph) {
  SKERRY_TRY(infer_shapes(graph));
  constexpr Changed (*kPasses[])(Graph&) = {carry_quantization, fold_constants,    fold_batch_norms, move_transposes, merge_padding,
                                            pools_from_reduces, fuse_activations, fold_scales,      fuse_residuals,  fuse_activations,
                                            remove_dead};
  for (int round = 0; round < kRoundsMax; ++round) {
    size_t changed = 0;
    for (auto* pass : kPasses) {
      SKERRY_ASSIGN(size_t count, pass(graph));
      changed += count;
      if (count > 0) SKERRY_TRY(infer_shapes(graph));
    }
    if (changed == 0) break;
  }
  return check(graph);
}

}  // namespace skerry::inference::graph
