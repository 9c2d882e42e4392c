#include "inference/graph/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "inference/graph/internal/reference_layers.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::graph {
namespace {

using Strides = std::vector<int64_t>;

Strides strides_of(const Shape& shape) {
  Strides strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// Calls visit(offset a, offset b) for each element of `shape`, in row-major order.
template <typename Visit>
void walk(const Shape& shape, const Strides& a, const Strides& b, Visit visit) {
  if (shape.empty()) return visit(0, 0);
  const size_t inner = shape.size() - 1;
  std::vector<int64_t> index(shape.size());
  for (int64_t at_a = 0, at_b = 0;;) {
    for (int64_t i = 0; i < shape[inner]; ++i) visit(at_a + i * a[inner], at_b + i * b[inner]);
    size_t axis = inner;
    while (axis-- > 0) {
      at_a += a[axis];
      at_b += b[axis];
      if (++index[axis] < shape[axis]) break;
      at_a -= shape[axis] * a[axis];
      at_b -= shape[axis] * b[axis];
      index[axis] = 0;
    }
    if (axis == SIZE_MAX) return;
  }
}

// Strides that repeat dimensions of 1 (and missing ones) over `out`.
Strides broadcast_strides(const Shape& shape, const Shape& out) {
  Strides own = strides_of(shape), strides(out.size(), 0);
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != 1) strides[out.size() - shape.size() + i] = own[i];
  }
  return strides;
}

float combined(Binary::Kind kind, float a, float b) {
  switch (kind) {
    case Binary::Kind::add:
      return a + b;
    case Binary::Kind::sub:
      return a - b;
    case Binary::Kind::mul:
      return a * b;
    case Binary::Kind::div:
      return a / b;
    case Binary::Kind::min:
      return std::min(a, b);
    case Binary::Kind::max:
      return std::max(a, b);
    case Binary::Kind::pow:
      return std::pow(a, b);
  }
  return a;
}

float changed(Unary::Kind kind, float x) {
  switch (kind) {
    case Unary::Kind::sqrt:
      return std::sqrt(x);
    case Unary::Kind::exp:
      return std::exp(x);
    case Unary::Kind::log:
      return std::log(x);
    case Unary::Kind::neg:
      return -x;
    case Unary::Kind::abs:
      return std::fabs(x);
    case Unary::Kind::reciprocal:
      return 1.0f / x;
  }
  return x;
}

// What a node reads and writes. Outputs are allocated to their shapes.
struct Frame {
  std::vector<const Array*> in;  // null: left out
  std::vector<Array*> out;

  const Array* optional(size_t i) const { return i < in.size() ? in[i] : nullptr; }
  const std::vector<float>& x() const { return in[0]->data; }
  std::vector<float>& y() const { return out[0]->data; }
};

void run(const Conv& op, const Frame& f) { run_conv(op, *f.in[0], *f.in[1], f.optional(2), f.optional(3), *f.out[0]); }
void run(const Linear& op, const Frame& f) { run_linear(op, *f.in[0], *f.in[1], f.optional(2), f.optional(3), *f.out[0]); }
void run(const MatMul&, const Frame& f) { run_matmul(*f.in[0], *f.in[1], *f.out[0]); }
void run(const Pool& op, const Frame& f) { run_pool(op, *f.in[0], *f.out[0]); }
void run(const Recurrent& op, const Frame& f) {
  run_recurrent(op, {*f.in[0], *f.in[1], *f.in[2], f.optional(3), f.optional(4), f.optional(5)}, f.out);
}

