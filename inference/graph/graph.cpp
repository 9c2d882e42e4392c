#include "inference/graph/graph.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <iterator>

#include "base/check.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::graph {
namespace {

static_assert(std::endian::native == std::endian::little, "constants are little-endian in memory");

const char* word(Activation activation) {
  switch (activation) {
    case Activation::none:
      return "none";
    case Activation::relu:
      return "relu";
    case Activation::relu6:
      return "relu6";
    case Activation::clip:
      return "clip";
    case Activation::leaky_relu:
      return "leaky_relu";
    case Activation::sigmoid:
      return "sigmoid";
    case Activation::hard_sigmoid:
      return "hard_sigmoid";
    case Activation::tanh:
      return "tanh";
    case Activation::silu:
      return "silu";
    case Activation::hard_swish:
      return "hard_swish";
    case Activation::gelu:
      return "gelu";
    case Activation::elu:
      return "elu";
  }
  return "?";
}

std::string text(const ActivationSpec& spec) {
  if (spec.kind == Activation::none) return "";
  const bool parameters = spec.kind == Activation::clip || spec.kind == Activation::leaky_relu || spec.kind == Activation::elu ||
                          spec.kind == Activation::hard_sigmoid;
  return parameters ? fmt::format(" {}({:g}, {:g})", word(spec.kind), spec.alpha, spec.beta) : fmt::format(" {}", word(spec.kind));
}

std::string details(const Conv& op) {
  return fmt::format(" strides {} dilations {} pads {} {} groups {}{}", to_string(op.strides), to_string(op.dilations),
                     to_string(op.pads_begin), to_string(op.pads_end), op.groups, text(op.activation));
}
std::string details(const Linear& op) { return text(op.activation); }
std::string details(const Pool& op) {
  return fmt::format(" {} kernel {} strides {} pads {} {}{}", op.kind == Pool::Kind::max ? "max" : "average", to_string(op.kernel),
                     to_string(op.strides), to_string(op.pads_begin), to_string(op.pads_end), op.count_padding ? " counted" : "");
}
std::string details(const Reduce& op) {
  static constexpr const char* kKinds[] = {"mean", "sum", "max"};
  return fmt::format(" {} over {}{}", kKinds[static_cast<size_t>(op.kind)], to_string(op.axes), op.keep_dimensions ? " kept" : "");
}
std::string details(const Binary& op) {
  static constexpr const char* kKinds[] = {"add", "sub", "mul", "div", "min", "max", "pow"};
  return fmt::format(" {}{}", kKinds[static_cast<size_t>(op.kind)], text(op.activation));
}
std::string details(const Activate& op) { return text(op.activation); }
std::string details(const Unary& op) {
  static constexpr const char* kKinds[] = {"sqrt", "exp", "log", "neg", "abs", "reciprocal"};
  return fmt::format(" {}", kKinds[static_cast<size_t>(op.kind)]);
}
std::string details(const Softmax& op) { return fmt::format("{} over {}", op.log ? " log" : "", op.axis); }
std::string details(const BatchNorm& op) { return fmt::format(" epsilon {:g}", op.epsilon); }
std::string details(const LayerNorm& op) { return fmt::format(" from {} epsilon {:g}", op.axis, op.epsilon); }
std::string details(const Concat& op) { return fmt::format(" along {}", op.axis); }
std::string details(const Reshape& op) { return fmt::format(" to {}", to_string(op.shape)); }
std::string details(const Transpose& op) { return fmt::format(" {}", to_string(op.permutation)); }
std::string details(const Pad& op) { return fmt::format(" {} {} with {:g}", to_string(op.begin), to_string(op.end), op.value); }
std::string details(const Slice& op) {
  return fmt::format(" axes {} from {} to {} by {}", to_string(op.axes), to_string(op.begin), to_string(op.end), to_string(op.step));
}
std::string details(const Recurrent& op) {
  static constexpr const char* kDirections[] = {"forward", "reverse", "both"};
  return fmt::format(" {} {} {} hidden{}", op.kind == Recurrent::Kind::gru ? "gru" : "lstm", kDirections[static_cast<size_t>(op.direction)],
                     op.hidden, op.reset_after ? " reset after" : "");
}
template <typename Op>
std::string details(const Op&) {
  return "";
}

std::string text(const Graph& graph, ValueId id) {
  if (id == kNoValue) return "-";
  if (id >= graph.values.size()) return "?";
  const Value& value = graph.value(id);
  std::string out = fmt::format("{} {}{}", value.name, to_string(value.type), to_string(value.shape));
  if (!value.quantization || value.quantization->scale.empty() || value.quantization->zero_point.empty()) return out;
  const Quantization& q = *value.quantization;
  if (q.scale.size() > 1) return out + fmt::format(" q({} on {})", q.scale.size(), q.axis);
  return out + fmt::format(" q({:g}, {})", q.scale[0], q.zero_point[0]);
}

std::string text(const Graph& graph, const std::vector<ValueId>& ids) {
  std::string out;
  for (ValueId id : ids) out += (out.empty() ? "" : ", ") + text(graph, id);
  return out;
}

template <typename Stored>
std::vector<float> dequantized(const Value& value) {
  const size_t count = value.constant->size() / sizeof(Stored);
  std::vector<Stored> stored(count);
  if (count > 0) std::memcpy(stored.data(), value.constant->data(), count * sizeof(Stored));
  std::vector<float> out(count);
  if (!value.quantization) {
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(stored[i]);
    return out;
  }
  const Quantization& q = *value.quantization;
  size_t inner = 1;  // elements that share a scale in a row
  if (q.scale.size() > 1) {
    for (size_t i = static_cast<size_t>(q.axis) + 1; i < value.shape.size(); ++i) inner *= static_cast<size_t>(value.shape[i]);
  }
  for (size_t i = 0; i < count; ++i) {
    size_t which = q.scale.size() > 1 ? i / inner % q.scale.size() : 0;
    out[i] = static_cast<float>(static_cast<double>(q.scale[which]) * (static_cast<double>(stored[i]) - q.zero_point[which]));
  }
  return out;
}

}  // namespace

