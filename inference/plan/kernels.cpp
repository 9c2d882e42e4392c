#include "inference/plan/internal/kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "inference/plan/internal/geometry.h"
#include "inference/plan/internal/round.h"
#include "inference/plan/internal/vector.h"

namespace skerry::inference::plan {
namespace {

using graph::Activation;

float* floats(std::byte* at) { return reinterpret_cast<float*>(at); }

Dims strides_of(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

// A walk over all indices but the innermost dimension, with offsets into several tensors.
template <size_t N, typename Visit>
void walk(const Dims& dims, const std::array<Dims, N>& strides, std::array<int64_t, N> at, Visit visit) {
  const size_t rank = dims.size();
  if (rank == 0) return visit(at);
  std::array<int64_t, kRankMax> index{};
  for (;;) {
    visit(at);
    size_t d = rank - 1;  // the innermost is the visitor's
    for (;;) {
      if (d == 0) return;
      --d;
      for (size_t k = 0; k < N; ++k) at[k] += strides[k][d];
      if (++index[d] < dims[d]) break;
      index[d] = 0;
      for (size_t k = 0; k < N; ++k) at[k] -= strides[k][d] * dims[d];
    }
  }
}

template <typename T>
void copy_strided(const Dims& dims, const Dims& to_strides, const Dims& from_strides, T* to, const T* from, int64_t to_at, int64_t from_at) {
  const int64_t inner = dims.empty() ? 1 : dims.back(), to_step = dims.empty() ? 1 : to_strides.back(),
                from_step = dims.empty() ? 1 : from_strides.back();
  walk<2>(dims, {to_strides, from_strides}, {to_at, from_at}, [&](const std::array<int64_t, 2>& at) {
    T* t = to + at[0];
    const T* f = from + at[1];
    if (to_step == 1 && from_step == 1) {
      std::memcpy(t, f, static_cast<size_t>(inner) * sizeof(T));
      return;
    }
    for (int64_t i = 0; i < inner; ++i) t[i * to_step] = f[i * from_step];
  });
}

// By the size of an element: layouts do not care what it is.
template <typename Make>
Kernel by_width(Type type, Make make) {
  return type == Type::f32 ? make(uint32_t{}) : make(uint8_t{});
}

Kernel transpose(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  return by_width(plan.tensors[x].type, [&](auto element) -> Kernel {
    using T = decltype(element);
    const Dims dims = plan.dims(y, batch), all = strides_of(plan.dims(x, batch));
    Dims from;
    for (int32_t d : step.ints) from.push_back(all[static_cast<size_t>(d)]);
    return {[=, to = strides_of(dims)](Pointers at, std::byte*) {
      copy_strided(dims, to, from, reinterpret_cast<T*>(at[y]), reinterpret_cast<const T*>(at[x]), 0, 0);
    }};
  });
}

Kernel slice(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  return by_width(plan.tensors[x].type, [&](auto element) -> Kernel {
    using T = decltype(element);
    const Dims dims = plan.dims(y, batch);
    Dims from = strides_of(plan.dims(x, batch));
    int64_t start = 0;
    for (size_t d = 0; d < from.size(); ++d) {
      start += step.ints[d] * from[d];
      from[d] *= step.ints[from.size() + d];
    }
    return {[=, to = strides_of(dims)](Pointers at, std::byte*) {
      copy_strided(dims, to, from, reinterpret_cast<T*>(at[y]), reinterpret_cast<const T*>(at[x]), 0, start);
    }};
  });
}

Kernel pad(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const Tensor& tensor = plan.tensors[x];
  return by_width(tensor.type, [&](auto element) -> Kernel {
    using T = decltype(element);
    T value{};
    if (tensor.is_quantized()) {
      value = static_cast<T>(stored(step.floats[0] / tensor.scale[0], tensor.zero_point, tensor.type));
    } else {
      std::memcpy(&value, step.floats.data(), sizeof value);
    }
    const Dims dims = plan.dims(x, batch), to = strides_of(plan.dims(y, batch));
    const int64_t count = elements(plan.dims(y, batch));
    int64_t start = 0;
    for (size_t d = 0; d < dims.size(); ++d) start += step.ints[d] * to[d];
    return {[=, from = strides_of(dims)](Pointers at, std::byte*) {
      std::fill_n(reinterpret_cast<T*>(at[y]), count, value);
      copy_strided(dims, to, from, reinterpret_cast<T*>(at[y]), reinterpret_cast<const T*>(at[x]), start, 0);
    }};
  });
}

Kernel concat(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t y = step.outputs[0];
  const auto axis = static_cast<size_t>(step.ints[0]);
  const Dims dims = plan.dims(y, batch);
  const size_t width = bytes_of(plan.tensors[y].type);
  int64_t outer = 1;
  for (size_t d = 0; d < axis; ++d) outer *= dims[d];
  struct Part {
    uint32_t tensor;
    size_t bytes;
  };
  std::vector<Part> parts;
  for (uint32_t x : step.inputs) parts.push_back({x, static_cast<size_t>(elements(plan.dims(x, batch)) / outer) * width});
  return {[=](Pointers at, std::byte*) {
    std::byte* to = at[y];
    for (int64_t i = 0; i < outer; ++i) {
      for (const Part& part : parts) {
        std::memcpy(to, at[part.tensor] + static_cast<size_t>(i) * part.bytes, part.bytes);
        to += part.bytes;
      }
    }
  }};
}

bool is_channels_last(const std::vector<int32_t>& order) {
  return order == std::vector<int32_t>{0, 2, 1} || order == std::vector<int32_t>{0, 2, 3, 1};
}

Kernel quantize(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const Tensor& to = plan.tensors[y];
  const float inverse = 1.0f / to.scale[0];
  const Rounding rounding(to.type, to.zero_point);
  const Dims from_dims = plan.dims(x, batch), dims = plan.dims(y, batch);
  const int64_t count = elements(dims);
  if (step.ints.empty() || is_channels_last(step.ints)) {
    const int64_t channels = step.ints.empty() ? 1 : from_dims[1], samples = step.ints.empty() ? 1 : from_dims[0],
                  pixels = count / channels / samples;
    return {[=](Pointers at, std::byte*) {
      for (int64_t n = 0; n < samples; ++n) {
        quantize_planes(floats(at[x]) + n * pixels * channels, reinterpret_cast<uint8_t*>(at[y]) + n * pixels * channels, pixels, channels, inverse,
                        rounding);
      }
    }};
  }
  const Dims all = strides_of(from_dims), to_strides = strides_of(dims);
  Dims from;
  for (int32_t d : step.ints) from.push_back(all[static_cast<size_t>(d)]);
  return {[=](Pointers at, std::byte*) {
    walk<2>(dims, {to_strides, from}, {0, 0}, [&](const std::array<int64_t, 2>& offset) {
      for (int64_t i = 0; i < dims.back(); ++i) {
        reinterpret_cast<uint8_t*>(at[y])[offset[0] + i] = rounding.byte(floats(at[x])[offset[1] + i * from.back()] * inverse);
      }
    });
  }};
}

Kernel dequantize(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const Tensor& tensor = plan.tensors[x];
  const bool is_signed = tensor.type == Type::i8;
  const float scale = tensor.scale[0];
  const int32_t zero = tensor.zero_point;
  const Dims dims = plan.dims(y, batch), all = strides_of(plan.dims(x, batch));
  Dims from;
  for (size_t d = 0; d < dims.size(); ++d) from.push_back(all[step.ints.empty() ? d : static_cast<size_t>(step.ints[d])]);
  return {[=, to = strides_of(dims)](Pointers at, std::byte*) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(at[x]);
    walk<2>(dims, {to, from}, {0, 0}, [&](const std::array<int64_t, 2>& offset) {
      const int64_t inner = dims.empty() ? 1 : dims.back(), by = dims.empty() ? 1 : from.back();
      for (int64_t i = 0; i < inner; ++i) {
        const uint8_t byte = bytes[offset[1] + i * by];
        floats(at[y])[offset[0] + i] = scale * static_cast<float>((is_signed ? static_cast<int8_t>(byte) : int{byte}) - zero);
      }
    });
  }};
}

// One output pixel: all channels of a window, combined into sums of another type.
template <typename T, typename Sum, typename Combine>
int64_t pool_pixel(const T* __restrict x, const Image& image, const Window& w, int64_t oh, int64_t ow, Sum* __restrict sums, Combine combine) {
  const int64_t h0 = std::max<int64_t>(oh * w.stride_h - w.top, 0), h1 = std::min(oh * w.stride_h - w.top + w.kh, image.h);
  const int64_t w0 = std::max<int64_t>(ow * w.stride_w - w.left, 0), w1 = std::min(ow * w.stride_w - w.left + w.kw, image.w);
  bool first = true;
  for (int64_t h = h0; h < h1; ++h) {
    for (int64_t v = w0; v < w1; ++v, first = false) {
      const T* pixel = x + (h * image.w + v) * image.c;
      if (first) {
        for (int64_t c = 0; c < image.c; ++c) sums[c] = static_cast<Sum>(pixel[c]);
      } else {
        for (int64_t c = 0; c < image.c; ++c) sums[c] = combine(sums[c], static_cast<Sum>(pixel[c]));
      }
    }
  }
  return (h1 - h0) * (w1 - w0);
}

template <typename T>
Kernel max_pool_of(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const Image from = image_of(plan.dims(x, batch)), to = image_of(plan.dims(y, batch));
  const Window w = pool_window(step);
  return {[=](Pointers at, std::byte*) {
    T* out = reinterpret_cast<T*>(at[y]);
    for (int64_t n = 0; n < to.n; ++n) {
      const T* image = reinterpret_cast<const T*>(at[x]) + n * from.h * from.w * from.c;
      for (int64_t h = 0; h < to.h; ++h) {
        for (int64_t v = 0; v < to.w; ++v, out += to.c) {
          pool_pixel(image, from, w, h, v, out, [](T a, T b) { return a < b ? b : a; });
        }
      }
    }
  }};
}

Kernel max_pool(const Plan& plan, const Step& step, int64_t batch) {
  switch (plan.tensors[step.inputs[0]].type) {
    case Type::f32: return max_pool_of<float>(plan, step, batch);
    case Type::i8: return max_pool_of<int8_t>(plan, step, batch);
    case Type::u8: return max_pool_of<uint8_t>(plan, step, batch);
  }
  return {};
}

template <typename T, typename Sum, typename Store>
Kernel average_pool_of(const Plan& plan, const Step& step, int64_t batch, Store store) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const Image from = image_of(plan.dims(x, batch)), to = image_of(plan.dims(y, batch));
  const Window w = pool_window(step);
  const int64_t whole = step.ints[kCountPadding] != 0 ? w.kh * w.kw : 0;
  return {[=](Pointers at, std::byte* scratch) {
            Sum* sums = reinterpret_cast<Sum*>(scratch);
            std::byte* out = at[y];
            for (int64_t n = 0; n < to.n; ++n) {
              const T* image = reinterpret_cast<const T*>(at[x]) + n * from.h * from.w * from.c;
              for (int64_t h = 0; h < to.h; ++h) {
                for (int64_t v = 0; v < to.w; ++v) {
                  const int64_t seen = pool_pixel(image, from, w, h, v, sums, [](Sum a, Sum b) { return a + b; });
                  out = store(out, sums, to.c, seen, whole > 0 ? whole : seen);
                }
              }
            }
          },
          static_cast<size_t>(to.c) * sizeof(Sum)};
}

Kernel average_pool(const Plan& plan, const Step& step, int64_t batch) {
  const Tensor &from = plan.tensors[step.inputs[0]], &to = plan.tensors[step.outputs[0]];
  if (from.type == Type::f32) {
    return average_pool_of<float, float>(plan, step, batch, [](std::byte* out, const float* sums, int64_t channels, int64_t, int64_t divisor) {
      const float share = 1.0f / static_cast<float>(divisor);
      for (int64_t c = 0; c < channels; ++c) floats(out)[c] = sums[c] * share;
      return out + channels * 4;
    });
  }
  const Rounding rounding(to.type, to.zero_point);
  auto store = [=, ratio = from.scale[0] / to.scale[0], zero = from.zero_point](std::byte* out, const int32_t* sums, int64_t channels, int64_t seen,
                                                                               int64_t divisor) {
    const float factor = ratio / static_cast<float>(divisor), offset = -factor * static_cast<float>(zero * seen);
    for (int64_t c = 0; c < channels; ++c) {
      reinterpret_cast<uint8_t*>(out)[c] = rounding.byte(static_cast<float>(sums[c]) * factor + offset);
    }
    return out + channels;
  };
  return from.type == Type::i8 ? average_pool_of<int8_t, int32_t>(plan, step, batch, store)
                               : average_pool_of<uint8_t, int32_t>(plan, step, batch, store);
}

// f(x) for a kind that is known when the kernel is made, so that the loop has no choice in it.
template <typename Apply>
void with_activation(const graph::ActivationSpec& a, Apply apply) {
  switch (a.kind) {
    case Activation::none: return apply([](float x) { return x; });
    case Activation::relu: return apply([](float x) { return x > 0 ? x : 0.0f; });
    case Activation::relu6: return apply([](float x) { return std::min(std::max(x, 0.0f), 6.0f); });
    default: return apply([a](float x) { return activated(a, x); });
  }
}

template <typename Combine>
Kernel binary_of(const Plan& plan, const Step& step, int64_t batch, Combine combine) {
  const uint32_t a = step.inputs[0], b = step.inputs[1], y = step.outputs[0];
  const Dims dims = plan.dims(y, batch);
  auto strides = [&](uint32_t id) {  // 0 where it is repeated
    const Dims own = plan.dims(id, batch), own_strides = strides_of(own);
    Dims out(dims.size(), 0);
    for (size_t i = 0; i < own.size(); ++i) out[dims.size() - own.size() + i] = own[i] == 1 ? 0 : own_strides[i];
    return out;
  };
  const Dims sa = strides(a), sb = strides(b), sy = strides_of(dims);
  Kernel kernel;
  with_activation(step.activation, [&](auto activate) {
    kernel.run = [=](Pointers at, std::byte*) {
      const int64_t inner = dims.empty() ? 1 : dims.back(), ia = dims.empty() ? 0 : sa.back(), ib = dims.empty() ? 0 : sb.back();
      walk<3>(dims, {sy, sa, sb}, {0, 0, 0}, [&](const std::array<int64_t, 3>& offset) {
        float* out = floats(at[y]) + offset[0];
        const float *left = floats(at[a]) + offset[1], *right = floats(at[b]) + offset[2];
        for (int64_t i = 0; i < inner; ++i) out[i] = activate(combine(left[i * ia], right[i * ib]));
      });
    };
  });
  return kernel;
}

Kernel add_integers(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t a = step.inputs[0], b = step.inputs[1], y = step.outputs[0];
  const Tensor &ta = plan.tensors[a], &tb = plan.tensors[b], &ty = plan.tensors[y];
  const int64_t count = elements(plan.dims(y, batch));
  const Rounding rounding(ty.type, ty.zero_point);
  const float inverse = 1.0f / ty.scale[0];
  struct Term {
    bool is_signed;
    float scale, offset;
    float operator()(uint8_t byte) const { return static_cast<float>(is_signed ? static_cast<int8_t>(byte) : int{byte}) * scale + offset; }
  };
  auto term = [](const Tensor& t) { return Term{t.type == Type::i8, t.scale[0], -t.scale[0] * static_cast<float>(t.zero_point)}; };
  const Term left = term(ta), right = term(tb);
  Kernel kernel;
  with_activation(step.activation, [&](auto activate) {
    kernel.run = [=](Pointers at, std::byte*) {
      const auto *from_a = reinterpret_cast<const uint8_t*>(at[a]), *from_b = reinterpret_cast<const uint8_t*>(at[b]);
      auto* to = reinterpret_cast<uint8_t*>(at[y]);
      for (int64_t i = 0; i < count; ++i) to[i] = rounding.byte(activate(left(from_a[i]) + right(from_b[i])) * inverse);
    };
  });
  return kernel;
}

Kernel binary(const Plan& plan, const Step& step, int64_t batch) {
  if (plan.tensors[step.inputs[0]].is_quantized()) return add_integers(plan, step, batch);
  using Kind = graph::Binary::Kind;
  switch (static_cast<Kind>(step.ints[0])) {
    case Kind::add: return binary_of(plan, step, batch, [](float a, float b) { return a + b; });
    case Kind::sub: return binary_of(plan, step, batch, [](float a, float b) { return a - b; });
    case Kind::mul: return binary_of(plan, step, batch, [](float a, float b) { return a * b; });
    case Kind::div: return binary_of(plan, step, batch, [](float a, float b) { return a / b; });
    case Kind::min: return binary_of(plan, step, batch, [](float a, float b) { return std::min(a, b); });
    case Kind::max: return binary_of(plan, step, batch, [](float a, float b) { return std::max(a, b); });
    case Kind::pow: return binary_of(plan, step, batch, [](float a, float b) { return std::pow(a, b); });
  }
  return {};
}

template <typename Function>
Kernel each(const Plan& plan, const Step& step, int64_t batch, Function function) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const int64_t count = elements(plan.dims(y, batch));
  return {[=](Pointers at, std::byte*) {
    for (int64_t i = 0; i < count; ++i) floats(at[y])[i] = function(floats(at[x])[i]);
  }};
}

