// Decimal numbers as line protocol mostly writes them, read in one pass. What can't be read exactly this way (an exponent, many digits,
// a stray character first) is left to the caller, who asks std::from_chars: both give the same number wherever both give one.
// Threads: pure functions.
// On failure: nullptr, and the number is not set.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace skerry::node {

inline constexpr size_t kDecimalDigitsMax = 19;  // these always fit into 64 bits without a sign

inline bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// Reads on while there are digits; beyond kDecimalDigitsMax `value` wraps around.
inline const char* read_digits(const char* p, const char* end, uint64_t& value) {
  if constexpr (std::endian::native == std::endian::little) {  // eight at a time: neighbours are joined to pairs, fours, eights
    for (uint64_t word; end - p >= 8; p += 8) {
      std::memcpy(&word, p, 8);
      const uint64_t above_nine = (word + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0;
      if (((word & 0xf0f0f0f0f0f0f0f0) | (above_nine >> 4)) != 0x3333333333333333) break;
      word = (word & 0x0f0f0f0f0f0f0f0f) * 2561 >> 8;
      word = (word & 0x00ff00ff00ff00ff) * 6553601 >> 16;
      value = value * 100'000'000 + ((word & 0x0000ffff0000ffff) * 42949672960001 >> 32);
    }
  }
  for (; p != end && is_digit(*p); ++p) value = value * 10 + static_cast<uint64_t>(*p - '0');
  return p;
}

// "-12" or "12": the end of it.
inline const char* read_integer(const char* p, const char* end, int64_t& out) {
  const bool negative = p != end && *p == '-';
  if (negative) ++p;
  uint64_t value = 0;
  const char* const stop = read_digits(p, end, value);
  const auto digits = static_cast<size_t>(stop - p);
  if (digits == 0 || digits > kDecimalDigitsMax || value > INT64_MAX) return nullptr;
  out = negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
  return stop;
}

// "-12.5" or "12": the end of it. Exact, as both sides of the one division are (Clinger, How to Read Floating Point Numbers Accurately,
// 1990, section 3): digits without their point below 2^53, and a power of ten below 10^23.
inline const char* read_float(const char* p, const char* end, double& out) {
  static constexpr double kPowers[kDecimalDigitsMax + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                                            1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};
  const bool negative = p != end && *p == '-';
  if (negative) ++p;
  uint64_t value = 0;
  const char* const first = p;
  for (; p != end && is_digit(*p); ++p) value = value * 10 + static_cast<uint64_t>(*p - '0');
  if (p == first) return nullptr;
  auto digits = static_cast<size_t>(p - first);
  size_t fraction = 0;
  if (p != end && *p == '.') {
    const char* const stop = read_digits(++p, end, value);
    fraction = static_cast<size_t>(stop - p);
    if (fraction == 0) return nullptr;
    digits += fraction;
    p = stop;
  }
  if (digits > kDecimalDigitsMax || value > uint64_t{1} << 53) return nullptr;
  const double magnitude = static_cast<double>(value) / kPowers[fraction];
  out = negative ? -magnitude : magnitude;
  return p;
}

}  // namespace skerry::node