const char* to_string(ElementType type) {
  switch (type) {
    case ElementType::f32:
      return "f32";
    case ElementType::i8:
      return "i8";
    case ElementType::u8:
      return "u8";
    case ElementType::i32:
      return "i32";
    case ElementType::i64:
      return "i64";
    case ElementType::boolean:
      return "bool";
  }
  return "?";
}

size_t bytes_of(ElementType type) {
  switch (type) {
    case ElementType::f32:
    case ElementType::i32:
      return 4;
    case ElementType::i64:
      return 8;
    case ElementType::i8:
    case ElementType::u8:
    case ElementType::boolean:
      return 1;
  }
  return 1;
}

const char* name_of(const Operation& operation) {
  static constexpr const char* kNames[] = {"conv",  "linear",  "matmul",     "pool",       "reduce",    "binary",  "activate",
                                           "unary", "softmax", "batch_norm", "layer_norm", "concat",    "reshape", "transpose",
                                           "pad",   "slice",   "recurrent",  "quantize",   "dequantize"};
  static_assert(std::size(kNames) == std::variant_size_v<Operation>);
  return kNames[operation.index()];
}

int64_t elements(const Shape& shape) {
  int64_t count = 1;
  for (int64_t dimension : shape) {
    if (dimension == -1) continue;
    if (dimension < 0 || dimension > kElementsMax) return -1;
    count *= dimension;
    if (count > kElementsMax) return -1;
  }
  return count;
}

ValueId Graph::add_value(Value value) {
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::add_constant(std::string name, Shape shape, const std::vector<float>& data) {
  auto bytes = std::make_shared<std::vector<std::byte>>(data.size() * sizeof(float));
  if (!data.empty()) std::memcpy(bytes->data(), data.data(), bytes->size());
  return add_value({std::move(name), ElementType::f32, std::move(shape), std::nullopt, std::move(bytes)});
}

ValueId Graph::add_node(std::string name, Operation operation, std::vector<ValueId> inputs) {
  ValueId output = add_value({name, ElementType::f32, {}, std::nullopt, nullptr});
  nodes.push_back({std::move(name), std::move(operation), std::move(inputs), {output}});
  return output;
}

std::vector<float> real_values(const Value& value) {
  SKERRY_CHECK(value.is_constant(), "'{}' is computed", value.name);
  switch (value.type) {
    case ElementType::f32: {
      std::vector<float> out(value.constant->size() / sizeof(float));
      if (!out.empty()) std::memcpy(out.data(), value.constant->data(), out.size() * sizeof(float));
      return out;
    }
    case ElementType::i8:
      return dequantized<int8_t>(value);
    case ElementType::u8:
    case ElementType::boolean:
      return dequantized<uint8_t>(value);
    case ElementType::i32:
      return dequantized<int32_t>(value);
    case ElementType::i64:
      return dequantized<int64_t>(value);
  }
  return {};
}

Status check(const Graph& graph) {
  Graph inferred = graph;
  SKERRY_TRY(infer_shapes(inferred));
  for (size_t id = 0; id < graph.values.size(); ++id) {
    if (graph.values[id].shape == inferred.values[id].shape && graph.values[id].type == inferred.values[id].type) continue;
    return fail(Code::invalid, "value '{}' says {} {}, its node gives {} {}", graph.values[id].name, to_string(graph.values[id].type),
                to_string(graph.values[id].shape), to_string(inferred.values[id].type), to_string(inferred.values[id].shape));
  }
  return {};
}

std::string describe(const Graph& graph) {
  std::string out = fmt::format("{} graph ({}) -> ({})\n", graph.source, text(graph, graph.inputs), text(graph, graph.outputs));
  for (const Node& node : graph.nodes) {
    std::string more = std::visit([](const auto& operation) { return details(operation); }, node.operation);
    out +=
        fmt::format("{}: {}{} ({}) -> {}\n", node.name, name_of(node.operation), more, text(graph, node.inputs), text(graph, node.outputs));
  }
  return out;
}

}  // namespace skerry::inference::graph
