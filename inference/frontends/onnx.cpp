#include "inference/frontends/onnx.h"

#include <algorithm>

#include "inference/frontends/internal/onnx_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::ValueId;

const std::map<std::string, OnnxConverter::Handler>& OnnxConverter::handlers() {
  using C = OnnxConverter;
  static const std::map<std::string, Handler> table = {{"Conv", &C::conv},
                                                       {"Gemm", &C::gemm},
                                                       {"MatMul", &C::matmul},
                                                       {"MaxPool", &C::pool},
                                                       {"AveragePool", &C::pool},
                                                       {"GlobalAveragePool", &C::global_pool},
                                                       {"GlobalMaxPool", &C::global_pool},
                                                       {"BatchNormalization", &C::batch_norm},
                                                       {"LayerNormalization", &C::layer_norm},
                                                       {"Softmax", &C::softmax},
                                                       {"LogSoftmax", &C::softmax},
                                                       {"GRU", &C::recurrent},
                                                       {"LSTM", &C::recurrent},
                                                       {"Relu", &C::activation},
                                                       {"LeakyRelu", &C::activation},
                                                       {"Elu", &C::activation},
                                                       {"Sigmoid", &C::activation},
                                                       {"HardSigmoid", &C::activation},
                                                       {"HardSwish", &C::activation},
                                                       {"Tanh", &C::activation},
                                                       {"Clip", &C::clip},
                                                       {"PRelu", &C::prelu},
                                                       {"Add", &C::binary},
                                                       {"Sub", &C::binary},
                                                       {"Mul", &C::binary},
                                                       {"Div", &C::binary},
                                                       {"Pow", &C::binary},
                                                       {"Min", &C::binary},
                                                       {"Max", &C::binary},
                                                       {"Sqrt", &C::unary},
                                                       {"Exp", &C::unary},
                                                       {"Log", &C::unary},
                                                       {"Neg", &C::unary},
                                                       {"Abs", &C::unary},
                                                       {"Reciprocal", &C::unary},
                                                       {"Erf", &C::erf},
                                                       {"ReduceMean", &C::reduce},
                                                       {"ReduceSum", &C::reduce},
                                                       {"ReduceMax", &C::reduce},
                                                       {"Identity", &C::identity},
                                                       {"Dropout", &C::identity},
                                                       {"Cast", &C::cast},
                                                       {"Constant", &C::constant},
                                                       {"Shape", &C::shape_of},
                                                       {"ConstantOfShape", &C::constant_of_shape},
                                                       {"Reshape", &C::reshape},
                                                       {"Flatten", &C::flatten},
                                                       {"Squeeze", &C::squeeze},
                                                       {"Unsqueeze", &C::unsqueeze},
                                                       {"Transpose", &C::transpose},
                                                       {"Concat", &C::concat},
                                                       {"Slice", &C::slice},
                                                       {"Split", &C::split},
                                                       {"Gather", &C::gather},
                                                       {"Pad", &C::pad},
                                                       {"Expand", &C::expand},
                                                       {"QuantizeLinear", &C::quantize},
                                                       {"DequantizeLinear", &C::dequantize},
                                                       {"QLinearConv", &C::qlinear_conv},
                                                       {"QLinearMatMul", &C::qlinear_matmul}};
  return table;
}

Result<const OnnxConverter::Item*> OnnxConverter::item(const OnnxNode& node, size_t i) const {
  if (!has(node, i)) return fail(Code::invalid, "input {} is missing", i);
  auto at = items_.find(node.inputs[i]);
  if (at == items_.end()) return fail(Code::invalid, "input '{}' is never computed", printable(node.inputs[i]));
  return &at->second;
}

Result<ValueId> OnnxConverter::value(const OnnxNode& node, size_t i) {
  SKERRY_ASSIGN(const Item* found, item(node, i));
  if (found->id != graph::kNoValue) return found->id;
  ValueId id = graph::kNoValue;
  if (found->tensor != nullptr && found->tensor->type == graph::ElementType::f32) {
    const OnnxTensor& tensor = *found->tensor;
    id = builder_.constant({printable(node.inputs[i]), tensor.type, tensor.shape, std::nullopt, tensor.data});
  } else if (std::optional<Ints> known = known_ints(node, i)) {
    if (std::count(known->data.begin(), known->data.end(), kBatch) > 0) return fail(Code::unavailable, "computes with the batch size");
    id = builder_.constant(printable(node.inputs[i]), known->shape, std::vector<float>(known->data.begin(), known->data.end()));
  } else {
    return fail(Code::unavailable, "computes with '{}' of type {}", printable(node.inputs[i]), to_string(found->tensor->type));
  }
  items_[node.inputs[i]].id = id;
  return id;
}