// Integers have 256 values: any function of one is a table.
Kernel activate_integers(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const Tensor &from = plan.tensors[x], &to = plan.tensors[y];
  const Rounding rounding(to.type, to.zero_point);
  std::array<uint8_t, 256> table{};
  for (int byte = 0; byte < 256; ++byte) {
    const int value = from.type == Type::i8 ? static_cast<int8_t>(byte) : byte;
    table[static_cast<size_t>(byte)] = rounding.byte(activated(step.activation, from.scale[0] * static_cast<float>(value - from.zero_point)) / to.scale[0]);
  }
  const int64_t count = elements(plan.dims(y, batch));
  return {[=](Pointers at, std::byte*) {
    for (int64_t i = 0; i < count; ++i) at[y][i] = static_cast<std::byte>(table[static_cast<uint8_t>(at[x][i])]);
  }};
}

Kernel activate(const Plan& plan, const Step& step, int64_t batch) {
  if (plan.tensors[step.inputs[0]].is_quantized()) return activate_integers(plan, step, batch);
  Kernel kernel;
  with_activation(step.activation, [&](auto function) { kernel = each(plan, step, batch, function); });
  return kernel;
}

Kernel unary(const Plan& plan, const Step& step, int64_t batch) {
  using Kind = graph::Unary::Kind;
  switch (static_cast<Kind>(step.ints[0])) {
    case Kind::sqrt: return each(plan, step, batch, [](float x) { return std::sqrt(x); });
    case Kind::exp: return each(plan, step, batch, [](float x) { return std::exp(x); });
    case Kind::log: return each(plan, step, batch, [](float x) { return std::log(x); });
    case Kind::neg: return each(plan, step, batch, [](float x) { return -x; });
    case Kind::abs: return each(plan, step, batch, [](float x) { return std::fabs(x); });
    case Kind::reciprocal: return each(plan, step, batch, [](float x) { return 1.0f / x; });
  }
  return {};
}

