#include <algorithm>

#include "inference/frontends/internal/onnx_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::kNoValue;
using graph::Shape;
using graph::ValueId;

Status OnnxConverter::shape_of(const OnnxNode& node) {
  SKERRY_ASSIGN(const Item* x, item(node, 0));
  Shape shape;
  if (x->id != kNoValue) {
    shape = builder_.shape(x->id);
  } else {
    shape = x->ints ? x->ints->shape : x->tensor->shape;
  }
  std::replace(shape.begin(), shape.end(), int64_t{-1}, kBatch);
  const int64_t rank = static_cast<int64_t>(shape.size());
  auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? std::max(at, -rank) + rank : at, 0, rank); };
  const int64_t from = place(node.integer("start", 0)), to = std::max(from, place(node.integer("end", rank)));  // since opset 15
  std::vector<int64_t> data(shape.begin() + from, shape.begin() + to);
  return set(node, Ints{{static_cast<int64_t>(data.size())}, data});
}

Status OnnxConverter::constant_of_shape(const OnnxNode& node) {
  SKERRY_ASSIGN(std::vector<int64_t> shape, ints(node, 0));
  std::replace(shape.begin(), shape.end(), kBatch, int64_t{1});  // repeated over the batch, whatever uses it
  const bool negative = std::any_of(shape.begin(), shape.end(), [](int64_t d) { return d < 0; });
  const int64_t count = negative || shape.size() > graph::kRankMax ? -1 : graph::elements(shape);
  if (count < 0 || count > (1 << 16)) return fail(Code::unavailable, "makes a constant of {}", graph::to_string(shape));
  auto given = node.attributes.find("value");
  if (given == node.attributes.end() || given->second.tensor.empty()) {
    return set(node, 0, builder_.constant(node.name, shape, std::vector<float>(static_cast<size_t>(count))));
  }
  const OnnxTensor& tensor = given->second.tensor[0];
  if (graph::elements(tensor.shape) != 1) return fail(Code::invalid, "fills with {} values", graph::elements(tensor.shape));
  if (tensor.type != graph::ElementType::f32 && count <= kIntsMax) {
    return set(node, Ints{shape, std::vector<int64_t>(static_cast<size_t>(count), tensor.ints()[0])});
  }
  const float fill = graph::real_values({"", tensor.type, tensor.shape, std::nullopt, tensor.data})[0];
  return set(node, 0, builder_.constant(node.name, shape, std::vector<float>(static_cast<size_t>(count), fill)));
}

Status OnnxConverter::reshape(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(std::vector<int64_t> target, ints(node, 1));
  const Shape& from = builder_.shape(x);
  if (node.integer("allowzero", 0) == 0) {
    for (size_t i = 0; i < target.size(); ++i) {
      if (target[i] == 0 && i < from.size()) target[i] = from[i] == -1 ? kBatch : from[i];
    }
  }
  SKERRY_ASSIGN(target, builder_.reshape_target(x, std::move(target)));
  if (builder_.is_constant(x)) {
    auto wildcard = std::find(target.begin(), target.end(), -1);
    if (wildcard != target.end()) *wildcard = graph::elements(from) / graph::elements(target);
  }
  SKERRY_ASSIGN(ValueId id, builder_.reshape(node.name, x, std::move(target)));
  return set_moved(node, id);
}

Status OnnxConverter::flatten(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  const Shape& from = builder_.shape(x);
  const int64_t axis = node.integer("axis", 1), rank = builder_.rank(x);
  if (axis < -rank || axis > rank) return fail(Code::invalid, "axis {} of {}", axis, graph::to_string(from));
  const size_t split = static_cast<size_t>(axis < 0 ? axis + rank : axis);
  Shape target = {1, 1};
  bool unknown[2] = {false, false};
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t side = i < split ? 0 : 1;
    if (from[i] == -1) unknown[side] = true;
    if (from[i] != -1) target[side] *= from[i];
  }
  for (size_t side : {0, 1}) {
    if (unknown[side] && target[side] != 1) return fail(Code::unavailable, "mixes the batch with another dimension");
    if (unknown[side]) target[side] = -1;
  }
  SKERRY_ASSIGN(ValueId id, builder_.reshape(node.name, x, std::move(target)));
  return set_moved(node, id);
}

