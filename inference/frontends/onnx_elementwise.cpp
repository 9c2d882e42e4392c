#include <algorithm>
#include <cmath>
#include <limits>

#include "inference/frontends/internal/onnx_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::Activation;
using graph::Binary;
using graph::kNoValue;
using graph::Reduce;
using graph::Unary;
using graph::ValueId;

Status OnnxConverter::activation(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  graph::ActivationSpec spec;
  if (node.type == "Relu") spec = {Activation::relu};
  if (node.type == "LeakyRelu") spec = {Activation::leaky_relu, node.real("alpha", 0.01f)};
  if (node.type == "Elu") spec = {Activation::elu, node.real("alpha", 1.0f)};
  if (node.type == "Sigmoid") spec = {Activation::sigmoid};
  if (node.type == "HardSigmoid") spec = {Activation::hard_sigmoid, node.real("alpha", 0.2f), node.real("beta", 0.5f)};
  if (node.type == "HardSwish") spec = {Activation::hard_swish};
  if (node.type == "Tanh") spec = {Activation::tanh};
  return add(node, graph::Activate{spec}, {x});
}

Status OnnxConverter::clip(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float low = node.real("min", -kInfinity), high = node.real("max", kInfinity);
  for (size_t i : {1, 2}) {
    if (!has(node, i)) continue;
    SKERRY_ASSIGN(std::vector<float> bound, known_reals(node, i));
    if (bound.size() != 1) return fail(Code::invalid, "has {} bounds", bound.size());
    (i == 1 ? low : high) = bound[0];
  }
  if (low == 0 && high == kInfinity) return add(node, graph::Activate{{Activation::relu}}, {x});
  if (low == 0 && high == 6) return add(node, graph::Activate{{Activation::relu6}}, {x});
  return add(node, graph::Activate{{Activation::clip, low, high}}, {x});
}

// x where positive, slope x where negative: max(x, 0) + slope min(x, 0).
Status OnnxConverter::prelu(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(ValueId slope, value(node, 1));
  if (builder_.is_constant(slope) && graph::elements(builder_.shape(slope)) == 1) {
    return add(node, graph::Activate{{Activation::leaky_relu, graph::real_values(builder_.graph().value(slope))[0]}}, {x});
  }
  SKERRY_ASSIGN(ValueId positive, builder_.add(node.name + ".positive", graph::Activate{{Activation::relu}}, {x}));
  ValueId zero = builder_.constant("zero", {1}, {0});
  SKERRY_ASSIGN(ValueId negative, builder_.add(node.name + ".negative", Binary{Binary::Kind::min}, {x, zero}));
  SKERRY_ASSIGN(ValueId sloped, builder_.add(node.name + ".sloped", Binary{Binary::Kind::mul}, {negative, slope}));
  return add(node, Binary{}, {positive, sloped});
}

Status OnnxConverter::binary(const OnnxNode& node) {
  static const std::map<std::string, Binary::Kind> kinds = {
      {"Add", Binary::Kind::add}, {"Sub", Binary::Kind::sub}, {"Mul", Binary::Kind::mul}, {"Div", Binary::Kind::div},
      {"Pow", Binary::Kind::pow}, {"Min", Binary::Kind::min}, {"Max", Binary::Kind::max}};
  SKERRY_ASSIGN(ValueId so_far, value(node, 0));
  if (node.inputs.size() == 1) return set(node, 0, so_far);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    SKERRY_ASSIGN(ValueId next, value(node, i));
    SKERRY_ASSIGN(so_far, builder_.add(node.name, Binary{kinds.at(node.type)}, {so_far, next}));
  }
  return set(node, 0, so_far);
}

Status OnnxConverter::unary(const OnnxNode& node) {
  static const std::map<std::string, Unary::Kind> kinds = {{"Sqrt", Unary::Kind::sqrt}, {"Exp", Unary::Kind::exp},
                                                           {"Log", Unary::Kind::log},   {"Neg", Unary::Kind::neg},
                                                           {"Abs", Unary::Kind::abs},   {"Reciprocal", Unary::Kind::reciprocal}};
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  return add(node, Unary{kinds.at(node.type)}, {x});
}

const OnnxNode* OnnxConverter::only_user(const std::string& name, const std::string& type) const {
  auto count = uses_.find(name);
  if (count == uses_.end() || count->second != 1) return nullptr;
  for (const OnnxNode& node : model_.nodes) {
    if (node.type == type && node.inputs.size() == 2 && node.outputs.size() == 1 && (node.inputs[0] == name || node.inputs[1] == name))
      return &node;
  }
  return nullptr;
}

const OnnxNode* OnnxConverter::maker(const std::string& name, const std::string& type) const {
  for (const OnnxNode& node : model_.nodes) {
    if (node.type == type && node.inputs.size() == 2 && node.outputs.size() == 1 && node.outputs[0] == name) return &node;
  }
  return nullptr;
}

std::optional<float> OnnxConverter::other_number(const OnnxNode& node, const std::string& name) {
  const size_t other = node.inputs[0] == name ? 1 : 0;
  Result<std::vector<float>> numbers = known_reals(node, other);
  return numbers.ok() && numbers->size() == 1 ? std::optional<float>((*numbers)[0]) : std::nullopt;
}

