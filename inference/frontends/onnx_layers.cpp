#include <algorithm>
#include <cmath>

#include "inference/frontends/internal/onnx_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::kNoValue;
using graph::ValueId;

// Strides, dilations and paddings as Conv and the pools state them.
Result<WindowSpec> OnnxConverter::window(const OnnxNode& node, ValueId x, std::vector<int64_t> kernel) const {
  WindowSpec spec;
  const size_t spatial = kernel.size();
  spec.kernel = std::move(kernel);
  spec.strides = node.integers("strides", std::vector<int64_t>(spatial, 1));
  spec.dilations = node.integers("dilations", std::vector<int64_t>(spatial, 1));
  const std::string rule = node.text("auto_pad", "NOTSET");
  if (rule == "SAME_UPPER" || rule == "SAME_LOWER") {
    SKERRY_TRY(pad_same(spec, builder_.shape(x), rule == "SAME_UPPER"));
    return spec;
  }
  std::vector<int64_t> pads = node.integers("pads", std::vector<int64_t>(2 * spatial));
  if (rule == "VALID") pads.assign(2 * spatial, 0);
  if (pads.size() != 2 * spatial) return fail(Code::invalid, "has {} paddings for {} spatial dimensions", pads.size(), spatial);
  spec.pads_begin.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(spatial));
  spec.pads_end.assign(pads.begin() + static_cast<std::ptrdiff_t>(spatial), pads.end());
  return spec;
}

Status OnnxConverter::conv(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(ValueId weights, value(node, 1));
  SKERRY_ASSIGN(ValueId bias, optional_value(node, 2));
  const graph::Shape& w = builder_.shape(weights);
  if (w.size() < 3) return fail(Code::invalid, "has weights of {}", graph::to_string(w));
  SKERRY_ASSIGN(WindowSpec spec, window(node, x, {w.begin() + 2, w.end()}));
  graph::Conv op{spec.strides, spec.dilations, spec.pads_begin, spec.pads_end, node.integer("group", 1)};
  return add(node, op, {x, weights, bias});
}

Status OnnxConverter::gemm(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(ValueId weights, value(node, 1));
  SKERRY_ASSIGN(ValueId bias, optional_value(node, 2));
  if (node.integer("transA", 0) != 0) return fail(Code::unavailable, "transposes its input (transA)");
  if (builder_.rank(x) != 2 || builder_.rank(weights) != 2) return fail(Code::invalid, "takes matrices");
  if (node.integer("transB", 0) == 0) {
    SKERRY_ASSIGN(weights, builder_.transpose(node.name + ".weights", weights, {1, 0}));
  }
  const float alpha = node.real("alpha", 1), beta = node.real("beta", 1);
  if (alpha != 1) {
    ValueId factor = builder_.constant("alpha", {1}, {alpha});
    SKERRY_ASSIGN(weights, builder_.add(node.name + ".alpha", graph::Binary{graph::Binary::Kind::mul}, {weights, factor}));
  }
  if (beta != 1 && bias != kNoValue) {
    ValueId factor = builder_.constant("beta", {1}, {beta});
    SKERRY_ASSIGN(bias, builder_.add(node.name + ".beta", graph::Binary{graph::Binary::Kind::mul}, {bias, factor}));
  }
  const int64_t width = builder_.shape(weights)[0];
  if (bias == kNoValue) return add(node, graph::Linear{}, {x, weights, kNoValue});
  if (builder_.is_constant(bias) && graph::elements(builder_.shape(bias)) == width && builder_.shape(bias).back() == width) {
    SKERRY_ASSIGN(bias, builder_.reshape(node.name + ".bias", bias, {width}));
    return add(node, graph::Linear{}, {x, weights, bias});
  }
  SKERRY_ASSIGN(ValueId product, builder_.add(node.name + ".product", graph::Linear{}, {x, weights, kNoValue}));
  return add(node, graph::Binary{}, {product, bias});
}

Status OnnxConverter::matmul(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId a, value(node, 0));
  SKERRY_ASSIGN(ValueId b, value(node, 1));
  if (builder_.rank(a) < 2 || builder_.rank(b) < 2) return fail(Code::unavailable, "takes a vector; matrices are supported");
  if (!builder_.is_constant(b) || builder_.rank(b) != 2) return add(node, graph::MatMul{}, {a, b});
  SKERRY_ASSIGN(ValueId weights, builder_.transpose(node.name + ".weights", b, {1, 0}));
  return add(node, graph::Linear{}, {a, weights, kNoValue});
}

Status OnnxConverter::pool(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  const bool max = node.type == "MaxPool";
  SKERRY_ASSIGN(WindowSpec spec, window(node, x, node.integers("kernel_shape")));
  if (std::any_of(spec.dilations.begin(), spec.dilations.end(), [](int64_t d) { return d != 1; }))
    return fail(Code::unavailable, "is dilated");
  if (node.outputs.size() > 1 && !node.outputs[1].empty() && uses_.contains(node.outputs[1]))
    return fail(Code::unavailable, "gives indices");
  const bool counted = node.integer("count_include_pad", 0) != 0;
  if (node.integer("ceil_mode", 0) != 0) {
    const std::vector<int64_t> before = spec.pads_end;
    SKERRY_TRY(pad_for_ceil(spec, builder_.shape(x)));
    if (!max && counted && spec.pads_end != before)
      return fail(Code::unavailable, "counts padding in windows that ceil_mode lets reach beyond it");
  }
  graph::Pool op{max ? graph::Pool::Kind::max : graph::Pool::Kind::average,
                 spec.kernel,
                 spec.strides,
                 spec.pads_begin,
                 spec.pads_end,
                 !max && counted};
  return max ? add_moving(node, op, {x}) : add(node, op, {x});
}

