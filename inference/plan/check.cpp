// What a plan must be before it is run: the kernels trust it, so everything that they rely on is held here.
#include <algorithm>
#include <cmath>

#include "inference/plan/internal/geometry.h"
#include "inference/plan/plan.h"

namespace skerry::inference::plan {
namespace {

using graph::Activation;

Status check_tensor(const Plan& plan, size_t at, int64_t batch) {
  const Tensor& tensor = plan.tensors[at];
  auto bad = [&](const char* what) { return fail(Code::invalid, "tensor {} '{}' {}", at, tensor.name, what); };
  if (tensor.type != Type::f32 && tensor.type != Type::i8 && tensor.type != Type::u8) return bad("is of no known type");
  if (tensor.shape.size() > kRankMax) return bad("has too many dimensions");
  for (int32_t size : tensor.shape) {
    if (size < 1 && !(size == -1 && !tensor.is_constant())) return bad("has a size that can't be");
  }
  const int64_t count = elements(plan.dims(static_cast<uint32_t>(at), batch));
  if (count < 0) return bad("is too large");
  const bool one_scale = tensor.scale.size() == 1;
  const bool per_channel = tensor.is_constant() && !tensor.shape.empty() && tensor.scale.size() == static_cast<size_t>(tensor.shape[0]);
  if (tensor.is_quantized() ? !one_scale && !per_channel : !tensor.scale.empty()) return bad("has the wrong number of scales");
  for (float scale : tensor.scale) {
    if (!std::isfinite(scale) || !(scale > 0)) return bad("has a scale that is not positive");
  }
  const int32_t low = tensor.type == Type::i8 ? -128 : 0, high = tensor.type == Type::i8 ? 127 : tensor.type == Type::u8 ? 255 : 0;
  if (tensor.zero_point < low || tensor.zero_point > high) return bad("has a zero point outside its type");
  if (!tensor.is_constant()) return {};
  const uint64_t bytes = static_cast<uint64_t>(count) * bytes_of(tensor.type);
  if (tensor.data_at % kDataAlignment != 0 || tensor.data_at > plan.data_bytes || bytes > plan.data_bytes - tensor.data_at) {
    return bad("lies outside the data");
  }
  return {};
}

// One step against its tensors.
class StepCheck {
 public:
  StepCheck(const Plan& plan, size_t at, int64_t batch) : plan_(plan), step_(plan.steps[at]), at_(at), batch_(batch) {}

  Status run() const {
    if (step_.inputs.empty() || step_.outputs.empty() || step_.input(0) == kNoTensor) return bad("has no input or no output");
    if (step_.activation.kind > Activation::elu) return bad("has an activation that is not known");
    if (!std::isfinite(step_.activation.alpha) || !std::isfinite(step_.activation.beta)) return bad("has an activation that is not finite");
    const bool activates = step_.op == Op::convolution || step_.op == Op::linear || step_.op == Op::binary || step_.op == Op::activate;
    if (!activates && step_.activation.kind != Activation::none) return bad("can't have an activation");
    if (step_.op != Op::recurrent && step_.outputs.size() != 1) return bad("has more than one output");
    for (float value : step_.floats) {
      if (!std::isfinite(value)) return bad("has a number that is not finite");
    }
    return by_op();
  }

 private:
  Error bad(const char* what) const { return fail(Code::invalid, "step {} '{}' ({}) {}", at_, step_.name, to_string(step_.op), what); }
  Status require(bool holds, const char* what) const { return holds ? Status() : Status(bad(what)); }

  bool has(size_t i) const { return step_.input(i) != kNoTensor; }
  const Tensor& in(size_t i) const { return plan_.tensors[step_.inputs[i]]; }
  const Tensor& out(size_t i = 0) const { return plan_.tensors[step_.outputs[i]]; }
  Dims in_dims(size_t i) const { return plan_.dims(step_.inputs[i], batch_); }
  Dims out_dims(size_t i = 0) const { return plan_.dims(step_.outputs[i], batch_); }

