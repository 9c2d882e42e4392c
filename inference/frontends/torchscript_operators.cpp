#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "inference/frontends/internal/torchscript_walker.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::Activation;
using graph::Binary;
using graph::kNoValue;
using graph::Recurrent;
using graph::Reduce;
using graph::Shape;
using graph::Unary;
using graph::ValueId;

const std::map<std::string, TorchWalker::Handler>& TorchWalker::handlers() {
  using W = TorchWalker;
  static const std::map<std::string, Handler> table = {{"aten::_convolution", &W::convolution},
                                                       {"aten::convolution", &W::convolution},
                                                       {"aten::conv1d", &W::convolution},
                                                       {"aten::conv2d", &W::convolution},
                                                       {"aten::linear", &W::linear},
                                                       {"aten::addmm", &W::addmm},
                                                       {"aten::matmul", &W::matmul},
                                                       {"aten::mm", &W::matmul},
                                                       {"aten::bmm", &W::matmul},
                                                       {"aten::batch_norm", &W::batch_norm},
                                                       {"aten::layer_norm", &W::layer_norm},
                                                       {"aten::relu", &W::activation},
                                                       {"aten::relu6", &W::activation},
                                                       {"aten::sigmoid", &W::activation},
                                                       {"aten::tanh", &W::activation},
                                                       {"aten::silu", &W::activation},
                                                       {"aten::hardswish", &W::activation},
                                                       {"aten::hardsigmoid", &W::activation},
                                                       {"aten::leaky_relu", &W::activation},
                                                       {"aten::hardtanh", &W::hardtanh},
                                                       {"aten::clamp", &W::clamp},
                                                       {"aten::clamp_min", &W::clamp},
                                                       {"aten::clamp_max", &W::clamp},
                                                       {"aten::gelu", &W::gelu},
                                                       {"aten::elu", &W::elu},
                                                       {"aten::max_pool1d", &W::pool},
                                                       {"aten::max_pool2d", &W::pool},
                                                       {"aten::avg_pool1d", &W::pool},
                                                       {"aten::avg_pool2d", &W::pool},
                                                       {"aten::adaptive_avg_pool1d", &W::adaptive_pool},
                                                       {"aten::adaptive_avg_pool2d", &W::adaptive_pool},
                                                       {"aten::add", &W::binary},
                                                       {"aten::sub", &W::binary},
                                                       {"aten::rsub", &W::binary},
                                                       {"aten::mul", &W::binary},
                                                       {"aten::div", &W::binary},
                                                       {"aten::pow", &W::binary},
                                                       {"aten::minimum", &W::binary},
                                                       {"aten::maximum", &W::binary},
                                                       {"aten::sqrt", &W::unary},
                                                       {"aten::rsqrt", &W::unary},
                                                       {"aten::exp", &W::unary},
                                                       {"aten::log", &W::unary},
                                                       {"aten::neg", &W::unary},
                                                       {"aten::abs", &W::unary},
                                                       {"aten::reciprocal", &W::unary},
                                                       {"aten::mean", &W::reduce},
                                                       {"aten::sum", &W::reduce},
                                                       {"aten::amax", &W::reduce},
                                                       {"aten::softmax", &W::softmax},
                                                       {"aten::log_softmax", &W::softmax},
                                                       {"aten::cat", &W::concat},
                                                       {"aten::flatten", &W::flatten},
                                                       {"aten::view", &W::view},
                                                       {"aten::reshape", &W::view},
                                                       {"aten::squeeze", &W::squeeze},
                                                       {"aten::unsqueeze", &W::unsqueeze},
                                                       {"aten::transpose", &W::transpose},
                                                       {"aten::t", &W::transpose},
                                                       {"aten::permute", &W::permute},
                                                       {"aten::slice", &W::slice},
                                                       {"aten::select", &W::select},
                                                       {"aten::chunk", &W::split},
                                                       {"aten::split", &W::split},
                                                       {"aten::split_with_sizes", &W::split},
                                                       {"aten::constant_pad_nd", &W::pad},
                                                       {"aten::pad", &W::pad},
                                                       {"aten::dropout", &W::same},
                                                       {"aten::feature_dropout", &W::same},
                                                       {"aten::contiguous", &W::same},
                                                       {"aten::clone", &W::same},
                                                       {"aten::detach", &W::same},
                                                       {"aten::to", &W::same},
                                                       {"aten::type_as", &W::same},
                                                       {"aten::size", &W::size},
                                                       {"aten::dim", &W::dimensions},
                                                       {"aten::zeros", &W::zeros},
                                                       {"aten::gru", &W::recurrent},
                                                       {"aten::lstm", &W::recurrent}};
  return table;
}

