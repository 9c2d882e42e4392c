// Depthwise convolutions of bytes with AVX-512 VNNI: 64 neighbouring bytes of a row at a time, whatever the number of channels; four taps
// above each other make the four bytes that one instruction multiplies and adds. The image is first copied with its padding around it.
#include <cstring>
#include <numeric>

#include "inference/plan/internal/fold.h"
#include "inference/plan/internal/geometry.h"
#include "inference/plan/internal/kernels.h"
#include "inference/plan/internal/onednn.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace skerry::inference::plan {

#if defined(__x86_64__)
namespace {

constexpr int64_t kLanes = 64;  // bytes of a vector

struct Depthwise {
  uint32_t x = 0, y = 0;
  Image from, to;
  Window window;
  int64_t groups = 1;            // of four taps, above each other
  int64_t patterns = 1;          // chunks of a row until channels start over
  bool flip = false;             // i8 inputs are made u8 by their sign bit
  uint8_t padding = 0;
  bool is_signed = false, bounded = false;
  float low = 0, high = 0;
  std::vector<int8_t> weights;   // per pattern, group, column: 4 vectors
  std::vector<float> factor, offset;  // per pattern: 4 vectors of 16

  int64_t padded_w() const { return from.w + window.left + window.right; }
  int64_t padded_h() const { return from.h + window.top + window.bottom; }
  // Four taps are read at once, and whole vectors: up to so much beyond the image.
  size_t scratch_bytes() const { return static_cast<size_t>((padded_h() + 4 * window.dilation_h) * padded_w() * from.c + 2 * kLanes); }
};

// Byte k of vector q after the unpacking below belongs to this place among the 64.
int64_t place_of(int64_t q, int64_t dword) { return dword / 4 * 16 + q * 4 + dword % 4; }

bool here() {
  static const bool there = uses_vnni() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  return there;
}

void pack(Depthwise& d, const Folded& folded, const int8_t* weights, int32_t shift) {
  const int64_t c = d.from.c, kh = d.window.kh, kw = d.window.kw;
  d.patterns = c / std::gcd(c, kLanes);
  d.groups = (kh + 3) / 4;
  d.weights.resize(static_cast<size_t>(d.patterns * d.groups * kw * 4 * kLanes));
  d.factor.resize(static_cast<size_t>(d.patterns * kLanes));
  d.offset.resize(d.factor.size());
  for (int64_t p = 0; p < d.patterns; ++p) {
    for (int64_t q = 0; q < 4; ++q) {
      for (int64_t dword = 0; dword < 16; ++dword) {
        const int64_t channel = (p * kLanes + place_of(q, dword)) % c;
        const int8_t* own = weights + channel * kh * kw;
        int64_t sum = 0;
        for (int64_t t = 0; t < kh * kw; ++t) sum += own[t];
        const auto at = static_cast<size_t>((p * 4 + q) * 16 + dword), ch = static_cast<size_t>(channel);
        d.factor[at] = folded.factor[ch];
        d.offset[at] = folded.offset[ch] - folded.factor[ch] * static_cast<float>(shift * sum);
        for (int64_t g = 0; g < d.groups; ++g) {
          for (int64_t j = 0; j < kw; ++j) {
            for (int64_t r = 0; r < 4 && 4 * g + r < kh; ++r) {
              d.weights[static_cast<size_t>((((p * d.groups + g) * kw + j) * 4 + q) * kLanes + dword * 4 + r)] = own[(4 * g + r) * kw + j];
            }
          }
        }
      }
    }
  }
}

void copy_padded(const Depthwise& d, const uint8_t* image, uint8_t* to) {
  const int64_t row = d.from.w * d.from.c, left = d.window.left * d.from.c, right = d.window.right * d.from.c, line = left + row + right;
  std::memset(to, d.padding, static_cast<size_t>(d.window.top * line));
  to += d.window.top * line;
  for (int64_t h = 0; h < d.from.h; ++h, to += line) {
    std::memset(to, d.padding, static_cast<size_t>(left));
    if (d.flip) {
      for (int64_t i = 0; i < row; ++i) to[left + i] = image[h * row + i] ^ 0x80;
    } else {
      std::memcpy(to + left, image + h * row, static_cast<size_t>(row));
    }
    std::memset(to + left + row, d.padding, static_cast<size_t>(right));
  }
  std::memset(to, d.padding, static_cast<size_t>(d.window.bottom * line));
}

#define SKERRY_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

struct Sums {
  __m512i v[4];
};

// Adds four taps of a column, `line` bytes apart.
SKERRY_VNNI inline void add_column(Sums& sums, const uint8_t* at, int64_t line, const int8_t* weights) {
  const __m512i a = _mm512_loadu_si512(at), b = _mm512_loadu_si512(at + line), c = _mm512_loadu_si512(at + 2 * line),
                d = _mm512_loadu_si512(at + 3 * line);
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b), cd_low = _mm512_unpacklo_epi8(c, d),
                cd_high = _mm512_unpackhi_epi8(c, d);
  sums.v[0] = _mm512_dpbusd_epi32(sums.v[0], _mm512_unpacklo_epi16(ab_low, cd_low), _mm512_loadu_si512(weights));
  sums.v[1] = _mm512_dpbusd_epi32(sums.v[1], _mm512_unpackhi_epi16(ab_low, cd_low), _mm512_loadu_si512(weights + kLanes));
  sums.v[2] = _mm512_dpbusd_epi32(sums.v[2], _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_loadu_si512(weights + 2 * kLanes));
  sums.v[3] = _mm512_dpbusd_epi32(sums.v[3], _mm512_unpackhi_epi16(ab_high, cd_high), _mm512_loadu_si512(weights + 3 * kLanes));
}

