#include "inference/graph/internal/reference_layers.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace skerry::inference::graph {
namespace {

// Eight sums, so that compilers may use vector registers without reordering what we wrote.
float dot(const float* a, const float* b, int64_t count) {
  constexpr int64_t kLanes = 8;
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (float part : sums) sum += part;
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

void add_residual_and_activate(const ActivationSpec& spec, const Array* residual, Array& out) {
  if (residual != nullptr) {
    for (size_t i = 0; i < out.data.size(); ++i) out.data[i] += residual->data[i];
  }
  if (spec.kind == Activation::none) return;
  for (float& value : out.data) value = activated(spec, value);
}

// One spatial dimension of a window; the missing one of a 1-d operation is all ones.
struct Axis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, dilation = 1, pad = 0;

  int64_t source(int64_t o, int64_t k) const { return o * stride - pad + k * dilation; }
  // Outputs whose source for kernel element k lies inside the input: [first, last).
  int64_t first(int64_t k) const {
    int64_t lacking = pad - k * dilation;
    return lacking <= 0 ? 0 : (lacking + stride - 1) / stride;
  }
  int64_t last(int64_t k) const {
    int64_t room = in - 1 + pad - k * dilation;
    return room < 0 ? 0 : std::min(out, room / stride + 1);
  }
};

Axis axis_of(const Array& x, const Array& out, size_t from_end, int64_t kernel, const std::vector<int64_t>& strides,
             const std::vector<int64_t>& dilations, const std::vector<int64_t>& pads_begin) {
  const size_t spatial = x.shape.size() - 2;
  if (from_end > spatial) return {};
  size_t i = spatial - from_end;
  return {x.shape[i + 2], out.shape[i + 2], kernel, strides[i], dilations.empty() ? 1 : dilations[i], pads_begin[i]};
}

int64_t extent(const Shape& shape, size_t from_end) { return shape.size() - 2 < from_end ? 1 : shape[shape.size() - from_end]; }

// out plane += the correlation of one input plane with one kernel plane.
void accumulate_plane(const Axis& h, const Axis& w, const float* in, const float* kernel, float* out) {
  for (int64_t kh = 0; kh < h.kernel; ++kh) {
    for (int64_t kw = 0; kw < w.kernel; ++kw) {
      const float weight = kernel[kh * w.kernel + kw];
      const int64_t first = w.first(kw), last = w.last(kw);
      for (int64_t oh = h.first(kh); oh < h.last(kh); ++oh) {
        const float* row = in + h.source(oh, kh) * w.in;
        float* to = out + oh * w.out;
        if (w.stride == 1) {
          const float* from = row + w.source(0, kw);
          for (int64_t ow = first; ow < last; ++ow) to[ow] += weight * from[ow];
        } else {
          for (int64_t ow = first; ow < last; ++ow) to[ow] += weight * row[w.source(ow, kw)];
        }
      }
    }
  }
}

}  // namespace

float activated(const ActivationSpec& spec, float x) {
  switch (spec.kind) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0f);
    case Activation::relu6:
      return std::clamp(x, 0.0f, 6.0f);
    case Activation::clip:
      return std::clamp(x, spec.alpha, spec.beta);
    case Activation::leaky_relu:
      return x < 0 ? spec.alpha * x : x;
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::hard_sigmoid:
      return std::clamp(spec.alpha * x + spec.beta, 0.0f, 1.0f);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::hard_swish:
      return x * std::clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case Activation::gelu:
      return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
    case Activation::elu:
      return x < 0 ? spec.alpha * std::expm1(x) : x;
  }
  return x;
}

void run_conv(const Conv& op, const Array& x, const Array& weights, const Array* bias, const Array* residual, Array& out) {
  Axis h = axis_of(x, out, 2, extent(weights.shape, 2), op.strides, op.dilations, op.pads_begin);
  Axis w = axis_of(x, out, 1, extent(weights.shape, 1), op.strides, op.dilations, op.pads_begin);
  const int64_t batch = x.shape[0], channels_in = x.shape[1], channels_out = weights.shape[0], per_group = weights.shape[1];
  const int64_t plane_in = h.in * w.in, plane_out = h.out * w.out, plane_kernel = h.kernel * w.kernel;
  if (plane_kernel == 1 && plane_in == plane_out && h.pad == 0 && w.pad == 0 && h.stride == 1 && w.stride == 1) {
    h = Axis{};
    w = Axis{.in = plane_in, .out = plane_out};  // one long row
  }
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t o = 0; o < channels_out; ++o) {
      float* to = out.data.data() + (n * channels_out + o) * plane_out;
      std::fill_n(to, plane_out, bias != nullptr ? bias->data[static_cast<size_t>(o)] : 0.0f);
      const int64_t group = o / (channels_out / op.groups);
      for (int64_t c = 0; c < per_group; ++c) {
        const float* from = x.data.data() + (n * channels_in + group * per_group + c) * plane_in;
        accumulate_plane(h, w, from, weights.data.data() + (o * per_group + c) * plane_kernel, to);
      }
    }
  }
  add_residual_and_activate(op.activation, residual, out);
}

