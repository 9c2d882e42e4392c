// Shape calculations: what exporters write to find out sizes, calculated here and now on small integer tensors. kBatch goes through
// untouched.
#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "inference/frontends/internal/onnx_converter.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {
namespace {

using Operands = std::vector<std::optional<Ints>>;
using graph::Shape;

Result<int64_t> size_of(const Shape& shape) {
  int64_t count = 1;
  for (int64_t d : shape) {
    if (d < 0 || d > kIntsMax || (count *= d) > kIntsMax)
      return fail(Code::unavailable, "calculates with {} integers", graph::to_string(shape));
  }
  return count;
}

Result<const Ints*> operand(const Operands& in, size_t i) {
  if (i < in.size() && in[i]) return &*in[i];
  return fail(Code::invalid, "input {} is missing", i);
}

Result<std::vector<int64_t>> list(const OnnxNode& node, const Operands& in, size_t i, const std::string& attribute) {
  if (i < in.size() && in[i]) return in[i]->data;
  return node.integers(attribute);
}

std::vector<int64_t> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// Position in `from`, whose dimensions of 1 repeat, of element i of `shape`.
size_t broadcast_at(int64_t i, const Shape& shape, const Shape& from) {
  std::vector<int64_t> strides = strides_of(from);
  int64_t at = 0;
  for (size_t back = 1; back <= shape.size(); ++back) {
    const int64_t index = i % shape[shape.size() - back];
    i /= shape[shape.size() - back];
    if (back <= from.size() && from[from.size() - back] != 1) at += index * strides[from.size() - back];
  }
  return static_cast<size_t>(at);
}

Result<Shape> broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (const Shape* shape : {&a, &b}) {
    for (size_t back = 1; back <= shape->size(); ++back) {
      int64_t& to = out[out.size() - back];
      const int64_t d = (*shape)[shape->size() - back];
      if (d != 1 && to != 1 && to != d) return fail(Code::invalid, "{} and {} do not broadcast", graph::to_string(a), graph::to_string(b));
      if (d != 1) to = d;
    }
  }
  SKERRY_TRY(size_of(out).ok() ? Status() : Status(size_of(out).error()));
  return out;
}

// The batch times 1, plus 0, divided by 1 is the batch; anything else of it is not known.
Result<int64_t> calculated(const std::string& type, int64_t a, int64_t b) {
  constexpr int64_t kMost = int64_t{1} << 31;
  if (type == "Equal") return a == b ? 1 : 0;
  if (a == kBatch || b == kBatch) {
    const int64_t other = a == kBatch ? b : a;
    if (other == 1 && (type == "Mul" || (type == "Div" && a == kBatch))) return kBatch;
    if (other == 0 && (type == "Add" || (type == "Sub" && a == kBatch))) return kBatch;
    return fail(Code::unavailable, "calculates with the batch size");
  }
  if (std::max({a, b, -a, -b}) > kMost) {
    if (type == "Min") return std::min(a, b);  // ends of slices are as large as integers go
    return fail(Code::unavailable, "calculates with numbers over 2^31");
  }
  if (type == "Add") return a + b;
  if (type == "Sub") return a - b;
  if (type == "Mul") return a * b;
  if (type == "Min") return std::min(a, b);
  if (type == "Max") return std::max(a, b);
  if (b == 0) return fail(Code::invalid, "divides by zero");
  return a / b;
}

Result<Ints> arithmetic(const OnnxNode& node, const Operands& in) {
  SKERRY_ASSIGN(const Ints* a, operand(in, 0));
  SKERRY_ASSIGN(const Ints* b, operand(in, 1));
  Ints out;
  SKERRY_ASSIGN(out.shape, broadcast(a->shape, b->shape));
  SKERRY_ASSIGN(int64_t count, size_of(out.shape));
  for (int64_t i = 0; i < count; ++i) {
    SKERRY_ASSIGN(int64_t value,
                  calculated(node.type, a->data[broadcast_at(i, out.shape, a->shape)], b->data[broadcast_at(i, out.shape, b->shape)]));
    out.data.push_back(value);
  }
  return out;
}

Result<Ints> where(const OnnxNode&, const Operands& in) {
  SKERRY_ASSIGN(const Ints* condition, operand(in, 0));
  SKERRY_ASSIGN(const Ints* yes, operand(in, 1));
  SKERRY_ASSIGN(const Ints* no, operand(in, 2));
  Ints out;
  SKERRY_ASSIGN(out.shape, broadcast(condition->shape, yes->shape));
  SKERRY_ASSIGN(out.shape, broadcast(out.shape, no->shape));
  SKERRY_ASSIGN(int64_t count, size_of(out.shape));
  for (int64_t i = 0; i < count; ++i) {
    const bool chosen = condition->data[broadcast_at(i, out.shape, condition->shape)] != 0;
    const Ints& from = chosen ? *yes : *no;
    out.data.push_back(from.data[broadcast_at(i, out.shape, from.shape)]);
  }
  return out;
}