void run(const Reduce& op, const Frame& f) {
  const Shape& shape = f.in[0]->shape;
  Shape kept = shape;
  int64_t reduced = 1;
  for (int64_t axis : op.axes) {
    reduced *= shape[static_cast<size_t>(axis)];
    kept[static_cast<size_t>(axis)] = 1;
  }
  const bool max = op.kind == Reduce::Kind::max;
  std::vector<double> sums(f.y().size(), max ? -std::numeric_limits<double>::infinity() : 0.0);
  walk(shape, strides_of(shape), broadcast_strides(kept, shape), [&](int64_t from, int64_t to) {
    double& sum = sums[static_cast<size_t>(to)];
    const double value = f.x()[static_cast<size_t>(from)];
    sum = max ? std::max(sum, value) : sum + value;
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    f.y()[i] = static_cast<float>(op.kind == Reduce::Kind::mean ? sums[i] / static_cast<double>(reduced) : sums[i]);
  }
}

void run(const Binary& op, const Frame& f) {
  const Shape& shape = f.out[0]->shape;
  size_t i = 0;
  walk(shape, broadcast_strides(f.in[0]->shape, shape), broadcast_strides(f.in[1]->shape, shape), [&](int64_t a, int64_t b) {
    f.y()[i++] = activated(op.activation, combined(op.kind, f.in[0]->data[static_cast<size_t>(a)], f.in[1]->data[static_cast<size_t>(b)]));
  });
}

void run(const Activate& op, const Frame& f) {
  std::transform(f.x().begin(), f.x().end(), f.y().begin(), [&](float x) { return activated(op.activation, x); });
}

void run(const Unary& op, const Frame& f) {
  std::transform(f.x().begin(), f.x().end(), f.y().begin(), [&](float x) { return changed(op.kind, x); });
}

void run(const Softmax& op, const Frame& f) {
  const Shape& shape = f.in[0]->shape;
  const size_t axis = op.axis < 0 ? shape.size() - static_cast<size_t>(-op.axis) : static_cast<size_t>(op.axis);
  const size_t inner = static_cast<size_t>(strides_of(shape)[axis]), length = static_cast<size_t>(shape[axis]);
  for (size_t start = 0; start < f.x().size(); ++start) {
    if (start / inner % length != 0) continue;  // the first element of each row along the axis
    float most = f.x()[start];
    for (size_t i = 1; i < length; ++i) most = std::max(most, f.x()[start + i * inner]);
    double sum = 0;
    for (size_t i = 0; i < length; ++i) sum += std::exp(static_cast<double>(f.x()[start + i * inner] - most));
    for (size_t i = 0; i < length; ++i) {
      const double x = f.x()[start + i * inner] - most;
      f.y()[start + i * inner] = static_cast<float>(op.log ? x - std::log(sum) : std::exp(x) / sum);
    }
  }
}

void run(const BatchNorm& op, const Frame& f) {
  const size_t channels = static_cast<size_t>(f.in[0]->shape[1]);
  const size_t inner = f.x().size() / (channels * static_cast<size_t>(f.in[0]->shape[0]));
  for (size_t i = 0; i < f.x().size(); ++i) {
    const size_t c = i / inner % channels;
    f.y()[i] = f.in[1]->data[c] * (f.x()[i] - f.in[3]->data[c]) / std::sqrt(f.in[4]->data[c] + op.epsilon) + f.in[2]->data[c];
  }
}

void run(const LayerNorm& op, const Frame& f) {
  const Shape& shape = f.in[0]->shape;
  const size_t axis = op.axis < 0 ? shape.size() - static_cast<size_t>(-op.axis) : static_cast<size_t>(op.axis);
  size_t row = 1;
  for (size_t i = axis; i < shape.size(); ++i) row *= static_cast<size_t>(shape[i]);
  const Array *scale = f.optional(1), *shift = f.optional(2);
  for (size_t start = 0; start < f.x().size(); start += row) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < row; ++i) sum += f.x()[start + i];
    const double mean = sum / static_cast<double>(row);
    for (size_t i = 0; i < row; ++i) squares += (f.x()[start + i] - mean) * (f.x()[start + i] - mean);
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(row) + op.epsilon);
    for (size_t i = 0; i < row; ++i) {
      float y = static_cast<float>((f.x()[start + i] - mean) * factor);
      if (scale != nullptr) y *= scale->data[i];
      if (shift != nullptr) y += shift->data[i];
      f.y()[start + i] = y;
    }
  }
}

void run(const Concat& op, const Frame& f) {
  const Shape& shape = f.out[0]->shape;
  const size_t axis = op.axis < 0 ? shape.size() - static_cast<size_t>(-op.axis) : static_cast<size_t>(op.axis);
  const Strides strides = strides_of(shape);
  int64_t at = 0;
  for (const Array* part : f.in) {
    walk(part->shape, strides_of(part->shape), strides,
         [&](int64_t from, int64_t to) { f.y()[static_cast<size_t>(at * strides[axis] + to)] = part->data[static_cast<size_t>(from)]; });
    at += part->shape[axis];
  }
}

void run(const Reshape&, const Frame& f) { f.y() = f.x(); }
void run(const Quantize&, const Frame& f) { f.y() = f.x(); }    // snap() does it
void run(const Dequantize&, const Frame& f) { f.y() = f.x(); }  // values are real ones everywhere

