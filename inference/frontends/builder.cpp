#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "inference/frontends/internal/builder.h"
#include "inference/frontends/internal/patterns.h"
#include "inference/graph/internal/shapes.h"
#include "inference/graph/reference.h"

namespace skerry::inference::frontends {

using graph::Shape;
using graph::ValueId;

namespace {

constexpr int64_t kFoldedElementsMin = 4096;  // small results may be larger than what they come from
constexpr int64_t kWindowMax = 1 << 20;

// A transposed copy of a constant's bytes, whatever their type.
graph::Bytes transposed(const graph::Value& value, const std::vector<int64_t>& permutation) {
  const size_t width = bytes_of(value.type), rank = permutation.size();
  std::vector<size_t> strides(rank, 1), index(rank);
  for (size_t i = rank; i-- > 1;) strides[i - 1] = strides[i] * static_cast<size_t>(value.shape[i]);
  auto out = std::make_shared<std::vector<std::byte>>(value.constant->size());
  for (size_t at = 0; at < out->size(); at += width) {
    size_t from = 0;
    for (size_t i = 0; i < rank; ++i) from += index[i] * strides[static_cast<size_t>(permutation[i])];
    std::memcpy(out->data() + at, value.constant->data() + from * width, width);
    for (size_t i = rank; i-- > 0;) {
      if (++index[i] < static_cast<size_t>(value.shape[static_cast<size_t>(permutation[i])])) break;
      index[i] = 0;
    }
  }
  return out;
}

// The axis of a per-channel quantization after a reshape: where the same number of elements lies behind it. -1: it is torn apart.
int32_t axis_after(const graph::Quantization& q, const Shape& before, const Shape& after) {
  auto behind = [](const Shape& shape, size_t axis) {
    return std::accumulate(shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, shape.end(), int64_t{1}, std::multiplies<>());
  };
  for (size_t axis = 0; axis < after.size(); ++axis) {
    const bool same_length = after[axis] == static_cast<int64_t>(q.scale.size());
    if (same_length && behind(after, axis) == behind(before, static_cast<size_t>(q.axis))) return static_cast<int32_t>(axis);
  }
  return -1;
}

// The shape after a permutation that moves nothing but dimensions of 1.
std::optional<Shape> as_reshape(const Shape& shape, const std::vector<int64_t>& permutation) {
  std::vector<bool> seen(shape.size());
  Shape out;
  int64_t last = -1;
  for (int64_t axis : permutation) {
    if (axis < 0 || static_cast<size_t>(axis) >= shape.size() || seen[static_cast<size_t>(axis)]) return std::nullopt;
    seen[static_cast<size_t>(axis)] = true;
    out.push_back(shape[static_cast<size_t>(axis)]);
    if (out.back() == 1) continue;
    if (axis < last) return std::nullopt;
    last = axis;
  }
  return out.size() == shape.size() ? std::optional<Shape>(out) : std::nullopt;
}

}  // namespace

std::string printable(std::string_view name) {
  constexpr size_t kNameMax = 96;
  std::string out(name.substr(0, kNameMax));
  for (char& c : out) {
    if (c < ' ' || c > '~' || c == '\'') c = '?';
  }
  return out;
}

Builder::Builder(std::string source, size_t source_bytes) {
  constexpr size_t kFactor = 16, kAlways = size_t{1} << 24;
  graph_.source = std::move(source);
  bytes_left_ = kFactor * source_bytes + kAlways;
}

Status Builder::take(size_t bytes) {
  if (bytes > bytes_left_) return fail(Code::exhausted, "the constants of the model grow far beyond its file");
  bytes_left_ -= bytes;
  return {};
}

const graph::Node* Builder::maker_of(ValueId id) const {
  auto at = makers_.find(id);
  return at == makers_.end() ? nullptr : &graph_.nodes[at->second];
}

ValueId Builder::input(std::string name, graph::ElementType type, Shape shape) {
  ValueId id = graph_.add_value({std::move(name), type, std::move(shape), std::nullopt, nullptr});
  graph_.inputs.push_back(id);
  return id;
}

ValueId Builder::constant(std::string name, Shape shape, const std::vector<float>& data) {
  return graph_.add_constant(std::move(name), std::move(shape), data);
}

Result<ValueId> Builder::add(const std::string& name, graph::Operation operation, std::vector<ValueId> inputs) {
  SKERRY_ASSIGN(std::vector<ValueId> outputs, add(name, std::move(operation), std::move(inputs), 1));
  return outputs[0];
}

Result<std::vector<ValueId>> Builder::add(const std::string& name, graph::Operation operation, std::vector<ValueId> inputs,
                                          size_t outputs) {
  if (graph_.nodes.size() >= graph::kNodesMax || graph_.values.size() + outputs > graph::kValuesMax) {
    return fail(Code::invalid, "the model has more than {} operations or {} values", graph::kNodesMax, graph::kValuesMax);
  }
  auto failed = [&](const Error& error) { return fail(error.code, "node '{}' ({}): {}", name, name_of(operation), error.message); };
  for (ValueId id : inputs) {
    if (id == graph::kNoValue || !is_constant(id)) continue;
    const graph::Value& value = graph_.value(id);
    if (std::any_of(value.shape.begin(), value.shape.end(), [](int64_t d) { return d < 1; }) || value.shape.size() > graph::kRankMax) {
      return failed(fail(Code::invalid, "computes with '{}' of shape {}", value.name, graph::to_string(value.shape)));
    }
    if (value.type != graph::ElementType::f32 && !value.quantization) {
      return failed(fail(Code::unavailable, "computes with '{}' of type {}", value.name, to_string(value.type)));
    }
  }
  graph::Node node{name, std::move(operation), std::move(inputs), {}};
  for (size_t i = 0; i < outputs; ++i) {
    std::string output_name = i == 0 ? name : fmt::format("{}.{}", name, i);
    node.outputs.push_back(graph_.add_value({std::move(output_name), graph::ElementType::f32, {}, std::nullopt, nullptr}));
  }
  operation = node.operation;  // for failed(): it was moved from
  Result<std::vector<Shape>> shapes = graph::output_shapes(graph_, node);
  if (!shapes) return failed(shapes.error());
  int64_t most = kFoldedElementsMin;
  bool constant = true;
  for (ValueId id : node.inputs) {
    if (id == graph::kNoValue) continue;
    constant = constant && is_constant(id);
    most = std::max(most, graph::elements(shape(id)));
  }
  for (size_t i = 0; i < outputs; ++i) {
    const int64_t count = graph::elements((*shapes)[i]);
    if (count < 0 || (*shapes)[i].size() > graph::kRankMax) {
      return failed(fail(Code::invalid, "gives {}: too large", graph::to_string((*shapes)[i])));
    }
    constant = constant && count <= most;
    graph_.value(node.outputs[i]).shape = (*shapes)[i];
  }
  if (constant) {
    for (ValueId id : node.outputs) SKERRY_TRY(take(static_cast<size_t>(graph::elements(shape(id))) * sizeof(float)));
    std::vector<graph::Array> arrays = graph::evaluate(graph_, node);
    for (size_t i = 0; i < outputs; ++i) {
      auto bytes = std::make_shared<std::vector<std::byte>>(arrays[i].data.size() * sizeof(float));
      std::memcpy(bytes->data(), arrays[i].data.data(), bytes->size());
      graph_.value(node.outputs[i]).constant = std::move(bytes);
    }
    return node.outputs;
  }
  for (ValueId id : node.outputs) makers_[id] = graph_.nodes.size();
  graph_.nodes.push_back(node);
  return node.outputs;
}

Result<ValueId> Builder::add_moving(const std::string& name, graph::Operation operation, std::vector<ValueId> inputs) {
  SKERRY_ASSIGN(ValueId id, add(name, std::move(operation), inputs));
  const graph::Value first = graph_.value(inputs[0]);
  const bool per_tensor = first.quantization && first.quantization->scale.size() == 1 && first.type != graph::ElementType::i32;
  for (ValueId other : inputs) {
    if (!per_tensor || graph_.value(other).quantization != first.quantization || graph_.value(other).type != first.type) return id;
  }
  if (is_constant(id)) return id;
  graph_.value(id).type = first.type;
  graph_.value(id).quantization = first.quantization;
  return id;
}

Result<ValueId> Builder::dequantized(ValueId id) {
  const graph::Value value = graph_.value(id);
  if (value.type == graph::ElementType::f32) return id;
  SKERRY_TRY(take(static_cast<size_t>(graph::elements(value.shape)) * sizeof(float)));
  return constant(value.name, value.shape, graph::real_values(value));
}

ValueId Builder::quantize(const std::string& name, ValueId x, graph::ElementType type, graph::Quantization quantization) {
  ValueId id = graph_.add_value({name, type, shape(x), std::move(quantization), nullptr});
  makers_[id] = graph_.nodes.size();
  graph_.nodes.push_back({name, graph::Quantize{}, {x}, {id}});
  return id;
}

Result<ValueId> Builder::reshape(const std::string& name, ValueId x, Shape target) {
  if (const graph::Node* maker = maker_of(x); maker != nullptr && std::holds_alternative<graph::Reshape>(maker->operation)) {
    if (graph_.value(x).quantization == graph_.value(maker->inputs[0]).quantization) x = maker->inputs[0];
  }
  if (shape(x) == target) return x;
  if (!is_constant(x)) return add_moving(name, graph::Reshape{std::move(target)}, {x});
  graph::Value value = graph_.value(x);  // the bytes stay the same
  if (graph::elements(value.shape) != graph::elements(target) ||
      std::any_of(target.begin(), target.end(), [](int64_t d) { return d < 1; })) {
    return fail(Code::invalid, "node '{}' (reshape): {} to {} does not fit", name, graph::to_string(value.shape), graph::to_string(target));
  }
  if (value.quantization && value.quantization->scale.size() > 1) {
    value.quantization->axis = axis_after(*value.quantization, value.shape, target);
    if (value.quantization->axis < 0) return fail(Code::unavailable, "node '{}' (reshape): tears a quantized axis apart", name);
  }
  value.shape = std::move(target);
  return constant(std::move(value));
}

Result<ValueId> Builder::transpose(const std::string& name, ValueId x, std::vector<int64_t> permutation) {
  const bool whole = permutation.size() == shape(x).size();
  if (std::is_sorted(permutation.begin(), permutation.end()) && whole) return x;
  if (!is_constant(x)) {
    const graph::Node* maker = maker_of(x);
    const auto* before = maker == nullptr ? nullptr : std::get_if<graph::Transpose>(&maker->operation);
    if (whole && before != nullptr && graph_.value(x).quantization == graph_.value(maker->inputs[0]).quantization) {
      std::vector<int64_t> both;
      for (int64_t axis : permutation) {
        SKERRY_ASSIGN(axis, normal_axis(axis, static_cast<int64_t>(permutation.size())));
        both.push_back(before->permutation[static_cast<size_t>(axis)]);
      }
      return transpose(name, maker->inputs[0], std::move(both));
    }
    if (std::optional<Shape> same = as_reshape(shape(x), permutation)) return reshape(name, x, std::move(*same));
    return add_moving(name, graph::Transpose{std::move(permutation)}, {x});
  }
  const std::pair key(x, permutation);
  if (auto known = transposed_.find(key); known != transposed_.end()) return known->second;
  graph::Value value = graph_.value(x);
  std::vector<int64_t> sorted = permutation;
  std::sort(sorted.begin(), sorted.end());
  Shape target;
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted.size() != value.shape.size() || sorted[i] != static_cast<int64_t>(i)) {
      return fail(Code::invalid, "node '{}' (transpose): {} of {}", name, graph::to_string(permutation), graph::to_string(value.shape));
    }
    target.push_back(value.shape[static_cast<size_t>(permutation[i])]);
  }
  if (value.quantization && value.quantization->scale.size() > 1) {
    auto at = std::find(permutation.begin(), permutation.end(), static_cast<int64_t>(value.quantization->axis));
    value.quantization->axis = static_cast<int32_t>(at - permutation.begin());
  }
  SKERRY_TRY(take(value.constant->size()));
  value.constant = transposed(value, permutation);
  value.shape = std::move(target);
  return transposed_[key] = constant(std::move(value));
}