Kernel softmax(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const Dims dims = plan.dims(x, batch);
  const auto axis = static_cast<size_t>(step.ints[0]);
  const bool logarithm = step.ints[1] != 0;
  int64_t inner = 1;
  for (size_t d = axis + 1; d < dims.size(); ++d) inner *= dims[d];
  const int64_t length = dims[axis], outer = elements(dims) / inner / length;
  return {[=](Pointers at, std::byte*) {
    for (int64_t i = 0; i < outer * inner; ++i) {
      const int64_t start = i / inner * length * inner + i % inner;
      const float* from = floats(at[x]) + start;
      float* to = floats(at[y]) + start;
      float top = from[0], sum = 0;
      for (int64_t k = 1; k < length; ++k) top = std::max(top, from[k * inner]);
      for (int64_t k = 0; k < length; ++k) sum += std::exp(from[k * inner] - top);
      const float log_sum = std::log(sum), share = 1.0f / sum;
      for (int64_t k = 0; k < length; ++k) {
        const float v = from[k * inner] - top;
        to[k * inner] = logarithm ? v - log_sum : std::exp(v) * share;
      }
    }
  }};
}

Kernel layer_norm(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], gain = step.inputs[1], shift = step.input(2), y = step.outputs[0];
  const Dims dims = plan.dims(x, batch);
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(step.ints[0]); d < dims.size(); ++d) inner *= dims[d];
  const int64_t outer = elements(dims) / inner;
  const float epsilon = step.floats[0];
  return {[=](Pointers at, std::byte*) {
    for (int64_t i = 0; i < outer; ++i) {
      const float* from = floats(at[x]) + i * inner;
      float* to = floats(at[y]) + i * inner;
      double sum = 0, squares = 0;
      for (int64_t k = 0; k < inner; ++k) sum += from[k];
      const double mean = sum / static_cast<double>(inner);
      for (int64_t k = 0; k < inner; ++k) squares += (from[k] - mean) * (from[k] - mean);
      const auto factor = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(inner) + epsilon));
      for (int64_t k = 0; k < inner; ++k) {
        to[k] = (from[k] - static_cast<float>(mean)) * factor * floats(at[gain])[k] + (shift == kNoTensor ? 0.0f : floats(at[shift])[k]);
      }
    }
  }};
}