void run(const Transpose& op, const Frame& f) {
  const Strides own = strides_of(f.in[0]->shape);
  Strides from;
  for (int64_t axis : op.permutation) from.push_back(own[static_cast<size_t>(axis)]);
  walk(f.out[0]->shape, from, strides_of(f.out[0]->shape),
       [&](int64_t a, int64_t b) { f.y()[static_cast<size_t>(b)] = f.x()[static_cast<size_t>(a)]; });
}

void run(const Pad& op, const Frame& f) {
  const Strides strides = strides_of(f.out[0]->shape);
  int64_t base = 0;
  for (size_t i = 0; i < strides.size(); ++i) base += op.begin[i] * strides[i];
  std::fill(f.y().begin(), f.y().end(), op.value);
  walk(f.in[0]->shape, strides_of(f.in[0]->shape), strides,
       [&](int64_t from, int64_t to) { f.y()[static_cast<size_t>(base + to)] = f.x()[static_cast<size_t>(from)]; });
}

void run(const Slice& op, const Frame& f) {
  const Shape& shape = f.in[0]->shape;
  Strides strides = strides_of(shape);
  int64_t base = 0;
  for (size_t i = 0; i < op.axes.size(); ++i) {
    const size_t axis = op.axes[i] < 0 ? shape.size() - static_cast<size_t>(-op.axes[i]) : static_cast<size_t>(op.axes[i]);
    base += slice_range(op, i, shape[axis]).begin * strides[axis];
    strides[axis] *= op.step[i];
  }
  walk(f.out[0]->shape, strides, strides_of(f.out[0]->shape),
       [&](int64_t from, int64_t to) { f.y()[static_cast<size_t>(to)] = f.x()[static_cast<size_t>(base + from)]; });
}

std::vector<size_t> last_uses(const Graph& graph) {
  std::vector<size_t> last(graph.values.size(), 0);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (ValueId id : graph.nodes[i].outputs) last[id] = i;
    for (ValueId id : graph.nodes[i].inputs) {
      if (id != kNoValue) last[id] = i;
    }
  }
  for (ValueId id : graph.outputs) last[id] = graph.nodes.size();
  return last;
}

// Values that each node leaves behind, most at any moment.
Status check_memory(const Graph& graph, const std::vector<size_t>& last_use) {
  int64_t live = 0;
  for (ValueId id : graph.inputs) live += elements(graph.value(id).shape);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (ValueId id : node.outputs) live += elements(graph.value(id).shape);
    if (live > kLiveElementsMax) {
      return fail(Code::exhausted, "node '{}' ({}): more than {} numbers at once: a smaller batch is needed", node.name,
                  name_of(node.operation), kLiveElementsMax);
    }
    std::vector<ValueId> done = node.inputs;
    done.insert(done.end(), node.outputs.begin(), node.outputs.end());
    std::sort(done.begin(), done.end());
    done.erase(std::unique(done.begin(), done.end()), done.end());
    for (ValueId id : done) {
      if (id != kNoValue && !graph.value(id).is_constant() && last_use[id] == i) live -= elements(graph.value(id).shape);
    }
  }
  return {};
}

// Allocates the outputs and fills them in; `array` gives the place of each value.
template <typename ArrayOf>
void run_node(const Graph& graph, const Node& node, ArrayOf array) {
  Frame frame;
  for (ValueId id : node.inputs) frame.in.push_back(id == kNoValue ? nullptr : &array(id));
  for (ValueId id : node.outputs) {
    Array& out = array(id);
    out.shape = graph.value(id).shape;
    out.data.resize(static_cast<size_t>(elements(out.shape)));
    frame.out.push_back(&out);
  }
  std::visit([&](const auto& operation) { graph::run(operation, frame); }, node.operation);
  for (ValueId id : node.outputs) snap(graph.value(id), array(id));
}

}  // namespace

std::vector<Array> evaluate(const Graph& graph, const Node& node) {
  std::unordered_map<ValueId, Array> arrays;
  for (ValueId id : node.inputs) {
    if (id != kNoValue) arrays[id] = {graph.value(id).shape, real_values(graph.value(id))};
  }
  for (ValueId id : node.outputs) arrays[id] = {};
  run_node(graph, node, [&](ValueId id) -> Array& { return arrays.at(id); });
  std::vector<Array> outputs;
  for (ValueId id : node.outputs) outputs.push_back(std::move(arrays.at(id)));
  return outputs;
}

