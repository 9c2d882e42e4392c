#include <algorithm>

#include "inference/frontends/internal/tflite_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::Activation;
using graph::Binary;
using graph::ElementType;
using graph::kNoValue;
using graph::Shape;
using graph::Unary;
using graph::ValueId;

namespace {
constexpr int64_t kEnd = INT64_MAX;
const int64_t kAxisFirst[] = {0, 2, 3, 1};  // where axis i of [n, h, w, c] lies in [n, c, h, w]
}  // namespace

Result<ValueId> TfliteConverter::weights(const TfliteOperator& op, size_t i, std::vector<int64_t> permutation) {
  SKERRY_ASSIGN(size_t x, operand(op, 0));
  SKERRY_ASSIGN(size_t index, operand(op, i));
  SKERRY_ASSIGN(ValueId id, plain(index));
  if (!builder_.is_constant(id)) return fail(Code::unavailable, "has weights that are computed");
  if (tensor(x).type == TfliteType::f32) {
    SKERRY_ASSIGN(id, builder_.dequantized(id));
  }
  return builder_.transpose(tensor(index).name, id, std::move(permutation));
}

// An int32 bias counts in steps of the input's scale times the weights'; old files leave that unsaid.
Result<ValueId> TfliteConverter::bias(const TfliteOperator& op, size_t i, ValueId x, ValueId w) {
  if (!has(op, i)) return kNoValue;
  SKERRY_ASSIGN(size_t index, operand(op, i));
  SKERRY_ASSIGN(ValueId id, plain(index));
  graph::Graph& graph = builder_.graph();
  graph::Value& value = graph.value(id);
  if (value.type != ElementType::i32 || value.quantization || !graph.value(x).quantization || !graph.value(w).quantization) return id;
  graph::Quantization q = *graph.value(w).quantization;
  for (float& scale : q.scale) scale *= graph.value(x).quantization->scale[0];
  q.zero_point.assign(q.scale.size(), 0);
  q.axis = 0;
  value.quantization = std::move(q);
  return id;
}

Status TfliteConverter::window(const TfliteOperator& op, ValueId x, WindowSpec& spec) const {
  spec.strides = {op.options.stride_h, op.options.stride_w};
  spec.dilations = {op.options.dilation_h, op.options.dilation_w};
  spec.pads_begin = spec.pads_end = {0, 0};
  return op.options.same_padding ? pad_same(spec, builder_.shape(x)) : Status();
}

Status TfliteConverter::conv(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, channels_first(index));
  const bool depthwise = op.code == kDepthwiseConv2d;
  SKERRY_ASSIGN(ValueId w, weights(op, 1, depthwise ? std::vector<int64_t>{3, 0, 1, 2} : std::vector<int64_t>{0, 3, 1, 2}));
  SKERRY_ASSIGN(ValueId b, bias(op, 2, x, w));
  const Shape& shape = builder_.shape(w);
  const int64_t channels = builder_.shape(x)[1];
  if (shape.size() != 4 || (depthwise && shape[1] != 1) || channels % shape[1] != 0) {
    return fail(Code::invalid, "has weights of {} for {} channels", graph::to_string(shape), channels);
  }
  WindowSpec spec;
  spec.kernel = {shape[2], shape[3]};
  SKERRY_TRY(window(op, x, spec));
  SKERRY_ASSIGN(graph::ActivationSpec activation, fused(op));
  graph::Conv conv{spec.strides, spec.dilations, spec.pads_begin, spec.pads_end, channels / shape[1], activation};
  SKERRY_ASSIGN(ValueId id, builder_.add(name_of(op), conv, {x, w, b}));
  return set(op, 0, id, true);
}

Status TfliteConverter::pool(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, channels_first(index));
  WindowSpec spec;
  spec.kernel = {op.options.filter_h, op.options.filter_w};
  SKERRY_TRY(window(op, x, spec));
  const bool max = op.code == kMaxPool2d;
  graph::Pool pool{max ? graph::Pool::Kind::max : graph::Pool::Kind::average, spec.kernel, spec.strides, spec.pads_begin, spec.pads_end};
  Result<ValueId> pooled = max ? builder_.add_moving(name_of(op), pool, {x}) : builder_.add(name_of(op), pool, {x});
  SKERRY_ASSIGN(ValueId id, std::move(pooled));
  SKERRY_ASSIGN(id, activated(op, id));
  return set(op, 0, id, true);
}