Status OnnxConverter::global_pool(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  std::vector<int64_t> axes;
  for (int64_t axis = 2; axis < builder_.rank(x); ++axis) axes.push_back(axis);
  return add(node, graph::Reduce{node.type == "GlobalMaxPool" ? graph::Reduce::Kind::max : graph::Reduce::Kind::mean, axes, true}, {x});
}

Status OnnxConverter::batch_norm(const OnnxNode& node) {
  if (node.integer("training_mode", 0) != 0) return fail(Code::unavailable, "is in training mode: export the model for inference");
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < 5; ++i) {
    SKERRY_ASSIGN(ValueId id, value(node, i));
    inputs.push_back(id);
  }
  return add(node, graph::BatchNorm{node.real("epsilon", 1e-5f)}, inputs);
}

Status OnnxConverter::layer_norm(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(ValueId scale, optional_value(node, 1));
  SKERRY_ASSIGN(ValueId shift, optional_value(node, 2));
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (uses_.contains(node.outputs[i])) return fail(Code::unavailable, "gives its mean or deviation");
  }
  return add(node, graph::LayerNorm{node.integer("axis", -1), node.real("epsilon", 1e-5f)}, {x, scale, shift});
}

Status OnnxConverter::softmax(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  const bool old = model_.opset < 13;
  SKERRY_ASSIGN(int64_t axis, normal_axis(node.integer("axis", old ? 1 : -1), builder_.rank(x)));
  if (old) {  // over all dimensions from the axis on, taken together
    const graph::Shape& shape = builder_.shape(x);
    if (std::any_of(shape.begin() + axis + 1, shape.end(), [](int64_t d) { return d != 1; })) {
      return fail(Code::unavailable, "is over several dimensions of {}", graph::to_string(shape));
    }
  }
  return add(node, graph::Softmax{axis, node.type == "LogSoftmax"}, {x});
}

Status OnnxConverter::recurrent(const OnnxNode& node) {
  const bool lstm = node.type == "LSTM";
  const size_t directions_of_text = node.text("direction", "forward") == "bidirectional" ? 2 : 1;
  graph::Recurrent op;
  op.kind = lstm ? graph::Recurrent::Kind::lstm : graph::Recurrent::Kind::gru;
  op.hidden = node.integer("hidden_size", 0);
  op.reset_after = !lstm && node.integer("linear_before_reset", 0) != 0;
  const std::string direction = node.text("direction", "forward");
  op.direction = direction == "bidirectional" ? graph::Recurrent::Direction::both
                 : direction == "reverse"     ? graph::Recurrent::Direction::reverse
                                              : graph::Recurrent::Direction::forward;
  if (node.has("activations")) {
    std::vector<std::string> usual;
    for (size_t i = 0; i < directions_of_text; ++i) {
      usual.insert(usual.end(), lstm ? std::initializer_list<std::string>{"Sigmoid", "Tanh", "Tanh"}
                                     : std::initializer_list<std::string>{"Sigmoid", "Tanh"});
    }
    if (node.attributes.at("activations").strings != usual) return fail(Code::unavailable, "has other activations than Sigmoid and Tanh");
  }
  if (node.has("clip")) return fail(Code::unavailable, "clips its cells");
  if (node.integer("layout", 0) != 0) return fail(Code::unavailable, "has the batch first (layout 1)");
  if (node.integer("input_forget", 0) != 0) return fail(Code::unavailable, "couples input and forget gates");
  if (has(node, 4)) return fail(Code::unavailable, "has sequence lengths");
  if (lstm && has(node, 7)) return fail(Code::unavailable, "has peepholes");
  std::vector<ValueId> inputs;
  for (size_t i : {0, 1, 2, 3, 5, 6}) {
    if (i == 6 && !lstm) continue;
    SKERRY_ASSIGN(ValueId id, optional_value(node, i));
    if (i >= 5 && id != kNoValue && builder_.is_constant(id)) {  // a state of zeros is none
      std::vector<float> state = graph::real_values(builder_.graph().value(id));
      if (std::all_of(state.begin(), state.end(), [](float v) { return v == 0; })) id = kNoValue;
    }
    inputs.push_back(id);
  }
  const size_t outputs = std::clamp<size_t>(node.outputs.size(), 1, lstm ? 3 : 2);
  SKERRY_ASSIGN(std::vector<ValueId> ids, builder_.add(node.name, op, inputs, outputs));
  for (size_t i = 0; i < ids.size(); ++i) SKERRY_TRY(set(node, i, ids[i]));
  return {};
}

}  // namespace skerry::inference::frontends
