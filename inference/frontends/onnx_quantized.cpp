#include <algorithm>
#include <cmath>

#include "inference/frontends/internal/onnx_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::ElementType;
using graph::kNoValue;
using graph::Quantization;
using graph::ValueId;

// The grid that a node states with two of its operands. `type`: of the zero point, uint8 when it is left out.
Result<Quantization> OnnxConverter::quantization(const OnnxNode& node, size_t scale, size_t zero_point, ElementType* type) {
  Quantization q;
  SKERRY_ASSIGN(q.scale, known_reals(node, scale));
  q.zero_point.assign(q.scale.size(), 0);
  if (type != nullptr) *type = ElementType::u8;
  if (!has(node, zero_point)) return q;
  SKERRY_ASSIGN(const Item* found, item(node, zero_point));
  SKERRY_ASSIGN(std::vector<int64_t> zeros, ints(node, zero_point));
  if (zeros.size() != q.scale.size()) return fail(Code::invalid, "has {} scales and {} zero points", q.scale.size(), zeros.size());
  for (size_t i = 0; i < zeros.size(); ++i) {
    if (zeros[i] < INT32_MIN || zeros[i] > INT32_MAX) return fail(Code::invalid, "has a zero point of {}", zeros[i]);
    q.zero_point[i] = static_cast<int32_t>(zeros[i]);
  }
  if (type != nullptr && found->tensor != nullptr) *type = found->tensor->type;
  return q;
}

namespace {

// Integers of a constant f32 value on a grid.
graph::Bytes stored(const graph::Value& value, const Quantization& q, ElementType type) {
  const std::vector<float> reals = graph::real_values(value);
  const float low = type == ElementType::i8 ? -128.0f : 0.0f, high = type == ElementType::i8 ? 127.0f : 255.0f;
  size_t inner = 1;
  for (size_t i = static_cast<size_t>(q.axis) + 1; i < value.shape.size(); ++i) inner *= static_cast<size_t>(value.shape[i]);
  auto bytes = std::make_shared<std::vector<std::byte>>(reals.size());
  for (size_t i = 0; i < reals.size(); ++i) {
    const size_t which = q.scale.size() > 1 ? i / inner % q.scale.size() : 0;
    const float steps = std::nearbyint(reals[i] / q.scale[which]) + static_cast<float>(q.zero_point[which]);
    (*bytes)[i] = static_cast<std::byte>(static_cast<int>(std::isnan(steps) ? 0.0f : std::clamp(steps, low, high)));
  }
  return bytes;
}

Status check_grid(const Quantization& q, const graph::Shape& shape) {
  for (float scale : q.scale) {
    if (!(scale > 0) || !std::isfinite(scale)) return fail(Code::invalid, "has a scale of {}", scale);
  }
  if (q.scale.size() == 1) return {};
  const bool fits = q.axis >= 0 && static_cast<size_t>(q.axis) < shape.size() &&
                    shape[static_cast<size_t>(q.axis)] == static_cast<int64_t>(q.scale.size());
  return fits ? Status() : Status(fail(Code::invalid, "has {} scales on axis {} of {}", q.scale.size(), q.axis, graph::to_string(shape)));
}

}  // namespace

// What computed the value rounds to the grid itself, unless somebody else needs the value as it was.
Status OnnxConverter::quantize(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  ElementType type = ElementType::u8;
  SKERRY_ASSIGN(Quantization q, quantization(node, 1, 2, &type));
  if (type != ElementType::i8 && type != ElementType::u8)
    return fail(Code::unavailable, "quantizes to {}: int8 and uint8 are supported", to_string(type));
  if (q.scale.size() > 1) {
    SKERRY_ASSIGN(int64_t axis, normal_axis(node.integer("axis", 1), builder_.rank(x)));
    q.axis = static_cast<int32_t>(axis);
  }
  SKERRY_TRY(check_grid(q, builder_.shape(x)));
  graph::Value& from = builder_.graph().value(x);
  if (from.is_constant()) {
    graph::Value constant{from.name, type, from.shape, q, stored(from, q, type)};
    return set(node, 0, builder_.constant(std::move(constant)), true);
  }
  if (!from.quantization && maker_[x] == node.inputs[0] && uses_[node.inputs[0]] == 1) {
    from.type = type;
    from.quantization = std::move(q);
    return set(node, 0, x, true);
  }
  if (from.quantization == q && from.type == type) return set(node, 0, x, true);
  return set(node, 0, builder_.quantize(node.name, x, type, std::move(q)), true);
}

