#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "inference/graph/internal/shapes.h"

namespace skerry::inference::graph {
namespace {

constexpr int64_t kUnknown = -1;
constexpr int64_t kParameterMax = 1 << 20;  // strides, paddings, kernels: keeps all sums far from overflow

// The operands of one node, with the checks that most operations share.
class Operands {
 public:
  Operands(const Graph& graph, const Node& node) : graph_(graph), node_(node) {}

  size_t count() const { return node_.inputs.size(); }
  size_t outputs() const { return node_.outputs.size(); }
  bool has(size_t i) const { return i < count() && node_.inputs[i] != kNoValue; }
  const Value& at(size_t i) const { return graph_.value(node_.inputs[i]); }
  const Shape& shape(size_t i) const { return at(i).shape; }
  int64_t rank(size_t i) const { return static_cast<int64_t>(shape(i).size()); }
  const Value& output() const { return graph_.value(node_.outputs[0]); }

  // `required` inputs must be there, up to `most` may be; one output unless told.
  Status expect(size_t required, size_t most, size_t outputs_max = 1) const {
    if (count() < required || count() > most) return fail(Code::invalid, "takes {} to {} inputs, has {}", required, most, count());
    for (size_t i = 0; i < required; ++i) {
      if (!has(i)) return fail(Code::invalid, "input {} is missing", i);
    }
    if (outputs() < 1 || outputs() > outputs_max) return fail(Code::invalid, "has {} outputs, at most {}", outputs(), outputs_max);
    return {};
  }

  // An optional input that must be a constant of this shape.
  Status expect_constant(size_t i, const char* what, const Shape& wanted) const {
    if (!has(i)) return {};
    SKERRY_TRY(expect_constant(i, what));
    if (shape(i) != wanted) return fail(Code::invalid, "{} is {}, should be {}", what, to_string(shape(i)), to_string(wanted));
    return {};
  }
  Status expect_constant(size_t i, const char* what) const {
    if (at(i).is_constant()) return {};
    return fail(Code::unavailable, "{} must be a constant; computed ones are not supported", what);
  }
  Status expect_residual(size_t i, const Shape& wanted) const {
    if (!has(i) || shape(i) == wanted) return {};
    return fail(Code::invalid, "the residual is {}, should be {}", to_string(shape(i)), to_string(wanted));
  }

 private:
  const Graph& graph_;
  const Node& node_;
};

using Shapes = Result<std::vector<Shape>>;
Shapes one(Shape shape) { return std::vector<Shape>{std::move(shape)}; }

bool all_in(const std::vector<int64_t>& values, int64_t low, int64_t high) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v >= low && v <= high; });
}

Status check_activation(const ActivationSpec& spec) {
  if (spec.kind > Activation::elu) return fail(Code::invalid, "activation {} is unknown", static_cast<int>(spec.kind));
  if (std::isnan(spec.alpha) || std::isnan(spec.beta)) return fail(Code::invalid, "an activation's parameter is not a number");
  if (spec.kind == Activation::clip && spec.alpha > spec.beta) {
    return fail(Code::invalid, "clips to [{}, {}], which is empty", spec.alpha, spec.beta);
  }
  return {};
}

struct Window {
  std::vector<int64_t> kernel, strides, dilations, pads_begin, pads_end;
};