Result<ValueId> OnnxConverter::optional_value(const OnnxNode& node, size_t i) {
  if (!has(node, i)) return graph::kNoValue;
  return value(node, i);
}

std::optional<Ints> OnnxConverter::known_ints(const OnnxNode& node, size_t i) const {
  Result<const Item*> found = item(node, i);
  if (!found) return std::nullopt;
  if ((*found)->ints) return (*found)->ints;
  const OnnxTensor* tensor = (*found)->tensor;
  if (tensor == nullptr || tensor->type == graph::ElementType::f32 || graph::elements(tensor->shape) > kIntsMax) return std::nullopt;
  return Ints{tensor->shape, tensor->ints()};
}

Result<std::vector<int64_t>> OnnxConverter::ints(const OnnxNode& node, size_t i) const {
  SKERRY_ASSIGN(const Item* unused, item(node, i));
  (void)unused;
  if (std::optional<Ints> known = known_ints(node, i)) return known->data;
  return fail(Code::unavailable, "needs '{}' to be known before the model runs", printable(node.inputs[i]));
}

Result<std::vector<float>> OnnxConverter::known_reals(const OnnxNode& node, size_t i) {
  SKERRY_ASSIGN(ValueId id, value(node, i));
  if (!builder_.is_constant(id)) return fail(Code::unavailable, "needs '{}' to be a constant", printable(node.inputs[i]));
  return graph::real_values(builder_.graph().value(id));
}

Result<std::vector<int64_t>> OnnxConverter::ints_or_attribute(const OnnxNode& node, size_t i, const std::string& attribute) const {
  if (has(node, i)) return ints(node, i);
  return node.integers(attribute);
}

Status OnnxConverter::set(const OnnxNode& node, size_t output, ValueId id, bool stored) {
  if (output >= node.outputs.size() || node.outputs[output].empty()) return {};
  if (items_.contains(node.outputs[output])) return fail(Code::invalid, "output '{}' is computed twice", printable(node.outputs[output]));
  items_[node.outputs[output]] = {id, std::nullopt, nullptr, stored};
  if (!maker_.contains(id)) maker_[id] = node.outputs[output];
  return {};
}

Status OnnxConverter::set(const OnnxNode& node, Ints ints) {
  if (node.outputs.empty()) return fail(Code::invalid, "has no output");
  if (items_.contains(node.outputs[0])) return fail(Code::invalid, "output '{}' is computed twice", printable(node.outputs[0]));
  items_[node.outputs[0]] = {graph::kNoValue, std::move(ints), nullptr, false};
  return {};
}

Status OnnxConverter::add(const OnnxNode& node, graph::Operation operation, std::vector<ValueId> inputs) {
  SKERRY_ASSIGN(ValueId id, builder_.add(node.name, std::move(operation), std::move(inputs)));
  return set(node, 0, id);
}

Status OnnxConverter::set_moved(const OnnxNode& node, ValueId id) {
  SKERRY_ASSIGN(const Item* x, item(node, 0));
  if (x->stored && !builder_.graph().value(id).quantization) return fail(Code::unavailable, "moves stored integers of different grids");
  return set(node, 0, id, x->stored);
}

Status OnnxConverter::add_moving(const OnnxNode& node, graph::Operation operation, std::vector<ValueId> inputs) {
  SKERRY_ASSIGN(ValueId id, builder_.add_moving(node.name, std::move(operation), std::move(inputs)));
  return set_moved(node, id);
}

Status OnnxConverter::add_inputs(BatchRule rule) {
  for (const OnnxValue& input : model_.inputs) {
    graph::Shape shape = input.shape;
    if (rule == BatchRule::free && !shape.empty() && shape[0] == 1) shape[0] = -1;
    if (input.type != graph::ElementType::f32 && input.type != graph::ElementType::i8 && input.type != graph::ElementType::u8) {
      return fail(Code::unavailable, "input '{}' is {}: float, int8 and uint8 inputs are supported", printable(input.name),
                  to_string(input.type));
    }
    if (items_.contains(input.name)) return fail(Code::invalid, "input '{}' is named twice", printable(input.name));
    if (std::find(shape.begin() + (shape.empty() ? 0 : 1), shape.end(), -1) != shape.end()) {
      return fail(Code::unavailable, "input '{}' has unknown dimensions {} beside the batch: fix them in the model", printable(input.name),
                  graph::to_string(shape));
    }
    if (shape.size() > graph::kRankMax || graph::elements(shape) < 0)
      return fail(Code::invalid, "input '{}' is too large", printable(input.name));
    ValueId id = builder_.input(printable(input.name), input.type, shape);
    items_[input.name] = {id, std::nullopt, nullptr, input.type != graph::ElementType::f32};
    maker_[id] = "";  // nothing is folded into an input
  }
  return {};
}

