// Format: place of x varint, of y varint | rows apart varint [their numbers, an integer stream | their z, a float stream] |
//         repeats u8: 1 when each pair that was there before has the z it had | the other rows, only the first of each pair if repeats, as
//         a surface
#include "storage/internal/derived_column.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "storage/internal/float_stream.h"
#include "storage/internal/integer_stream.h"
#include "storage/internal/surface.h"

namespace skerry::storage::internal {
namespace {

constexpr size_t kRowsMin = 256;
constexpr size_t kBytesPerValue = 2;  // from which on a column is worth the search
constexpr size_t kSourcesMax = 6;     // that are tried, in pairs
constexpr size_t kSampleRows = 64;
constexpr double kFollows = 0.125;    // misfit, below which a closer look may pay
constexpr double kFarOff = 256;       // times the size of the middle one: a value of another kind, an error most likely

const std::vector<double>* whole_floats(const Column& column) {
  const auto* values = std::get_if<0>(&column.values);
  return values != nullptr && std::find(column.present.begin(), column.present.end(), 0) == column.present.end() ? values : nullptr;
}

bool all_finite(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

// For each row the first one with the same x and y. Sorted, not hashed: nobody can choose values that take longer.
std::vector<uint32_t> first_alike(std::span<const double> x, std::span<const double> y) {
  std::vector<uint32_t> order(x.size()), first(x.size());
  std::iota(order.begin(), order.end(), 0);
  auto key = [&](uint32_t row) { return std::pair(std::bit_cast<uint64_t>(x[row]), std::bit_cast<uint64_t>(y[row])); };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return std::pair(key(a), a) < std::pair(key(b), b); });
  for (size_t i = 0; i < order.size(); ++i) {
    first[order[i]] = i > 0 && key(order[i]) == key(order[i - 1]) ? first[order[i - 1]] : order[i];
  }
  return first;
}

std::vector<double> gathered(std::span<const double> values, const std::vector<uint32_t>& rows) {
  std::vector<double> out(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) out[i] = values[rows[i]];
  return out;
}

// Rows of usual values; the others are apart.
std::vector<uint32_t> usual_rows(std::span<const double> z) {
  std::vector<double> sizes(z.size());
  for (size_t i = 0; i < z.size(); ++i) sizes[i] = std::isfinite(z[i]) ? std::fabs(z[i]) : HUGE_VAL;
  std::vector<double> sorted = sizes;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  const double limit = *middle > 0 ? *middle * kFarOff : 1;
  std::vector<uint32_t> rows;
  for (uint32_t row = 0; row < z.size(); ++row) {
    if (std::isfinite(z[row]) && sizes[row] <= limit) rows.push_back(row);
  }
  return rows;
}

// Leaves in `rows` those that have what the first row of their pair has; `first` gets the first rows.
void drop_contradictions(std::span<const double> x, std::span<const double> y, std::span<const double> z, std::vector<uint32_t>& rows,
                         std::vector<uint32_t>& first) {
  const std::vector<uint32_t> alike = first_alike(gathered(x, rows), gathered(y, rows));
  std::vector<uint32_t> kept;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (alike[i] == i) first.push_back(rows[i]);
    if (std::bit_cast<uint64_t>(z[rows[alike[i]]]) == std::bit_cast<uint64_t>(z[rows[i]])) kept.push_back(rows[i]);
  }
  rows = std::move(kept);
}

void put_apart(std::span<const double> z, const std::vector<uint32_t>& rows, Writer& out) {
  std::vector<int64_t> apart;
  std::vector<double> values;
  auto next = rows.begin();
  for (uint32_t row = 0; row < z.size(); ++row) {
    if (next != rows.end() && *next == row) {
      ++next;
      continue;
    }
    apart.push_back(row);
    values.push_back(z[row]);
  }
  out.varint(apart.size());
  if (apart.empty()) return;
  encode_integers(apart, out);
  encode_floats(values, out);
}

// The bytes, or none when there are no fewer than `limit`.
std::string encode(Sources sources, std::span<const double> x, std::span<const double> y, std::span<const double> z, size_t limit) {
  Writer out;
  out.varint(sources.x);
  out.varint(sources.y);
  std::vector<uint32_t> rows = usual_rows(z), alike = rows, first;
  if (rows.size() < z.size() / 2) return {};
  drop_contradictions(x, y, z, alike, first);
  const bool repeats = first.size() + (rows.size() - alike.size()) * 2 < rows.size() * 15 / 16;
  put_apart(z, repeats ? alike : rows, out);
  out.u8(repeats ? 1 : 0);
  if (repeats) rows = std::move(first);
  const bool good = encode_surface(gathered(x, rows), gathered(y, rows), gathered(z, rows), out);
  return good && out.bytes().size() < limit ? out.take() : std::string();
}

std::vector<double> sample_of(const std::vector<double>& values) {
  std::vector<double> sample(std::min(values.size(), kSampleRows));
  for (size_t i = 0; i < sample.size(); ++i) sample[i] = values[(2 * i + 1) * values.size() / (2 * sample.size())];
  return sample;
}

// Around zero; equal values share one.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<double> sorted = values, ranks;
  std::sort(sorted.begin(), sorted.end());
  for (double v : values) {
    const auto [low, high] = std::equal_range(sorted.begin(), sorted.end(), v);
    ranks.push_back(static_cast<double>((low - sorted.begin()) + (high - sorted.begin())) / 2 - static_cast<double>(values.size()) / 2);
  }
  return ranks;
}

// What a search looks at of a column.
struct Sample {
  size_t place;
  std::vector<double> values, ranks;
};