  // From `min` to `max` inputs; the ones from `optional` on may be left out.
  Status inputs(size_t min, size_t max, size_t optional) const {
    if (step_.inputs.size() < min || step_.inputs.size() > max) return bad("has the wrong number of inputs");
    for (size_t i = 0; i < step_.inputs.size(); ++i) {
      if (!has(i) && i < optional) return bad("misses an input");
    }
    return {};
  }
  Status numbers(size_t ints, size_t floats) const {
    return require(step_.ints.size() == ints && step_.floats.size() == floats, "has the wrong number of parameters");
  }
  Status all_float() const {
    for (size_t i = 0; i < step_.inputs.size(); ++i) {
      if (has(i) && in(i).type != Type::f32) return bad("takes f32 only");
    }
    for (size_t i = 0; i < step_.outputs.size(); ++i) {
      if (out(i).type != Type::f32) return bad("gives f32 only");
    }
    return {};
  }
  Status same_quantization(const Tensor& a, const Tensor& b) const {
    return require(a.type == b.type && a.scale == b.scale && a.zero_point == b.zero_point, "changes the type or the scale, and can't");
  }
  Status axis(int32_t value, const Dims& dims) const {
    return require(value >= 0 && static_cast<size_t>(value) < dims.size(), "names a dimension that is not there");
  }
  Status permutation(const std::vector<int32_t>& order, const Dims& from, const Dims& to) const {
    if (order.size() != from.size() || to.size() != from.size()) return bad("permutes another number of dimensions");
    uint32_t seen = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      SKERRY_TRY(axis(order[i], from));
      seen |= 1U << order[i];
      if (to[i] != from[static_cast<size_t>(order[i])]) return bad("gives another shape");
    }
    return require(seen == (1U << order.size()) - 1, "names a dimension twice");
  }
  // Constants that a kernel prepares for: weights.
  Status constant(size_t i) const { return require(!has(i) || in(i).is_constant(), "takes constants only as weights and bias"); }
  Status vector(size_t i, int64_t size) const {
    return require(!has(i) || (in(i).type == Type::f32 && in_dims(i) == Dims{size}), "has a vector of the wrong size");
  }

  Status weighted(int64_t channels) const {  // what convolutions and linear steps share
    SKERRY_TRY(constant(1));
    SKERRY_TRY(constant(2));
    SKERRY_TRY(vector(2, channels));
    if (in(0).is_constant()) return bad("computes from constants: fold it");
    const bool quantized = in(0).is_quantized();
    if (in(1).type != (quantized ? Type::i8 : Type::f32) || in(1).zero_point != 0) return bad("has weights of the wrong type");
    if (!quantized && out().is_quantized()) return bad("can't quantize what it gives: add a step for it");
    if (!has(3)) return {};
    if (in(3).is_constant() || in_dims(3) != out_dims()) return bad("adds something of another shape");
    return require(in(3).is_quantized() == out().is_quantized(), "adds something of another type");
  }

  Status window(const Window& w, const Image& x, const Image& y) const {
    for (int64_t size : {w.kh, w.kw, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w}) {
      if (size < 1 || size > kWindowMax) return bad("has a window that can't be");
    }
    for (int64_t size : {w.top, w.left, w.bottom, w.right}) {
      if (size < 0 || size > kWindowMax) return bad("has a padding that can't be");
    }
    const bool inside = w.dilation_h * (w.kh - 1) + 1 <= x.h + w.top + w.bottom && w.dilation_w * (w.kw - 1) + 1 <= x.w + w.left + w.right;
    return require(inside && y.n == x.n && y.h == w.out_h(x.h) && y.w == w.out_w(x.w), "gives another shape");
  }