Result<ValueId> OnnxConverter::on_grid(const OnnxNode& node, size_t x, size_t scale, size_t zero_point, int64_t axis) {
  SKERRY_ASSIGN(const Item* found, item(node, x));
  SKERRY_ASSIGN(Quantization q, quantization(node, scale, zero_point));
  if (found->id == kNoValue) {
    if (found->tensor == nullptr) return fail(Code::unavailable, "dequantizes calculated integers");
    const OnnxTensor& tensor = *found->tensor;
    if (tensor.type != ElementType::i8 && tensor.type != ElementType::u8 && tensor.type != ElementType::i32) {
      return fail(Code::invalid, "dequantizes '{}' of type {}", printable(tensor.name), to_string(tensor.type));
    }
    if (q.scale.size() > 1) {
      SKERRY_ASSIGN(int64_t at, normal_axis(axis, static_cast<int64_t>(tensor.shape.size())));
      q.axis = static_cast<int32_t>(at);
    }
    SKERRY_TRY(check_grid(q, tensor.shape));
    return builder_.constant({printable(node.inputs[x]), tensor.type, tensor.shape, std::move(q), tensor.data});
  }
  graph::Value& value = builder_.graph().value(found->id);
  if (!found->stored) return fail(Code::invalid, "dequantizes '{}', which holds real numbers", printable(node.inputs[x]));
  if (!value.quantization) {  // an input of the model: its grid is stated here
    SKERRY_TRY(check_grid(q, value.shape));
    value.quantization = std::move(q);
    return found->id;
  }
  if (q.scale.size() > 1) q.axis = value.quantization->axis;
  if (*value.quantization != q) {
    return fail(Code::unavailable, "reads '{}' on another grid than it was written on", printable(node.inputs[x]));
  }
  return found->id;
}

// Operations see quantized values as the real numbers that they stand for: nothing is computed here.
Status OnnxConverter::dequantize(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId id, on_grid(node, 0, 1, 2, node.integer("axis", 1)));
  return set(node, 0, id);
}

// x, scale, zero, weights, scale, zero, y's scale, zero, bias (int32 at x's scale times the weights')
Status OnnxConverter::qlinear_conv(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, on_grid(node, 0, 1, 2, 1));
  SKERRY_ASSIGN(ValueId weights, on_grid(node, 3, 4, 5, 0));
  ElementType type = ElementType::u8;
  SKERRY_ASSIGN(Quantization y, quantization(node, 6, 7, &type));
  ValueId bias = kNoValue;
  if (has(node, 8)) {
    SKERRY_ASSIGN(const Item* found, item(node, 8));
    if (found->tensor == nullptr || found->tensor->type != ElementType::i32)
      return fail(Code::unavailable, "has a bias that is no int32 constant");
    Quantization q = *builder_.graph().value(weights).quantization;
    for (float& scale : q.scale) scale *= builder_.graph().value(x).quantization->scale[0];
    q.zero_point.assign(q.scale.size(), 0);
    q.axis = 0;
    bias = builder_.constant({printable(node.inputs[8]), ElementType::i32, found->tensor->shape, std::move(q), found->tensor->data});
  }
  const graph::Shape& w = builder_.shape(weights);
  if (w.size() < 3) return fail(Code::invalid, "has weights of {}", graph::to_string(w));
  SKERRY_ASSIGN(WindowSpec spec, window(node, x, {w.begin() + 2, w.end()}));
  graph::Conv op{spec.strides, spec.dilations, spec.pads_begin, spec.pads_end, node.integer("group", 1)};
  SKERRY_ASSIGN(ValueId id, builder_.add(node.name, op, {x, weights, bias}));
  if (builder_.is_constant(id)) return fail(Code::unavailable, "is a constant");
  builder_.graph().value(id).type = type;
  builder_.graph().value(id).quantization = std::move(y);
  return set(node, 0, id, true);
}

// a, scale, zero, b, scale, zero, y's scale, zero
Status OnnxConverter::qlinear_matmul(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId a, on_grid(node, 0, 1, 2, 1));
  SKERRY_ASSIGN(ValueId b, on_grid(node, 3, 4, 5, 1));
  ElementType type = ElementType::u8;
  SKERRY_ASSIGN(Quantization y, quantization(node, 6, 7, &type));
  ValueId id = kNoValue;
  if (builder_.is_constant(b) && builder_.rank(b) == 2) {
    SKERRY_ASSIGN(b, builder_.transpose(node.name + ".weights", b, {1, 0}));
    SKERRY_ASSIGN(id, builder_.add(node.name, graph::Linear{}, {a, b, kNoValue}));
  } else {
    SKERRY_ASSIGN(id, builder_.add(node.name, graph::MatMul{}, {a, b}));
  }
  if (builder_.is_constant(id)) return fail(Code::unavailable, "is a constant");
  builder_.graph().value(id).type = type;
  builder_.graph().value(id).quantization = std::move(y);
  return set(node, 0, id, true);
}

}  // namespace skerry::inference::frontends