// Of ranks, so that no outlier counts for more than itself (Spearman, 1904).
double correlation(const Sample& a, const Sample& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.ranks.size(); ++i) {
    ab += a.ranks[i] * b.ranks[i];
    aa += a.ranks[i] * a.ranks[i];
    bb += b.ranks[i] * b.ranks[i];
  }
  return aa > 0 && bb > 0 ? std::fabs(ab) / std::sqrt(aa * bb) : 0;
}

// The pair among `samples` that a column follows most closely, if any.
std::optional<Sources> find_sources(const std::vector<Sample>& samples, const std::vector<EncodedColumn>& columns, const Sample& target,
                                    double bits_per_value) {
  std::vector<std::pair<double, const Sample*>> candidates;
  for (const Sample& sample : samples) {
    if (sample.place != target.place && !columns[sample.place].derived) candidates.emplace_back(-correlation(sample, target), &sample);
  }
  std::sort(candidates.begin(), candidates.end());
  if (candidates.size() > kSourcesMax) candidates.resize(kSourcesMax);
  const Sample *best_x = nullptr, *best_y = nullptr;
  double least = kFollows;
  for (size_t i = 0; i < candidates.size(); ++i) {
    for (size_t j = i + 1; j < candidates.size(); ++j) {
      const Sample &x = *candidates[i].second, &y = *candidates[j].second;
      const double off = misfit(x.values, y.values, target.values);
      if (!(off < least)) continue;
      least = off;
      best_x = &x;
      best_y = &y;
    }
  }
  if (best_x == nullptr || !may_pay(best_x->values, best_y->values, target.values, bits_per_value)) return std::nullopt;
  return Sources{best_x->place, best_y->place};
}

}  // namespace

void derive_columns(const Batch& batch, std::vector<EncodedColumn>& columns) {
  const size_t rows = batch.rows();
  if (rows < kRowsMin || columns.size() < 3) return;
  std::vector<size_t> targets;
  for (size_t c = 0; c < columns.size(); ++c) {
    if (whole_floats(batch.columns[c]) != nullptr && columns[c].bytes.size() >= kBytesPerValue * rows) targets.push_back(c);
  }
  if (targets.empty()) return;
  std::sort(targets.begin(), targets.end(), [&](size_t a, size_t b) { return columns[a].bytes.size() > columns[b].bytes.size(); });
  std::vector<Sample> sources;
  for (size_t c = 0; c < columns.size(); ++c) {
    const auto* values = whole_floats(batch.columns[c]);
    if (values == nullptr || !all_finite(*values)) continue;
    std::vector<double> sample = sample_of(*values), ranks = ranks_of(sample);
    sources.push_back({c, std::move(sample), std::move(ranks)});
  }
  std::vector<uint8_t> is_source(columns.size());
  for (size_t place : targets) {
    if (is_source[place] != 0) continue;
    const std::vector<double>& z = *whole_floats(batch.columns[place]);
    Sample target{place, sample_of(z), {}};
    if (!all_finite(target.values)) continue;
    target.ranks = ranks_of(target.values);
    const double bits_per_value = static_cast<double>(8 * columns[place].bytes.size()) / static_cast<double>(rows);
    const std::optional<Sources> found = find_sources(sources, columns, target, bits_per_value);
    if (!found) continue;
    std::string bytes = encode(*found, *whole_floats(batch.columns[found->x]), *whole_floats(batch.columns[found->y]), z,
                               columns[place].bytes.size() * 15 / 16);
    if (bytes.empty()) continue;
    columns[place] = {std::move(bytes), true};
    is_source[found->x] = is_source[found->y] = 1;
  }
}

std::optional<Sources> take_sources(Reader& in, size_t columns) {
  const uint64_t x = in.varint(), y = in.varint();
  if (!in.ok() || x >= columns || y >= columns) return std::nullopt;
  return Sources{x, y};
}

bool decode_derived(Reader& in, const std::vector<double>& x, const std::vector<double>& y, std::vector<double>& z) {
  const uint64_t count = in.varint();
  if (!in.ok() || x.size() != y.size() || count > x.size()) return false;
  std::vector<int64_t> apart(count);
  std::vector<double> values(count);
  if (count > 0 && (!decode_integers(in, apart) || !decode_floats(in, values))) return false;
  z.resize(x.size());
  std::vector<uint32_t> rows;
  rows.reserve(z.size() - count);
  size_t next = 0;
  for (uint32_t row = 0; row < z.size(); ++row) {
    if (next < count && apart[next] == row) z[row] = values[next++];
    else rows.push_back(row);
  }
  const uint8_t repeats = in.u8();
  if (!in.ok() || repeats > 1 || next != count) return false;
  if (repeats == 0) {
    values.resize(rows.size());
    if (!decode_surface(in, gathered(x, rows), gathered(y, rows), values)) return false;
    for (size_t i = 0; i < rows.size(); ++i) z[rows[i]] = values[i];
    return true;
  }
  const std::vector<uint32_t> alike = first_alike(gathered(x, rows), gathered(y, rows));
  std::vector<uint32_t> first, place(rows.size());  // of each row's pair among the first ones
  for (uint32_t i = 0; i < rows.size(); ++i) {
    place[i] = alike[i] == i ? static_cast<uint32_t>(first.size()) : place[alike[i]];
    if (alike[i] == i) first.push_back(rows[i]);
  }
  values.resize(first.size());
  if (!decode_surface(in, gathered(x, first), gathered(y, first), values)) return false;
  for (size_t i = 0; i < rows.size(); ++i) z[rows[i]] = values[place[i]];
  return true;
}

}  // namespace skerry::storage::internal