  Status convolution() const {
    SKERRY_TRY(inputs(2, 4, 2));
    SKERRY_TRY(numbers(kConvolutionInts, 0));
    const Dims x = in_dims(0), weights = in_dims(1), y = out_dims();
    if ((x.size() != 3 && x.size() != 4) || y.size() != x.size() || weights.size() != 4) return bad("takes images or sequences");
    const Image from = image_of(x), to = image_of(y);
    SKERRY_TRY(window(convolution_window(step_, weights), from, to));
    const int64_t groups = step_.ints[kGroups];
    if (groups < 1 || from.c % groups != 0 || to.c % groups != 0 || weights[3] * groups != from.c || weights[0] != to.c) {
      return bad("has channels that do not fit");
    }
    return weighted(to.c);
  }

  Status linear() const {
    SKERRY_TRY(inputs(2, 4, 2));
    SKERRY_TRY(numbers(0, 0));
    const Dims x = in_dims(0), weights = in_dims(1), y = out_dims();
    if (x.empty() || weights.size() != 2 || y.size() != x.size()) return bad("takes rows and a matrix");
    if (x.back() != weights[1] || y.back() != weights[0] || rows_of(x) != rows_of(y)) return bad("has shapes that do not fit");
    return weighted(weights[0]);
  }

  Status pool() const {
    SKERRY_TRY(inputs(1, 1, 1));
    SKERRY_TRY(numbers(kPoolIntsCount, 0));
    const Dims x = in_dims(0), y = out_dims();
    if ((x.size() != 3 && x.size() != 4) || y.size() != x.size()) return bad("takes images or sequences");
    const Image from = image_of(x), to = image_of(y);
    const Window w = pool_window(step_);
    SKERRY_TRY(window(w, from, to));
    // Every window must see something.
    if (from.c != to.c || w.top >= w.kh || w.left >= w.kw || w.bottom >= w.kh || w.right >= w.kw) return bad("pools nothing somewhere");
    if (step_.op == Op::max_pool) return same_quantization(in(0), out());
    return require(in(0).is_quantized() == out().is_quantized(), "can't change between float and integer");
  }

  Status broadcast() const {
    const Dims a = in_dims(0), b = in_dims(1), y = out_dims();
    if (y.size() != std::max(a.size(), b.size())) return bad("gives another shape");
    for (size_t i = 0; i < y.size(); ++i) {
      const int64_t left = i < a.size() ? a[a.size() - 1 - i] : 1, right = i < b.size() ? b[b.size() - 1 - i] : 1;
      if ((left != right && left != 1 && right != 1) || y[y.size() - 1 - i] != std::max(left, right)) return bad("gives another shape");
    }
    return {};
  }

  Status binary() const {
    SKERRY_TRY(inputs(2, 2, 2));
    SKERRY_TRY(numbers(1, 0));
    if (step_.ints[0] < 0 || step_.ints[0] > static_cast<int32_t>(graph::Binary::Kind::pow)) return bad("is of no known kind");
    SKERRY_TRY(broadcast());
    if (!in(0).is_quantized() && !in(1).is_quantized()) return all_float();
    const bool add = step_.ints[0] == static_cast<int32_t>(graph::Binary::Kind::add);
    const bool computed = !in(0).is_constant() && !in(1).is_constant() && in_dims(0) == in_dims(1);
    return require(add && computed && in(0).is_quantized() && in(1).is_quantized() && out().is_quantized(),
                   "with integers only adds two of one shape");
  }

  Status same_shape(size_t ints) const {
    SKERRY_TRY(inputs(1, 1, 1));
    SKERRY_TRY(numbers(ints, 0));
    return require(in_dims(0) == out_dims(), "gives another shape");
  }

  Status quantize() const {
    SKERRY_TRY(inputs(1, 1, 1));
    const bool forward = step_.op == Op::quantize;
    const Tensor &real = forward ? in(0) : out(), &stored = forward ? out() : in(0);
    if (real.type != Type::f32 || !stored.is_quantized() || stored.scale.size() != 1) return bad("is between f32 and i8 or u8");
    if (step_.ints.empty()) return same_shape(0);
    SKERRY_TRY(numbers(in_dims(0).size(), 0));
    return permutation(step_.ints, in_dims(0), out_dims());
  }

