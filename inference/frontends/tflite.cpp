#include "inference/frontends/tflite.h"

#include <algorithm>
#include <cstring>

#include "inference/frontends/internal/tflite_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::ElementType;
using graph::kNoValue;
using graph::ValueId;

namespace {

const std::vector<int64_t> kToChannelsFirst = {0, 3, 1, 2}, kToChannelsLast = {0, 2, 3, 1};

// IEEE 754 binary16 to binary32.
float widened(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half >> 15) << 31, exponent = (half >> 10) & 31, fraction = half & 1023;
  if (exponent == 0) return (sign != 0 ? -1.0f : 1.0f) * static_cast<float>(fraction) * 0x1p-24f;
  const uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | (fraction << 13);
  float out = 0;
  std::memcpy(&out, &bits, sizeof(out));
  return out;
}

graph::Bytes widened(std::span<const std::byte> halves) {
  auto bytes = std::make_shared<std::vector<std::byte>>(halves.size() * 2);
  for (size_t i = 0; i + 1 < halves.size(); i += 2) {
    uint16_t half = 0;
    std::memcpy(&half, halves.data() + i, sizeof(half));
    const float value = widened(half);
    std::memcpy(bytes->data() + 2 * i, &value, sizeof(value));
  }
  return bytes;
}

Result<ElementType> element_type(const TfliteTensor& tensor) {
  switch (tensor.type) {
    case TfliteType::f32:
    case TfliteType::f16:
      return ElementType::f32;
    case TfliteType::i8:
      return ElementType::i8;
    case TfliteType::u8:
      return ElementType::u8;
    case TfliteType::i32:
      return ElementType::i32;
    default:
      return fail(Code::unavailable, "computes with '{}', whose type is not supported (float, int8, uint8 are)", tensor.name);
  }
}

}  // namespace

const std::map<int32_t, TfliteConverter::Handler>& TfliteConverter::handlers() {
  using C = TfliteConverter;
  static const std::map<int32_t, Handler> table = {{kConv2d, &C::conv},
                                                   {kDepthwiseConv2d, &C::conv},
                                                   {kAveragePool2d, &C::pool},
                                                   {kMaxPool2d, &C::pool},
                                                   {kFullyConnected, &C::fully_connected},
                                                   {kBatchMatMul, &C::batch_matmul},
                                                   {kRelu, &C::activation},
                                                   {kReluN1To1, &C::activation},
                                                   {kRelu6, &C::activation},
                                                   {kLogistic, &C::activation},
                                                   {kTanh, &C::activation},
                                                   {kHardSwish, &C::activation},
                                                   {kLeakyRelu, &C::activation},
                                                   {kElu, &C::activation},
                                                   {kGelu, &C::activation},
                                                   {kPrelu, &C::prelu},
                                                   {kAdd, &C::binary},
                                                   {kSub, &C::binary},
                                                   {kMul, &C::binary},
                                                   {kDiv, &C::binary},
                                                   {kMaximum, &C::binary},
                                                   {kMinimum, &C::binary},
                                                   {kPow, &C::binary},
                                                   {kSquaredDifference, &C::binary},
                                                   {kExp, &C::unary},
                                                   {kLog, &C::unary},
                                                   {kSqrt, &C::unary},
                                                   {kRsqrt, &C::unary},
                                                   {kNeg, &C::unary},
                                                   {kAbs, &C::unary},
                                                   {kSquare, &C::unary},
                                                   {kSoftmax, &C::softmax},
                                                   {kLogSoftmax, &C::softmax},
                                                   {kMean, &C::reduce},
                                                   {kSum, &C::reduce},
                                                   {kReduceMax, &C::reduce},
                                                   {kConcatenation, &C::concat},
                                                   {kPad, &C::pad},
                                                   {kPadV2, &C::pad},
                                                   {kReshape, &C::reshape},
                                                   {kSqueeze, &C::reshape},
                                                   {kExpandDims, &C::reshape},
                                                   {kTranspose, &C::transpose},
                                                   {kSlice, &C::slice},
                                                   {kStridedSlice, &C::strided_slice},
                                                   {kSplit, &C::split},
                                                   {kSplitV, &C::split},
                                                   {kQuantize, &C::quantize},
                                                   {kDequantize, &C::dequantize},
                                                   {kShape, &C::shape_calculation},
                                                   {kSequenceLstm, &C::lstm}};
  return table;
}

std::string TfliteConverter::name_of(const TfliteOperator& op) const {
  return op.outputs.empty() || op.outputs[0] < 0 ? tflite_name(op.code) : tensor(static_cast<size_t>(op.outputs[0])).name;
}