Result<Ints> expand(const OnnxNode&, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  SKERRY_ASSIGN(const Ints* shape, operand(in, 1));
  Ints out;
  SKERRY_ASSIGN(out.shape, broadcast(x->shape, shape->data));
  SKERRY_ASSIGN(int64_t count, size_of(out.shape));
  for (int64_t i = 0; i < count; ++i) out.data.push_back(x->data[broadcast_at(i, out.shape, x->shape)]);
  return out;
}

Result<Ints> same(const OnnxNode&, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  return *x;
}

Result<Ints> negated(const OnnxNode&, const Operands& in) {
  SKERRY_ASSIGN(Ints out, same({}, in));
  for (int64_t& value : out.data) {
    if (value == kBatch) return fail(Code::unavailable, "calculates with the batch size");
    value = -value;
  }
  return out;
}

Result<Ints> gather(const OnnxNode& node, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  SKERRY_ASSIGN(const Ints* indices, operand(in, 1));
  SKERRY_ASSIGN(int64_t axis, normal_axis(node.integer("axis", 0), static_cast<int64_t>(x->shape.size())));
  if (x->shape.size() != 1 || axis != 0) return fail(Code::unavailable, "picks from integers of {}", graph::to_string(x->shape));
  Ints out{indices->shape, {}};
  for (int64_t index : indices->data) {
    SKERRY_ASSIGN(index, normal_axis(index, static_cast<int64_t>(x->data.size())));
    out.data.push_back(x->data[static_cast<size_t>(index)]);
  }
  return out;
}

Result<Ints> concat(const OnnxNode& node, const Operands& in) {
  Ints out;
  for (size_t i = 0; i < in.size(); ++i) {
    SKERRY_ASSIGN(const Ints* part, operand(in, i));
    if (part->shape.size() != 1 || (node.integer("axis", 0) != 0 && node.integer("axis", 0) != -1)) {
      return fail(Code::unavailable, "joins integers of {}", graph::to_string(part->shape));
    }
    out.data.insert(out.data.end(), part->data.begin(), part->data.end());
  }
  out.shape = {static_cast<int64_t>(out.data.size())};
  SKERRY_TRY(size_of(out.shape).ok() ? Status() : Status(fail(Code::unavailable, "joins more than {} integers", kIntsMax)));
  return out;
}

Result<Ints> reshape(const OnnxNode&, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  SKERRY_ASSIGN(const Ints* target, operand(in, 1));
  Shape shape = target->data;
  int64_t known = 1, wildcards = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && i < x->shape.size()) shape[i] = x->shape[i];
    if (shape[i] == -1) ++wildcards;
    if (shape[i] < -1 || shape[i] > kIntsMax || (shape[i] != -1 && (known *= shape[i]) > kIntsMax))
      return fail(Code::invalid, "reshapes to {}", graph::to_string(shape));
  }
  const int64_t have = static_cast<int64_t>(x->data.size());
  if (wildcards > 1 || (wildcards == 0 && known != have) || (wildcards == 1 && (known == 0 || have % known != 0))) {
    return fail(Code::invalid, "reshapes {} integers to {}", have, graph::to_string(shape));
  }
  if (wildcards == 1) *std::find(shape.begin(), shape.end(), -1) = have / known;
  return Ints{shape, x->data};
}

Result<Ints> squeeze(const OnnxNode& node, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  SKERRY_ASSIGN(std::vector<int64_t> axes, list(node, in, 1, "axes"));
  Ints out{{}, x->data};
  for (int64_t& axis : axes) {
    SKERRY_ASSIGN(axis, normal_axis(axis, static_cast<int64_t>(x->shape.size())));
  }
  for (size_t i = 0; i < x->shape.size(); ++i) {
    const bool named = axes.empty() || std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) != axes.end();
    if (!named || x->shape[i] != 1) out.shape.push_back(x->shape[i]);
  }
  return out;
}

Result<Ints> unsqueeze(const OnnxNode& node, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  SKERRY_ASSIGN(std::vector<int64_t> axes, list(node, in, 1, "axes"));
  Ints out = *x;
  if (axes.size() > graph::kRankMax) return fail(Code::invalid, "adds {} dimensions", axes.size());
  std::sort(axes.begin(), axes.end());
  for (int64_t axis : axes) {
    SKERRY_ASSIGN(axis, normal_axis(axis, static_cast<int64_t>(out.shape.size()) + 1));
    out.shape.insert(out.shape.begin() + axis, 1);
  }
  return out;
}