// Spatial dimensions after sliding a window: floor((in + pads - reach) / stride) + 1.
Result<Shape> slide(const Shape& x, int64_t channels, const Window& w) {
  const size_t spatial = x.size() - 2;
  for (const auto* list : {&w.kernel, &w.strides, &w.dilations, &w.pads_begin, &w.pads_end}) {
    if (list->size() != spatial) return fail(Code::invalid, "has {} spatial parameters for {} spatial dimensions", list->size(), spatial);
  }
  if (!all_in(w.kernel, 1, kParameterMax) || !all_in(w.strides, 1, kParameterMax) || !all_in(w.dilations, 1, kParameterMax) ||
      !all_in(w.pads_begin, 0, kParameterMax) || !all_in(w.pads_end, 0, kParameterMax)) {
    return fail(Code::invalid, "kernel, strides or dilations below 1, negative paddings, or one of them over {}", kParameterMax);
  }
  Shape out = {x[0], channels};
  for (size_t i = 0; i < spatial; ++i) {
    int64_t in = x[i + 2];
    if (in == kUnknown) return fail(Code::unavailable, "spatial dimension {} of the input is unknown: fix it in the model", i);
    int64_t room = in + w.pads_begin[i] + w.pads_end[i] - (w.dilations[i] * (w.kernel[i] - 1) + 1);
    if (room < 0) return fail(Code::invalid, "the kernel reaches beyond the input {}", to_string(x));
    out.push_back(room / w.strides[i] + 1);
  }
  return out;
}

Shapes shape_of(const Conv& op, const Operands& in) {
  SKERRY_TRY(in.expect(2, 4));
  SKERRY_TRY(check_activation(op.activation));
  const Shape &x = in.shape(0), &w = in.shape(1);
  if (x.size() != w.size() || x.size() < 3 || x.size() > 4) {
    return fail(Code::unavailable, "input {} and weights {}: 1 or 2 spatial dimensions are supported", to_string(x), to_string(w));
  }
  SKERRY_TRY(in.expect_constant(1, "the weights"));
  if (op.groups < 1 || op.groups > kParameterMax || w[0] % op.groups != 0 || x[1] != w[1] * op.groups) {
    return fail(Code::invalid, "input {}, weights {} and {} groups do not fit", to_string(x), to_string(w), op.groups);
  }
  SKERRY_TRY(in.expect_constant(2, "the bias", {w[0]}));
  SKERRY_ASSIGN(Shape out, slide(x, w[0], {{w.begin() + 2, w.end()}, op.strides, op.dilations, op.pads_begin, op.pads_end}));
  SKERRY_TRY(in.expect_residual(3, out));
  return one(out);
}

Shapes shape_of(const Linear& op, const Operands& in) {
  SKERRY_TRY(in.expect(2, 4));
  SKERRY_TRY(check_activation(op.activation));
  const Shape &x = in.shape(0), &w = in.shape(1);
  SKERRY_TRY(in.expect_constant(1, "the weights"));
  if (x.empty() || w.size() != 2 || x.back() != w[1])
    return fail(Code::invalid, "input {} and weights {} do not fit", to_string(x), to_string(w));
  SKERRY_TRY(in.expect_constant(2, "the bias", {w[0]}));
  Shape out = x;
  out.back() = w[0];
  SKERRY_TRY(in.expect_residual(3, out));
  return one(out);
}

// NumPy's rule. An unknown batch meets 1 or itself.
Result<Shape> broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t left = i < out.size() - a.size() ? 1 : a[i - (out.size() - a.size())];
    int64_t right = i < out.size() - b.size() ? 1 : b[i - (out.size() - b.size())];
    if (left != right && left != 1 && right != 1) return fail(Code::invalid, "{} and {} do not broadcast", to_string(a), to_string(b));
    out[i] = left == 1 ? right : left;
  }
  return out;
}

Shapes shape_of(const MatMul&, const Operands& in) {
  SKERRY_TRY(in.expect(2, 2));
  const Shape &a = in.shape(0), &b = in.shape(1);
  if (a.size() < 2 || b.size() < 2 || a.back() != b[b.size() - 2] || a.back() == kUnknown) {
    return fail(Code::invalid, "{} and {} do not fit", to_string(a), to_string(b));
  }
  SKERRY_ASSIGN(Shape out, broadcast({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2}));
  out.push_back(a[a.size() - 2]);
  out.push_back(b.back());
  return one(out);
}