Status OnnxConverter::squeeze(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(std::vector<int64_t> axes, ints_or_attribute(node, 1, "axes"));
  for (int64_t& axis : axes) {
    SKERRY_ASSIGN(axis, normal_axis(axis, builder_.rank(x)));
  }
  const Shape& from = builder_.shape(x);
  Shape target;
  for (size_t i = 0; i < from.size(); ++i) {
    const bool named = std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) != axes.end();
    if (named && from[i] != 1) return fail(Code::invalid, "squeezes axis {} of {}", i, graph::to_string(from));
    if (!named && (from[i] != 1 || !axes.empty())) target.push_back(from[i]);
  }
  SKERRY_ASSIGN(ValueId id, builder_.reshape(node.name, x, std::move(target)));
  return set_moved(node, id);
}

Status OnnxConverter::unsqueeze(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(std::vector<int64_t> axes, ints_or_attribute(node, 1, "axes"));
  const int64_t rank = builder_.rank(x) + static_cast<int64_t>(axes.size());
  if (rank > static_cast<int64_t>(graph::kRankMax)) return fail(Code::unavailable, "gives {} dimensions", rank);
  for (int64_t& axis : axes) {
    SKERRY_ASSIGN(axis, normal_axis(axis, rank));
  }
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) return fail(Code::invalid, "names an axis twice");
  Shape target = builder_.shape(x);
  for (int64_t axis : axes) target.insert(target.begin() + axis, 1);
  SKERRY_ASSIGN(ValueId id, builder_.reshape(node.name, x, std::move(target)));
  return set_moved(node, id);
}

Status OnnxConverter::transpose(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  std::vector<int64_t> permutation = node.integers("perm");
  if (permutation.empty()) {
    for (int64_t axis = builder_.rank(x); axis-- > 0;) permutation.push_back(axis);
  }
  SKERRY_ASSIGN(ValueId id, builder_.transpose(node.name, x, std::move(permutation)));
  return set_moved(node, id);
}

Status OnnxConverter::concat(const OnnxNode& node) {
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    SKERRY_ASSIGN(ValueId id, value(node, i));
    inputs.push_back(id);
  }
  if (inputs.empty()) return fail(Code::invalid, "has no inputs");
  return add_moving(node, graph::Concat{node.integer("axis", 0)}, std::move(inputs));
}

Status OnnxConverter::slice(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(std::vector<int64_t> begin, ints(node, 1));
  SKERRY_ASSIGN(std::vector<int64_t> end, ints(node, 2));
  SKERRY_ASSIGN(std::vector<int64_t> axes, ints_or_attribute(node, 3, "axes"));
  SKERRY_ASSIGN(std::vector<int64_t> step, ints_or_attribute(node, 4, "steps"));
  if (axes.empty()) {
    for (size_t i = 0; i < begin.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (step.empty()) step.assign(begin.size(), 1);
  return add_moving(node, graph::Slice{axes, begin, end, step}, {x});
}

Status OnnxConverter::split(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(int64_t axis, normal_axis(node.integer("axis", 0), builder_.rank(x)));
  SKERRY_ASSIGN(std::vector<int64_t> parts, ints_or_attribute(node, 1, "split"));
  const int64_t length = builder_.shape(x)[static_cast<size_t>(axis)], count = static_cast<int64_t>(node.outputs.size());
  if (parts.empty()) {
    if (count == 0 || length % count != 0) return fail(Code::invalid, "splits {} into {} equal parts", length, count);
    parts.assign(node.outputs.size(), length / count);
  }
  if (parts.size() != node.outputs.size()) return fail(Code::invalid, "has {} parts and {} outputs", parts.size(), node.outputs.size());
  int64_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] < 1 || parts[i] > length - at) return fail(Code::invalid, "splits beyond {}", length);
    SKERRY_ASSIGN(ValueId id, builder_.add(node.name, graph::Slice{{axis}, {at}, {at + parts[i]}, {1}}, {x}));
    SKERRY_TRY(set(node, i, id));
    at += parts[i];
  }
  return at == length ? Status() : Status(fail(Code::invalid, "leaves {} of {} out", length - at, length));
}