Status TfliteConverter::fully_connected(const TfliteOperator& op) {
  if (op.options.shuffled_weights) return fail(Code::unavailable, "has shuffled weights");
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, plain(index));
  SKERRY_ASSIGN(ValueId w, weights(op, 1, {0, 1}));
  SKERRY_ASSIGN(ValueId b, bias(op, 2, x, w));
  if (builder_.rank(w) != 2) return fail(Code::invalid, "has weights of {}", graph::to_string(builder_.shape(w)));
  const int64_t width = builder_.shape(w)[1];
  if (!op.options.keep_dimensions && builder_.rank(x) != 2) {  // rows of as many numbers as the weights take
    const bool unknown = std::count(builder_.shape(x).begin(), builder_.shape(x).end(), -1) > 0;
    Shape rows = {-1, width};
    if (!unknown) rows[0] = std::max<int64_t>(1, graph::elements(builder_.shape(x)) / width);
    SKERRY_ASSIGN(x, builder_.reshape(name_of(op) + ".rows", x, rows));
  }
  SKERRY_ASSIGN(graph::ActivationSpec activation, fused(op));
  SKERRY_ASSIGN(ValueId id, builder_.add(name_of(op), graph::Linear{activation}, {x, w, b}));
  return set(op, 0, id, false);
}

Status TfliteConverter::batch_matmul(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t first, operand(op, 0));
  SKERRY_ASSIGN(size_t second, operand(op, 1));
  SKERRY_ASSIGN(ValueId a, plain(first));
  SKERRY_ASSIGN(ValueId b, plain(second));
  auto turned = [&](ValueId id) -> Result<ValueId> {
    std::vector<int64_t> permutation;
    for (int64_t axis = 0; axis < builder_.rank(id); ++axis) permutation.push_back(axis);
    if (permutation.size() < 2) return fail(Code::invalid, "takes no matrix");
    std::swap(permutation[permutation.size() - 1], permutation[permutation.size() - 2]);
    return builder_.transpose(name_of(op) + ".turned", id, permutation);
  };
  if (op.options.adjoint_x) {
    SKERRY_ASSIGN(a, turned(a));
  }
  if (op.options.adjoint_y) {
    SKERRY_ASSIGN(b, turned(b));
  }
  SKERRY_ASSIGN(ValueId id, builder_.add(name_of(op), graph::MatMul{}, {a, b}));
  return set(op, 0, id, false);
}

Status TfliteConverter::activation(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  const bool first = is_channels_first(index);
  SKERRY_ASSIGN(ValueId x, native(index));
  graph::ActivationSpec spec;
  switch (op.code) {
    case kRelu:
      spec = {Activation::relu};
      break;
    case kRelu6:
      spec = {Activation::relu6};
      break;
    case kReluN1To1:
      spec = {Activation::clip, -1, 1};
      break;
    case kLogistic:
      spec = {Activation::sigmoid};
      break;
    case kTanh:
      spec = {Activation::tanh};
      break;
    case kHardSwish:
      spec = {Activation::hard_swish};
      break;
    case kLeakyRelu:
      spec = {Activation::leaky_relu, op.options.alpha};
      break;
    case kElu:
      spec = {Activation::elu, 1};
      break;
    default:
      if (op.options.approximate) return fail(Code::unavailable, "is approximated with tanh");
      spec = {Activation::gelu};
  }
  SKERRY_ASSIGN(ValueId id, builder_.add(name_of(op), graph::Activate{spec}, {x}));
  return set(op, 0, id, first);
}

// max(x, 0) + slope min(x, 0)
Status TfliteConverter::prelu(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(size_t slopes, operand(op, 1));
  SKERRY_ASSIGN(ValueId x, plain(index));
  SKERRY_ASSIGN(ValueId slope, plain(slopes));
  const std::string name = name_of(op);
  SKERRY_ASSIGN(ValueId positive, builder_.add(name + ".positive", graph::Activate{{Activation::relu}}, {x}));
  SKERRY_ASSIGN(ValueId negative, builder_.add(name + ".negative", Binary{Binary::Kind::min}, {x, builder_.constant("zero", {1}, {0})}));
  SKERRY_ASSIGN(ValueId sloped, builder_.add(name + ".sloped", Binary{Binary::Kind::mul}, {negative, slope}));
  SKERRY_ASSIGN(ValueId id, builder_.add(name, Binary{}, {positive, sloped}));
  return set(op, 0, id, false);
}

