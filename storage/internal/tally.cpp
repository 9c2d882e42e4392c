#include "storage/internal/tally.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace skerry::storage::internal {
namespace {

constexpr size_t kPiece = 2048;            // values that are looked at several times while they are in the first cache
constexpr double kExactInteger = 1LL << 53;  // below, a double that was rounded once from an integer is that integer

// Four lanes: compilers may not reorder a sum of doubles by themselves.
using Lanes = double __attribute__((vector_size(32)));
constexpr size_t kLanes = sizeof(Lanes) / sizeof(double);

double sum_of(const double* values, size_t n) {
  Lanes a{}, b{};
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    Lanes x, y;
    std::memcpy(&x, values + i, sizeof x);
    std::memcpy(&y, values + i + kLanes, sizeof y);
    a += x;
    b += y;
  }
  a += b;
  double sum = (a[0] + a[1]) + (a[2] + a[3]);
  for (; i < n; ++i) sum += values[i];
  return sum;
}

double deviation_of(const double* values, size_t n, double mean) {
  Lanes a{}, b{};
  const Lanes center = {mean, mean, mean, mean};
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    Lanes x, y;
    std::memcpy(&x, values + i, sizeof x);
    std::memcpy(&y, values + i + kLanes, sizeof y);
    x -= center;
    y -= center;
    a += x * x;
    b += y * y;
  }
  a += b;
  double sum = (a[0] + a[1]) + (a[2] + a[3]);
  for (; i < n; ++i) sum += (values[i] - mean) * (values[i] - mean);
  return sum;
}

// Two lanes have instructions that give the second operand where the first is NaN; compilers do not find them by themselves.
using Pair = double __attribute__((vector_size(16)));
#ifdef __SSE2__
inline Pair lesser(Pair x, Pair low) { return _mm_min_pd(x, low); }
inline Pair greater(Pair x, Pair high) { return _mm_max_pd(x, high); }
#else
inline Pair lesser(Pair x, Pair low) { return x < low ? x : low; }
inline Pair greater(Pair x, Pair high) { return x > high ? x : high; }
#endif

void extremes_of(const double* values, size_t n, double& min, double& max) {
  constexpr size_t kPairs = 4;  // chains, so that one need not wait for the other
  Pair low[kPairs], high[kPairs];
  for (Pair& pair : low) pair = Pair{min, min};
  for (Pair& pair : high) pair = Pair{max, max};
  size_t i = 0;
  for (; i + 2 * kPairs <= n; i += 2 * kPairs) {
    for (size_t p = 0; p < kPairs; ++p) {
      Pair x;
      std::memcpy(&x, values + i + 2 * p, sizeof x);
      low[p] = lesser(x, low[p]);
      high[p] = greater(x, high[p]);
    }
  }
  for (size_t p = 1; p < kPairs; ++p) {
    low[0] = lesser(low[p], low[0]);
    high[0] = greater(high[p], high[0]);
  }
  min = std::min(low[0][0], low[0][1]);
  max = std::max(high[0][0], high[0][1]);
  for (; i < n; ++i) {
    min = values[i] < min ? values[i] : min;
    max = values[i] > max ? values[i] : max;
  }
}

// Halves are added up apart, so that nothing overflows and no 128-bit addition stands in the loop.
Int128 sum_of(const int64_t* values, size_t n) {
  uint64_t low = 0;
  int64_t high = 0;
  for (size_t i = 0; i < n; ++i) {
    low += static_cast<uint32_t>(values[i]);
    high += values[i] >> 32;
  }
  return (static_cast<Int128>(high) << 32) + static_cast<Int128>(low);
}

}  // namespace

void Tally::add(const Column& column, size_t from, size_t to, const TallyNeeds& needs) {
  if (const auto* doubles = std::get_if<0>(&column.values)) {
    add_numbers(*doubles, column, from, to, needs);
  } else if (const auto* integers = std::get_if<1>(&column.values)) {
    add_numbers(*integers, column, from, to, needs);
  } else if (const auto* booleans = std::get_if<2>(&column.values)) {
    add_numbers(*booleans, column, from, to, needs);
  } else {
    add_strings(std::get<3>(column.values), column, from, to, needs);
  }
}

// In pieces without holes: the column itself where no value is missing.
template <typename T>
void Tally::add_numbers(const std::vector<T>& values, const Column& column, size_t from, size_t to, const TallyNeeds& needs) {
  using Number = std::conditional_t<std::is_same_v<T, double>, double, int64_t>;
  std::array<Number, kPiece> dense;
  for (size_t at = from; at < to;) {
    const size_t end = std::min(to, at + kPiece);
    const Number* piece = dense.data();
    size_t n = 0;
    if constexpr (std::is_same_v<T, Number>) {
      if (column.present.empty()) {
        piece = values.data() + at;
        n = end - at;
      }
    }
    if (piece == dense.data()) {
      for (size_t i = at; i < end; ++i) {
        if constexpr (std::is_same_v<T, uint8_t>) {
          dense[n] = values[i] != 0 ? 1 : 0;
        } else {
          dense[n] = values[i];
        }
        n += column.has(i) ? 1 : 0;
      }
    }
    at = end;
    if (n == 0) continue;
    if (count_ == 0) first_ = piece[0];
    last_ = piece[n - 1];
    count_ += n;
    add_piece(piece, n, needs);
    if (needs.values) values_.insert(values_.end(), piece, piece + n);
  }
}