Shapes shape_of(const Pool& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  const Shape& x = in.shape(0);
  if (op.kind > Pool::Kind::average) return fail(Code::invalid, "pooling {} is unknown", static_cast<int>(op.kind));
  if (x.size() < 3 || x.size() > 4) return fail(Code::unavailable, "input {}: 1 or 2 spatial dimensions are supported", to_string(x));
  SKERRY_ASSIGN(Shape out, slide(x, x[1], {op.kernel, op.strides, std::vector<int64_t>(x.size() - 2, 1), op.pads_begin, op.pads_end}));
  for (size_t i = 0; i < op.kernel.size(); ++i) {
    int64_t last = (out[i + 2] - 1) * op.strides[i] - op.pads_begin[i];
    if (op.pads_begin[i] >= op.kernel[i] || last >= x[i + 2]) return fail(Code::invalid, "a window would see nothing but padding");
  }
  return one(out);
}

Shapes shape_of(const Reduce& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  if (op.kind > Reduce::Kind::max) return fail(Code::invalid, "reduction {} is unknown", static_cast<int>(op.kind));
  const Shape& x = in.shape(0);
  if (op.axes.empty() || !all_in(op.axes, 0, in.rank(0) - 1) ||
      std::adjacent_find(op.axes.begin(), op.axes.end(), std::greater_equal<>()) != op.axes.end()) {
    return fail(Code::invalid, "axes {} of {}: must be there and ascend", to_string(op.axes), to_string(x));
  }
  Shape out;
  for (int64_t i = 0; i < in.rank(0); ++i) {
    bool reduced = std::find(op.axes.begin(), op.axes.end(), i) != op.axes.end();
    if (reduced && x[static_cast<size_t>(i)] == kUnknown) return fail(Code::unavailable, "reduces over the batch");
    if (!reduced) out.push_back(x[static_cast<size_t>(i)]);
    if (reduced && op.keep_dimensions) out.push_back(1);
  }
  return one(out);
}

Shapes shape_of(const Binary& op, const Operands& in) {
  SKERRY_TRY(in.expect(2, 2));
  SKERRY_TRY(check_activation(op.activation));
  if (op.kind > Binary::Kind::pow) return fail(Code::invalid, "binary operation {} is unknown", static_cast<int>(op.kind));
  SKERRY_ASSIGN(Shape out, broadcast(in.shape(0), in.shape(1)));
  return one(out);
}

Shapes shape_of(const Activate& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  SKERRY_TRY(check_activation(op.activation));
  return one(in.shape(0));
}

Shapes shape_of(const Unary& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  if (op.kind > Unary::Kind::reciprocal) return fail(Code::invalid, "unary operation {} is unknown", static_cast<int>(op.kind));
  return one(in.shape(0));
}

// 0 … rank - 1, of an axis that may count from the end.
Result<size_t> axis_of(int64_t axis, const Shape& shape) {
  int64_t rank = static_cast<int64_t>(shape.size());
  if (axis < -rank || axis >= rank) return fail(Code::invalid, "axis {} of {} does not exist", axis, to_string(shape));
  return static_cast<size_t>(axis < 0 ? axis + rank : axis);
}

Shapes shape_of(const Softmax& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  SKERRY_ASSIGN(size_t axis, axis_of(op.axis, in.shape(0)));
  if (in.shape(0)[axis] == kUnknown) return fail(Code::unavailable, "is over the batch");
  return one(in.shape(0));
}

Shapes shape_of(const BatchNorm& op, const Operands& in) {
  SKERRY_TRY(in.expect(5, 5));
  const Shape& x = in.shape(0);
  if (x.size() < 2) return fail(Code::invalid, "input {} has no channels", to_string(x));
  for (size_t i = 1; i < 5; ++i) SKERRY_TRY(in.expect_constant(i, "each parameter", {x[1]}));
  if (!(op.epsilon >= 0 && std::isfinite(op.epsilon))) return fail(Code::invalid, "epsilon {} is no small number", op.epsilon);
  return one(x);
}

