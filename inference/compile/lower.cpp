#include "inference/compile/lower.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace skerry::inference::compile {
namespace {

using graph::ActivationSpec;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::Value;
using graph::ValueId;
using plan::kNoTensor;
using plan::Op;
using plan::Type;

using Order = std::vector<int32_t>;  // dimension i as stored is dimension order[i] of the value

Order plain(size_t rank) {
  Order order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

Order channels_last(size_t rank) {
  Order order = {0};
  for (size_t i = 2; i < rank; ++i) order.push_back(static_cast<int32_t>(i));
  order.push_back(1);
  return order;
}

int32_t place_in(const Order& order, int64_t dimension) {
  return static_cast<int32_t>(std::find(order.begin(), order.end(), static_cast<int32_t>(dimension)) - order.begin());
}

struct Grid {  // what stored integers mean
  Type type = Type::i8;
  float scale = 1;
  int32_t zero_point = 0;
  bool operator==(const Grid&) const = default;
};

struct Form {  // one way in which a value is there
  uint32_t tensor = 0;
  Order order;
  std::optional<Grid> grid;
};

std::optional<Grid> grid_of(const Value& value) {
  if (!value.quantization || value.quantization->scale.size() != 1) return std::nullopt;
  const graph::Quantization& q = *value.quantization;
  // Shifted by 128 a byte means the same with the other sign: one of the two forms often has a zero point of 0, which is what kernels like.
  if (value.type == graph::ElementType::i8 && q.zero_point[0] == -128) return Grid{Type::u8, q.scale[0], 0};
  if (value.type == graph::ElementType::u8 && q.zero_point[0] == 128) return Grid{Type::i8, q.scale[0], 0};
  if (value.type == graph::ElementType::i8) return Grid{Type::i8, q.scale[0], q.zero_point[0]};
  if (value.type == graph::ElementType::u8) return Grid{Type::u8, q.scale[0], q.zero_point[0]};
  return std::nullopt;
}

// Elements in another order of dimensions.
template <typename T>
std::vector<T> permuted(const std::vector<T>& from, const graph::Shape& shape, const Order& order) {
  std::vector<int64_t> strides(shape.size(), 1), sizes, steps;
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  for (int32_t d : order) {
    sizes.push_back(shape[static_cast<size_t>(d)]);
    steps.push_back(strides[static_cast<size_t>(d)]);
  }
  std::vector<T> to;
  to.reserve(from.size());
  std::vector<int64_t> index(order.size());
  for (int64_t at = 0; to.size() < from.size();) {
    to.push_back(from[static_cast<size_t>(at)]);
    for (size_t i = order.size(); i-- > 0;) {
      at += steps[i];
      if (++index[i] < sizes[i]) break;
      at -= steps[i] * sizes[i];
      index[i] = 0;
    }
  }
  return to;
}

struct IntegerWeights {
  std::vector<int8_t> values;
  std::vector<float> scale;  // per output channel
};

// As the source stored them when that is a form the plan has, else stored anew, symmetric per output channel.
IntegerWeights integer_weights(const Value& value) {
  IntegerWeights out;
  const graph::Quantization& q = *value.quantization;
  const auto channels = static_cast<size_t>(value.shape[0]);
  const int32_t shift = value.type == graph::ElementType::u8 ? 128 : 0;
  const bool per_output = q.scale.size() == 1 || (q.axis == 0 && q.scale.size() == channels);
  const bool symmetric = std::all_of(q.zero_point.begin(), q.zero_point.end(), [&](int32_t z) { return z == shift; });
  const bool bytes = value.type == graph::ElementType::i8 || value.type == graph::ElementType::u8;
  if (per_output && symmetric && bytes) {
    for (std::byte byte : *value.constant) out.values.push_back(static_cast<int8_t>(static_cast<uint8_t>(byte) ^ (shift != 0 ? 0x80 : 0)));
    for (size_t c = 0; c < channels; ++c) out.scale.push_back(q.scale[q.scale.size() == 1 ? 0 : c]);
    return out;
  }
  const std::vector<float> real = graph::real_values(value);
  const size_t each = real.size() / channels;
  for (size_t c = 0; c < channels; ++c) {
    float top = 0;
    for (size_t i = 0; i < each; ++i) top = std::max(top, std::fabs(real[c * each + i]));
    out.scale.push_back(top > 0 ? top / 127 : 1.0f);
    for (size_t i = 0; i < each; ++i) out.values.push_back(static_cast<int8_t>(std::lround(real[c * each + i] / out.scale.back())));
  }
  return out;
}

class Lowering {
 public:
  explicit Lowering(const Graph& graph) : graph_(graph), forms_(graph.values.size()) {}

  Result<plan::Plan> run() {
    for (ValueId id : graph_.inputs) {
      const size_t rank = graph_.value(id).shape.size();
      const uint32_t tensor = add_tensor(graph_.value(id), plain(rank), std::nullopt);
      plan_.inputs.push_back(tensor);
      forms_[id].push_back({tensor, plain(rank), std::nullopt});
    }
    for (const Node& node : graph_.nodes) {
      node_ = &node;
      Status status = std::visit([&](const auto& op) { return lower(op); }, node.operation);
      if (!status.ok()) return fail(status.error().code, "node '{}' ({}): {}", node.name, graph::name_of(node.operation), status.error().message);
    }
    for (ValueId id : graph_.outputs) {
      const uint32_t tensor = as_real(id, plain(graph_.value(id).shape.size())).tensor;
      plan_.outputs.push_back(tensor);
      plan_.tensors[tensor].name = graph_.value(id).name;
    }
    std::move(data_).finish(plan_);
    for (int64_t batch : {1, 2}) SKERRY_TRY(plan::check(plan_, batch));
    return std::move(plan_);
  }

 private:
  const Value& in(size_t i) const { return graph_.value(node_->inputs[i]); }
  bool has(size_t i) const { return i < node_->inputs.size() && node_->inputs[i] != kNoValue; }
  ValueId input(size_t i) const { return has(i) ? node_->inputs[i] : kNoValue; }
  const Value& out(size_t i = 0) const { return graph_.value(node_->outputs[i]); }

  uint32_t add_tensor(const Value& value, const Order& order, const std::optional<Grid>& grid) {
    plan::Tensor tensor;
    tensor.name = value.name.substr(0, plan::kNameBytesMax);
    for (int32_t d : order) tensor.shape.push_back(static_cast<int32_t>(value.shape[static_cast<size_t>(d)]));
    if (grid) {
      tensor.type = grid->type;
      tensor.scale = {grid->scale};
      tensor.zero_point = grid->zero_point;
    }
    plan_.tensors.push_back(std::move(tensor));
    return static_cast<uint32_t>(plan_.tensors.size() - 1);
  }

  uint32_t add_reals(const std::string& name, const std::vector<float>& values, const graph::Shape& shape) {
    const uint32_t id = add_tensor({name, graph::ElementType::f32, shape, {}, nullptr}, plain(shape.size()), std::nullopt);
    plan_.tensors[id].data_at = data_.add(values.data(), values.size() * sizeof(float));
    return id;
  }

  plan::Step& add_step(Op op, std::vector<uint32_t> inputs, uint32_t output, std::vector<int32_t> ints = {}) {
    plan::Step step;
    step.name = node_ ? node_->name.substr(0, plan::kNameBytesMax) : "";
    step.op = op;
    step.inputs = std::move(inputs);
    step.outputs = {output};
    step.ints = std::move(ints);
    plan_.steps.push_back(std::move(step));
    return plan_.steps.back();
  }

  Form define(size_t output, const Order& order, const std::optional<Grid>& grid) {
    const ValueId id = node_->outputs[output];
    Form form{add_tensor(graph_.value(id), order, grid), order, grid};
    forms_[id].push_back(form);
    return form;
  }

  // The value in this order and on this grid (none: as reals), by a step when it is not there yet.
  Form as(ValueId id, const Order& order, const std::optional<Grid>& grid) {
    const Value& value = graph_.value(id);
    for (const Form& form : forms_[id]) {
      if (form.order == order && form.grid == grid) return form;
    }
    if (value.is_constant() && !grid) {
      const std::vector<float> values = permuted(graph::real_values(value), value.shape, order);
      Form form{add_tensor(value, order, std::nullopt), order, std::nullopt};
      plan_.tensors[form.tensor].data_at = data_.add(values.data(), values.size() * sizeof(float));
      forms_[id].push_back(form);
      return form;
    }
    if (forms_[id].empty()) as(id, order, std::nullopt);  // a constant on a grid: from its reals
    const Form from = forms_[id].front();
    if (from.grid && grid && from.grid != grid) {
      const Form real = as(id, order, std::nullopt);
      return convert(id, real, order, grid);
    }
    return convert(id, from, order, grid);
  }
  Form as_real(ValueId id, const Order& order) { return as(id, order, std::nullopt); }

  Form convert(ValueId id, const Form& from, const Order& order, const std::optional<Grid>& grid) {
    Form to{add_tensor(graph_.value(id), order, grid), order, grid};
    std::vector<int32_t> permutation;
    for (int32_t d : order) permutation.push_back(place_in(from.order, d));
    const bool moves = permutation != plain(order.size());
    if (from.grid == grid) {
      if (moves_only_ones(from, permutation)) add_step(Op::reshape, {from.tensor}, to.tensor);
      else add_step(Op::transpose, {from.tensor}, to.tensor, permutation);
    } else {
      add_step(grid ? Op::quantize : Op::dequantize, {from.tensor}, to.tensor, moves ? permutation : std::vector<int32_t>{});
    }
    forms_[id].push_back(to);
    return to;
  }

  bool moves_only_ones(const Form& from, const std::vector<int32_t>& permutation) const {
    std::vector<int32_t> rest;
    for (int32_t d : permutation) {
      if (plan_.tensors[from.tensor].shape[static_cast<size_t>(d)] != 1) rest.push_back(d);
    }
    return std::is_sorted(rest.begin(), rest.end());
  }

  // A grid on which the value is there, or should be.
  std::optional<Grid> integers(ValueId id) const {
    if (id == kNoValue || graph_.value(id).is_constant()) return std::nullopt;
    for (const Form& form : forms_[id]) {
      if (form.grid) return form.grid;
    }
    return grid_of(graph_.value(id));
  }
  Order order_of(ValueId id) const { return forms_[id].empty() ? plain(graph_.value(id).shape.size()) : forms_[id].front().order; }

  // What convolutions and linear nodes share. `shape`: the weights as the plan stores them.
  Status weighted(Op op, const Order& order, const graph::Shape& shape, const Order& weights_order, std::vector<int32_t> ints,
                  const ActivationSpec& activation) {
    const std::optional<Grid> x = integers(input(0)), residual = integers(input(3));
    const bool integer = x && in(1).quantization;
    std::optional<Grid> y = integer ? grid_of(out()) : std::nullopt;
    if (y && has(3) && !residual) y.reset();
    std::vector<uint32_t> inputs = {as(input(0), order, integer ? x : std::nullopt).tensor, integer ? add_integer_weights(shape, weights_order)
                                                                                               : add_real_weights(shape, weights_order)};
    if (has(2) || has(3)) inputs.push_back(has(2) ? add_reals(in(2).name, graph::real_values(in(2)), in(2).shape) : kNoTensor);
    if (has(3)) inputs.push_back(as(input(3), order, y ? residual : std::nullopt).tensor);
    const Form to = define(0, order, y);
    add_step(op, std::move(inputs), to.tensor, std::move(ints)).activation = activation;
    return {};
  }

  uint32_t add_integer_weights(const graph::Shape& shape, const Order& order) {
    IntegerWeights weights = integer_weights(in(1));
    const std::vector<int8_t> values = permuted(weights.values, in(1).shape, order);
    const uint32_t id = add_tensor({in(1).name, graph::ElementType::i8, shape, {}, nullptr}, plain(shape.size()), Grid{});
    plan_.tensors[id].scale = std::move(weights.scale);
    plan_.tensors[id].data_at = data_.add(values.data(), values.size());
    return id;
  }
  uint32_t add_real_weights(const graph::Shape& shape, const Order& order) {
    return add_reals(in(1).name, permuted(graph::real_values(in(1)), in(1).shape, order), shape);
  }

  Status lower(const graph::Conv& op) {
    const size_t rank = in(0).shape.size();
    const graph::Shape& w = in(1).shape;
    auto both = [&](const std::vector<int64_t>& list, int32_t height) {  // height and width of a list that may have the width only
      return std::pair<int32_t, int32_t>{list.size() == 2 ? static_cast<int32_t>(list[0]) : height, static_cast<int32_t>(list.back())};
    };
    const auto [stride_h, stride_w] = both(op.strides, 1);
    const auto [dilation_h, dilation_w] = both(op.dilations, 1);
    const auto [top, left] = both(op.pads_begin, 0);
    const auto [bottom, right] = both(op.pads_end, 0);
    const graph::Shape shape = rank == 4 ? graph::Shape{w[0], w[2], w[3], w[1]} : graph::Shape{w[0], 1, w[2], w[1]};
    return weighted(Op::convolution, channels_last(rank), shape, channels_last(rank),
                    {stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right, static_cast<int32_t>(op.groups)}, op.activation);
  }

  Status lower(const graph::Linear& op) { return weighted(Op::linear, plain(in(0).shape.size()), in(1).shape, plain(2), {}, op.activation); }

  Status lower(const graph::Pool& op) {
    const size_t rank = in(0).shape.size();
    const Order order = channels_last(rank);
    const bool max = op.kind == graph::Pool::Kind::max;
    const std::optional<Grid> x = integers(input(0)), wanted = grid_of(out());
    const std::optional<Grid> from = max || wanted ? x : std::nullopt, y = max ? from : from ? wanted : std::nullopt;
    auto at = [&](const std::vector<int64_t>& list, size_t i, int32_t one) {
      return list.size() == 2 ? static_cast<int32_t>(list[i]) : i == 0 ? one : static_cast<int32_t>(list[0]);
    };
    std::vector<int32_t> ints;
    for (size_t i : {0, 1}) ints.push_back(at(op.kernel, i, 1));
    for (size_t i : {0, 1}) ints.push_back(at(op.strides, i, 1));
    for (size_t i : {0, 1}) ints.push_back(at(op.pads_begin, i, 0));
    for (size_t i : {0, 1}) ints.push_back(at(op.pads_end, i, 0));
    ints.push_back(op.count_padding ? 1 : 0);
    const uint32_t source = as(input(0), order, from).tensor;
    add_step(max ? Op::max_pool : Op::average_pool, {source}, define(0, order, y).tensor, ints);
    return {};
  }

  Status lower(const graph::Activate& op) {
    const Order order = order_of(input(0));
    const std::optional<Grid> x = integers(input(0)), y = x ? grid_of(out()) : std::nullopt;
    const uint32_t source = as(input(0), order, y ? x : std::nullopt).tensor;
    add_step(Op::activate, {source}, define(0, order, y).tensor).activation = op.activation;
    return {};
  }

  Status lower(const graph::Binary& op) {
    const size_t rank = out().shape.size();
    Order order = plain(rank);
    for (size_t i : {1, 0}) {  // the first input's order is kept
      if (!in(i).is_constant() && in(i).shape.size() == rank) order = order_of(input(i));
    }
    for (size_t i : {0, 1}) {
      if (!in(i).is_constant() && in(i).shape.size() != rank) order = plain(rank);
    }
    const std::optional<Grid> a = integers(input(0)), b = integers(input(1)), wanted = grid_of(out());
    const bool integer = op.kind == graph::Binary::Kind::add && a && b && wanted && in(0).shape == in(1).shape;
    std::vector<uint32_t> sources;
    for (size_t i : {0, 1}) sources.push_back(operand(i, order, integer ? (i == 0 ? a : b) : std::nullopt));
    add_step(Op::binary, std::move(sources), define(0, order, integer ? wanted : std::nullopt).tensor, {static_cast<int32_t>(op.kind)}).activation =
        op.activation;
    return {};
  }

  // An operand of a broadcast. A constant is spread out to the rank, so that it can be ordered as the other is.
  uint32_t operand(size_t i, const Order& order, const std::optional<Grid>& grid) {
    const Value& value = in(i);
    if (!value.is_constant()) return as(input(i), value.shape.size() == order.size() ? order : plain(value.shape.size()), grid).tensor;
    graph::Shape shape(order.size() - value.shape.size(), 1);
    shape.insert(shape.end(), value.shape.begin(), value.shape.end());
    graph::Shape stored;
    for (int32_t d : order) stored.push_back(shape[static_cast<size_t>(d)]);
    return add_reals(value.name, permuted(graph::real_values(value), shape, order), stored);
  }

  Status real_step(Op op, const Order& order, std::vector<int32_t> ints, std::vector<float> floats = {}) {
    const uint32_t source = as_real(input(0), order).tensor;
    add_step(op, {source}, define(0, order, std::nullopt).tensor, std::move(ints)).floats = std::move(floats);
    return {};
  }
  int32_t axis_in(const Order& order, int64_t axis) const {
    return place_in(order, axis < 0 ? axis + static_cast<int64_t>(order.size()) : axis);
  }

  Status lower(const graph::Unary& op) { return real_step(Op::unary, order_of(input(0)), {static_cast<int32_t>(op.kind)}); }
  Status lower(const graph::Softmax& op) {
    const Order order = order_of(input(0));
    return real_step(Op::softmax, order, {axis_in(order, op.axis), op.log ? 1 : 0});
  }

  Status lower(const graph::LayerNorm& op) {
    const size_t rank = in(0).shape.size();
    const int32_t axis = axis_in(plain(rank), op.axis);
    const graph::Shape inner(in(0).shape.begin() + axis, in(0).shape.end());
    const uint32_t source = as_real(input(0), plain(rank)).tensor;
    const uint32_t gain = has(1) ? as_real(input(1), plain(in(1).shape.size())).tensor
                                 : add_reals("ones", std::vector<float>(static_cast<size_t>(graph::elements(inner)), 1.0f), inner);
    std::vector<uint32_t> inputs = {source, gain};
    if (has(2)) inputs.push_back(as_real(input(2), plain(in(2).shape.size())).tensor);
    add_step(Op::layer_norm, std::move(inputs), define(0, plain(rank), std::nullopt).tensor, {axis}).floats = {op.epsilon};
    return {};
  }

  Status lower(const graph::Reduce& op) {
    const Order order = op.keep_dimensions ? order_of(input(0)) : plain(in(0).shape.size());
    std::vector<int32_t> axes;
    for (int64_t axis : op.axes) axes.push_back(axis_in(order, axis));
    std::sort(axes.begin(), axes.end());
    axes.insert(axes.begin(), static_cast<int32_t>(op.kind));
    const uint32_t source = as_real(input(0), order).tensor;
    add_step(Op::reduce, {source}, define(0, op.keep_dimensions ? order : plain(out().shape.size()), std::nullopt).tensor, axes);
    return {};
  }

  Status lower(const graph::Concat& op) {
    const Order order = order_of(input(0));
    std::optional<Grid> grid = integers(input(0));
    for (ValueId id : node_->inputs) grid = integers(id) == grid ? grid : grid_of(out());
    for (ValueId id : node_->inputs) grid = integers(id) ? grid : std::nullopt;
    std::vector<uint32_t> sources;
    for (ValueId id : node_->inputs) sources.push_back(as(id, order, grid).tensor);
    if (sources.size() > plan::kStepInputsMax) return fail(Code::unavailable, "joins more than {} values", plan::kStepInputsMax);
    add_step(Op::concat, std::move(sources), define(0, order, grid).tensor, {axis_in(order, op.axis)});
    return {};
  }

  // Steps that move bytes keep the grid on which the bytes are.
  std::optional<Grid> moved_grid() const { return integers(input(0)); }

  Status lower(const graph::Reshape&) {
    const std::optional<Grid> grid = moved_grid();
    const uint32_t source = as(input(0), plain(in(0).shape.size()), grid).tensor;
    if (in(0).is_constant()) return fail(Code::unavailable, "reshapes a constant");
    add_step(Op::reshape, {source}, define(0, plain(out().shape.size()), grid).tensor);
    return {};
  }

  // The same bytes under another order: nothing to do until somebody wants them otherwise.
  Status lower(const graph::Transpose& op) {
    const Order before = order_of(input(0));
    const Form from = as(input(0), before, moved_grid());
    Order order;
    for (int32_t d : before) {
      const auto at = std::find(op.permutation.begin(), op.permutation.end(), static_cast<int64_t>(d)) - op.permutation.begin();
      order.push_back(static_cast<int32_t>(at));
    }
    const std::optional<Grid> wanted = grid_of(out());
    if (wanted && from.grid && wanted != from.grid) return fail(Code::unavailable, "changes its quantization");
    forms_[node_->outputs[0]].push_back({from.tensor, order, from.grid});
    return {};
  }

  Status lower(const graph::Pad& op) {
    const Order order = order_of(input(0));
    const std::optional<Grid> grid = moved_grid();
    std::vector<int32_t> ints;
    for (int32_t d : order) ints.push_back(static_cast<int32_t>(op.begin[static_cast<size_t>(d)]));
    for (int32_t d : order) ints.push_back(static_cast<int32_t>(op.end[static_cast<size_t>(d)]));
    const uint32_t source = as(input(0), order, grid).tensor;
    const float value = std::clamp(op.value, -3e38f, 3e38f);  // lowest of all, before a max pool
    add_step(Op::pad, {source}, define(0, order, grid).tensor, ints).floats = {value};
    return {};
  }

  Status lower(const graph::Slice& op) {
    const Order order = order_of(input(0));
    const std::optional<Grid> grid = moved_grid();
    std::vector<int32_t> begin(order.size(), 0), step(order.size(), 1);
    for (size_t i = 0; i < op.axes.size(); ++i) {
      const auto at = static_cast<size_t>(axis_in(order, op.axes[i]));
      begin[at] = static_cast<int32_t>(graph::slice_range(op, i, in(0).shape[static_cast<size_t>(order[at])]).begin);
      step[at] = static_cast<int32_t>(op.step[i]);
    }
    begin.insert(begin.end(), step.begin(), step.end());
    const uint32_t source = as(input(0), order, grid).tensor;
    add_step(Op::slice, {source}, define(0, order, grid).tensor, begin);
    return {};
  }

  Status lower(const graph::MatMul&) {
    const uint32_t a = as_real(input(0), plain(in(0).shape.size())).tensor, b = as_real(input(1), plain(in(1).shape.size())).tensor;
    add_step(Op::matmul, {a, b}, define(0, plain(out().shape.size()), std::nullopt).tensor);
    return {};
  }

  Status lower(const graph::Recurrent& op) {
    std::vector<uint32_t> inputs;
    for (size_t i = 0; i < node_->inputs.size(); ++i) {
      const bool state = i >= 4;
      uint32_t tensor = kNoTensor;
      if (has(i) && !(state && is_zero(in(i)))) {
        if (state && in(i).shape[1] != in(0).shape[1]) return fail(Code::unavailable, "starts all samples from one state that is not zero");
        tensor = as_real(input(i), plain(in(i).shape.size())).tensor;
      }
      inputs.push_back(tensor);
    }
    std::vector<uint32_t> outputs;
    for (size_t i = 0; i < node_->outputs.size(); ++i) outputs.push_back(define(i, plain(out(i).shape.size()), std::nullopt).tensor);
    plan::Step& step = add_step(Op::recurrent, std::move(inputs), outputs[0],
                                {static_cast<int32_t>(op.kind), static_cast<int32_t>(op.direction), static_cast<int32_t>(op.hidden), op.reset_after ? 1 : 0});
    step.outputs = std::move(outputs);
    return {};
  }
  static bool is_zero(const Value& value) {
    if (!value.is_constant()) return false;
    const std::vector<float> values = graph::real_values(value);
    return std::all_of(values.begin(), values.end(), [](float v) { return v == 0; });
  }

  Status lower(const graph::Quantize&) {
    const std::optional<Grid> grid = grid_of(out());
    if (!grid) return fail(Code::unavailable, "quantizes per channel what is computed");
    // A transposed or reordered copy is made on the way, by who needs it.
    const Form from = as_real(input(0), order_of(input(0)));
    forms_[node_->outputs[0]].push_back(from);
    return {};
  }
  Status lower(const graph::Dequantize&) {
    forms_[node_->outputs[0]].push_back(as_real(input(0), order_of(input(0))));
    return {};
  }
  Status lower(const graph::BatchNorm&) { return fail(Code::unavailable, "is left over: run simplify() first"); }

  const Graph& graph_;
  std::vector<std::vector<Form>> forms_;
  const Node* node_ = nullptr;
  plan::Plan plan_;
  plan::DataWriter data_;
};

}  // namespace

Result<plan::Plan> lower(const Graph& graph) {
  SKERRY_TRY(graph::check(graph));
  return Lowering(graph).run();
}

bool free_batch(Graph& graph) {
  Graph freed = graph;
  for (ValueId id : freed.inputs) {
    graph::Shape& shape = freed.value(id).shape;
    if (shape.empty() || (shape[0] != 1 && shape[0] != -1)) return false;
    shape[0] = -1;
  }
  for (Node& node : freed.nodes) {
    auto* reshape = std::get_if<graph::Reshape>(&node.operation);
    if (!reshape || reshape->shape.empty() || reshape->shape[0] != 1 || freed.value(node.inputs[0]).is_constant()) continue;
    if (std::find(reshape->shape.begin(), reshape->shape.end(), -1) == reshape->shape.end()) reshape->shape[0] = -1;
  }
  if (!graph::infer_shapes(freed).ok()) return false;
  for (ValueId id : freed.outputs) {
    if (freed.value(id).shape.empty() || freed.value(id).shape[0] != -1) return false;
  }
  graph = std::move(freed);
  return true;
}

}  // namespace skerry::inference::compile