// As part of x / 2 (1 + erf(x / sqrt 2)), which is how exporters write gelu (Hendrycks and Gimpel 2016) before opset 20.
Status OnnxConverter::erf(const OnnxNode& node) {
  auto near = [](std::optional<float> number, double wanted) { return number && std::abs(*number - wanted) < 1e-3; };
  const Error other = fail(Code::unavailable, "is supported as part of gelu only");
  if (!has(node, 0) || node.outputs.empty()) return other;
  const OnnxNode* scaled = maker(node.inputs[0], "Div");
  if (scaled == nullptr) scaled = maker(node.inputs[0], "Mul");
  if (scaled == nullptr) return other;
  const std::string& x = scaled->inputs[0];
  if (!near(other_number(*scaled, x), scaled->type == "Div" ? 1.41421356 : 0.70710678)) return other;
  const OnnxNode* plus = only_user(node.outputs[0], "Add");
  if (plus == nullptr || !near(other_number(*plus, node.outputs[0]), 1)) return other;
  const OnnxNode* product = only_user(plus->outputs[0], "Mul");
  if (product == nullptr) return other;
  const std::string& factor = product->inputs[product->inputs[0] == plus->outputs[0] ? 1 : 0];
  const OnnxNode* last = product;
  if (factor == x) {
    last = only_user(product->outputs[0], "Mul");
    if (last == nullptr || !near(other_number(*last, product->outputs[0]), 0.5)) return other;
  } else {
    const OnnxNode* half = maker(factor, "Mul");
    if (half == nullptr || (half->inputs[0] != x && half->inputs[1] != x) || !near(other_number(*half, x), 0.5)) return other;
  }
  SKERRY_ASSIGN(ValueId from, value(*scaled, 0));
  done_.insert({plus, product, last});
  return add(*last, graph::Activate{{Activation::gelu}}, {from});
}

Status OnnxConverter::reduce(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(std::vector<int64_t> axes, ints_or_attribute(node, 1, "axes"));
  if (axes.empty()) {
    if (node.integer("noop_with_empty_axes", 0) != 0) return identity(node);
    for (int64_t axis = 0; axis < builder_.rank(x); ++axis) axes.push_back(axis);
  }
  for (int64_t& axis : axes) {
    SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x)));
  }
  std::sort(axes.begin(), axes.end());
  Reduce::Kind kind = node.type == "ReduceMean" ? Reduce::Kind::mean : node.type == "ReduceSum" ? Reduce::Kind::sum : Reduce::Kind::max;
  return add(node, Reduce{kind, axes, node.integer("keepdims", 1) != 0}, {x});
}

Status OnnxConverter::identity(const OnnxNode& node) {
  SKERRY_ASSIGN(const Item* x, item(node, 0));
  if (node.type == "Dropout" && has(node, 2)) {
    SKERRY_ASSIGN(std::vector<int64_t> training, ints(node, 2));
    if (training.empty() || training[0] != 0) return fail(Code::unavailable, "is in training mode: export the model for inference");
  }
  if (node.outputs.size() > 1 && uses_.contains(node.outputs[1])) return fail(Code::unavailable, "gives its mask");
  if (node.outputs.empty() || items_.contains(node.outputs[0])) return fail(Code::invalid, "has no output of its own");
  Item copy = *x;
  items_[node.outputs[0]] = copy;
  return {};
}

Status OnnxConverter::cast(const OnnxNode& node) {
  constexpr int64_t kToFloat = 1, kToDouble = 11;  // TensorProto.DataType
  const int64_t to = node.integer("to", 0);
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  if (to == kToFloat || to == kToDouble) return set(node, 0, x);
  const graph::Value& constant = builder_.graph().value(x);
  if (constant.is_constant() && graph::elements(constant.shape) <= kIntsMax) {  // a step of a shape calculation
    OnnxTensor tensor{"", constant.type, constant.shape, constant.constant};
    return set(node, Ints{constant.shape, tensor.ints()});
  }
  return fail(Code::unavailable, "to data type {}", to);
}

Status OnnxConverter::constant(const OnnxNode& node) {
  if (node.outputs.empty() || items_.contains(node.outputs[0])) return fail(Code::invalid, "has no output of its own");
  const std::string& name = node.outputs[0];
  if (node.has("value") && !node.attributes.at("value").tensor.empty()) {
    items_[name] = {kNoValue, std::nullopt, &node.attributes.at("value").tensor[0], false};
    return {};
  }
  if (node.has("value_int")) return set(node, Ints{{}, {node.integer("value_int", 0)}});
  if (node.has("value_ints")) {
    std::vector<int64_t> values = node.integers("value_ints");
    if (values.size() > static_cast<size_t>(kIntsMax)) return fail(Code::unavailable, "has {} integers", values.size());
    return set(node, Ints{{static_cast<int64_t>(values.size())}, values});
  }
  if (node.has("value_float")) return set(node, 0, builder_.constant(node.name, {}, {node.real("value_float", 0)}));
  if (node.has("value_floats")) {
    const std::vector<float>& values = node.attributes.at("value_floats").floats;
    return set(node, 0, builder_.constant(node.name, {static_cast<int64_t>(values.size())}, values));
  }
  return fail(Code::unavailable, "holds neither numbers nor a tensor of them");
}

}  // namespace skerry::inference::frontends