Result<Shape> Builder::reshape_target(ValueId x, std::vector<int64_t> target) const {
  const Shape& from = shape(x);
  const auto batch_at = std::find(from.begin(), from.end(), -1);
  const int64_t have = graph::elements(from);
  size_t batches = static_cast<size_t>(std::count(target.begin(), target.end(), kBatch));
  auto wildcard = std::find(target.begin(), target.end(), -1);
  int64_t known = 1;
  for (int64_t d : target) {
    if (d == kBatch || d == -1) continue;
    if (d < 1 || d > graph::kElementsMax || (known *= d) > graph::kElementsMax) {
      return fail(Code::invalid, "reshapes to {}", graph::to_string(target));
    }
  }
  if (batches > 1) return fail(Code::unavailable, "reshapes to more than one batch");
  if (batches == 1 && batch_at == from.end()) return fail(Code::unavailable, "takes the batch from another value");
  if (batch_at != from.end() && batches == 0 && (wildcard == target.end() || known != have)) {
    // The file says 1 where the batch is now unknown: at the same place, or first.
    const size_t same = static_cast<size_t>(batch_at - from.begin());
    if (same < target.size() && target[same] == 1) {
      target[same] = kBatch;
    } else if (!target.empty() && target[0] == 1) {
      target[0] = kBatch;
    }
    batches = static_cast<size_t>(std::count(target.begin(), target.end(), kBatch));
  }
  if (batches == 1) {
    if (wildcard != target.end()) *wildcard = have / known;
    std::replace(target.begin(), target.end(), kBatch, int64_t{-1});
  }
  return target;
}