void snap(const Value& value, Array& array) {
  if (!value.quantization) return;
  const Quantization& q = *value.quantization;
  const double low = value.type == ElementType::i8 ? -128.0 : value.type == ElementType::u8 ? 0.0 : -2147483648.0;
  const double high = value.type == ElementType::i8 ? 127.0 : value.type == ElementType::u8 ? 255.0 : 2147483647.0;
  const size_t inner = q.scale.size() > 1 ? static_cast<size_t>(strides_of(array.shape)[static_cast<size_t>(q.axis)]) : 1;
  for (size_t i = 0; i < array.data.size(); ++i) {
    const size_t which = q.scale.size() > 1 ? i / inner % q.scale.size() : 0;
    const float steps = std::isnan(array.data[i]) ? 0.0f : array.data[i] / q.scale[which];
    const double stored = std::clamp(std::nearbyint(static_cast<double>(steps)) + q.zero_point[which], low, high);
    array.data[i] = static_cast<float>(static_cast<double>(q.scale[which]) * (stored - q.zero_point[which]));
  }
}

Result<Reference> Reference::open(Graph graph) {
  SKERRY_TRY(check(graph));
  Reference reference;
  reference.constants_.resize(graph.values.size());
  std::vector<bool> used(graph.values.size());
  for (const Node& node : graph.nodes) {
    for (ValueId id : node.inputs) {
      if (id != kNoValue) used[id] = true;
    }
  }
  int64_t numbers = 0;
  for (size_t id = 0; id < graph.values.size(); ++id) {
    const Value& value = graph.values[id];
    if (!value.is_constant() || !used[id]) continue;
    numbers += elements(value.shape);
    if (numbers > kLiveElementsMax) return fail(Code::exhausted, "the constants of the graph are more than {} numbers", kLiveElementsMax);
    reference.constants_[id] = {value.shape, real_values(value)};
  }
  reference.last_use_ = last_uses(graph);
  reference.graph_ = std::move(graph);
  return reference;
}

// The graph's shapes with the batch of these inputs.
Status Reference::prepare(const std::vector<Array>& inputs) {
  if (inputs.size() != graph_.inputs.size())
    return fail(Code::invalid, "the model takes {} inputs, not {}", graph_.inputs.size(), inputs.size());
  bool same = !concrete_.inputs.empty();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& wanted = graph_.value(graph_.inputs[i]);
    Shape given = inputs[i].shape;
    if (!given.empty() && !wanted.shape.empty() && wanted.shape[0] == -1 && given[0] > 0) given[0] = -1;
    if (given != wanted.shape) {
      return fail(Code::invalid, "input '{}' is {}, should be {}", wanted.name, to_string(inputs[i].shape), to_string(wanted.shape));
    }
    const int64_t count = elements(inputs[i].shape);
    if (count < 0 || inputs[i].data.size() != static_cast<size_t>(count)) {
      return fail(Code::invalid, "input '{}' {} has {} numbers", wanted.name, to_string(inputs[i].shape), inputs[i].data.size());
    }
    same = same && concrete_.value(concrete_.inputs[i]).shape == inputs[i].shape;
  }
  if (same) return {};
  Graph concrete = graph_;
  for (size_t i = 0; i < inputs.size(); ++i) concrete.value(concrete.inputs[i]).shape = inputs[i].shape;
  SKERRY_TRY(infer_shapes(concrete));
  SKERRY_TRY(check_memory(concrete, last_use_));
  concrete_ = std::move(concrete);
  return {};
}

Result<std::vector<Array>> Reference::run(const std::vector<Array>& inputs, const Tap& tap) {
  SKERRY_TRY(prepare(inputs));
  std::vector<Array> computed(concrete_.values.size());
  auto array = [&](ValueId id) -> Array& { return concrete_.value(id).is_constant() ? constants_[id] : computed[id]; };
  for (size_t i = 0; i < inputs.size(); ++i) {
    Array& input = array(concrete_.inputs[i]);
    input = inputs[i];
    snap(concrete_.value(concrete_.inputs[i]), input);
    if (tap) tap(concrete_.inputs[i], input);
  }
  for (size_t i = 0; i < concrete_.nodes.size(); ++i) {
    const Node& node = concrete_.nodes[i];
    run_node(concrete_, node, array);
    for (ValueId id : node.outputs) {
      if (tap) tap(id, array(id));
    }
    auto free_after = [&](ValueId id) {
      if (id != kNoValue && !concrete_.value(id).is_constant() && last_use_[id] == i) computed[id] = {};
    };
    for (ValueId id : node.inputs) free_after(id);
    for (ValueId id : node.outputs) free_after(id);
  }
  std::vector<Array> outputs;
  for (ValueId id : concrete_.outputs) outputs.push_back(array(id));
  return outputs;
}

}  // namespace skerry::inference::graph