Shapes shape_of(const LayerNorm& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 3));
  const Shape& x = in.shape(0);
  SKERRY_ASSIGN(size_t axis, axis_of(op.axis, x));
  Shape normalised(x.begin() + static_cast<std::ptrdiff_t>(axis), x.end());
  if (std::find(normalised.begin(), normalised.end(), kUnknown) != normalised.end()) return fail(Code::unavailable, "is over the batch");
  SKERRY_TRY(in.expect_constant(1, "the scale", normalised));
  SKERRY_TRY(in.expect_constant(2, "the shift", normalised));
  if (!(op.epsilon >= 0 && std::isfinite(op.epsilon))) return fail(Code::invalid, "epsilon {} is no small number", op.epsilon);
  return one(x);
}

Shapes shape_of(const Concat& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, kValuesMax));
  for (size_t i = 0; i < in.count(); ++i) {
    if (!in.has(i)) return fail(Code::invalid, "input {} is missing", i);
  }
  Shape out = in.shape(0);
  SKERRY_ASSIGN(size_t axis, axis_of(op.axis, out));
  out[axis] = 0;
  for (size_t i = 0; i < in.count(); ++i) {
    Shape rest = in.shape(i);
    if (rest.size() != out.size()) return fail(Code::invalid, "{} and {} have different ranks", to_string(in.shape(0)), to_string(rest));
    if (rest[axis] == kUnknown) return fail(Code::unavailable, "is along the batch");
    int64_t along = out[axis] + rest[axis];
    rest[axis] = out[axis];
    if (rest != out) return fail(Code::invalid, "{} and {} differ beside the axis", to_string(in.shape(0)), to_string(in.shape(i)));
    out[axis] = along;
    if (along > kElementsMax) return fail(Code::invalid, "has more than {} elements", kElementsMax);
  }
  return one(out);
}

Shapes shape_of(const Reshape& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  const Shape& x = in.shape(0);
  bool x_unknown = std::find(x.begin(), x.end(), kUnknown) != x.end();
  int64_t have = elements(x), want = elements(op.shape);
  auto wildcard = std::find(op.shape.begin(), op.shape.end(), kUnknown);
  if (want < 1 || (wildcard != op.shape.end() && std::find(wildcard + 1, op.shape.end(), kUnknown) != op.shape.end())) {
    return fail(Code::invalid, "the new shape {} is not one", to_string(op.shape));
  }
  Shape out = op.shape;
  if (wildcard == op.shape.end()) {
    if (x_unknown) return fail(Code::unavailable, "fixes the batch: {} to {}", to_string(x), to_string(op.shape));
    if (have != want) return fail(Code::invalid, "{} has other elements than {}", to_string(x), to_string(op.shape));
  } else if (x_unknown) {
    // What is unknown must stay the batch alone, or nothing after could know it again.
    if (have != want) return fail(Code::unavailable, "mixes the batch with another dimension: {} to {}", to_string(x), to_string(op.shape));
  } else {
    if (have % want != 0) return fail(Code::invalid, "{} does not divide into {}", to_string(x), to_string(op.shape));
    out[static_cast<size_t>(wildcard - op.shape.begin())] = have / want;
  }
  return one(out);
}

Shapes shape_of(const Transpose& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  const Shape& x = in.shape(0);
  std::vector<int64_t> sorted = op.permutation;
  std::sort(sorted.begin(), sorted.end());
  Shape out;
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted.size() != x.size() || sorted[i] != static_cast<int64_t>(i)) {
      return fail(Code::invalid, "{} is no permutation of the dimensions of {}", to_string(op.permutation), to_string(x));
    }
    out.push_back(x[static_cast<size_t>(op.permutation[i])]);
  }
  if (op.permutation.size() != x.size()) return fail(Code::invalid, "the permutation is empty");
  return one(out);
}