// _convolution: x, weights, bias, stride, padding, dilation, transposed, output padding, groups, …; conv1d, conv2d: … dilation, groups.
Status TorchWalker::convolution(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(ValueId w, value(call, 1));
  SKERRY_ASSIGN(ValueId b, optional_value(call, 2));
  const Shape& weights = builder_.shape(w);
  if (weights.size() < 3 || builder_.rank(x) != static_cast<int64_t>(weights.size()))
    return fail(Code::unavailable, "takes an input without a batch");
  const bool general = call.type.ends_with("convolution");
  if (general) {
    SKERRY_ASSIGN(int64_t transposed, integer(call, 6));
    if (transposed != 0) return fail(Code::unavailable, "is transposed");
  }
  const size_t spatial = weights.size() - 2;
  WindowSpec spec;
  spec.kernel.assign(weights.begin() + 2, weights.end());
  SKERRY_ASSIGN(spec.strides, integers(call, 3, spatial, 1));
  SKERRY_ASSIGN(spec.dilations, integers(call, 5, spatial, 1));
  if (call.in.at(4).known.isString()) {
    const bool same = call.in[4].known.toStringRef() == "same";
    spec.pads_begin = spec.pads_end = std::vector<int64_t>(spatial);
    if (same) SKERRY_TRY(pad_same(spec, builder_.shape(x)));
  } else {
    SKERRY_ASSIGN(spec.pads_begin, integers(call, 4, spatial, 0));
    spec.pads_end = spec.pads_begin;
  }
  SKERRY_ASSIGN(int64_t groups, integer(call, general ? 8 : 6, 1));
  return add(call, graph::Conv{spec.strides, spec.dilations, spec.pads_begin, spec.pads_end, groups}, {x, w, b});
}

Status TorchWalker::linear(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(ValueId w, value(call, 1));
  SKERRY_ASSIGN(ValueId b, optional_value(call, 2));
  return add(call, graph::Linear{}, {x, w, b});
}

// beta * bias + alpha * (a b)
Status TorchWalker::addmm(Call& call) {
  SKERRY_ASSIGN(ValueId bias, value(call, 0));
  SKERRY_ASSIGN(ValueId a, value(call, 1));
  SKERRY_ASSIGN(ValueId b, value(call, 2));
  SKERRY_ASSIGN(double beta, real(call, 3, 1));
  SKERRY_ASSIGN(double alpha, real(call, 4, 1));
  if (beta != 1 || alpha != 1 || builder_.rank(bias) != 1) return fail(Code::unavailable, "with factors, or a bias of several dimensions");
  SKERRY_ASSIGN(ValueId w, builder_.transpose(call.name + ".weights", b, {1, 0}));
  return add(call, graph::Linear{}, {a, w, bias});
}

Status TorchWalker::matmul(Call& call) {
  SKERRY_ASSIGN(ValueId a, value(call, 0));
  SKERRY_ASSIGN(ValueId b, value(call, 1));
  if (builder_.rank(a) < 2 || builder_.rank(b) < 2) return fail(Code::unavailable, "takes a vector; matrices are supported");
  if (!builder_.is_constant(b) || builder_.rank(b) != 2) return add(call, graph::MatMul{}, {a, b});
  SKERRY_ASSIGN(ValueId w, builder_.transpose(call.name + ".weights", b, {1, 0}));
  return add(call, graph::Linear{}, {a, w, kNoValue});
}

// x, scale, shift, mean, variance, training, momentum, epsilon
Status TorchWalker::batch_norm(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(ValueId mean, optional_value(call, 3));
  SKERRY_ASSIGN(ValueId variance, optional_value(call, 4));
  SKERRY_ASSIGN(int64_t training, integer(call, 5));
  SKERRY_ASSIGN(double epsilon, real(call, 7, 1e-5));
  if (training != 0 || mean == kNoValue || variance == kNoValue) return fail(Code::unavailable, "needs statistics of the batch");
  const size_t channels = static_cast<size_t>(builder_.shape(mean).at(0));
  SKERRY_ASSIGN(ValueId scale, optional_value(call, 1));
  SKERRY_ASSIGN(ValueId shift, optional_value(call, 2));
  if (scale == kNoValue) scale = builder_.constant("ones", builder_.shape(mean), std::vector<float>(channels, 1));
  if (shift == kNoValue) shift = builder_.constant("zeros", builder_.shape(mean), std::vector<float>(channels, 0));
  return add(call, graph::BatchNorm{static_cast<float>(epsilon)}, {x, scale, shift, mean, variance});
}