SKERRY_VNNI inline void store(const Depthwise& d, Sums& sums, int64_t pattern, uint8_t* to, __mmask64 mask) {
  for (int q = 0; q < 4; ++q) {
    const int64_t at = (pattern * 4 + q) * 16;
    __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums.v[q]), _mm512_loadu_ps(d.factor.data() + at), _mm512_loadu_ps(d.offset.data() + at));
    if (d.bounded) value = _mm512_min_ps(_mm512_max_ps(value, _mm512_set1_ps(d.low)), _mm512_set1_ps(d.high));
    sums.v[q] = _mm512_cvtps_epi32(value);
  }
  const __m512i low = _mm512_packs_epi32(sums.v[0], sums.v[1]), high = _mm512_packs_epi32(sums.v[2], sums.v[3]);
  _mm512_mask_storeu_epi8(to, mask, d.is_signed ? _mm512_packs_epi16(low, high) : _mm512_packus_epi16(low, high));
}

// `count` bytes of one row of the output, from the row of the padded image where its windows begin. Strides of 1 only move by whole pixels,
// so neighbours in the output are neighbours in every tap.
SKERRY_VNNI void neighbours(const Depthwise& d, const uint8_t* row, uint8_t* to, int64_t count, int64_t first_pattern) {
  const int64_t line = d.padded_w() * d.from.c * d.window.dilation_h, column = d.from.c * d.window.dilation_w, kw = d.window.kw;
  for (int64_t start = 0, pattern = first_pattern; start < count; start += kLanes) {
    Sums sums{{_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()}};
    const int8_t* weights = d.weights.data() + pattern * d.groups * kw * 4 * kLanes;
    for (int64_t g = 0; g < d.groups; ++g) {
      const uint8_t* at = row + start + 4 * g * line;
      for (int64_t j = 0; j < kw; ++j, weights += 4 * kLanes) add_column(sums, at + j * column, line, weights);
    }
    const int64_t left = count - start;
    store(d, sums, pattern, to + start, left >= kLanes ? ~__mmask64{0} : (__mmask64{1} << left) - 1);
    if (++pattern == d.patterns) pattern = 0;
  }
}

void run(const Depthwise& d, const uint8_t* x, uint8_t* y, uint8_t* padded) {
  const int64_t c = d.from.c, line = d.padded_w() * c;
  for (int64_t n = 0; n < d.to.n; ++n) {
    copy_padded(d, x + n * d.from.h * d.from.w * c, padded);
    for (int64_t h = 0; h < d.to.h; ++h) {
      const uint8_t* row = padded + h * d.window.stride_h * line;
      if (d.window.stride_w == 1) {
        neighbours(d, row, y, d.to.w * c, 0);
        y += d.to.w * c;
        continue;
      }
      for (int64_t w = 0; w < d.to.w; ++w, y += c) neighbours(d, row + w * d.window.stride_w * c, y, c, 0);
    }
  }
}

}  // namespace

Kernel make_depthwise(const Plan& plan, const Step& step, int64_t batch) {
  const Tensor &x = plan.tensors[step.inputs[0]], &y = plan.tensors[step.outputs[0]];
  if (step.op != Op::convolution || !x.is_quantized() || !y.is_quantized() || step.input(3) != kNoTensor || !here()) return {};
  Depthwise d;
  d.x = step.inputs[0];
  d.y = step.outputs[0];
  d.from = image_of(plan.dims(d.x, batch));
  d.to = image_of(plan.dims(d.y, batch));
  const Dims weights = plan.dims(step.inputs[1], 1);
  d.window = convolution_window(step, weights);
  const bool depthwise = step.ints[kGroups] == d.from.c && d.from.c == d.to.c && weights[3] == 1;
  // With larger strides a vector holds one pixel: few channels would leave most of it empty.
  if (!depthwise || (d.window.stride_w > 1 && d.from.c < kLanes / 2) || d.from.c > 4096 || d.window.kh * d.window.kw > 64) return {};
  const Folded folded = fold(plan, step);
  if (folded.activate) return {};
  const int32_t shift = (x.type == Type::i8 ? 128 : 0) + folded.padding_zero;
  d.flip = x.type == Type::i8;
  d.padding = static_cast<uint8_t>(shift);
  d.is_signed = y.type == Type::i8;
  d.bounded = folded.bounded;
  d.low = folded.low;
  d.high = folded.high;
  pack(d, folded, plan.constant<int8_t>(step.inputs[1]), shift);
  const size_t scratch = d.scratch_bytes();
  return {[d = std::move(d)](Pointers at, std::byte* scratch_at) {
            run(d, reinterpret_cast<const uint8_t*>(at[d.x]), reinterpret_cast<uint8_t*>(at[d.y]), reinterpret_cast<uint8_t*>(scratch_at));
          },
          scratch};
}

#else
Kernel make_depthwise(const Plan&, const Step&, int64_t) { return {}; }
#endif

}  // namespace skerry::inference::plan