void Tally::add_piece(const double* values, size_t n, const TallyNeeds& needs) {
  if (needs.extremes) extremes_of(values, n, float_min_, float_max_);
  if (!needs.sum && !needs.deviation) return;
  const double sum = sum_of(values, n);
  float_sum_ += sum;
  if (!needs.deviation) return;
  const double mean = sum / static_cast<double>(n);
  add_deviation(n, mean, deviation_of(values, n, mean));
}

void Tally::add_piece(const int64_t* values, size_t n, const TallyNeeds& needs) {
  if (needs.extremes) {
    for (size_t i = 0; i < n; ++i) {
      int_min_ = std::min(int_min_, values[i]);
      int_max_ = std::max(int_max_, values[i]);
    }
  }
  if (!needs.sum && !needs.deviation) return;
  const auto sum = sum_of(values, n);
  int_sum_ += sum;
  if (!needs.deviation) return;
  std::array<double, kPiece> doubles;
  std::copy(values, values + n, doubles.begin());
  const double mean = static_cast<double>(sum) / static_cast<double>(n);
  add_deviation(n, mean, deviation_of(doubles.data(), n, mean));
}

void Tally::add_strings(const std::vector<std::string>& values, const Column& column, size_t from, size_t to,
                        const TallyNeeds& needs) {
  for (size_t i = from; i < to; ++i) {
    if (!column.has(i)) continue;
    if (needs.ends && count_ == 0) first_ = values[i];
    ++count_;
  }
  if (!needs.ends) return;
  for (size_t i = to; i > from; --i) {
    if (!column.has(i - 1)) continue;
    last_ = values[i - 1];
    return;
  }
}

bool Tally::suffices(const ChunkColumn& column, const TallyNeeds& needs) {
  if (column.count == 0) return true;
  if (needs.values) return false;
  if (column.type == FieldType::string) return !needs.ends;
  return column.type == FieldType::float64 || !needs.sum || std::abs(column.sum) < kExactInteger;
}

void Tally::add(const ChunkColumn& column) {
  if (column.count == 0) return;
  if (const auto* floats = std::get_if<Extent<double>>(&column.extent)) {
    float_min_ = floats->min < float_min_ ? floats->min : float_min_;
    float_max_ = floats->max > float_max_ ? floats->max : float_max_;
    float_sum_ += column.sum;
    if (count_ == 0) first_ = floats->first;
    last_ = floats->last;
  } else if (const auto* integers = std::get_if<Extent<int64_t>>(&column.extent)) {
    int_min_ = std::min(int_min_, integers->min);
    int_max_ = std::max(int_max_, integers->max);
    int_sum_ += static_cast<Int128>(column.sum);  // exact as long as suffices() was asked; of rolled up records a large one is rounded
    if (count_ == 0) first_ = integers->first;
    last_ = integers->last;
  } else if (const auto* strings = std::get_if<Extent<std::string>>(&column.extent)) {
    if (count_ == 0) first_ = strings->first;
    last_ = strings->last;
  }
  count_ += column.count;
  add_deviation(column.count, column.sum / column.count, column.deviation);
}

void Tally::add_deviation(uint64_t count, double mean, double deviation) {
  const double have = static_cast<double>(moments_), more = static_cast<double>(count);
  moments_ += count;
  if (have == 0) {
    mean_ = mean;
    deviation_ = deviation;
    return;
  }
  const double apart = mean - mean_;
  mean_ += apart * (more / (have + more));
  deviation_ += deviation + apart * apart * (have * more / (have + more));
}

void Tally::clear() {
  std::vector<double> room = std::move(values_);
  room.clear();
  *this = Tally(type_);
  values_ = std::move(room);
}

double Tally::mean() const {
  return (type_ == FieldType::float64 ? float_sum_ : static_cast<double>(int_sum_)) / static_cast<double>(count_);
}

double Tally::percentile(double percent) {
  if (std::any_of(values_.begin(), values_.end(), [](double v) { return std::isnan(v); })) return kNan;
  const double place = percent / 100 * static_cast<double>(values_.size() - 1);
  const auto at = std::min(static_cast<size_t>(place), values_.size() - 1);
  const auto nth = values_.begin() + static_cast<ptrdiff_t>(at);
  std::nth_element(values_.begin(), nth, values_.end());
  if (at + 1 == values_.size()) return *nth;
  const double below = *nth, above = *std::min_element(nth + 1, values_.end());
  const double part = place - static_cast<double>(at);
  if (below == above || part == 0) return below;
  return part < 0.5 ? below + (above - below) * part : above - (above - below) * (1 - part);
}

}  // namespace skerry::storage::internal
