#include "inference/plan/internal/vector.h"

#include <algorithm>

#include "inference/plan/internal/onednn.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace skerry::inference::plan {
namespace {

#if defined(__x86_64__)
#define SKERRY_VBMI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

bool has_vbmi() {
  static const bool there = uses_vnni() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi");
  return there;
}

// 16 values as bytes, each in a lane of 32 bits. NaN becomes the lowest, as in Rounding.
SKERRY_VBMI inline __m512i bytes_of(const float* from, __mmask16 mask, float inverse_scale, const Rounding& r) {
  __m512 value = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, from), _mm512_set1_ps(inverse_scale), _mm512_set1_ps(r.zero));
  value = _mm512_min_ps(_mm512_max_ps(value, _mm512_set1_ps(r.low)), _mm512_set1_ps(r.high));  // max gives its second for NaN
  return _mm512_and_si512(_mm512_cvtps_epi32(value), _mm512_set1_epi32(0xff));
}

// Two to four planes: a lane is a pixel, and one permutation closes the gaps.
SKERRY_VBMI void quantize_few(const float* from, uint8_t* to, int64_t pixels, int64_t channels, float inverse_scale, const Rounding& r) {
  alignas(64) uint8_t order[64] = {};
  for (int64_t i = 0; i < 16 * channels; ++i) order[i] = static_cast<uint8_t>(i / channels * 4 + i % channels);
  const __m512i close = _mm512_load_si512(order);
  for (int64_t start = 0; start < pixels; start += 16) {
    const int64_t count = std::min<int64_t>(16, pixels - start);
    const auto lanes = static_cast<__mmask16>((1U << count) - 1);
    __m512i pixel = bytes_of(from + start, lanes, inverse_scale, r);
    for (int64_t c = 1; c < channels; ++c) {
      const __m512i next = bytes_of(from + c * pixels + start, lanes, inverse_scale, r);
      pixel = _mm512_or_si512(pixel, _mm512_sllv_epi32(next, _mm512_set1_epi32(static_cast<int>(8 * c))));
    }
    const int64_t bytes = count * channels;
    _mm512_mask_storeu_epi8(to + start * channels, bytes == 64 ? ~__mmask64{0} : (__mmask64{1} << bytes) - 1, _mm512_permutexvar_epi8(close, pixel));
  }
}
#endif

}  // namespace

void quantize_planes(const float* from, uint8_t* to, int64_t pixels, int64_t channels, float inverse_scale, const Rounding& rounding) {
  if (channels == 1) {
    for (int64_t i = 0; i < pixels; ++i) to[i] = rounding.byte(from[i] * inverse_scale);
    return;
  }
#if defined(__x86_64__)
  if (channels <= 4 && has_vbmi()) return quantize_few(from, to, pixels, channels, inverse_scale, rounding);
#endif
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