Status TorchWalker::layer_norm(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(std::vector<int64_t> shape, integers(call, 1));
  SKERRY_ASSIGN(ValueId scale, optional_value(call, 2));
  SKERRY_ASSIGN(ValueId shift, optional_value(call, 3));
  SKERRY_ASSIGN(double epsilon, real(call, 4, 1e-5));
  return add(call, graph::LayerNorm{-static_cast<int64_t>(shape.size()), static_cast<float>(epsilon)}, {x, scale, shift});
}

Status TorchWalker::activate(Call& call, graph::ActivationSpec spec) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  return add(call, graph::Activate{spec}, {x});
}

Status TorchWalker::activation(Call& call) {
  static const std::map<std::string, Activation> kinds = {{"aten::relu", Activation::relu},
                                                          {"aten::relu6", Activation::relu6},
                                                          {"aten::sigmoid", Activation::sigmoid},
                                                          {"aten::tanh", Activation::tanh},
                                                          {"aten::silu", Activation::silu},
                                                          {"aten::hardswish", Activation::hard_swish},
                                                          {"aten::hardsigmoid", Activation::hard_sigmoid},
                                                          {"aten::leaky_relu", Activation::leaky_relu}};
  graph::ActivationSpec spec{kinds.at(call.type)};
  if (spec.kind == Activation::hard_sigmoid) spec = {spec.kind, 1.0f / 6, 0.5f};
  if (spec.kind == Activation::leaky_relu) {
    SKERRY_ASSIGN(double slope, real(call, 1, 0.01));
    spec.alpha = static_cast<float>(slope);
  }
  return activate(call, spec);
}

Status TorchWalker::hardtanh(Call& call) {
  SKERRY_ASSIGN(double low, real(call, 1, -1));
  SKERRY_ASSIGN(double high, real(call, 2, 1));
  if (low == 0 && high == 6) return activate(call, {Activation::relu6});
  return activate(call, {Activation::clip, static_cast<float>(low), static_cast<float>(high)});
}

Status TorchWalker::clamp(Call& call) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const bool upper = call.type.starts_with("aten::clamp_max");
  SKERRY_ASSIGN(double low, upper ? Result<double>(-kInfinity) : real(call, 1, -kInfinity));
  SKERRY_ASSIGN(double high, real(call, upper ? 1 : 2, kInfinity));
  if (call.type.starts_with("aten::clamp_min")) high = kInfinity;
  if (low == 0 && high == kInfinity) return activate(call, {Activation::relu});
  return activate(call, {Activation::clip, static_cast<float>(low), static_cast<float>(high)});
}

Status TorchWalker::gelu(Call& call) {
  if (!call.none(1) && (!call.in[1].known.isString() || call.in[1].known.toStringRef() != "none"))
    return fail(Code::unavailable, "is approximated with tanh");
  return activate(call, {Activation::gelu});
}

Status TorchWalker::elu(Call& call) {
  SKERRY_ASSIGN(double alpha, real(call, 1, 1));
  SKERRY_ASSIGN(double scale, real(call, 2, 1));
  SKERRY_ASSIGN(double input_scale, real(call, 3, 1));
  if (scale != 1 || input_scale != 1) return fail(Code::unavailable, "is scaled");
  return activate(call, {Activation::elu, static_cast<float>(alpha)});
}