  Status reduce() const {
    SKERRY_TRY(inputs(1, 1, 1));
    SKERRY_TRY(all_float());
    const Dims x = in_dims(0);
    if (step_.ints.size() < 2 || step_.ints.size() > 1 + x.size() || !step_.floats.empty()) return bad("has the wrong parameters");
    if (step_.ints[0] < 0 || step_.ints[0] > static_cast<int32_t>(graph::Reduce::Kind::max)) return bad("is of no known kind");
    Dims kept = x;
    for (size_t i = 1; i < step_.ints.size(); ++i) {
      SKERRY_TRY(axis(step_.ints[i], x));
      if (i > 1 && step_.ints[i] <= step_.ints[i - 1]) return bad("names dimensions out of order");
      kept[static_cast<size_t>(step_.ints[i])] = 1;
    }
    return require(elements(kept) == elements(out_dims()), "gives another shape");
  }

  Status concat() const {
    SKERRY_TRY(inputs(1, kStepInputsMax, kStepInputsMax));
    SKERRY_TRY(numbers(1, 0));
    const Dims y = out_dims();
    SKERRY_TRY(axis(step_.ints[0], y));
    const auto along = static_cast<size_t>(step_.ints[0]);
    int64_t sum = 0;
    for (size_t i = 0; i < step_.inputs.size(); ++i) {
      SKERRY_TRY(same_quantization(in(i), out()));
      Dims x = in_dims(i);
      if (x.size() != y.size()) return bad("joins different ranks");
      sum += x[along];
      x[along] = y[along];
      if (x != y) return bad("joins shapes that do not fit");
    }
    return require(sum == y[along], "gives another shape");
  }

  Status pad() const {
    SKERRY_TRY(inputs(1, 1, 1));
    const Dims x = in_dims(0), y = out_dims();
    SKERRY_TRY(numbers(2 * x.size(), 1));
    SKERRY_TRY(same_quantization(in(0), out()));
    if (x.size() != y.size()) return bad("gives another shape");
    for (size_t i = 0; i < x.size(); ++i) {
      const int64_t begin = step_.ints[i], end = step_.ints[x.size() + i];
      if (begin < 0 || end < 0 || begin > kElementsMax || end > kElementsMax || y[i] != x[i] + begin + end) return bad("gives another shape");
    }
    return {};
  }

  Status slice() const {
    SKERRY_TRY(inputs(1, 1, 1));
    const Dims x = in_dims(0), y = out_dims();
    SKERRY_TRY(numbers(2 * x.size(), 0));
    SKERRY_TRY(same_quantization(in(0), out()));
    if (x.size() != y.size()) return bad("gives another shape");
    for (size_t i = 0; i < x.size(); ++i) {
      const int64_t begin = step_.ints[i], by = step_.ints[x.size() + i], last = begin + by * (y[i] - 1);
      if (begin < 0 || begin >= x[i] || last < 0 || last >= x[i] || by == 0) return bad("takes from outside");
    }
    return {};
  }

  Status matmul() const {
    SKERRY_TRY(inputs(2, 2, 2));
    SKERRY_TRY(numbers(0, 0));
    SKERRY_TRY(all_float());
    Dims a = in_dims(0), b = in_dims(1), y = out_dims();
    if (a.size() < 2 || b.size() < 2 || y.size() != std::max(a.size(), b.size())) return bad("takes matrices");
    const size_t ra = a.size(), rb = b.size(), ry = y.size();
    if (a[ra - 1] != b[rb - 2] || y[ry - 2] != a[ra - 2] || y[ry - 1] != b[rb - 1]) return bad("has shapes that do not fit");
    for (size_t i = 3; i <= ry; ++i) {
      const int64_t left = i <= ra ? a[ra - i] : 1, right = i <= rb ? b[rb - i] : 1;
      if ((left != right && left != 1 && right != 1) || y[ry - i] != std::max(left, right)) return bad("has shapes that do not fit");
    }
    return {};
  }

