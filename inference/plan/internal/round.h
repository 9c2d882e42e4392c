// How a real number becomes a stored integer: to the nearest, ties to even, clamped to the type. NaN becomes the lowest.
// Threads: values.
#pragma once

#include <cstdint>
#include <cstring>

#include "inference/plan/plan_format.h"

namespace skerry::inference::plan {

struct Rounding {
  float zero, low, high;

  Rounding(Type type, int32_t zero_point)
      : zero(static_cast<float>(zero_point)), low(type == Type::i8 ? -128.0f : 0.0f), high(type == Type::i8 ? 127.0f : 255.0f) {}

  // The byte of an i8 or u8 for a value in steps of the scale. Adding 1.5 * 2^23 leaves the rounded integer in the low bits: it needs no
  // instruction that some processors lack, so that compilers turn loops of it into vectors.
  uint8_t byte(float steps) const {
    float value = steps + zero;
    value = value > high ? high : value;
    value = value >= low ? value : low;
    value += 12582912.0f;
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<uint8_t>(bits);
  }
};

inline uint8_t stored(float steps, int32_t zero_point, Type type) { return Rounding(type, zero_point).byte(steps); }

}  // namespace skerry::inference::plan