// Of a computed value: one index drops the axis, several are joined.
Status OnnxConverter::gather(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(int64_t axis, normal_axis(node.integer("axis", 0), builder_.rank(x)));
  SKERRY_ASSIGN(std::vector<int64_t> indices, ints(node, 1));
  const size_t index_rank = known_ints(node, 1)->shape.size(), at = static_cast<size_t>(axis);
  constexpr size_t kIndicesMax = 64;
  if (index_rank > 1 || indices.empty() || indices.size() > kIndicesMax) {
    return fail(Code::unavailable, "takes {} indices of {} dimensions: up to {} in a row are supported", indices.size(), index_rank,
                kIndicesMax);
  }
  const int64_t length = builder_.shape(x)[at];
  if (length == -1) return fail(Code::unavailable, "picks from the batch");
  std::vector<ValueId> picked;
  for (int64_t index : indices) {
    SKERRY_ASSIGN(index, normal_axis(index, length));
    SKERRY_ASSIGN(ValueId id, builder_.add(node.name, graph::Slice{{axis}, {index}, {index + 1}, {1}}, {x}));
    picked.push_back(id);
  }
  ValueId joined = picked[0];
  if (picked.size() > 1) {
    SKERRY_ASSIGN(joined, builder_.add(node.name, graph::Concat{axis}, picked));
  }
  if (index_rank == 0) {
    Shape target = builder_.shape(joined);
    target.erase(target.begin() + axis);
    SKERRY_ASSIGN(joined, builder_.reshape(node.name, joined, std::move(target)));
  }
  return set(node, 0, joined);
}

Status OnnxConverter::pad(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  const std::string mode = node.text("mode", "constant");
  if (mode != "constant") return fail(Code::unavailable, "in mode '{}': only 'constant' is supported", printable(mode));
  SKERRY_ASSIGN(std::vector<int64_t> pads, ints_or_attribute(node, 1, "pads"));
  graph::Pad op;
  op.value = node.real("value", 0);
  if (has(node, 2)) {
    SKERRY_ASSIGN(std::vector<float> fill, known_reals(node, 2));
    if (fill.size() != 1) return fail(Code::invalid, "fills with {} values", fill.size());
    op.value = fill[0];
  }
  const size_t rank = builder_.shape(x).size();
  if (pads.size() != 2 * rank) return fail(Code::invalid, "has {} paddings for {} dimensions", pads.size(), rank);
  if (std::all_of(pads.begin(), pads.end(), [](int64_t p) { return p == 0; })) return set_moved(node, x);
  if (std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p < 0; })) return fail(Code::unavailable, "crops (negative paddings)");
  op.begin.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(rank));
  op.end.assign(pads.begin() + static_cast<std::ptrdiff_t>(rank), pads.end());
  return add(node, op, {x});
}

// Constants are left to broadcast where they are used when only the batch grows; others must not grow.
Status OnnxConverter::expand(const OnnxNode& node) {
  SKERRY_ASSIGN(ValueId x, value(node, 0));
  SKERRY_ASSIGN(std::vector<int64_t> target, ints(node, 1));
  const Shape& from = builder_.shape(x);
  if (target.size() > from.size()) return fail(Code::unavailable, "adds dimensions to {}", graph::to_string(from));
  for (size_t i = 0; i < target.size(); ++i) {
    const int64_t have = from[from.size() - target.size() + i];
    const bool repeats_over_batch = target[i] == kBatch && (have == 1 || have == -1);
    if (target[i] != 1 && target[i] != have && !repeats_over_batch)
      return fail(Code::unavailable, "repeats {} ({})", graph::to_string(from), target[i]);
  }
  return set(node, 0, x);
}

}  // namespace skerry::inference::frontends