Result<size_t> TfliteConverter::operand(const TfliteOperator& op, size_t i) const {
  if (!has(op, i)) return fail(Code::invalid, "input {} is missing", i);
  return static_cast<size_t>(op.inputs[i]);
}

Result<const TfliteTensor*> TfliteConverter::result(const TfliteOperator& op) const {
  if (op.outputs.empty() || op.outputs[0] < 0) return fail(Code::invalid, "has no output");
  return &tensor(static_cast<size_t>(op.outputs[0]));
}

Result<ValueId> TfliteConverter::constant(size_t index) {
  const TfliteTensor& from = tensor(index);
  SKERRY_ASSIGN(ElementType type, element_type(from));
  const size_t factor = from.type == TfliteType::f16 ? 2 : 1;
  SKERRY_TRY(builder_.take(from.data.size() * factor));
  graph::Bytes bytes = factor == 2 ? widened(from.data) : std::make_shared<std::vector<std::byte>>(from.data.begin(), from.data.end());
  graph::Shape shape = from.shape;
  std::replace(shape.begin(), shape.end(), int64_t{-1}, int64_t{1});
  return builder_.constant({from.name, type, std::move(shape), from.quantization, std::move(bytes)});
}

Result<ValueId> TfliteConverter::plain(size_t index) {
  Item& item = items_[index];
  if (item.plain != kNoValue) return item.plain;
  if (item.channels_first != kNoValue) {
    SKERRY_ASSIGN(item.plain, builder_.transpose(tensor(index).name + ".last", item.channels_first, kToChannelsLast));
    return item.plain;
  }
  if (tensor(index).data.empty()) return fail(Code::invalid, "input '{}' is never computed", tensor(index).name);
  SKERRY_ASSIGN(item.plain, constant(index));
  return item.plain;
}

Result<ValueId> TfliteConverter::channels_first(size_t index) {
  if (items_[index].channels_first != kNoValue) return items_[index].channels_first;
  SKERRY_ASSIGN(ValueId from, plain(index));
  if (builder_.rank(from) != 4)
    return fail(Code::invalid, "'{}' is {}, not an image", tensor(index).name, graph::to_string(builder_.shape(from)));
  SKERRY_ASSIGN(items_[index].channels_first, builder_.transpose(tensor(index).name + ".first", from, kToChannelsFirst));
  return items_[index].channels_first;
}

Result<std::vector<int64_t>> TfliteConverter::ints(const TfliteOperator& op, size_t i) const {
  SKERRY_ASSIGN(size_t index, operand(op, i));
  const TfliteTensor& from = tensor(index);
  constexpr size_t kMost = 4096;
  if (from.data.empty()) return fail(Code::unavailable, "needs '{}' to be known before the model runs", from.name);
  std::vector<int64_t> out;
  if (from.type == TfliteType::i64) {
    if (from.data.size() / sizeof(int64_t) > kMost) return fail(Code::invalid, "has too many integers");
    out.resize(from.data.size() / sizeof(int64_t));
    std::memcpy(out.data(), from.data.data(), out.size() * sizeof(int64_t));
    return out;
  }
  if (from.type != TfliteType::i32 || from.data.size() / sizeof(int32_t) > kMost)
    return fail(Code::invalid, "'{}' is no short list of integers", from.name);
  std::vector<int32_t> narrow(from.data.size() / sizeof(int32_t));
  std::memcpy(narrow.data(), from.data.data(), narrow.size() * sizeof(int32_t));
  out.assign(narrow.begin(), narrow.end());
  return out;
}

Status TfliteConverter::set(const TfliteOperator& op, size_t o, ValueId id, bool channels_first) {
  if (o >= op.outputs.size() || op.outputs[o] < 0) return fail(Code::invalid, "has no output {}", o);
  const size_t index = static_cast<size_t>(op.outputs[o]);
  const TfliteTensor& declared = tensor(index);
  Item& item = items_[index];
  if (item.plain != kNoValue || item.channels_first != kNoValue || !declared.data.empty()) {
    return fail(Code::invalid, "output '{}' is computed twice", declared.name);
  }
  const bool on_grid = declared.quantization && (declared.type == TfliteType::i8 || declared.type == TfliteType::u8);
  if (!on_grid && declared.type != TfliteType::f32)
    return fail(Code::unavailable, "gives '{}', which is neither float nor quantized", declared.name);
  if (on_grid && !builder_.is_constant(id)) {
    SKERRY_ASSIGN(ElementType type, element_type(declared));
    graph::Graph& graph = builder_.graph();
    graph::Value& value = graph.value(id);
    const bool fresh = !graph.nodes.empty() && graph.nodes.back().outputs[0] == id;
    if (!value.quantization && fresh) {
      value.type = type;
      value.quantization = declared.quantization;
    } else if (value.quantization != declared.quantization || value.type != type) {
      id = builder_.quantize(declared.name, id, type, *declared.quantization);
    }
  }
  (channels_first ? item.channels_first : item.plain) = id;
  return {};
}

