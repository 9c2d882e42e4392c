// Finds what makes floats integers: sensors count, and what is stored is count * scale or a decimal number, count / 10^e
// (after ALP: Afroozeh, Kuffo & Boncz, "ALP: Adaptive Lossless floating-Point Compression", SIGMOD 2023). A value is then the count and
// by how many units in the last place its pattern differs from the nearest product, mostly none.
// Threads: any.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {

struct Scale {
  enum class Rule : uint8_t { multiply, divide };
  Rule rule = Rule::divide;
  double factor = 1;
  bool operator==(const Scale&) const = default;
};

// Counts are of less than 51 bits, so that adding 1.5 * 2^52 turns a double into an integer and back with plain vector operations.
inline constexpr double kIntegerBias = 0x1.8p52;
inline constexpr int64_t kIntegerBiasBits = std::bit_cast<int64_t>(kIntegerBias);
inline constexpr double kCountMax = 0x1p51;

inline double from_count(int64_t count) {
  return std::bit_cast<double>(static_cast<int64_t>(static_cast<uint64_t>(count) + static_cast<uint64_t>(kIntegerBiasBits))) -
         kIntegerBias;
}
inline int64_t to_count(double whole) {  // the nearest, of less than kCountMax
  return static_cast<int64_t>(std::bit_cast<uint64_t>(whole + kIntegerBias) - static_cast<uint64_t>(kIntegerBiasBits));
}
inline double apply(Scale scale, int64_t count) {
  const double d = from_count(count);
  return scale.rule == Scale::Rule::multiply ? d * scale.factor : d / scale.factor;
}
// The nearest count; 0 for what has none (too large, infinite, NaN).
inline int64_t nearest_count(Scale scale, double value) {
  const double d = value * (scale.rule == Scale::Rule::multiply ? 1 / scale.factor : scale.factor);  // near enough to round
  return std::fabs(d) < kCountMax ? to_count(d) : 0;
}

// The scale for which a sample of the values takes the fewest bits, or one that misses none of it with small counts; and about how
// many bits a value takes.
struct ScaleFound {
  Scale scale;
  double bits_per_value = 0;
};
ScaleFound find_scale(std::span<const double> values);

// Divisors are few: a byte; a factor is all its bits. Taking answers false for what no writer writes.
void put_scale(Scale scale, Writer& out);
bool take_scale(Reader& in, Scale& scale);

}  // namespace skerry::storage::internal