// max: x, kernel, stride, padding, dilation, ceil; avg: x, kernel, stride, padding, ceil, count padding, divisor
Status TorchWalker::pool(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  const bool max = call.type.starts_with("aten::max");
  const size_t spatial = call.type.find("1d") != std::string::npos ? 1 : 2;
  if (builder_.rank(x) != static_cast<int64_t>(spatial) + 2) return fail(Code::unavailable, "takes an input without a batch");
  WindowSpec spec;
  SKERRY_ASSIGN(spec.kernel, integers(call, 1, spatial, 1));
  SKERRY_ASSIGN(spec.strides, integers(call, 2, spatial, 0));
  if (std::count(spec.strides.begin(), spec.strides.end(), 0) > 0) spec.strides = spec.kernel;
  SKERRY_ASSIGN(spec.pads_begin, integers(call, 3, spatial, 0));
  spec.pads_end = spec.pads_begin;
  spec.dilations.assign(spatial, 1);
  if (max) {
    SKERRY_ASSIGN(std::vector<int64_t> dilations, integers(call, 4, spatial, 1));
    if (dilations != spec.dilations) return fail(Code::unavailable, "is dilated");
  }
  SKERRY_ASSIGN(int64_t ceil, integer(call, max ? 5 : 4, 0));
  SKERRY_ASSIGN(int64_t counted, max ? Result<int64_t>(0) : integer(call, 5, 1));
  if (!max && !call.none(6)) return fail(Code::unavailable, "has a divisor of its own");
  const bool padded = std::any_of(spec.pads_begin.begin(), spec.pads_begin.end(), [](int64_t p) { return p > 0; });
  if (ceil != 0) {
    SKERRY_TRY(pad_for_ceil(spec, builder_.shape(x)));
    if (!max && counted != 0 && padded && spec.pads_end != spec.pads_begin)
      return fail(Code::unavailable, "counts padding in windows that ceil_mode lets reach beyond it");
  }
  graph::Pool op{max ? graph::Pool::Kind::max : graph::Pool::Kind::average,
                 spec.kernel,
                 spec.strides,
                 spec.pads_begin,
                 spec.pads_end,
                 counted != 0 && padded};
  return add(call, op, {x});
}

// To one value per channel, or to a number that divides the input.
Status TorchWalker::adaptive_pool(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  const size_t spatial = call.type.find("1d") != std::string::npos ? 1 : 2;
  SKERRY_ASSIGN(std::vector<int64_t> target, integers(call, 1, spatial, 1));
  const Shape& shape = builder_.shape(x);
  if (shape.size() != spatial + 2) return fail(Code::unavailable, "takes an input without a batch");
  if (std::all_of(target.begin(), target.end(), [](int64_t t) { return t == 1; })) {
    return add(call, Reduce{Reduce::Kind::mean, spatial == 1 ? std::vector<int64_t>{2} : std::vector<int64_t>{2, 3}, true}, {x});
  }
  graph::Pool op{graph::Pool::Kind::average};
  for (size_t i = 0; i < spatial; ++i) {
    if (target[i] < 1 || shape[i + 2] % target[i] != 0)
      return fail(Code::unavailable, "to {} of {}: windows would differ in size", target[i], shape[i + 2]);
    op.kernel.push_back(shape[i + 2] / target[i]);
  }
  op.strides = op.kernel;
  op.pads_begin = op.pads_end = std::vector<int64_t>(spatial);
  return add(call, op, {x});
}

Status TorchWalker::binary(Call& call) {
  static const std::map<std::string, Binary::Kind> kinds = {{"aten::add", Binary::Kind::add},     {"aten::sub", Binary::Kind::sub},
                                                            {"aten::rsub", Binary::Kind::sub},    {"aten::mul", Binary::Kind::mul},
                                                            {"aten::div", Binary::Kind::div},     {"aten::pow", Binary::Kind::pow},
                                                            {"aten::minimum", Binary::Kind::min}, {"aten::maximum", Binary::Kind::max}};
  const std::string& type = call.type;
  SKERRY_ASSIGN(ValueId a, value(call, 0));
  SKERRY_ASSIGN(ValueId b, value(call, 1));
  const bool scaled = type == "aten::add" || type == "aten::sub" || type == "aten::rsub";
  if (type == "aten::div" && !call.none(2)) return fail(Code::unavailable, "rounds");
  if (scaled) {
    SKERRY_ASSIGN(double alpha, real(call, 2, 1));
    if (alpha != 1) {
      ValueId& factor = type == "aten::rsub" ? a : b;
      ValueId constant = builder_.constant("alpha", {1}, {static_cast<float>(alpha)});
      SKERRY_ASSIGN(factor, builder_.add(call.name + ".alpha", Binary{Binary::Kind::mul}, {factor, constant}));
    }
  }
  if (type == "aten::rsub") std::swap(a, b);
  return add(call, Binary{kinds.at(type)}, {a, b});
}