Kernel reduce(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t x = step.inputs[0], y = step.outputs[0];
  const auto kind = static_cast<graph::Reduce::Kind>(step.ints[0]);
  const Dims dims = plan.dims(x, batch);
  Dims kept = dims;
  for (size_t i = 1; i < step.ints.size(); ++i) kept[static_cast<size_t>(step.ints[i])] = 1;
  Dims to = strides_of(kept);
  for (size_t d = 0; d < dims.size(); ++d) to[d] = kept[d] == 1 ? 0 : to[d];
  const int64_t count = elements(kept);
  const bool highest = kind == graph::Reduce::Kind::max;
  const float share = kind == graph::Reduce::Kind::mean ? static_cast<float>(count) / static_cast<float>(elements(dims)) : 1.0f;
  return {[=, from = strides_of(dims)](Pointers at, std::byte*) {
    float* out = floats(at[y]);
    std::fill_n(out, count, highest ? -std::numeric_limits<float>::infinity() : 0.0f);
    walk<2>(dims, {to, from}, {0, 0}, [&](const std::array<int64_t, 2>& offset) {
      for (int64_t i = 0; i < dims.back(); ++i) {
        float& sum = out[offset[0] + i * to.back()];
        const float value = floats(at[x])[offset[1] + i];
        sum = highest ? std::max(sum, value) : sum + value;
      }
    });
    for (int64_t i = 0; share != 1.0f && i < count; ++i) out[i] *= share;
  }};
}