  Status layer_norm() const {
    SKERRY_TRY(inputs(2, 3, 2));
    SKERRY_TRY(numbers(1, 1));
    SKERRY_TRY(all_float());
    const Dims x = in_dims(0);
    SKERRY_TRY(axis(step_.ints[0], x));
    int64_t inner = 1;
    for (size_t i = static_cast<size_t>(step_.ints[0]); i < x.size(); ++i) inner *= x[i];
    if (elements(in_dims(1)) != inner || (has(2) && elements(in_dims(2)) != inner)) return bad("has a scale of the wrong size");
    return require(x == out_dims() && step_.floats[0] >= 0, "gives another shape, or has a negative epsilon");
  }

  Status recurrent() const {
    SKERRY_TRY(inputs(3, 6, 3));
    SKERRY_TRY(numbers(4, 0));
    SKERRY_TRY(all_float());
    const bool lstm = step_.ints[0] == static_cast<int32_t>(graph::Recurrent::Kind::lstm);
    if (step_.ints[0] < 0 || step_.ints[0] > 1 || step_.ints[1] < 0 || step_.ints[1] > 2 || step_.ints[3] < 0 || step_.ints[3] > 1) {
      return bad("is of no known kind");
    }
    const Dims x = in_dims(0);
    if (x.size() != 3 || step_.ints[2] < 1 || step_.ints[2] > kWindowMax) return bad("takes sequences");
    const int64_t both = step_.ints[1] == 2 ? 2 : 1, hidden = step_.ints[2], gates = lstm ? 4 : 3;
    const Dims state = {both, x[1], hidden};
    if (in_dims(1) != Dims{both, gates * hidden, x[2]} || in_dims(2) != Dims{both, gates * hidden, hidden}) return bad("has weights that do not fit");
    if (has(3) && in_dims(3) != Dims{both, 2 * gates * hidden}) return bad("has a bias that does not fit");
    if ((has(4) && in_dims(4) != state) || (has(5) && (!lstm || in_dims(5) != state))) return bad("has a state that does not fit");
    if (out_dims(0) != Dims{x[0], both, x[1], hidden}) return bad("gives another shape");
    for (size_t i = 1; i < step_.outputs.size(); ++i) {
      if (out_dims(i) != state || (i == 2 && !lstm)) return bad("gives another state");
    }
    return {};
  }

  Status by_op() const {
    switch (step_.op) {
      case Op::quantize:
      case Op::dequantize: return quantize();
      case Op::convolution: return convolution();
      case Op::linear: return linear();
      case Op::max_pool:
      case Op::average_pool: return pool();
      case Op::binary: return binary();
      case Op::activate:
        SKERRY_TRY(same_shape(0));
        return require(in(0).is_quantized() == out().is_quantized() && !in(0).is_constant(), "can't change between float and integer");
      case Op::unary:
        SKERRY_TRY(same_shape(1));
        SKERRY_TRY(all_float());
        return require(step_.ints[0] >= 0 && step_.ints[0] <= static_cast<int32_t>(graph::Unary::Kind::reciprocal), "is of no known kind");
      case Op::softmax:
        SKERRY_TRY(same_shape(2));
        SKERRY_TRY(all_float());
        return axis(step_.ints[0], in_dims(0));
      case Op::layer_norm: return layer_norm();
      case Op::reduce: return reduce();
      case Op::concat: return concat();
      case Op::reshape:
        SKERRY_TRY(inputs(1, 1, 1));
        SKERRY_TRY(numbers(0, 0));
        SKERRY_TRY(same_quantization(in(0), out()));
        return require(!in(0).is_constant() && elements(in_dims(0)) == elements(out_dims()), "gives another number of elements");
      case Op::transpose:
        SKERRY_TRY(inputs(1, 1, 1));
        SKERRY_TRY(numbers(in_dims(0).size(), 0));
        SKERRY_TRY(same_quantization(in(0), out()));
        return permutation(step_.ints, in_dims(0), out_dims());
      case Op::pad: return pad();
      case Op::slice: return slice();
      case Op::matmul: return matmul();
      case Op::recurrent: return recurrent();
    }
    return bad("is of no known operation");
  }