Status TorchWalker::unary(Call& call) {
  static const std::map<std::string, Unary::Kind> kinds = {{"aten::sqrt", Unary::Kind::sqrt},
                                                           {"aten::rsqrt", Unary::Kind::sqrt},
                                                           {"aten::exp", Unary::Kind::exp},
                                                           {"aten::log", Unary::Kind::log},
                                                           {"aten::neg", Unary::Kind::neg},
                                                           {"aten::abs", Unary::Kind::abs},
                                                           {"aten::reciprocal", Unary::Kind::reciprocal}};
  const std::string& type = call.type;
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  if (type != "aten::rsqrt") return add(call, Unary{kinds.at(type)}, {x});
  SKERRY_ASSIGN(ValueId root, builder_.add(call.name + ".root", Unary{Unary::Kind::sqrt}, {x}));
  return add(call, Unary{Unary::Kind::reciprocal}, {root});
}

// x, axes, keep; mean and sum without axes are over everything, the batch included
Status TorchWalker::reduce(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  std::vector<int64_t> axes;
  if (call.count() > 2 && !call.none(1)) {
    SKERRY_ASSIGN(axes, integers(call, 1));
  }
  if (axes.empty()) return fail(Code::unavailable, "is over the batch");
  for (int64_t& axis : axes) {
    SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x)));
  }
  std::sort(axes.begin(), axes.end());
  SKERRY_ASSIGN(int64_t keep, integer(call, 2, 0));
  const Reduce::Kind kind = call.type == "aten::mean"  ? Reduce::Kind::mean
                            : call.type == "aten::sum" ? Reduce::Kind::sum
                                                       : Reduce::Kind::max;
  return add(call, Reduce{kind, axes, keep != 0}, {x});
}

Status TorchWalker::softmax(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(int64_t axis, integer(call, 1));
  return add(call, graph::Softmax{axis, call.type == "aten::log_softmax"}, {x});
}

Status TorchWalker::concat(Call& call) {
  SKERRY_ASSIGN(std::vector<ValueId> inputs, values(call, 0));
  SKERRY_ASSIGN(int64_t axis, integer(call, 1, 0));
  return add(call, graph::Concat{axis}, std::move(inputs));
}

Status TorchWalker::flatten(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(int64_t first, integer(call, 1, 0));
  SKERRY_ASSIGN(int64_t last, integer(call, 2, -1));
  SKERRY_ASSIGN(first, normal_axis(first, builder_.rank(x)));
  SKERRY_ASSIGN(last, normal_axis(last, builder_.rank(x)));
  const Shape& from = builder_.shape(x);
  Shape target;
  int64_t joined = 1;
  for (int64_t i = 0; i < builder_.rank(x); ++i) {
    const int64_t d = from[static_cast<size_t>(i)];
    if (i < first || i > last) target.push_back(d);
    if (i < first || i > last) continue;
    if (d == -1 && first != last) return fail(Code::unavailable, "mixes the batch with another dimension");
    joined *= d;
    if (i == last) target.push_back(joined);
  }
  SKERRY_ASSIGN(ValueId id, builder_.reshape(call.name, x, std::move(target)));
  return set(call, id, true);
}

Status TorchWalker::view(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(std::vector<int64_t> target, integers(call, 1));
  SKERRY_ASSIGN(target, builder_.reshape_target(x, std::move(target)));
  SKERRY_ASSIGN(ValueId id, builder_.reshape(call.name, x, std::move(target)));
  return set(call, id, true);
}

Status TorchWalker::squeeze(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  Shape target = builder_.shape(x);
  if (call.count() > 1) {
    SKERRY_ASSIGN(int64_t axis, integer(call, 1));
    SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x)));
    if (target[static_cast<size_t>(axis)] == 1) target.erase(target.begin() + axis);
  } else {
    target.erase(std::remove(target.begin(), target.end(), 1), target.end());
  }
  SKERRY_ASSIGN(ValueId id, builder_.reshape(call.name, x, std::move(target)));
  return set(call, id, true);
}

Status TorchWalker::unsqueeze(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(int64_t axis, integer(call, 1));
  SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x) + 1));
  Shape target = builder_.shape(x);
  target.insert(target.begin() + axis, 1);
  SKERRY_ASSIGN(ValueId id, builder_.reshape(call.name, x, std::move(target)));
  return set(call, id, true);
}

