#include "inference/compile/internal/ranges.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace skerry::inference::compile {
namespace {

using graph::Array;
using graph::ValueId;

constexpr size_t kBins = 2048;
constexpr int64_t kBatch = 16;
constexpr double kLevels = 256;
constexpr size_t kEntropyStep = 16;        // bins between two thresholds that are tried
constexpr float kOneSided = 4.0f;          // one side this many times the other: a zero point is worth its price

struct Seen {
  float low = std::numeric_limits<float>::infinity(), high = -std::numeric_limits<float>::infinity();
  std::vector<double> sums, tops, bins;
  double count = 0;  // per channel
};

std::vector<Array> slice(const std::vector<Array>& samples, int64_t from, int64_t count) {
  std::vector<Array> out;
  for (const Array& all : samples) {
    const auto each = static_cast<ptrdiff_t>(all.data.size()) / all.shape[0];
    Array part{all.shape, {all.data.begin() + from * each, all.data.begin() + (from + count) * each}};
    part.shape[0] = count;
    out.push_back(std::move(part));
  }
  return out;
}

void look(Seen& seen, const Array& array) {
  for (float v : array.data) {
    if (!std::isfinite(v)) continue;
    seen.low = std::min(seen.low, v);
    seen.high = std::max(seen.high, v);
  }
  if (array.shape.size() < 2) return;
  const size_t axis = array.shape.size() == 2 ? 1 : array.shape.size() == 3 || array.shape.size() == 4 ? 1 : array.shape.size() - 1;
  const auto channels = static_cast<size_t>(array.shape[axis]);
  size_t inner = 1;
  for (size_t i = axis + 1; i < array.shape.size(); ++i) inner *= static_cast<size_t>(array.shape[i]);
  seen.sums.resize(channels);
  seen.tops.resize(channels);
  for (size_t i = 0; i < array.data.size(); ++i) {
    const size_t c = i / inner % channels;
    seen.sums[c] += array.data[i];
    seen.tops[c] = std::max(seen.tops[c], std::fabs(double{array.data[i]}));
  }
  seen.count += static_cast<double>(array.data.size() / channels);
}

void fill(Seen& seen, const Array& array) {
  if (!(seen.high > seen.low)) return;
  seen.bins.resize(kBins);
  const double scale = kBins / (double{seen.high} - seen.low);
  for (float v : array.data) {
    if (std::isfinite(v)) seen.bins[std::min(kBins - 1, static_cast<size_t>((double{v} - seen.low) * scale))] += 1;
  }
}

// A distribution folded to magnitudes on one side, or as it is when it starts at 0.
struct Magnitudes {
  double width = 0;  // of a bin
  std::vector<double> counts;
};

Magnitudes magnitudes(float low, float high, const std::vector<double>& counts) {
  const double top = std::max(std::fabs(double{low}), std::fabs(double{high})), from = (double{high} - low) / static_cast<double>(counts.size());
  Magnitudes out{top / static_cast<double>(counts.size()), std::vector<double>(counts.size())};
  for (size_t i = 0; i < counts.size(); ++i) {
    const double middle = std::fabs(low + (static_cast<double>(i) + 0.5) * from);
    out.counts[std::min(counts.size() - 1, static_cast<size_t>(middle / out.width))] += counts[i];
  }
  return out;
}

// Mean square of what rounding and clamping lose when magnitudes up to `top` have `levels` steps.
double loss(const Magnitudes& m, double top, double levels) {
  const double step = top / levels;
  double sum = 0;
  for (size_t i = 0; i < m.counts.size(); ++i) {
    const double middle = (static_cast<double>(i) + 0.5) * m.width, beyond = middle - top;
    sum += m.counts[i] * (beyond > 0 ? beyond * beyond : step * step / 12);
  }
  return sum;
}

double percentile(const Magnitudes& m, double share) {
  double total = 0, sum = 0;
  for (double c : m.counts) total += c;
  for (size_t i = 0; i < m.counts.size(); ++i) {
    sum += m.counts[i];
    if (sum >= share * total) return (static_cast<double>(i) + 1) * m.width;
  }
  return static_cast<double>(m.counts.size()) * m.width;
}

// Divergence of the first `bins`, with the rest clamped into the last, from what is left of them on `levels` steps.
double divergence(const std::vector<double>& counts, size_t bins, size_t levels) {
  std::vector<double> kept(counts.begin(), counts.begin() + static_cast<ptrdiff_t>(bins)), coarse(bins);
  for (size_t i = bins; i < counts.size(); ++i) kept.back() += counts[i];
  double total = 0, coarse_total = 0;
  for (size_t level = 0; level < levels; ++level) {
    const size_t from = level * bins / levels, to = (level + 1) * bins / levels;
    double sum = 0, used = 0;
    for (size_t i = from; i < to; ++i) sum += counts[i], used += counts[i] > 0 ? 1 : 0;
    for (size_t i = from; i < to; ++i) coarse[i] = counts[i] > 0 ? sum / used : 0;
  }
  for (size_t i = 0; i < bins; ++i) total += kept[i], coarse_total += coarse[i];
  double out = 0;
  for (size_t i = 0; i < bins; ++i) {
    if (kept[i] > 0) out += kept[i] / total * std::log(kept[i] / total / std::max(coarse[i] / coarse_total, 1e-12));
  }
  return out;
}

double entropy_top(const Magnitudes& m, size_t levels) {
  size_t best = m.counts.size();
  double least = std::numeric_limits<double>::infinity();
  for (size_t bins = levels; bins <= m.counts.size(); bins += kEntropyStep) {
    const double d = divergence(m.counts, bins, levels);
    if (d < least) least = d, best = bins;
  }
  return static_cast<double>(best) * m.width;
}

}  // namespace