void run_linear(const Linear& op, const Array& x, const Array& weights, const Array* bias, const Array* residual, Array& out) {
  const int64_t width_out = weights.shape[0], width_in = weights.shape[1], rows = static_cast<int64_t>(x.data.size()) / width_in;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t o = 0; o < width_out; ++o) {
      float sum = dot(x.data.data() + row * width_in, weights.data.data() + o * width_in, width_in);
      out.data[static_cast<size_t>(row * width_out + o)] = sum + (bias != nullptr ? bias->data[static_cast<size_t>(o)] : 0.0f);
    }
  }
  add_residual_and_activate(op.activation, residual, out);
}

void run_matmul(const Array& a, const Array& b, Array& out) {
  const size_t rank = out.shape.size();
  const int64_t m = out.shape[rank - 2], n = out.shape[rank - 1], k = a.shape.back();
  const int64_t matrices = static_cast<int64_t>(out.data.size()) / (m * n);
  // Which matrix of `from` belongs to matrix i of the output: dimensions of 1 are repeated.
  auto matrix = [&](const Array& from, int64_t i) {
    int64_t at = 0, stride = 1;
    for (size_t back = 3; back <= rank; ++back) {
      int64_t index = i % out.shape[rank - back];
      i /= out.shape[rank - back];
      if (back > from.shape.size()) continue;
      int64_t length = from.shape[from.shape.size() - back];
      if (length > 1) at += index * stride;
      stride *= length;
    }
    return at;
  };
  std::fill(out.data.begin(), out.data.end(), 0.0f);
  for (int64_t i = 0; i < matrices; ++i) {
    const float *left = a.data.data() + matrix(a, i) * m * k, *right = b.data.data() + matrix(b, i) * k * n;
    for (int64_t row = 0; row < m; ++row) {
      float* to = out.data.data() + (i * m + row) * n;
      for (int64_t inner = 0; inner < k; ++inner) {
        for (int64_t column = 0; column < n; ++column) to[column] += left[row * k + inner] * right[inner * n + column];
      }
    }
  }
}

void run_pool(const Pool& op, const Array& x, Array& out) {
  const size_t spatial = op.kernel.size();
  const Axis h = axis_of(x, out, 2, spatial > 1 ? op.kernel[0] : 1, op.strides, {}, op.pads_begin);
  const Axis w = axis_of(x, out, 1, op.kernel[spatial - 1], op.strides, {}, op.pads_begin);
  const int64_t planes = x.shape[0] * x.shape[1];
  const bool average = op.kind == Pool::Kind::average;
  for (int64_t plane = 0; plane < planes; ++plane) {
    const float* from = x.data.data() + plane * h.in * w.in;
    for (int64_t oh = 0; oh < h.out; ++oh) {
      for (int64_t ow = 0; ow < w.out; ++ow) {
        const int64_t top = std::max<int64_t>(h.source(oh, 0), 0), bottom = std::min(h.source(oh, 0) + h.kernel, h.in);
        const int64_t left = std::max<int64_t>(w.source(ow, 0), 0), right = std::min(w.source(ow, 0) + w.kernel, w.in);
        float sum = 0, most = -std::numeric_limits<float>::infinity();
        for (int64_t ih = top; ih < bottom; ++ih) {
          for (int64_t iw = left; iw < right; ++iw) {
            sum += from[ih * w.in + iw];
            most = std::max(most, from[ih * w.in + iw]);
          }
        }
        const int64_t seen = op.count_padding ? h.kernel * w.kernel : (bottom - top) * (right - left);
        out.data[static_cast<size_t>((plane * h.out + oh) * w.out + ow)] = average ? sum / static_cast<float>(seen) : most;
      }
    }
  }
}

namespace {

// One direction of one sequence (element n of the batch): h and c are read and written in place, each step's h goes to `keep`.
class Cell {
 public:
  Cell(const Recurrent& op, const RecurrentInputs& in, int64_t direction)
      : op_(op),
        gates_(op.kind == Recurrent::Kind::lstm ? 4 : 3),
        width_(in.x.shape[2]),
        from_x_(static_cast<size_t>(gates_ * op.hidden)),
        from_h_(from_x_) {
    const int64_t rows = gates_ * op.hidden;
    weights_ = in.weights.data.data() + direction * rows * width_;
    recurrent_ = in.recurrent_weights.data.data() + direction * rows * op.hidden;
    bias_ = in.bias == nullptr ? nullptr : in.bias->data.data() + direction * 2 * rows;
  }

