#include "inference/compile/internal/rounding.h"

#include <algorithm>
#include <cmath>

namespace skerry::inference::compile {
namespace {

using graph::Array;
using graph::Graph;
using graph::Node;
using graph::ValueId;

constexpr int64_t kSamplesMax = 64, kBatch = 16;
constexpr size_t kRowsPerWidth = 4, kRowsMin = 1024;  // of one layer: enough for its moments
constexpr double kDamping = 0.01;                     // of the mean square: keeps the matrix invertible

struct Patch {  // a layer's window as a row
  size_t channels = 1, window_h = 1, window_w = 1;  // of one group
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, top = 0, left = 0, out_h = 1, out_w = 1;
};

Patch patch_of(const Graph& graph, const Node& node) {
  const auto& weights = graph.value(node.inputs[1]).shape;
  const auto& out = graph.value(node.outputs[0]).shape;
  Patch p;
  p.channels = static_cast<size_t>(weights[1]);
  const auto* conv = std::get_if<graph::Conv>(&node.operation);
  if (!conv) return p;
  const bool image = weights.size() == 4;
  p.window_h = image ? static_cast<size_t>(weights[2]) : 1;
  p.window_w = static_cast<size_t>(weights.back());
  if (image) {
    p.stride_h = conv->strides[0];
    p.dilation_h = conv->dilations[0];
    p.top = conv->pads_begin[0];
    p.out_h = out[2];
  }
  p.stride_w = conv->strides.back();
  p.dilation_w = conv->dilations.back();
  p.left = conv->pads_begin.back();
  p.out_w = out.back();
  return p;
}

// Adds rows of x to the moments: every n-th place of the output.
class Collector {
 public:
  Collector(const Graph& graph, const Node& node, int64_t samples) : patch_(patch_of(graph, node)) {
    const auto* conv = std::get_if<graph::Conv>(&node.operation);
    linear_ = !conv;
    moments.groups = conv ? static_cast<size_t>(conv->groups) : 1;
    moments.width = patch_.channels * patch_.window_h * patch_.window_w;
    moments.sums.resize(moments.groups * moments.width * moments.width);
    row_.resize(moments.width);
    const auto places = static_cast<size_t>(samples * patch_.out_h * patch_.out_w);
    step_ = std::max<size_t>(1, places / std::max(kRowsMin, kRowsPerWidth * moments.width)) | 1;  // odd: not the same column each time
  }

  void look(const Array& x) {
    if (linear_) {
      for (size_t at = 0; at + moments.width <= x.data.size(); at += moments.width) add(0, x.data.data() + at), moments.rows += 1;
      return;
    }
    const auto places = static_cast<size_t>(x.shape[0] * patch_.out_h * patch_.out_w);
    for (; next_ < places; next_ += step_, moments.rows += 1) {
      for (size_t g = 0; g < moments.groups; ++g) {
        cut(x, static_cast<int64_t>(next_), g);
        add(g, row_.data());
      }
    }
    next_ -= places;
  }

  Moments moments;

 private:
  void cut(const Array& x, int64_t place, size_t group) {
    const int64_t h = x.shape.size() == 4 ? x.shape[2] : 1, w = x.shape.back(), all = x.shape[1];
    const int64_t n = place / (patch_.out_h * patch_.out_w), top = place / patch_.out_w % patch_.out_h * patch_.stride_h - patch_.top,
                  left = place % patch_.out_w * patch_.stride_w - patch_.left;
    float* to = row_.data();
    for (size_t c = 0; c < patch_.channels; ++c) {
      const float* plane = x.data.data() + (n * all + static_cast<int64_t>(group * patch_.channels + c)) * h * w;
      for (size_t i = 0; i < patch_.window_h; ++i) {
        for (size_t j = 0; j < patch_.window_w; ++j) {
          const int64_t y = top + static_cast<int64_t>(i) * patch_.dilation_h, v = left + static_cast<int64_t>(j) * patch_.dilation_w;
          *to++ = y >= 0 && y < h && v >= 0 && v < w ? plane[y * w + v] : 0.0f;
        }
      }
    }
  }
  void add(size_t group, const float* row) {
    const size_t width = moments.width;
    double* sums = moments.sums.data() + group * width * width;
    for (size_t i = 0; i < width; ++i) {
      const double left = row[i];
      if (left == 0) continue;
      for (size_t j = 0; j <= i; ++j) sums[i * width + j] += left * row[j];  // the lower half
    }
  }