Kernel matmul(const Plan& plan, const Step& step, int64_t batch) {
  const uint32_t a = step.inputs[0], b = step.inputs[1], y = step.outputs[0];
  const Dims dims = plan.dims(y, batch), da = plan.dims(a, batch), db = plan.dims(b, batch);
  const int64_t m = dims[dims.size() - 2], n = dims.back(), k = da.back();
  auto strides = [&](const Dims& own, int64_t matrix) {  // of whole matrices; 0 where one is repeated
    Dims out(dims.size() - 2, 0);
    for (size_t i = 3; i <= own.size(); ++i) {
      out[dims.size() - i] = own[own.size() - i] == 1 ? 0 : matrix;
      matrix *= own[own.size() - i];
    }
    out.push_back(0);  // the innermost of the walk is one matrix
    return out;
  };
  Dims outer(dims.begin(), dims.end() - 2);
  outer.push_back(1);
  const Dims sa = strides(da, m * k), sb = strides(db, k * n), sy = strides(dims, m * n);
  return {[=](Pointers at, std::byte*) {
    walk<3>(outer, {sy, sa, sb}, {0, 0, 0}, [&](const std::array<int64_t, 3>& offset) {
      for (int64_t i = 0; i < m; ++i) {
        float* row = floats(at[y]) + offset[0] + i * n;
        std::fill_n(row, n, 0.0f);
        for (int64_t j = 0; j < k; ++j) {
          const float factor = floats(at[a])[offset[1] + i * k + j];
          const float* right = floats(at[b]) + offset[2] + j * n;
          for (int64_t c = 0; c < n; ++c) row[c] += factor * right[c];
        }
      }
    });
  }};
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// One direction of one layer, one sample at a time (ONNX operators GRU and LSTM, opset 14).
class RecurrentCell {
 public:
  RecurrentCell(bool lstm, bool reset_after, int64_t in, int64_t hidden, const float* w, const float* r, const float* bias)
      : lstm_(lstm), reset_after_(reset_after), in_(in), hidden_(hidden), gates_(lstm ? 4 : 3), w_(w), r_(r), bias_(bias) {}

  // `sums`: 2 * gates * hidden floats.
  void step(const float* x, float* h, float* c, float* sums) const {
    float *from_x = sums, *from_h = sums + gates_ * hidden_;
    multiply(w_, x, in_, bias_, from_x);
    multiply(r_, h, hidden_, bias_ ? bias_ + gates_ * hidden_ : nullptr, from_h);
    lstm_ ? long_short(h, c, from_x, from_h) : gated(h, from_x, from_h);
  }

 private:
  void multiply(const float* matrix, const float* x, int64_t columns, const float* bias, float* out) const {
    for (int64_t i = 0; i < gates_ * hidden_; ++i) out[i] = dot(matrix + i * columns, x, columns) + (bias ? bias[i] : 0.0f);
  }
  void long_short(float* h, float* c, const float* from_x, const float* from_h) const {
    for (int64_t k = 0; k < hidden_; ++k) {
      auto gate = [&](int64_t g) { return from_x[g * hidden_ + k] + from_h[g * hidden_ + k]; };
      c[k] = sigmoid(gate(2)) * c[k] + sigmoid(gate(0)) * std::tanh(gate(3));
      h[k] = sigmoid(gate(1)) * std::tanh(c[k]);
    }
  }
  void gated(float* h, float* from_x, float* from_h) const {
    const int64_t n = hidden_;
    for (int64_t k = 0; k < 2 * n; ++k) from_x[k] = sigmoid(from_x[k] + from_h[k]);  // z, r
    if (!reset_after_) {  // R (r * h): again, on the reset state; its z and r parts are free now
      for (int64_t k = 0; k < n; ++k) from_h[k] = from_x[n + k] * h[k];
      for (int64_t k = 0; k < n; ++k) {
        from_h[2 * n + k] = dot(r_ + (2 * n + k) * n, from_h, n) + (bias_ ? bias_[gates_ * n + 2 * n + k] : 0.0f);
      }
    }
    for (int64_t k = 0; k < n; ++k) {
      const float reset = reset_after_ ? from_x[n + k] : 1.0f;
      const float candidate = std::tanh(from_x[2 * n + k] + reset * from_h[2 * n + k]);
      h[k] = (1.0f - from_x[k]) * candidate + from_x[k] * h[k];
    }
  }

  const bool lstm_, reset_after_;
  const int64_t in_, hidden_, gates_;
  const float *w_, *r_, *bias_;
};

Kernel recurrent(const Plan& plan, const Step& step, int64_t batch) {
  const Dims x = plan.dims(step.inputs[0], batch);
  const int64_t length = x[0], samples = x[1], in = x[2], hidden = step.ints[2];
  const bool lstm = step.ints[0] == static_cast<int32_t>(graph::Recurrent::Kind::lstm), reset_after = step.ints[3] != 0;
  const int64_t gates = lstm ? 4 : 3, directions = step.ints[1] == 2 ? 2 : 1;
  const bool reverse_only = step.ints[1] == 1;
  std::array<uint32_t, 6> from{};
  for (size_t i = 0; i < from.size(); ++i) from[i] = step.input(i);
  std::array<uint32_t, 3> to = {step.outputs[0], step.outputs.size() > 1 ? step.outputs[1] : kNoTensor,
                                step.outputs.size() > 2 ? step.outputs[2] : kNoTensor};
  auto run = [=](Pointers at, std::byte* scratch) {
    float *h = floats(scratch), *c = h + hidden, *sums = c + hidden;
    for (int64_t d = 0; d < directions; ++d) {
      const float* bias = from[3] == kNoTensor ? nullptr : floats(at[from[3]]) + d * 2 * gates * hidden;
      const RecurrentCell cell(lstm, reset_after, in, hidden, floats(at[from[1]]) + d * gates * hidden * in,
                               floats(at[from[2]]) + d * gates * hidden * hidden, bias);
      for (int64_t n = 0; n < samples; ++n) {
        const int64_t state = (d * samples + n) * hidden;
        auto start = [&](uint32_t id, float* values) {
          id == kNoTensor ? std::fill_n(values, hidden, 0.0f) : std::copy_n(floats(at[id]) + state, hidden, values);
        };
        start(from[4], h);
        start(lstm ? from[5] : kNoTensor, c);
        for (int64_t i = 0; i < length; ++i) {
          const int64_t t = reverse_only || d == 1 ? length - 1 - i : i;
          cell.step(floats(at[from[0]]) + (t * samples + n) * in, h, c, sums);
          std::copy_n(h, hidden, floats(at[to[0]]) + ((t * directions + d) * samples + n) * hidden);
        }
        if (to[1] != kNoTensor) std::copy_n(h, hidden, floats(at[to[1]]) + state);
        if (to[2] != kNoTensor) std::copy_n(c, hidden, floats(at[to[2]]) + state);
      }
    }
  };
  return {run, static_cast<size_t>((2 + 2 * gates) * hidden) * sizeof(float)};
}

}  // namespace