  void step(const float* x, std::vector<float>& h, std::vector<float>& c) {
    const int64_t rows = gates_ * op_.hidden;
    for (int64_t row = 0; row < rows; ++row) {
      from_x_[static_cast<size_t>(row)] = dot(weights_ + row * width_, x, width_) + (bias_ ? bias_[row] : 0.0f);
      from_h_[static_cast<size_t>(row)] = dot(recurrent_ + row * op_.hidden, h.data(), op_.hidden) + (bias_ ? bias_[rows + row] : 0.0f);
    }
    if (op_.kind == Recurrent::Kind::lstm) {
      lstm(h, c);
    } else {
      gru(h);
    }
  }

 private:
  float gate(int64_t number, int64_t i) const {
    const size_t at = static_cast<size_t>(number * op_.hidden + i);
    return from_x_[at] + from_h_[at];
  }

  // Hochreiter and Schmidhuber 1997 with forget gate, as ONNX LSTM: i o f c.
  void lstm(std::vector<float>& h, std::vector<float>& c) const {
    for (int64_t i = 0; i < op_.hidden; ++i) {
      const size_t at = static_cast<size_t>(i);
      c[at] = sigmoid(gate(2, i)) * c[at] + sigmoid(gate(0, i)) * std::tanh(gate(3, i));
      h[at] = sigmoid(gate(1, i)) * std::tanh(c[at]);
    }
  }

  // Cho et al. 2014, as ONNX GRU: z r h. The reset comes before the recurrent product, or after it.
  void gru(std::vector<float>& h) const {
    const int64_t hidden = op_.hidden;
    std::vector<float> reset(h.size()), next(h.size());
    for (int64_t i = 0; i < hidden; ++i) reset[static_cast<size_t>(i)] = sigmoid(gate(1, i));
    std::vector<float> masked(h.size());
    for (size_t i = 0; i < h.size(); ++i) masked[i] = reset[i] * h[i];
    for (int64_t i = 0; i < hidden; ++i) {
      const size_t at = static_cast<size_t>(i), row = static_cast<size_t>(2 * hidden + i);
      float recurrent = reset[at] * from_h_[row];
      if (!op_.reset_after) {
        recurrent = dot(recurrent_ + (2 * hidden + i) * hidden, masked.data(), hidden) + (bias_ ? bias_[(gates_ + 2) * hidden + i] : 0.0f);
      }
      const float z = sigmoid(gate(0, i));
      next[at] = (1.0f - z) * std::tanh(from_x_[row] + recurrent) + z * h[at];
    }
    h = next;
  }

  const Recurrent& op_;
  const int64_t gates_, width_;
  const float *weights_, *recurrent_, *bias_;
  std::vector<float> from_x_, from_h_;
};

std::vector<float> initial_state(const Array* given, int64_t direction, int64_t n, int64_t hidden) {
  if (given == nullptr) return std::vector<float>(static_cast<size_t>(hidden));
  const int64_t row = direction * given->shape[1] + (given->shape[1] == 1 ? 0 : n);
  auto from = given->data.begin() + row * hidden;
  return {from, from + hidden};
}

}  // namespace

void run_recurrent(const Recurrent& op, const RecurrentInputs& in, const std::vector<Array*>& out) {
  const int64_t time = in.x.shape[0], batch = in.x.shape[1], width = in.x.shape[2];
  const int64_t directions = op.direction == Recurrent::Direction::both ? 2 : 1;
  for (int64_t direction = 0; direction < directions; ++direction) {
    Cell cell(op, in, direction);
    const bool backwards = direction == 1 || op.direction == Recurrent::Direction::reverse;
    for (int64_t n = 0; n < batch; ++n) {
      std::vector<float> h = initial_state(in.initial_h, direction, n, op.hidden), c = initial_state(in.initial_c, direction, n, op.hidden);
      for (int64_t step = 0; step < time; ++step) {
        const int64_t t = backwards ? time - 1 - step : step;
        cell.step(in.x.data.data() + (t * batch + n) * width, h, c);
        std::copy(h.begin(), h.end(), out[0]->data.begin() + ((t * directions + direction) * batch + n) * op.hidden);
      }
      if (out.size() > 1) std::copy(h.begin(), h.end(), out[1]->data.begin() + (direction * batch + n) * op.hidden);
      if (out.size() > 2) std::copy(c.begin(), c.end(), out[2]->data.begin() + (direction * batch + n) * op.hidden);
    }
  }
}

}  // namespace skerry::inference::graph