Range best_range(float low, float high, const std::vector<double>& counts) {
  if (!(high > low) || counts.empty()) return {std::min(low, 0.0f), std::max(high, 0.0f), {}, {}};
  const Magnitudes m = magnitudes(low, high, counts);
  const bool both = low < 0 && high > 0;
  const double levels = both ? kLevels / 2 : kLevels;
  const double all = std::max(std::fabs(double{low}), std::fabs(double{high}));
  double best = all;
  for (double top : {percentile(m, 0.99999), percentile(m, 0.9999), percentile(m, 0.999), entropy_top(m, static_cast<size_t>(levels))}) {
    if (top > 0 && loss(m, top, levels) < loss(m, best, levels)) best = top;
  }
  const auto top = static_cast<float>(best);
  return {std::min(0.0f, std::max(low, -top)), std::max(0.0f, std::min(high, top)), {}, {}};
}

graph::Value on_grid(graph::Value value, const Range& range) {
  const float low = std::min(range.low, 0.0f), high = std::max(range.high, 0.0f);
  graph::Quantization q;
  if (low == 0) {
    value.type = graph::ElementType::u8;
    q.scale = {high > 0 ? high / 255 : 1.0f};
    q.zero_point = {0};
  } else if (high > kOneSided * -low) {
    value.type = graph::ElementType::u8;
    q.scale = {(high - low) / 255};
    q.zero_point = {static_cast<int32_t>(std::lround(-low / q.scale[0]))};
  } else {
    value.type = graph::ElementType::i8;
    q.scale = {std::max(-low, high) / 127};
    q.zero_point = {0};
  }
  if (!(q.scale[0] >= 1e-30f)) q.scale[0] = 1e-30f;  // all but nothing was seen
  value.quantization = std::move(q);
  return value;
}

Result<std::map<ValueId, Range>> measure_ranges(const graph::Graph& graph, const std::vector<Array>& samples) {
  SKERRY_ASSIGN(graph::Reference reference, graph::Reference::open(graph));
  std::map<ValueId, Seen> seen;
  const int64_t count = samples.front().shape.front();
  const bool fixed = graph.value(graph.inputs[0]).shape[0] != -1;
  const int64_t batch = fixed ? graph.value(graph.inputs[0]).shape[0] : kBatch;
  for (bool first : {true, false}) {
    for (int64_t at = 0; at < count; at += batch) {
      if (fixed && at + batch > count) break;
      auto run = reference.run(slice(samples, at, std::min(batch, count - at)),
                               [&](ValueId id, const Array& array) { first ? look(seen[id], array) : fill(seen[id], array); });
      if (!run.ok()) return run.error();
    }
  }
  std::map<ValueId, Range> out;
  for (auto& [id, s] : seen) {
    Range range = s.low <= s.high ? best_range(s.low, s.high, s.bins) : Range{};
    for (double sum : s.sums) range.channel_means.push_back(sum / std::max(s.count, 1.0));
    range.channel_tops = std::move(s.tops);
    out[id] = std::move(range);
  }
  return out;
}

}  // namespace skerry::inference::compile