float activated(const graph::ActivationSpec& a, float x) {
  constexpr float kInverseSqrt2 = 0.70710678f;
  switch (a.kind) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : 0.0f;
    case Activation::relu6: return std::min(std::max(x, 0.0f), 6.0f);
    case Activation::clip: return std::min(std::max(x, a.alpha), a.beta);
    case Activation::leaky_relu: return x > 0 ? x : a.alpha * x;
    case Activation::sigmoid: return sigmoid(x);
    case Activation::hard_sigmoid: return std::min(std::max(a.alpha * x + a.beta, 0.0f), 1.0f);
    case Activation::tanh: return std::tanh(x);
    case Activation::silu: return x * sigmoid(x);
    case Activation::hard_swish: return x * std::min(std::max(x / 6.0f + 0.5f, 0.0f), 1.0f);
    case Activation::gelu: return 0.5f * x * (1.0f + std::erf(x * kInverseSqrt2));
    case Activation::elu: return x > 0 ? x : a.alpha * (std::exp(x) - 1.0f);
  }
  return x;
}

Kernel make_kernel(const Plan& plan, const Step& step, int64_t batch) {
  switch (step.op) {
    case Op::quantize: return quantize(plan, step, batch);
    case Op::dequantize: return dequantize(plan, step, batch);
    case Op::max_pool: return max_pool(plan, step, batch);
    case Op::average_pool: return average_pool(plan, step, batch);
    case Op::binary: return binary(plan, step, batch);
    case Op::activate: return activate(plan, step, batch);
    case Op::unary: return unary(plan, step, batch);
    case Op::softmax: return softmax(plan, step, batch);
    case Op::layer_norm: return layer_norm(plan, step, batch);
    case Op::reduce: return reduce(plan, step, batch);
    case Op::concat: return concat(plan, step, batch);
    case Op::transpose: return transpose(plan, step, batch);
    case Op::pad: return pad(plan, step, batch);
    case Op::slice: return slice(plan, step, batch);
    case Op::matmul: return matmul(plan, step, batch);
    case Op::recurrent: return recurrent(plan, step, batch);
    case Op::convolution:
    case Op::linear:
    case Op::reshape: break;
  }
  return {};
}

}  // namespace skerry::inference::plan