Shapes shape_of(const Pad& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  Shape out = in.shape(0);
  if (op.begin.size() != out.size() || op.end.size() != out.size() || !all_in(op.begin, 0, kParameterMax) ||
      !all_in(op.end, 0, kParameterMax)) {
    return fail(Code::invalid, "paddings {} and {} do not fit {}", to_string(op.begin), to_string(op.end), to_string(out));
  }
  if (std::isnan(op.value)) return fail(Code::invalid, "pads with what is not a number");
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t more = op.begin[i] + op.end[i];
    if (more > 0 && out[i] == kUnknown) return fail(Code::unavailable, "pads the batch");
    if (more > 0) out[i] += more;
  }
  return one(out);
}

Shapes shape_of(const Slice& op, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  Shape out = in.shape(0);
  if (op.begin.size() != op.axes.size() || op.end.size() != op.axes.size() || op.step.size() != op.axes.size()) {
    return fail(Code::invalid, "has lists of different lengths");
  }
  std::vector<bool> named(out.size());
  for (size_t i = 0; i < op.axes.size(); ++i) {
    SKERRY_ASSIGN(size_t axis, axis_of(op.axes[i], out));
    if (named[axis]) return fail(Code::invalid, "names axis {} twice", axis);
    named[axis] = true;
    if (out[axis] == kUnknown) return fail(Code::unavailable, "slices the batch");
    if (op.step[i] < 1 || op.step[i] > kParameterMax)
      return fail(Code::unavailable, "has a step of {}: 1 and more are supported", op.step[i]);
    SliceRange range = slice_range(op, i, out[axis]);
    if (range.begin >= range.end) return fail(Code::invalid, "leaves nothing of axis {} of {}", axis, to_string(in.shape(0)));
    out[axis] = (range.end - range.begin + op.step[i] - 1) / op.step[i];
  }
  return one(out);
}

Shapes shape_of(const Recurrent& op, const Operands& in) {
  const bool lstm = op.kind == Recurrent::Kind::lstm;
  SKERRY_TRY(in.expect(3, lstm ? 6 : 5, lstm ? 3 : 2));
  if (op.kind > Recurrent::Kind::lstm || op.direction > Recurrent::Direction::both)
    return fail(Code::invalid, "its kind or direction is unknown");
  const Shape& x = in.shape(0);
  if (x.size() != 3 || op.hidden < 1 || op.hidden > kParameterMax)
    return fail(Code::invalid, "input {} of {} hidden: must be [time, batch, features]", to_string(x), op.hidden);
  if (x[0] == kUnknown || x[2] == kUnknown)
    return fail(Code::unavailable, "input {} has an unknown time or width: fix it in the model", to_string(x));
  const int64_t directions = op.direction == Recurrent::Direction::both ? 2 : 1, rows = (lstm ? 4 : 3) * op.hidden;
  SKERRY_TRY(in.expect_constant(1, "the weights", {directions, rows, x[2]}));
  SKERRY_TRY(in.expect_constant(2, "the recurrent weights", {directions, rows, op.hidden}));
  SKERRY_TRY(in.expect_constant(3, "the bias", {directions, 2 * rows}));
  const Shape state = {directions, x[1], op.hidden};
  for (size_t i = 4; i < in.count(); ++i) {
    if (!in.has(i)) continue;
    Shape given = in.shape(i);
    if (given.size() == 3 && given[1] == 1) given[1] = x[1];  // one state for the whole batch
    if (given != state) return fail(Code::invalid, "the initial state is {}, should be {}", to_string(in.shape(i)), to_string(state));
  }
  std::vector<Shape> out = {{x[0], directions, x[1], op.hidden}, state, state};
  out.resize(in.outputs());
  return out;
}

Shapes shape_of(const Quantize&, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  if (!in.output().quantization) return fail(Code::invalid, "its output says no quantization");
  return one(in.shape(0));
}

Shapes shape_of(const Dequantize&, const Operands& in) {
  SKERRY_TRY(in.expect(1, 1));
  if (!in.at(0).quantization) return fail(Code::invalid, "its input is not quantized");
  return one(in.shape(0));
}