Status TfliteConverter::binary(const TfliteOperator& op) {
  static const std::map<int32_t, Binary::Kind> kinds = {
      {kAdd, Binary::Kind::add},     {kSub, Binary::Kind::sub},     {kMul, Binary::Kind::mul}, {kDiv, Binary::Kind::div},
      {kMaximum, Binary::Kind::max}, {kMinimum, Binary::Kind::min}, {kPow, Binary::Kind::pow}, {kSquaredDifference, Binary::Kind::sub}};
  SKERRY_ASSIGN(size_t left, operand(op, 0));
  SKERRY_ASSIGN(size_t right, operand(op, 1));
  const bool images = tensor(left).shape.size() == 4 && tensor(right).shape.size() == 4;
  const bool first = images && (is_channels_first(left) || is_channels_first(right));
  Result<ValueId> from_left = first ? channels_first(left) : plain(left), from_right = first ? channels_first(right) : plain(right);
  SKERRY_ASSIGN(ValueId a, std::move(from_left));
  SKERRY_ASSIGN(ValueId b, std::move(from_right));
  if (builder_.graph().value(a).type == ElementType::i32 || builder_.graph().value(b).type == ElementType::i32)
    return fail(Code::unavailable, "computes with integers");
  SKERRY_ASSIGN(graph::ActivationSpec activation, fused(op));
  SKERRY_ASSIGN(ValueId id, builder_.add(name_of(op), Binary{kinds.at(op.code), activation}, {a, b}));
  if (op.code == kSquaredDifference) {
    SKERRY_ASSIGN(id, builder_.add(name_of(op), Binary{Binary::Kind::mul}, {id, id}));
  }
  return set(op, 0, id, first);
}

Status TfliteConverter::unary(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  const bool first = is_channels_first(index);
  SKERRY_ASSIGN(ValueId x, native(index));
  ValueId id = kNoValue;
  if (op.code == kSquare) {
    SKERRY_ASSIGN(id, builder_.add(name_of(op), Binary{Binary::Kind::mul}, {x, x}));
    return set(op, 0, id, first);
  }
  static const std::map<int32_t, Unary::Kind> kinds = {{kExp, Unary::Kind::exp},    {kLog, Unary::Kind::log}, {kSqrt, Unary::Kind::sqrt},
                                                       {kRsqrt, Unary::Kind::sqrt}, {kNeg, Unary::Kind::neg}, {kAbs, Unary::Kind::abs}};
  SKERRY_ASSIGN(id, builder_.add(name_of(op), Unary{kinds.at(op.code)}, {x}));
  if (op.code == kRsqrt) {
    SKERRY_ASSIGN(id, builder_.add(name_of(op), Unary{Unary::Kind::reciprocal}, {id}));
  }
  return set(op, 0, id, first);
}

Status TfliteConverter::softmax(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, plain(index));
  if (op.code == kSoftmax && op.options.beta != 1) {
    ValueId beta = builder_.constant("beta", {1}, {op.options.beta});
    SKERRY_ASSIGN(x, builder_.add(name_of(op) + ".beta", Binary{Binary::Kind::mul}, {x, beta}));
  }
  SKERRY_ASSIGN(ValueId id, builder_.add(name_of(op), graph::Softmax{-1, op.code == kLogSoftmax}, {x}));
  return set(op, 0, id, false);
}

Status TfliteConverter::reduce(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(std::vector<int64_t> axes, ints(op, 1));
  for (int64_t& axis : axes) {
    SKERRY_ASSIGN(axis, normal_axis(axis, static_cast<int64_t>(tensor(index).shape.size())));
  }
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  // Without the dimensions that are reduced, the order of the others must be the file's.
  const bool keep = op.options.keep_dimensions, whole_planes = axes == std::vector<int64_t>{1, 2};
  const bool first = is_channels_first(index) && (keep || whole_planes);
  Result<ValueId> from = first ? channels_first(index) : plain(index);
  SKERRY_ASSIGN(ValueId x, std::move(from));
  if (first) {
    for (int64_t& axis : axes) axis = kAxisFirst[axis];
    std::sort(axes.begin(), axes.end());
  }
  const graph::Reduce::Kind kind = op.code == kMean  ? graph::Reduce::Kind::mean
                                   : op.code == kSum ? graph::Reduce::Kind::sum
                                                     : graph::Reduce::Kind::max;
  SKERRY_ASSIGN(ValueId id, builder_.add(name_of(op), graph::Reduce{kind, axes, keep}, {x}));
  return set(op, 0, id, first && keep);
}