Status TorchWalker::transpose(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  std::vector<int64_t> permutation;
  for (int64_t axis = 0; axis < builder_.rank(x); ++axis) permutation.push_back(axis);
  int64_t a = 0, b = builder_.rank(x) - 1;  // t: a matrix, or a vector
  if (call.type == "aten::transpose") {
    SKERRY_ASSIGN(a, integer(call, 1));
    SKERRY_ASSIGN(b, integer(call, 2));
  }
  SKERRY_ASSIGN(a, normal_axis(a, builder_.rank(x)));
  SKERRY_ASSIGN(b, normal_axis(b, builder_.rank(x)));
  std::swap(permutation[static_cast<size_t>(a)], permutation[static_cast<size_t>(b)]);
  SKERRY_ASSIGN(ValueId id, builder_.transpose(call.name, x, std::move(permutation)));
  return set(call, id, true);
}

Status TorchWalker::permute(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(std::vector<int64_t> permutation, integers(call, 1));
  for (int64_t& axis : permutation) {
    SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x)));
  }
  SKERRY_ASSIGN(ValueId id, builder_.transpose(call.name, x, std::move(permutation)));
  return set(call, id, true);
}

// x, axis, start, end, step
Status TorchWalker::slice(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(int64_t axis, integer(call, 1, 0));
  SKERRY_ASSIGN(int64_t begin, integer(call, 2, 0));
  SKERRY_ASSIGN(int64_t end, integer(call, 3, INT64_MAX));
  SKERRY_ASSIGN(int64_t step, integer(call, 4, 1));
  if (begin == 0 && end == INT64_MAX && step == 1) return set(call, x, true);  // x[:], mostly of the batch
  SKERRY_ASSIGN(ValueId id, builder_.add(call.name, graph::Slice{{axis}, {begin}, {end}, {step}}, {x}));
  return set(call, id, true);
}

Status TorchWalker::select(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(int64_t axis, integer(call, 1));
  SKERRY_ASSIGN(int64_t index, integer(call, 2));
  SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x)));
  graph::Slice op{{axis}, {index}, {index == -1 ? INT64_MAX : index + 1}, {1}};
  SKERRY_ASSIGN(ValueId picked, builder_.add(call.name + ".slice", op, {x}));
  Shape target = builder_.shape(picked);
  target.erase(target.begin() + axis);
  SKERRY_ASSIGN(ValueId id, builder_.reshape(call.name, picked, std::move(target)));
  return set(call, id, true);
}

// chunk: x, parts, axis; split: x, length of each, axis; split_with_sizes: x, lengths, axis
Status TorchWalker::split(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(int64_t axis, integer(call, 2, 0));
  SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x)));
  const int64_t length = builder_.shape(x)[static_cast<size_t>(axis)];
  SKERRY_ASSIGN(std::vector<int64_t> lengths, integers(call, 1));
  if (length < 1 || lengths.empty() || lengths[0] < 1) return fail(Code::unavailable, "splits the batch, or into nothing");
  if (call.type != "aten::split_with_sizes" && lengths.size() == 1) {
    const int64_t each = call.type == "aten::chunk" ? (length + lengths[0] - 1) / lengths[0] : lengths[0];
    lengths.clear();
    for (int64_t at = 0; at < length; at += each) lengths.push_back(std::min(each, length - at));
  }
  Item parts;
  parts.is_list = true;
  int64_t at = 0;
  for (int64_t each : lengths) {
    if (each < 1 || each > length - at) return fail(Code::invalid, "splits beyond {}", length);
    SKERRY_ASSIGN(ValueId id, builder_.add(fmt::format("{}.{}", call.name, at), graph::Slice{{axis}, {at}, {at + each}, {1}}, {x}));
    parts.list.push_back({id, {}, {}, false, true, call.in[0].view ? call.in[0].base : call.in[0].id});
    at += each;
  }
  return set(call, 0, std::move(parts));
}

// Paddings from the last dimension on: before, after. pad: x, pad, mode, value; constant_pad_nd: x, pad, value
Status TorchWalker::pad(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  SKERRY_ASSIGN(std::vector<int64_t> pads, integers(call, 1));
  const bool moded = call.type == "aten::pad";
  if (moded && (!call.in.at(2).known.isString() || call.in[2].known.toStringRef() != "constant"))
    return fail(Code::unavailable, "in another mode than 'constant'");
  SKERRY_ASSIGN(double fill, real(call, moded ? 3 : 2, 0));
  const size_t rank = builder_.shape(x).size();
  graph::Pad op{std::vector<int64_t>(rank), std::vector<int64_t>(rank), static_cast<float>(fill)};
  if (pads.size() % 2 != 0 || pads.size() > 2 * rank) return fail(Code::invalid, "has {} paddings for {} dimensions", pads.size(), rank);
  for (size_t i = 0; i < pads.size() / 2; ++i) {
    op.begin[rank - 1 - i] = pads[2 * i];
    op.end[rank - 1 - i] = pads[2 * i + 1];
  }
  return add(call, op, {x});
}