Result<graph::ActivationSpec> TfliteConverter::fused(const TfliteOperator& op) const {
  switch (op.options.activation) {
    case TfliteActivation::none:
      return graph::ActivationSpec{};
    case TfliteActivation::relu:
      return graph::ActivationSpec{graph::Activation::relu};
    case TfliteActivation::relu6:
      return graph::ActivationSpec{graph::Activation::relu6};
    case TfliteActivation::relu_n1_to_1:
      return graph::ActivationSpec{graph::Activation::clip, -1, 1};
    case TfliteActivation::tanh:
      return graph::ActivationSpec{graph::Activation::tanh};
    default:
      return fail(Code::unavailable, "has an unknown fused activation");
  }
}

Result<ValueId> TfliteConverter::activated(const TfliteOperator& op, ValueId id) {
  SKERRY_ASSIGN(graph::ActivationSpec spec, fused(op));
  if (spec.kind == graph::Activation::none) return id;
  return builder_.add(name_of(op), graph::Activate{spec}, {id});
}

Status TfliteConverter::convert_operator(const TfliteOperator& op) {
  auto handler = handlers().find(op.code);
  const bool calculates = has(op, 0) && items_[static_cast<size_t>(op.inputs[0])].calculation;
  if (!calculates && handler == handlers().end() && op.code != kPack) {
    return fail(Code::unavailable, "operator {} of '{}' is not supported", tflite_name(op.code), name_of(op));
  }
  const bool shapes_only = calculates || op.code == kPack;
  Status status = shapes_only ? shape_calculation(op) : (this->*handler->second)(op);
  if (status.ok() || status.error().message.starts_with("node '" + name_of(op) + "'")) return status;
  return fail(status.error().code, "node '{}' ({}): {}", name_of(op), tflite_name(op.code), status.error().message);
}

Result<graph::Graph> TfliteConverter::convert(bool free_batch) {
  for (int32_t index : model_.inputs) {
    const TfliteTensor& from = tensor(static_cast<size_t>(index));
    graph::Shape shape = from.shape;
    if (free_batch && !shape.empty() && shape[0] == 1) shape[0] = -1;
    if (shape.size() > graph::kRankMax || std::find(shape.begin() + (shape.empty() ? 0 : 1), shape.end(), -1) != shape.end()) {
      return fail(Code::unavailable, "input '{}' {}: only the first dimension may be unknown", from.name, graph::to_string(from.shape));
    }
    SKERRY_ASSIGN(ElementType type, element_type(from));
    if (type == ElementType::i32 || (type != ElementType::f32 && !from.quantization)) {
      return fail(Code::unavailable, "input '{}' holds integers without a quantization", from.name);
    }
    if (items_[static_cast<size_t>(index)].plain != kNoValue || !from.data.empty())
      return fail(Code::invalid, "input '{}' is named twice", from.name);
    ValueId id = builder_.input(from.name, type, std::move(shape));
    builder_.graph().value(id).quantization = from.quantization;
    items_[static_cast<size_t>(index)].plain = id;
  }
  for (const TfliteOperator& op : model_.operators) SKERRY_TRY(convert_operator(op));
  std::vector<ValueId> outputs;
  for (int32_t index : model_.outputs) {
    SKERRY_ASSIGN(ValueId id, plain(static_cast<size_t>(index)));
    const TfliteTensor& declared = tensor(static_cast<size_t>(index));
    if (builder_.is_constant(id)) return fail(Code::unavailable, "output '{}' is a constant", declared.name);
    if (declared.type == TfliteType::f32 && builder_.graph().value(id).quantization) {
      SKERRY_ASSIGN(id, builder_.add(declared.name, graph::Dequantize{}, {id}));
    }
    outputs.push_back(id);
  }
  return builder_.finish(std::move(outputs));
}

Result<graph::Graph> from_tflite(std::span<const std::byte> file) {
  std::vector<std::byte> aligned(file.begin(), file.end());  // as allocators align; the caller's bytes may lie anywhere
  SKERRY_ASSIGN(TfliteModel model, parse_tflite(aligned));
  const bool one = std::any_of(model.inputs.begin(), model.inputs.end(), [&](int32_t i) {
    const graph::Shape& shape = model.tensors[static_cast<size_t>(i)].shape;
    return !shape.empty() && shape[0] == 1;
  });
  if (one) {
    Result<graph::Graph> free = TfliteConverter(model).convert(true);
    if (free.ok()) return free;
  }
  return TfliteConverter(model).convert(false);
}

}  // namespace skerry::inference::frontends