  Patch patch_;
  bool linear_ = false;
  size_t step_ = 1, next_ = 0;
  std::vector<float> row_;
};

// In place, the lower half: a = l l^T. False when a is not positive definite.
bool cholesky(std::vector<double>& a, size_t n) {
  for (size_t j = 0; j < n; ++j) {
    for (size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i > j) {
        a[i * n + j] = sum / a[j * n + j];
      } else {
        if (!(sum > 0) || !std::isfinite(sum)) return false;
        a[j * n + j] = std::sqrt(sum);
      }
    }
  }
  return true;
}

// Rows of the upper factor u of a's inverse, inverse = u^T u. With a's dimensions turned around, a' = l l^T gives u as the inverse of l, turned
// around again: no second factorization is needed.
bool inverse_factor(std::vector<double>& a, size_t n) {
  std::vector<double> turned(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) turned[(n - 1 - j) * n + (n - 1 - i)] = a[i * n + j];
  }
  if (!cholesky(turned, n)) return false;
  std::vector<double> inverse(n * n);  // of the lower factor, by columns
  for (size_t c = 0; c < n; ++c) {
    double* column = inverse.data() + c * n;
    column[c] = 1 / turned[c * n + c];
    for (size_t i = c + 1; i < n; ++i) {
      double sum = 0;
      for (size_t k = c; k < i; ++k) sum += turned[i * n + k] * column[k];
      column[i] = -sum / turned[i * n + i];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i; j < n; ++j) a[i * n + j] = inverse[(n - 1 - j) * n + (n - 1 - i)];
  }
  return true;
}

}  // namespace

Result<std::map<size_t, Moments>> measure_moments(const Graph& graph, const std::vector<Array>& samples) {
  const int64_t batch = graph.value(graph.inputs[0]).shape[0] == -1 ? kBatch : graph.value(graph.inputs[0]).shape[0],
                count = std::min(samples.front().shape.front(), kSamplesMax);
  std::map<size_t, Collector> collectors;
  std::map<ValueId, std::vector<size_t>> readers;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (!std::holds_alternative<graph::Conv>(node.operation) && !std::holds_alternative<graph::Linear>(node.operation)) continue;
    const graph::Value& weights = graph.value(node.inputs[1]);
    if (!weights.is_constant() || graph::elements(weights.shape) > weights.shape[0] * static_cast<int64_t>(kMomentsWidthMax)) continue;
    collectors.emplace(i, Collector(graph, node, count));
    readers[node.inputs[0]].push_back(i);
  }
  SKERRY_ASSIGN(graph::Reference reference, graph::Reference::open(graph));
  for (int64_t at = 0; at + (batch == kBatch ? 1 : batch) <= count; at += batch) {
    std::vector<Array> part;
    for (const Array& all : samples) {
      const auto each = static_cast<ptrdiff_t>(all.data.size()) / all.shape[0];
      const int64_t size = std::min(batch, count - at);
      part.push_back({all.shape, {all.data.begin() + at * each, all.data.begin() + (at + size) * each}});
      part.back().shape[0] = size;
    }
    auto run = reference.run(part, [&](ValueId id, const Array& array) {
      const auto found = readers.find(id);
      if (found == readers.end()) return;
      for (size_t i : found->second) collectors.at(i).look(array);
    });
    if (!run.ok()) return run.error();
  }
  std::map<size_t, Moments> out;
  for (auto& [i, collector] : collectors) out[i] = std::move(collector.moments);
  return out;
}

std::vector<int8_t> rounded(const std::vector<float>& weights, const std::vector<float>& scale, const Moments& moments, double noise) {
  const size_t n = moments.width, rows = scale.size(), per_group = rows / moments.groups;
  std::vector<int8_t> out(weights.size());
  std::vector<double> row(n);
  for (size_t g = 0; g < moments.groups; ++g) {
    std::vector<double> factor(moments.sums.begin() + static_cast<ptrdiff_t>(g * n * n), moments.sums.begin() + static_cast<ptrdiff_t>((g + 1) * n * n));
    double mean = 0;
    for (size_t i = 0; i < n; ++i) mean += factor[i * n + i] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) factor[i * n + i] += kDamping * mean + noise * moments.rows + 1e-20;
    const bool repairs = mean > 0 && inverse_factor(factor, n);
    for (size_t r = g * per_group; r < (g + 1) * per_group; ++r) {
      std::copy_n(weights.begin() + static_cast<ptrdiff_t>(r * n), n, row.begin());
      for (size_t i = 0; i < n; ++i) {
        const double steps = std::clamp(std::nearbyint(row[i] / scale[r]), -127.0, 127.0);
        out[r * n + i] = static_cast<int8_t>(steps);
        if (!repairs) continue;
        const double error = (row[i] - steps * scale[r]) / factor[i * n + i];
        for (size_t j = i + 1; j < n; ++j) row[j] -= error * factor[i * n + j];
      }
    }
  }
  return out;
}

}  // namespace skerry::inference::compile