Result<graph::Graph> Builder::finish(std::vector<ValueId> outputs) {
  graph_.outputs = outputs;
  fuse_layer_norms(graph_);
  std::vector<bool> needed(graph_.values.size());
  for (ValueId id : outputs) needed[id] = true;
  std::vector<bool> kept(graph_.nodes.size());
  for (size_t i = graph_.nodes.size(); i-- > 0;) {
    const graph::Node& node = graph_.nodes[i];
    kept[i] = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) { return needed[id]; });
    if (!kept[i]) continue;
    for (ValueId id : node.inputs) {
      if (id != graph::kNoValue) needed[id] = true;
    }
    for (ValueId id : node.outputs) needed[id] = true;
  }
  for (ValueId id : graph_.inputs) needed[id] = true;

  graph::Graph whole;
  whole.source = graph_.source;
  std::vector<ValueId> renamed(graph_.values.size(), graph::kNoValue);
  for (size_t id = 0; id < graph_.values.size(); ++id) {
    if (needed[id]) renamed[id] = whole.add_value(std::move(graph_.values[id]));
  }
  auto rename = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) {
      if (id != graph::kNoValue) id = renamed[id];
    }
  };
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (!kept[i]) continue;
    whole.nodes.push_back(std::move(graph_.nodes[i]));
    rename(whole.nodes.back().inputs);
    rename(whole.nodes.back().outputs);
  }
  whole.inputs = graph_.inputs;
  whole.outputs = std::move(outputs);
  rename(whole.inputs);
  rename(whole.outputs);
  SKERRY_TRY(graph::infer_shapes(whole));
  return whole;
}