  const Plan& plan_;
  const Step& step_;
  const size_t at_;
  const int64_t batch_;
};

// Inner operations of one sample, roughly: no plan may keep a thread for minutes.
double work(const Plan& plan, const Step& step) {
  auto count = [&](uint32_t id) { return static_cast<double>(elements(plan.dims(id, 1))); };
  const double given = count(step.outputs[0]);
  switch (step.op) {
    case Op::convolution:
    case Op::linear: return given * count(step.inputs[1]) / static_cast<double>(plan.tensors[step.inputs[1]].shape[0]);
    case Op::max_pool:
    case Op::average_pool: return given * static_cast<double>(step.ints[kPoolH]) * static_cast<double>(step.ints[kPoolW]);
    case Op::matmul: return given * static_cast<double>(plan.dims(step.inputs[0], 1).back());
    case Op::recurrent: {
      const Dims x = plan.dims(step.inputs[0], 1);
      return static_cast<double>(x[0] * x[1]) * (count(step.inputs[1]) + count(step.inputs[2]));
    }
    default: return given + count(step.inputs[0]);
  }
}

// Everything is computed once, before it is used.
Status check_order(const Plan& plan) {
  std::vector<bool> there(plan.tensors.size());
  for (size_t i = 0; i < plan.tensors.size(); ++i) there[i] = plan.tensors[i].is_constant();
  for (uint32_t id : plan.inputs) {
    if (id >= there.size() || there[id] || plan.tensors[id].type != Type::f32) return fail(Code::invalid, "an input is no f32 tensor of its own");
    there[id] = true;
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    for (uint32_t id : plan.steps[i].inputs) {
      if (id != kNoTensor && (id >= there.size() || !there[id])) return fail(Code::invalid, "step {} takes a tensor that is not there yet", i);
    }
    for (uint32_t id : plan.steps[i].outputs) {
      if (id >= there.size() || there[id]) return fail(Code::invalid, "step {} gives a tensor that is there already", i);
      there[id] = true;
    }
  }
  for (uint32_t id : plan.outputs) {
    if (id >= there.size() || !there[id] || plan.tensors[id].is_constant() || plan.tensors[id].type != Type::f32) {
      return fail(Code::invalid, "an output is no computed f32 tensor");
    }
  }
  if (plan.inputs.empty() || plan.outputs.empty()) return fail(Code::invalid, "the plan has no input or no output");
  return {};
}

}  // namespace

Status check(const Plan& plan, int64_t batch) {
  if (plan.tensors.size() > kTensorsMax || plan.steps.size() > kStepsMax) return fail(Code::invalid, "the plan is too large");
  for (size_t i = 0; i < plan.tensors.size(); ++i) SKERRY_TRY(check_tensor(plan, i, batch));
  SKERRY_TRY(check_order(plan));
  for (size_t i = 0; i < plan.steps.size(); ++i) SKERRY_TRY(StepCheck(plan, i, batch).run());
  double sum = 0;
  for (const Step& step : plan.steps) sum += work(plan, step);
  if (sum > static_cast<double>(kWorkMax)) return fail(Code::invalid, "one answer would take more than {} multiplications", kWorkMax);
  return {};
}

int64_t multiplies(const Plan& plan) {
  double sum = 0;
  for (const Step& step : plan.steps) {
    if (step.op == Op::convolution || step.op == Op::linear) sum += work(plan, step);
  }
  return static_cast<int64_t>(sum);
}

}  // namespace skerry::inference::plan