Status check_quantization(const Value& value) {
  const Quantization& q = *value.quantization;
  auto range = [&]() -> std::pair<int64_t, int64_t> {
    if (value.type == ElementType::i8) return {-128, 127};
    if (value.type == ElementType::u8) return {0, 255};
    return {0, 0};  // i32 is for biases, which are symmetric
  }();
  if (value.type != ElementType::i8 && value.type != ElementType::u8 && value.type != ElementType::i32) {
    return fail(Code::unavailable, "value '{}' is quantized as {}: i8, u8 and i32 (biases) are supported", value.name,
                to_string(value.type));
  }
  if (q.scale.empty() || q.zero_point.size() != q.scale.size())
    return fail(Code::invalid, "value '{}' has scales without zero points", value.name);
  for (size_t i = 0; i < q.scale.size(); ++i) {
    if (!(q.scale[i] > 0) || !std::isfinite(q.scale[i])) return fail(Code::invalid, "value '{}' has a scale of {}", value.name, q.scale[i]);
    if (q.zero_point[i] < range.first || q.zero_point[i] > range.second) {
      return fail(Code::invalid, "value '{}' has a zero point of {}, beyond its type", value.name, q.zero_point[i]);
    }
  }
  return {};
}

// Of a value whose shape is known: as many scales as the axis is long.
Status check_axis(const Value& value) {
  const Quantization& q = *value.quantization;
  if (q.scale.size() == 1) return {};
  if (q.axis < 0 || static_cast<size_t>(q.axis) >= value.shape.size() ||
      value.shape[static_cast<size_t>(q.axis)] != static_cast<int64_t>(q.scale.size())) {
    return fail(Code::invalid, "value '{}' {} has {} scales on axis {}", value.name, to_string(value.shape), q.scale.size(), q.axis);
  }
  return {};
}

Status check_value(const Value& value) {
  if (value.quantization) SKERRY_TRY(check_quantization(value));
  if (!value.is_constant()) return {};
  if (value.shape.size() > kRankMax)
    return fail(Code::unavailable, "constant '{}' has {} dimensions, at most {}", value.name, value.shape.size(), kRankMax);
  if (std::any_of(value.shape.begin(), value.shape.end(), [](int64_t d) { return d < 1; })) {
    return fail(Code::invalid, "constant '{}' has the shape {}", value.name, to_string(value.shape));
  }
  int64_t count = elements(value.shape);
  if (count < 0 || value.constant->size() != static_cast<size_t>(count) * bytes_of(value.type)) {
    return fail(Code::invalid, "constant '{}' {} {} has {} bytes", value.name, to_string(value.type), to_string(value.shape),
                value.constant->size());
  }
  if (value.quantization) SKERRY_TRY(check_axis(value));
  return {};
}

Status check_input(const Value& value) {
  if (value.is_constant()) return fail(Code::invalid, "input '{}' is a constant", value.name);
  if (value.type != ElementType::f32 && !value.quantization) {
    return fail(Code::unavailable, "input '{}' is {}: f32 and quantized inputs are supported", value.name, to_string(value.type));
  }
  if (value.shape.size() > kRankMax || elements(value.shape) < 0)
    return fail(Code::invalid, "input '{}' {} is too large", value.name, to_string(value.shape));
  for (size_t i = 0; i < value.shape.size(); ++i) {
    if (value.shape[i] < 1 && !(i == 0 && value.shape[i] == kUnknown)) {
      return fail(Code::unavailable, "input '{}' {}: only the first dimension may be unknown; fix the others in the model", value.name,
                  to_string(value.shape));
    }
  }
  if (value.quantization) SKERRY_TRY(check_axis(value));
  return {};
}

Error at_node(const Node& node, const Error& error) {
  return fail(error.code, "node '{}' ({}): {}", node.name, name_of(node.operation), error.message);
}