// What does nothing to a float on the CPU in evaluation.
Status TorchWalker::same(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  if (call.type.find("dropout") != std::string::npos) {
    SKERRY_ASSIGN(int64_t training, integer(call, 2));
    if (training != 0) return fail(Code::unavailable, "is in training mode");
  }
  if (call.type == "aten::to") {
    for (size_t i = 1; i < call.count(); ++i) {
      if (!call.in[i].known.isInt() || call.node->input(i)->type()->kind() != c10::TypeKind::IntType) continue;
      const int64_t type = call.in[i].known.toInt();
      if (type != static_cast<int64_t>(at::kFloat)) return fail(Code::unavailable, "changes the type to {}", type);
      break;
    }
  }
  return set(call, x, call.type != "aten::clone");
}

Status TorchWalker::size(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  Shape shape = builder_.shape(x);
  std::replace(shape.begin(), shape.end(), int64_t{-1}, kBatch);
  if (call.count() > 1) {
    SKERRY_ASSIGN(int64_t axis, integer(call, 1));
    SKERRY_ASSIGN(axis, normal_axis(axis, static_cast<int64_t>(shape.size())));
    return set(call, 0, Item{kNoValue, shape[static_cast<size_t>(axis)]});
  }
  Item list;
  list.is_list = true;
  for (int64_t d : shape) list.list.push_back({kNoValue, d});
  return set(call, 0, std::move(list));
}

Status TorchWalker::dimensions(Call& call) {
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  return set(call, 0, Item{kNoValue, builder_.rank(x)});
}

// States of recurrent layers; repeated over the batch by what uses them.
Status TorchWalker::zeros(Call& call) {
  SKERRY_ASSIGN(Shape shape, integers(call, 0));
  std::replace(shape.begin(), shape.end(), kBatch, int64_t{1});
  const bool negative = std::any_of(shape.begin(), shape.end(), [](int64_t d) { return d < 1; });
  const int64_t count = negative || shape.size() > graph::kRankMax ? -1 : graph::elements(shape);
  if (count < 0 || count > (1 << 16)) return fail(Code::unavailable, "makes a constant of {}", graph::to_string(shape));
  return set(call, builder_.constant(call.name, shape, std::vector<float>(static_cast<size_t>(count))));
}

// Of one layer; none when it is all zeros.
Result<ValueId> TorchWalker::initial_state(const Item& given, int64_t layer, int64_t directions, const std::string& name) {
  SKERRY_ASSIGN(ValueId all, value(given, name));
  if (builder_.is_constant(all)) {
    std::vector<float> state = graph::real_values(builder_.graph().value(all));
    if (std::all_of(state.begin(), state.end(), [](float v) { return v == 0; })) return kNoValue;
  }
  return builder_.add(name, graph::Slice{{0}, {layer * directions}, {(layer + 1) * directions}, {1}}, {all});
}

namespace {

// PyTorch stacks gates r z n (GRU) and i f g o (LSTM); the graph wants z r h and i o f c.
at::Tensor reordered(const at::Tensor& stacked, bool lstm) {
  std::vector<at::Tensor> gates = stacked.detach().to(at::kFloat).chunk(lstm ? 4 : 3, 0);
  return lstm ? at::cat({gates.at(0), gates.at(3), gates.at(1), gates.at(2)}) : at::cat({gates.at(1), gates.at(0), gates.at(2)});
}

}  // namespace

