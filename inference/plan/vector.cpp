#include "inference/plan/internal/vector.h"

#include <algorithm>

namespace skerry::inference::plan {

void quantize_planes(const float* from, uint8_t* to, int64_t pixels, int64_t channels, float inverse_scale, const Rounding& rounding) {
  if (channels == 1) {
    for (int64_t i = 0; i < pixels; ++i) to[i] = rounding.byte(from[i] * inverse_scale);
    return;
  }
  constexpr int64_t kBlock = 64;
  uint8_t row[kBlock];
  for (int64_t start = 0; start < pixels; start += kBlock) {
    const int64_t count = std::min(kBlock, pixels - start);
    for (int64_t c = 0; c < channels; ++c) {
      const float* plane = from + c * pixels + start;
      for (int64_t i = 0; i < count; ++i) row[i] = rounding.byte(plane[i] * inverse_scale);
      uint8_t* out = to + start * channels + c;
      for (int64_t i = 0; i < count; ++i) out[i * channels] = row[i];
    }
  }
}

// Several sums at once: one would wait for itself.
float dot(const float* a, const float* b, int64_t count) {
  constexpr int64_t kLanes = 16;
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) sums[k] += a[i + k] * b[i + k];
  }
  float sum = 0;
  for (; i < count; ++i) sum += a[i] * b[i];
  for (float lane : sums) sum += lane;
  return sum;
}

}  // namespace skerry::inference::plan