Status TfliteConverter::concat(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t head, operand(op, 0));
  SKERRY_ASSIGN(int64_t axis, normal_axis(op.options.axis, static_cast<int64_t>(tensor(head).shape.size())));
  bool first = false;
  for (int32_t index : op.inputs) first = first || (index >= 0 && is_channels_first(static_cast<size_t>(index)));
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    SKERRY_ASSIGN(size_t index, operand(op, i));
    Result<ValueId> form = first ? channels_first(index) : plain(index);
    SKERRY_ASSIGN(ValueId id, std::move(form));
    inputs.push_back(id);
  }
  if (first && axis > 3) return fail(Code::invalid, "joins along axis {}", axis);
  SKERRY_ASSIGN(ValueId id, builder_.add_moving(name_of(op), graph::Concat{first ? kAxisFirst[axis] : axis}, inputs));
  SKERRY_ASSIGN(id, activated(op, id));
  return set(op, 0, id, first);
}

Status TfliteConverter::pad(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  const bool first = is_channels_first(index);
  SKERRY_ASSIGN(ValueId x, native(index));
  SKERRY_ASSIGN(std::vector<int64_t> pairs, ints(op, 1));
  const size_t rank = builder_.shape(x).size();
  if (pairs.size() != 2 * rank) return fail(Code::invalid, "has {} paddings for {} dimensions", pairs.size(), rank);
  graph::Pad pad{std::vector<int64_t>(rank), std::vector<int64_t>(rank)};
  for (size_t i = 0; i < rank; ++i) {
    const size_t to = first ? static_cast<size_t>(kAxisFirst[i]) : i;
    pad.begin[to] = pairs[2 * i];
    pad.end[to] = pairs[2 * i + 1];
  }
  if (has(op, 2)) {
    SKERRY_ASSIGN(size_t fill, operand(op, 2));
    SKERRY_ASSIGN(ValueId value, plain(fill));
    if (!builder_.is_constant(value) || graph::elements(builder_.shape(value)) != 1)
      return fail(Code::unavailable, "fills with a computed value");
    SKERRY_ASSIGN(value, builder_.dequantized(value));
    pad.value = graph::real_values(builder_.graph().value(value))[0];
  }
  SKERRY_ASSIGN(ValueId id, builder_.add_moving(name_of(op), pad, {x}));
  return set(op, 0, id, first);
}

Status TfliteConverter::reshape_to(const TfliteOperator& op, ValueId x, const Shape& declared) {
  SKERRY_ASSIGN(Shape target, builder_.reshape_target(x, declared));
  SKERRY_ASSIGN(ValueId id, builder_.reshape(name_of(op), x, std::move(target)));
  return set(op, 0, id, false);
}

// Every tensor says its shape: what the operator is told about it by others need not be known.
Status TfliteConverter::reshape(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, plain(index));
  SKERRY_ASSIGN(const TfliteTensor* declared, result(op));
  return reshape_to(op, x, declared->shape);
}

Status TfliteConverter::transpose(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, plain(index));
  SKERRY_ASSIGN(std::vector<int64_t> permutation, ints(op, 1));
  SKERRY_ASSIGN(ValueId id, builder_.transpose(name_of(op), x, std::move(permutation)));
  return set(op, 0, id, false);
}

Status TfliteConverter::slice(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, plain(index));
  SKERRY_ASSIGN(std::vector<int64_t> begin, ints(op, 1));
  SKERRY_ASSIGN(std::vector<int64_t> size, ints(op, 2));
  const Shape shape = builder_.shape(x);
  if (begin.size() != shape.size() || size.size() != shape.size())
    return fail(Code::invalid, "has {} begins for {}", begin.size(), graph::to_string(shape));
  graph::Slice slice;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool batch = shape[i] == -1 && begin[i] == 0 && (size[i] == -1 || size[i] == 1);
    if (batch || (begin[i] == 0 && (size[i] == -1 || size[i] == shape[i]))) continue;
    if (begin[i] < 0 || size[i] < -1 || size[i] > graph::kElementsMax || begin[i] > graph::kElementsMax)
      return fail(Code::invalid, "begins at {}", begin[i]);
    slice.axes.push_back(static_cast<int64_t>(i));
    slice.begin.push_back(begin[i]);
    slice.end.push_back(size[i] == -1 ? kEnd : begin[i] + size[i]);
    slice.step.push_back(1);
  }
  if (slice.axes.empty()) return set(op, 0, x, false);
  SKERRY_ASSIGN(ValueId id, builder_.add_moving(name_of(op), slice, {x}));
  return set(op, 0, id, false);
}