// Shape calculations: all operands are known integers.
Result<bool> OnnxConverter::fold(const OnnxNode& node) {
  IntsFold folded = ints_fold(node.type);
  if (folded == nullptr || node.inputs.empty()) return false;
  std::vector<std::optional<Ints>> operands;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    operands.push_back(has(node, i) ? known_ints(node, i) : std::nullopt);
    if (has(node, i) && !operands.back()) return false;
  }
  SKERRY_ASSIGN(Ints result, folded(node, operands));
  SKERRY_TRY(set(node, std::move(result)));
  return true;
}

Status OnnxConverter::convert_node(const OnnxNode& node) {
  auto handler = handlers().find(node.type);
  const bool standard = node.domain.empty() || node.domain == "ai.onnx";
  if (!standard || (handler == handlers().end() && ints_fold(node.type) == nullptr)) {
    return fail(Code::unavailable, "operator {} (opset {}{}{}) of node '{}' is not supported", node.type, model_.opset,
                standard ? "" : ", domain ", standard ? "" : node.domain, node.name);
  }
  auto named = [&](const Error& error) {
    if (error.message.starts_with("node '" + node.name + "'")) return error;
    return fail(error.code, "node '{}' ({}, opset {}): {}", node.name, node.type, model_.opset, error.message);
  };
  Result<bool> done = fold(node);
  if (!done) return named(done.error());
  if (*done) return {};
  if (handler == handlers().end()) {
    return named(fail(Code::unavailable, "is supported on numbers that are known before the model runs only"));
  }
  Status status = (this->*handler->second)(node);
  return status.ok() ? status : Status(named(status.error()));
}

Result<std::vector<ValueId>> OnnxConverter::outputs() {
  std::vector<ValueId> ids;
  for (const OnnxValue& output : model_.outputs) {
    auto at = items_.find(output.name);
    if (at == items_.end()) return fail(Code::invalid, "output '{}' is never computed", printable(output.name));
    if (at->second.id == graph::kNoValue || builder_.is_constant(at->second.id)) {
      return fail(Code::unavailable, "output '{}' is a constant", printable(output.name));
    }
    ValueId id = at->second.id;
    if (builder_.graph().value(id).quantization && !at->second.stored) {  // the file promises real numbers
      SKERRY_ASSIGN(id, builder_.add(printable(output.name), graph::Dequantize{}, {id}));
    }
    ids.push_back(id);
  }
  return ids;
}

Result<graph::Graph> OnnxConverter::convert(BatchRule rule) {
  rule_ = rule;
  for (const auto& [name, tensor] : model_.initializers) items_[name] = {graph::kNoValue, std::nullopt, &tensor, false};
  SKERRY_TRY(add_inputs(rule));
  for (const OnnxNode& node : model_.nodes) {
    for (const std::string& name : node.inputs) ++uses_[name];
  }
  for (const OnnxValue& output : model_.outputs) ++uses_[output.name];
  for (const OnnxNode& node : model_.nodes) {
    if (!done_.contains(&node)) SKERRY_TRY(convert_node(node));
  }
  SKERRY_ASSIGN(std::vector<ValueId> ids, outputs());
  return builder_.finish(std::move(ids));
}

Result<graph::Graph> from_onnx(std::span<const std::byte> file) {
  SKERRY_ASSIGN(OnnxModel model, parse_onnx(file));
  const bool one =
      std::any_of(model.inputs.begin(), model.inputs.end(), [](const OnnxValue& v) { return !v.shape.empty() && v.shape[0] == 1; });
  if (one) {
    Result<graph::Graph> free = OnnxConverter(model).convert(BatchRule::free);
    if (free.ok()) return free;
  }
  return OnnxConverter(model).convert(BatchRule::as_given);
}

}  // namespace skerry::inference::frontends