Status check_result(const Shape& shape) {
  if (shape.size() > kRankMax) return fail(Code::unavailable, "gives {} dimensions, at most {}", shape.size(), kRankMax);
  for (int64_t dimension : shape) {
    if (dimension < 1 && dimension != kUnknown) return fail(Code::invalid, "gives the shape {}", to_string(shape));
  }
  if (elements(shape) < 0) return fail(Code::invalid, "gives {}, more than {} elements", to_string(shape), kElementsMax);
  return {};
}

Status infer_node(Graph& graph, const Node& node) {
  SKERRY_ASSIGN(std::vector<Shape> shapes, output_shapes(graph, node));
  for (size_t i = 0; i < shapes.size(); ++i) {
    SKERRY_TRY(check_result(shapes[i]));
    Value& value = graph.value(node.outputs[i]);
    value.shape = shapes[i];
    if (!value.quantization) value.type = ElementType::f32;
    if (value.quantization) SKERRY_TRY(check_axis(value));
  }
  return {};
}

}  // namespace

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

SliceRange slice_range(const Slice& op, size_t i, int64_t length) {
  auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? std::max(at, -length) + length : at, 0, length); };
  return {place(op.begin[i]), place(op.end[i])};
}

Result<std::vector<Shape>> output_shapes(const Graph& graph, const Node& node) {
  Operands operands(graph, node);
  return std::visit([&](const auto& operation) { return shape_of(operation, operands); }, node.operation);
}

Status check_structure(const Graph& graph) {
  if (graph.nodes.size() > kNodesMax || graph.values.size() > kValuesMax) {
    return fail(Code::invalid, "the graph has {} nodes and {} values, at most {} and {}", graph.nodes.size(), graph.values.size(),
                kNodesMax, kValuesMax);
  }
  std::vector<bool> defined(graph.values.size());
  for (size_t id = 0; id < graph.values.size(); ++id) {
    SKERRY_TRY(check_value(graph.values[id]));
    defined[id] = graph.values[id].is_constant();
  }
  for (ValueId id : graph.inputs) {
    if (id >= graph.values.size()) return fail(Code::invalid, "an input of the graph does not exist");
    SKERRY_TRY(check_input(graph.value(id)));
    if (defined[id]) return fail(Code::invalid, "input '{}' is named twice", graph.value(id).name);
    defined[id] = true;
  }
  for (const Node& node : graph.nodes) {
    for (ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      if (id >= graph.values.size()) return at_node(node, fail(Code::invalid, "an input does not exist"));
      if (!defined[id]) return at_node(node, fail(Code::invalid, "'{}' is used before it is computed", graph.value(id).name));
      const Value& value = graph.value(id);
      if (value.is_constant() && value.type != ElementType::f32 && !value.quantization) {
        return at_node(node, fail(Code::unavailable, "computes with '{}' of type {}", value.name, to_string(value.type)));
      }
    }
    if (node.outputs.empty()) return at_node(node, fail(Code::invalid, "has no outputs"));
    for (ValueId id : node.outputs) {
      if (id >= graph.values.size()) return at_node(node, fail(Code::invalid, "an output does not exist"));
      if (defined[id]) return at_node(node, fail(Code::invalid, "'{}' is computed twice", graph.value(id).name));
      defined[id] = true;
    }
  }
  if (graph.inputs.empty() || graph.outputs.empty()) return fail(Code::invalid, "the graph has no inputs or no outputs");
  for (ValueId id : graph.outputs) {
    if (id >= graph.values.size() || !defined[id]) return fail(Code::invalid, "an output of the graph is never computed");
    if (graph.value(id).is_constant()) return fail(Code::unavailable, "output '{}' of the graph is a constant", graph.value(id).name);
  }
  return {};
}

Status infer_shapes(Graph& graph) {
  SKERRY_TRY(check_structure(graph));
  for (const Node& node : graph.nodes) {
    if (Status status = infer_node(graph, node); !status.ok()) return at_node(node, status.error());
  }
  return {};
}

}  // namespace skerry::inference::graph