Status TfliteConverter::strided_slice(const TfliteOperator& op) {
  const TfliteOptions& options = op.options;
  if (options.ellipsis_mask != 0 || options.new_axis_mask != 0) return fail(Code::unavailable, "has an ellipsis or new axes");
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  SKERRY_ASSIGN(ValueId x, plain(index));
  SKERRY_ASSIGN(std::vector<int64_t> begin, ints(op, 1));
  SKERRY_ASSIGN(std::vector<int64_t> end, ints(op, 2));
  SKERRY_ASSIGN(std::vector<int64_t> step, ints(op, 3));
  const Shape shape = builder_.shape(x);
  if (begin.size() > shape.size() || end.size() != begin.size() || step.size() != begin.size())
    return fail(Code::invalid, "has lists that do not fit");
  graph::Slice slice;
  for (size_t i = 0; i < begin.size(); ++i) {
    const int32_t bit = 1 << i;
    const bool shrinks = (options.shrink_axis_mask & bit) != 0;
    int64_t from = (options.begin_mask & bit) != 0 ? 0 : begin[i], to = (options.end_mask & bit) != 0 ? kEnd : end[i];
    if (shrinks) to = from == -1 ? kEnd : from + 1;
    const bool whole = from == 0 && step[i] == 1 && (to == kEnd || to == shape[i] || (shape[i] == -1 && to == 1));
    if (whole && !shrinks) continue;
    slice.axes.push_back(static_cast<int64_t>(i));
    slice.begin.push_back(from);
    slice.end.push_back(to);
    slice.step.push_back(step[i]);
  }
  ValueId id = x;
  if (!slice.axes.empty()) {
    SKERRY_ASSIGN(id, builder_.add_moving(name_of(op), slice, {x}));
  }
  if (options.shrink_axis_mask == 0) return set(op, 0, id, false);
  SKERRY_ASSIGN(const TfliteTensor* declared, result(op));
  return reshape_to(op, id, declared->shape);
}

Status TfliteConverter::split(const TfliteOperator& op) {
  const bool sized = op.code == kSplitV;
  SKERRY_ASSIGN(size_t index, operand(op, sized ? 0 : 1));
  SKERRY_ASSIGN(ValueId x, plain(index));
  SKERRY_ASSIGN(std::vector<int64_t> axes, ints(op, sized ? 2 : 0));
  if (axes.size() != 1 || op.outputs.empty()) return fail(Code::invalid, "has {} axes", axes.size());
  SKERRY_ASSIGN(int64_t axis, normal_axis(axes[0], builder_.rank(x)));
  const int64_t length = builder_.shape(x)[static_cast<size_t>(axis)];
  std::vector<int64_t> parts(op.outputs.size(), length / static_cast<int64_t>(op.outputs.size()));
  if (sized) {
    SKERRY_ASSIGN(parts, ints(op, 1));
  }
  if (parts.size() != op.outputs.size()) return fail(Code::invalid, "has {} parts and {} outputs", parts.size(), op.outputs.size());
  int64_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] == -1 && i + 1 == parts.size()) parts[i] = length - at;
    if (parts[i] < 1 || parts[i] > length - at) return fail(Code::invalid, "splits beyond {}", length);
    SKERRY_ASSIGN(ValueId id, builder_.add_moving(name_of(op), graph::Slice{{axis}, {at}, {at + parts[i]}, {1}}, {x}));
    SKERRY_TRY(set(op, i, id, false));
    at += parts[i];
  }
  return {};
}