// Of one dimension or of the rows of a matrix, any step: exporters turn lists of paddings around with it.
Result<Ints> slice(const OnnxNode& node, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  SKERRY_ASSIGN(const Ints* begins, operand(in, 1));
  SKERRY_ASSIGN(const Ints* ends, operand(in, 2));
  SKERRY_ASSIGN(std::vector<int64_t> axes, list(node, in, 3, "axes"));
  SKERRY_ASSIGN(std::vector<int64_t> steps, list(node, in, 4, "steps"));
  if (begins->data.size() != 1 || ends->data.size() != 1 || x->shape.empty())
    return fail(Code::unavailable, "slices integers on several axes");
  SKERRY_ASSIGN(int64_t axis, normal_axis(axes.empty() ? 0 : axes[0], static_cast<int64_t>(x->shape.size())));
  if (axis != 0) return fail(Code::unavailable, "slices integers on axis {}", axis);
  const int64_t length = x->shape[0], row = length == 0 ? 0 : static_cast<int64_t>(x->data.size()) / length;
  const int64_t step = steps.empty() ? 1 : steps[0];
  if (step == 0 || step < -kIntsMax || step > kIntsMax) return fail(Code::invalid, "has a step of {}", step);
  auto place = [&](int64_t at, int64_t low, int64_t high) {
    return std::clamp<int64_t>(at < 0 ? std::max(at, -length - 1) + length : at, low, high);
  };
  const int64_t begin = step > 0 ? place(begins->data[0], 0, length) : place(begins->data[0], 0, length - 1);
  const int64_t end = step > 0 ? place(ends->data[0], 0, length) : place(ends->data[0], -1, length - 1);
  Ints out{x->shape, {}};
  int64_t rows = 0;
  for (int64_t i = begin; i >= 0 && i < length && (step > 0 ? i < end : i > end); i += step, ++rows) {
    out.data.insert(out.data.end(), x->data.begin() + i * row, x->data.begin() + (i + 1) * row);
  }
  out.shape[0] = rows;
  return out;
}

Result<Ints> transpose(const OnnxNode& node, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  if (x->shape.size() < 2) return *x;
  const std::vector<int64_t> permutation = node.integers("perm", {1, 0});
  if (x->shape.size() != 2 || permutation != std::vector<int64_t>{1, 0})
    return fail(Code::unavailable, "turns integers of {}", graph::to_string(x->shape));
  Ints out{{x->shape[1], x->shape[0]}, {}};
  for (int64_t column = 0; column < x->shape[1]; ++column) {
    for (int64_t row = 0; row < x->shape[0]; ++row) out.data.push_back(x->data[static_cast<size_t>(row * x->shape[1] + column)]);
  }
  return out;
}

Result<Ints> product(const OnnxNode& node, const Operands& in) {
  SKERRY_ASSIGN(const Ints* x, operand(in, 0));
  if (x->shape.size() > 1) return fail(Code::unavailable, "multiplies integers of {}", graph::to_string(x->shape));
  int64_t result = 1;
  for (int64_t value : x->data) {
    SKERRY_ASSIGN(result, calculated("Mul", result, value));
  }
  return Ints{node.integer("keepdims", 1) != 0 ? Shape{1} : Shape{}, {result}};
}

Result<Ints> range(const OnnxNode&, const Operands& in) {
  int64_t given[3] = {0, 0, 0};
  for (size_t i = 0; i < 3; ++i) {
    SKERRY_ASSIGN(const Ints* x, operand(in, i));
    if (x->data.size() != 1 || x->data[0] == kBatch) return fail(Code::unavailable, "counts to what is not a number");
    given[i] = x->data[0];
  }
  if (given[2] < 1 || given[1] > kIntsMax || given[0] < -kIntsMax)
    return fail(Code::unavailable, "counts from {} to {} by {}", given[0], given[1], given[2]);
  Ints out;
  for (int64_t i = given[0]; i < given[1]; i += given[2]) out.data.push_back(i);
  out.shape = {static_cast<int64_t>(out.data.size())};
  return out;
}

}  // namespace

IntsFold ints_fold(const std::string& type) {
  static const std::map<std::string, IntsFold> folds = {
      {"Add", arithmetic},      {"Sub", arithmetic},     {"Mul", arithmetic},  {"Div", arithmetic},      {"Min", arithmetic},
      {"Max", arithmetic},      {"Equal", arithmetic},   {"Where", where},     {"Expand", expand},       {"Cast", same},
      {"Identity", same},       {"Floor", same},         {"Ceil", same},       {"Neg", negated},         {"Gather", gather},
      {"Concat", concat},       {"Reshape", reshape},    {"Squeeze", squeeze}, {"Unsqueeze", unsqueeze}, {"Slice", slice},
      {"Transpose", transpose}, {"ReduceProd", product}, {"Range", range}};
  auto at = folds.find(type);
  return at == folds.end() ? nullptr : at->second;
}

}  // namespace skerry::inference::frontends