// x, h (LSTM: [h, c]), parameters, has biases, layers, dropout, training, bidirectional, batch first
Status TorchWalker::recurrent(Call& call) {
  const bool lstm = call.type == "aten::lstm";
  SKERRY_ASSIGN(ValueId x, value(call, 0));
  if (call.count() != 9 || builder_.rank(x) != 3) return fail(Code::unavailable, "takes packed sequences, or an input without a batch");
  SKERRY_ASSIGN(int64_t biases, integer(call, 3));
  SKERRY_ASSIGN(int64_t layers, integer(call, 4));
  SKERRY_ASSIGN(int64_t both, integer(call, 7));
  SKERRY_ASSIGN(int64_t batch_first, integer(call, 8));
  std::vector<at::Tensor> parameters;
  if (call.in[2].known.isTensorList()) parameters = call.in[2].known.toTensorVector();
  for (const Item& entry : call.in[2].list) {
    if (!entry.known.isTensor()) return fail(Code::unavailable, "has weights that are computed");
    parameters.push_back(entry.known.toTensor());
  }
  const int64_t directions = both != 0 ? 2 : 1, each = biases != 0 ? 4 : 2;
  if (layers < 1 || static_cast<int64_t>(parameters.size()) != layers * directions * each) {
    return fail(Code::unavailable, "has {} parameters for {} layers: projections are not supported", parameters.size(), layers);
  }
  std::vector<Item> states = lstm ? call.in[1].list : std::vector<Item>{call.in[1]};
  if (lstm && call.in[1].known.isTensorList()) {
    for (const at::Tensor& state : call.in[1].known.toTensorVector()) states.push_back({kNoValue, state});
  }
  if (states.size() != (lstm ? 2u : 1u)) return fail(Code::unavailable, "has initial states that are not known");
  if (batch_first != 0) {
    SKERRY_ASSIGN(x, builder_.transpose(call.name + ".by_time", x, {1, 0, 2}));
  }
  std::vector<ValueId> last_h, last_c;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const std::string name = fmt::format("{}.layer{}", call.name, layer);
    // Parameter `which` of both directions, stacked as the graph wants them.
    auto stacked = [&](int64_t which) {
      std::vector<at::Tensor> parts;
      for (int64_t direction = 0; direction < directions; ++direction) {
        parts.push_back(reordered(parameters[static_cast<size_t>((layer * directions + direction) * each + which)], lstm));
      }
      return at::stack(parts);
    };
    auto constant = [&](const at::Tensor& tensor, const char* what) { return value(Item{kNoValue, tensor}, name + what); };
    SKERRY_ASSIGN(ValueId w, constant(stacked(0), ".weights"));
    SKERRY_ASSIGN(ValueId r, constant(stacked(1), ".recurrent"));
    ValueId b = kNoValue;
    if (biases != 0) {
      SKERRY_ASSIGN(b, constant(at::cat({stacked(2), stacked(3)}, 1), ".bias"));
    }
    std::vector<ValueId> inputs = {x, w, r, b};
    for (const Item& state : states) {
      SKERRY_ASSIGN(ValueId initial, initial_state(state, layer, directions, name + ".initial"));
      inputs.push_back(initial);
    }
    const int64_t hidden = builder_.shape(r).at(2);
    Recurrent op{lstm ? Recurrent::Kind::lstm : Recurrent::Kind::gru,
                 both != 0 ? Recurrent::Direction::both : Recurrent::Direction::forward, hidden, !lstm};
    SKERRY_ASSIGN(std::vector<ValueId> out, builder_.add(name, op, inputs, lstm ? 3 : 2));
    last_h.push_back(out[1]);
    if (lstm) last_c.push_back(out[2]);
    // [t, directions, n, h] -> [t, n, directions * h]
    SKERRY_ASSIGN(x, builder_.transpose(name + ".joined", out[0], {0, 2, 1, 3}));
    Shape target = builder_.shape(x);
    target = {target[0], target[1], directions * hidden};
    SKERRY_ASSIGN(x, builder_.reshape(name + ".joined", x, std::move(target)));
  }
  if (batch_first != 0) {
    SKERRY_ASSIGN(x, builder_.transpose(call.name + ".by_batch", x, {1, 0, 2}));
  }
  SKERRY_TRY(set(call, 0, Item{x}));
  for (size_t i = 0; i < (lstm ? 2u : 1u); ++i) {
    std::vector<ValueId>& last = i == 0 ? last_h : last_c;
    ValueId joined = last[0];
    if (last.size() > 1) {
      SKERRY_ASSIGN(joined, builder_.add(fmt::format("{}.last{}", call.name, i), graph::Concat{0}, last));
    }
    SKERRY_TRY(set(call, i + 1, Item{joined}));
  }
  return {};
}

}  // namespace skerry::inference::frontends
