#include "inference/plan/internal/fold.h"

#include <limits>

#include "inference/plan/internal/geometry.h"

namespace skerry::inference::plan {
namespace {

using graph::Activation;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool clamps(Activation kind) {
  return kind == Activation::none || kind == Activation::relu || kind == Activation::relu6 || kind == Activation::clip;
}

std::pair<float, float> bounds(const graph::ActivationSpec& activation) {
  switch (activation.kind) {
    case Activation::relu: return {0.0f, kInfinity};
    case Activation::relu6: return {0.0f, 6.0f};
    case Activation::clip: return {activation.alpha, activation.beta};
    default: return {-kInfinity, kInfinity};
  }
}

}  // namespace

Folded fold(const Plan& plan, const Step& step) {
  const Tensor &x = plan.tensors[step.inputs[0]], &weights = plan.tensors[step.inputs[1]], &y = plan.tensors[step.outputs[0]];
  const Dims shape = plan.dims(step.inputs[1], 1);
  const auto channels = static_cast<size_t>(shape[0]), each = static_cast<size_t>(elements(shape)) / channels;
  const auto* w = plan.constant<int8_t>(step.inputs[1]);
  const float* bias = step.input(2) == kNoTensor ? nullptr : plan.constant<float>(step.inputs[2]);
  const bool padded = step.op == Op::convolution && convolution_window(step, shape).padded();

  Folded out;
  out.activate = !clamps(step.activation.kind);
  const bool to_stored = y.is_quantized() && !out.activate;
  const float unit = to_stored ? y.scale[0] : 1.0f, zero = to_stored ? static_cast<float>(y.zero_point) : 0.0f;
  if (padded) out.padding_zero = x.zero_point;
  float constant = zero;
  if (step.input(3) != kNoTensor) {
    const Tensor& residual = plan.tensors[step.inputs[3]];
    out.residual = (residual.is_quantized() ? residual.scale[0] : 1.0f) / unit;
    constant -= out.residual * static_cast<float>(residual.zero_point);
  }
  for (size_t c = 0; c < channels; ++c) {
    const float factor = x.scale[0] * weights.scale[weights.scale.size() == 1 ? 0 : c] / unit;
    int64_t sum = 0;
    for (size_t i = 0; !padded && x.zero_point != 0 && i < each; ++i) sum += w[c * each + i];
    out.factor.push_back(factor);
    out.offset.push_back((bias ? bias[c] / unit : 0.0f) + constant - factor * static_cast<float>(sum * x.zero_point));
  }
  const auto [low, high] = bounds(step.activation);
  out.low = low / unit + zero;
  out.high = high / unit + zero;
  if (to_stored) {
    const float type_low = y.type == Type::i8 ? -128.0f : 0.0f, type_high = y.type == Type::i8 ? 127.0f : 255.0f;
    out.bounded = out.low > type_low || out.high < type_high;
  } else {
    out.bounded = !out.activate && step.activation.kind != Activation::none;
  }
  if (out.activate && y.is_quantized()) {
    out.output_factor = 1.0f / y.scale[0];
    out.output_zero = static_cast<float>(y.zero_point);
  }
  return out;
}

}  // namespace skerry::inference::plan