Result<int64_t> normal_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) return fail(Code::invalid, "axis {} of {} dimensions", axis, rank);
  return axis < 0 ? axis + rank : axis;
}

namespace {
Status check_window(const WindowSpec& window, const Shape& x) {
  const size_t spatial = window.kernel.size();
  for (const auto* list : {&window.strides, &window.dilations, &window.pads_begin, &window.pads_end}) {
    if (list->size() != spatial) return fail(Code::invalid, "has window parameters of different lengths");
  }
  if (x.size() != spatial + 2) return fail(Code::invalid, "has {} spatial parameters for an input of {}", spatial, graph::to_string(x));
  for (size_t i = 0; i < spatial; ++i) {
    for (int64_t v : {window.kernel[i], window.strides[i], window.dilations[i], x[i + 2]}) {
      if (v < 1 || v > graph::kElementsMax) return fail(Code::invalid, "has a kernel, stride, dilation or dimension of {}", v);
    }
    for (int64_t v : {window.kernel[i], window.strides[i], window.dilations[i], window.pads_begin[i] + 1, window.pads_end[i] + 1}) {
      if (v < 1 || v > kWindowMax) return fail(Code::invalid, "has a kernel, stride, dilation or padding beyond 0 … {}", kWindowMax);
    }
  }
  return {};
}
}  // namespace

Status pad_same(WindowSpec& window, const Shape& x, bool odd_at_end) {
  window.pads_begin.assign(window.kernel.size(), 0);
  window.pads_end = window.pads_begin;
  SKERRY_TRY(check_window(window, x));
  for (size_t i = 0; i < window.kernel.size(); ++i) {
    const int64_t out = (x[i + 2] + window.strides[i] - 1) / window.strides[i];
    const int64_t reach = (window.kernel[i] - 1) * window.dilations[i] + 1;
    const int64_t total = std::max<int64_t>(0, (out - 1) * window.strides[i] + reach - x[i + 2]);
    window.pads_begin[i] = odd_at_end ? total / 2 : total - total / 2;
    window.pads_end[i] = total - window.pads_begin[i];
  }
  return {};
}

Status pad_for_ceil(WindowSpec& window, const Shape& x) {
  SKERRY_TRY(check_window(window, x));
  for (size_t i = 0; i < window.kernel.size(); ++i) {
    const int64_t reach = (window.kernel[i] - 1) * window.dilations[i] + 1, padded = x[i + 2] + window.pads_begin[i] + window.pads_end[i];
    if (padded < reach) continue;  // refused by the operation itself
    int64_t out = (padded - reach + window.strides[i] - 1) / window.strides[i] + 1;
    if ((out - 1) * window.strides[i] >= x[i + 2] + window.pads_begin[i]) --out;
    window.pads_end[i] += std::max<int64_t>(0, (out - 1) * window.strides[i] + reach - padded);
  }
  return {};
}

}  // namespace skerry::inference::frontends