Status TfliteConverter::quantize(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  const bool first = is_channels_first(index);
  SKERRY_ASSIGN(ValueId x, native(index));
  SKERRY_ASSIGN(const TfliteTensor* declared, result(op));
  if (!declared->quantization || builder_.is_constant(x)) return fail(Code::unavailable, "quantizes a constant, or to no grid");
  const ElementType type = declared->type == TfliteType::u8 ? ElementType::u8 : ElementType::i8;
  return set(op, 0, builder_.quantize(name_of(op), x, type, *declared->quantization), first);
}

// Operations see quantized values as the real numbers they stand for.
Status TfliteConverter::dequantize(const TfliteOperator& op) {
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  const bool first = is_channels_first(index);
  SKERRY_ASSIGN(ValueId x, native(index));
  if (builder_.is_constant(x)) {
    SKERRY_ASSIGN(x, builder_.dequantized(x));
  }
  return set(op, 0, x, first);
}

Status TfliteConverter::shape_calculation(const TfliteOperator& op) {
  for (int32_t index : op.outputs) {
    if (index < 0) continue;
    const TfliteTensor& to = tensor(static_cast<size_t>(index));
    if (to.type != TfliteType::i32 && to.type != TfliteType::i64) return fail(Code::unavailable, "calculates numbers from shapes");
    items_[static_cast<size_t>(index)].calculation = true;
  }
  return {};
}

// Inputs: x; weights i f c o; recurrent weights i f c o; peepholes i f o; biases i f c o; projection, its bias; states h c; layer norms i f
// c o.
Status TfliteConverter::lstm(const TfliteOperator& op) {
  for (size_t i : {9, 10, 11, 16, 17, 20, 21, 22, 23}) {
    if (has(op, i)) return fail(Code::unavailable, "has peepholes, a projection or layer normalisation");
  }
  if (op.options.activation != TfliteActivation::tanh || op.options.cell_clip != 0)
    return fail(Code::unavailable, "has another activation than tanh, or clips");
  SKERRY_ASSIGN(size_t index, operand(op, 0));
  if (tensor(index).type != TfliteType::f32) return fail(Code::unavailable, "is quantized");
  SKERRY_ASSIGN(ValueId x, plain(index));
  // Ours: i o f c.
  auto stacked = [&](size_t base) -> Result<ValueId> {
    std::vector<ValueId> gates;
    for (size_t gate : {0, 3, 1, 2}) {
      SKERRY_ASSIGN(size_t at, operand(op, base + gate));
      SKERRY_ASSIGN(ValueId id, plain(at));
      if (!builder_.is_constant(id)) return fail(Code::unavailable, "has weights that are computed");
      SKERRY_ASSIGN(id, builder_.dequantized(id));
      gates.push_back(id);
    }
    SKERRY_ASSIGN(ValueId all, builder_.add(name_of(op), graph::Concat{0}, gates));
    Shape shape = builder_.shape(all);
    shape.insert(shape.begin(), 1);
    return builder_.reshape(name_of(op), all, std::move(shape));
  };
  SKERRY_ASSIGN(ValueId w, stacked(1));
  SKERRY_ASSIGN(ValueId r, stacked(5));
  SKERRY_ASSIGN(ValueId b, stacked(12));
  ValueId none =
      builder_.constant("no_bias", builder_.shape(b), std::vector<float>(static_cast<size_t>(graph::elements(builder_.shape(b)))));
  SKERRY_ASSIGN(b, builder_.add(name_of(op), graph::Concat{1}, {b, none}));
  if (builder_.rank(r) != 3) return fail(Code::invalid, "has recurrent weights of {}", graph::to_string(builder_.shape(r)));
  const bool time_major = op.options.time_major;
  if (!time_major) {
    SKERRY_ASSIGN(x, builder_.transpose(name_of(op) + ".by_time", x, {1, 0, 2}));
  }
  graph::Recurrent recurrent{graph::Recurrent::Kind::lstm, graph::Recurrent::Direction::forward, builder_.shape(r)[2], false};
  SKERRY_ASSIGN(ValueId all, builder_.add(name_of(op), recurrent, {x, w, r, b}));
  Shape shape = builder_.shape(all);
  shape.erase(shape.begin() + 1);  // one direction
  SKERRY_ASSIGN(ValueId id, builder_.reshape(name_of(op), all, std::move(shape)));
  if (!time_major) {
    SKERRY_ASSIGN(id, builder_.transpose(name_of(op) + ".by_batch", id, {1, 0, 2}));
  }
  return set(op, 0, id, false);
}

}  // namespace skerry::inference::frontends
