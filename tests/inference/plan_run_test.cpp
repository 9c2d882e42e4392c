#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "inference/plan/executor.h"
#include "inference/plan/internal/geometry.h"
#include "inference/plan/internal/kernels.h"
#include "inference/plan/internal/onednn.h"
#include "inference/plan/internal/round.h"
#include "tests/inference/make_plan.h"

namespace skerry::inference::plan {
namespace {

std::vector<float> noise(Random& random, int64_t count, double size = 1) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& v : out) v = static_cast<float>(random.normal() * size);
  return out;
}

std::vector<float> run(const Executor& executor, int64_t batch, const std::vector<float>& input) {
  std::vector<float> out(static_cast<size_t>(batch * executor.output_elements(0)));
  const float* from[] = {input.data()};
  float* to[] = {out.data()};
  Status status = executor.run(batch, from, to);
  INFO((status.ok() ? "" : status.error().message));
  REQUIRE(status.ok());
  return out;
}

std::shared_ptr<const Executor> ready(Plan plan) {
  Status checked = check(plan, 1);
  INFO((checked.ok() ? "" : checked.error().message));
  REQUIRE(checked.ok());
  auto made = Executor::make(std::move(plan));
  INFO((made.ok() ? "" : made.error().message));
  REQUIRE(made.ok());
  return *made;
}

// Convolutions as they are defined, in doubles, on the integers that the plan would see.
struct Case {
  int32_t h = 9, w = 7, in = 8, out = 8, k = 3, stride = 1, dilation = 1, groups = 1, pad = 1;
  Type x = Type::u8;
  int32_t x_zero = 0;
  Type y = Type::u8;
  int32_t y_zero = 0;
  bool residual = false;
  graph::ActivationSpec activation;
};

struct Made {
  Plan plan;
  std::vector<float> expected, input;  // of two samples
};

double real(const Tensor& t, double value) {  // on the grid of t
  if (!t.is_quantized()) return value;
  const uint8_t byte = stored(static_cast<float>(value / t.scale[0]), t.zero_point, t.type);
  return t.scale[0] * ((t.type == Type::i8 ? static_cast<int8_t>(byte) : int{byte}) - t.zero_point);
}

Made make(const Case& c, uint64_t seed) {
  PlanBuilder b(seed);
  const int32_t oh = (c.h + 2 * c.pad - c.dilation * (c.k - 1) - 1) / c.stride + 1, ow = (c.w + 2 * c.pad - c.dilation * (c.k - 1) - 1) / c.stride + 1;
  const uint32_t x = b.input({-1, c.h, c.w, c.in}), r = b.input({-1, oh, ow, c.out});
  const uint32_t q = c.x == Type::f32 ? x : b.step(Op::quantize, {x}, b.tensor("q", c.x, {-1, c.h, c.w, c.in}, 0.03f, c.x_zero));
  const uint32_t residual = c.y == Type::f32 ? r : b.step(Op::quantize, {r}, b.tensor("r", Type::i8, {-1, oh, ow, c.out}, 0.05f, 3));
  const std::vector<int32_t> shape = {c.out, c.k, c.k, c.in / c.groups};
  const uint32_t weights = c.x == Type::f32 ? b.reals(shape, 0.2) : b.weights(shape), bias = b.reals({c.out});
  std::vector<uint32_t> inputs = {q, weights, bias};
  if (c.residual) inputs.push_back(residual);
  const uint32_t y = b.step(Op::convolution, inputs, b.tensor("y", c.y, {-1, oh, ow, c.out}, 0.06f, c.y_zero),
                            {c.stride, c.stride, c.dilation, c.dilation, c.pad, c.pad, c.pad, c.pad, c.groups}, c.activation);
  uint32_t out = c.y == Type::f32 ? y : b.step(Op::dequantize, {y}, b.tensor("out", Type::f32, {-1, oh, ow, c.out}));
  if (!c.residual) {  // the second input is used anyway
    const uint32_t zero = b.step(Op::binary, {r, r}, b.tensor("zero", Type::f32, {-1, oh, ow, c.out}), {1});
    out = b.step(Op::binary, {out, zero}, b.tensor("sum", Type::f32, {-1, oh, ow, c.out}), {0});
  }
  Made made{b.finish({out}), {}, {}};
  const Plan& p = made.plan;
  std::vector<float> xs = noise(b.random, 2LL * c.h * c.w * c.in), rs = noise(b.random, 2LL * oh * ow * c.out);
  const Tensor &tq = p.tensors[q], &tr = p.tensors[residual], &tw = p.tensors[weights], &ty = p.tensors[y];
  auto weight = [&](int64_t o, int64_t at) {
    return c.x == Type::f32 ? double{p.constant<float>(weights)[at]} : double{tw.scale[static_cast<size_t>(o)]} * p.constant<int8_t>(weights)[at];
  };
  const int32_t per_in = c.in / c.groups, per_out = c.out / c.groups;
  for (int32_t n = 0; n < 2; ++n) {
    for (int32_t i = 0; i < oh; ++i) {
      for (int32_t j = 0; j < ow; ++j) {
        for (int32_t o = 0; o < c.out; ++o) {
          double sum = p.constant<float>(bias)[o];
          for (int32_t kh = 0; kh < c.k; ++kh) {
            for (int32_t kw = 0; kw < c.k; ++kw) {
              const int32_t h = i * c.stride - c.pad + kh * c.dilation, w = j * c.stride - c.pad + kw * c.dilation;
              if (h < 0 || h >= c.h || w < 0 || w >= c.w) continue;
              for (int32_t k = 0; k < per_in; ++k) {
                const float value = xs[static_cast<size_t>(((n * c.h + h) * c.w + w) * c.in + o / per_out * per_in + k)];
                sum += real(tq, value) * weight(o, ((o * c.k + kh) * c.k + kw) * per_in + k);
              }
            }
          }
          if (c.residual) sum += real(tr, rs[made.expected.size()]);
          made.expected.push_back(static_cast<float>(real(ty, activated(c.activation, static_cast<float>(sum)))));
        }
      }
    }
  }
  made.input = xs;
  made.input.insert(made.input.end(), rs.begin(), rs.end());
  return made;
}

void check_case(const Case& c) {
  CAPTURE(c.in, c.out, c.k, c.stride, c.dilation, c.groups, c.pad, to_string(c.x), to_string(c.y), c.x_zero, c.y_zero, c.residual);
  CAPTURE(static_cast<int>(c.activation.kind));
  const Made made = make(c, 7);
  auto executor = ready(made.plan);
  std::vector<float> out(made.expected.size());
  const float* from[] = {made.input.data(), made.input.data() + 2LL * c.h * c.w * c.in};
  float* to[] = {out.data()};
  REQUIRE(executor->run(2, from, to).ok());
  // Integers are exact; at a tie of the rounding, float and double may part. Without VNNI weights are halved, so that sums of two products
  // fit 16 bits: a bit of each weight is lost.
  const bool halved = c.x != Type::f32 && !uses_vnni();
  const double step = halved ? 0.6 : c.y == Type::f32 ? 1e-3 : 0.0601;
  size_t off = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const double difference = std::fabs(out[i] - made.expected[i]);
    REQUIRE(difference <= step);
    off += c.y != Type::f32 && difference > 1e-4 ? 1 : 0;
  }
  if (!halved) CHECK(off * 100 <= out.size());
}

}  // namespace

// CMakeLists.txt runs this file's tests at lower levels too.
TEST_CASE("plan runtime: the level of the processor is said, and held to what ONEDNN_MAX_CPU_ISA allows") {
  const std::string level = Executor::instruction_set();
  CAPTURE(level);
  const char* allowed = std::getenv("ONEDNN_MAX_CPU_ISA");
  const std::string most = allowed ? allowed : "ALL";
  if (most == "AVX2") CHECK((level == "avx2" || level == "avx" || level == "sse41" || level == "generic"));
  if (most == "SSE41") CHECK((level == "sse41" || level == "generic"));
  if (most == "AVX2" || most == "SSE41" || most == "AVX512_CORE") CHECK_FALSE(uses_vnni());
  auto executor = ready(small_plan(5));
  for (const StepReport& step : executor->report()) {
    if (step.op == "convolution" && !uses_vnni()) CHECK(step.implementation.find("avx512_core_vnni") == std::string::npos);
  }
}

TEST_CASE("plan runtime: int8 convolutions answer what their definition says") {
  const graph::ActivationSpec relu{graph::Activation::relu}, relu6{graph::Activation::relu6}, swish{graph::Activation::hard_swish},
      leaky{graph::Activation::leaky_relu, 0.1f};
  check_case({});
  check_case({.activation = relu});
  check_case({.in = 3, .out = 16, .stride = 2, .x = Type::i8, .activation = relu});
  check_case({.in = 1, .out = 64, .k = 5, .pad = 2, .x = Type::i8, .activation = relu6});
  check_case({.in = 16, .out = 32, .k = 1, .pad = 0, .residual = true, .activation = relu});
  check_case({.in = 16, .out = 24, .y = Type::i8, .y_zero = -7, .residual = true});
  check_case({.in = 16, .out = 24, .y = Type::f32});
  check_case({.in = 16, .out = 16, .dilation = 2, .pad = 2, .y = Type::i8});
  check_case({.in = 16, .out = 16, .groups = 2, .activation = relu});
  check_case({.x = Type::u8, .x_zero = 100, .activation = relu});
  check_case({.in = 16, .k = 1, .pad = 0, .x = Type::i8, .x_zero = -11, .y = Type::i8, .y_zero = 5});
  check_case({.in = 16, .x = Type::i8, .x_zero = -128, .y = Type::i8, .y_zero = -128, .activation = relu6});
  check_case({.in = 16, .y = Type::i8, .activation = swish});
  check_case({.in = 16, .y = Type::i8, .y_zero = 4, .residual = true, .activation = leaky});
}

TEST_CASE("plan runtime: depthwise convolutions of many shapes answer what their definition says") {
  const graph::ActivationSpec relu{graph::Activation::relu};
  for (int32_t channels : {4, 8, 16, 24, 32, 64, 72, 128}) {
    for (int32_t stride : {1, 2}) {
      check_case({.in = channels, .out = channels, .stride = stride, .groups = channels, .activation = relu});
      check_case({.h = 5, .w = 12, .in = channels, .out = channels, .k = 3, .stride = stride, .groups = channels, .pad = 0, .y = Type::i8, .y_zero = -3});
      check_case({.in = channels, .out = channels, .k = 5, .stride = stride, .groups = channels, .pad = 2, .activation = relu});
    }
  }
  check_case({.in = 64, .out = 64, .groups = 64, .x = Type::i8, .x_zero = 5, .y = Type::i8});
  check_case({.in = 64, .out = 64, .groups = 64, .x = Type::u8, .x_zero = 5, .y = Type::u8});
  check_case({.in = 64, .out = 64, .groups = 64, .y = Type::f32});
  check_case({.in = 64, .out = 64, .groups = 64, .residual = true, .activation = relu});
}

TEST_CASE("plan runtime: fp32 convolutions answer what their definition says") {
  const graph::ActivationSpec relu{graph::Activation::relu};
  check_case({.x = Type::f32, .y = Type::f32, .activation = relu});
  check_case({.in = 16, .out = 16, .stride = 2, .groups = 16, .x = Type::f32, .y = Type::f32, .residual = true, .activation = relu});
}

TEST_CASE("plan runtime: a sample answers the same alone and in any batch") {
  auto executor = ready(small_plan(5));
  Random random(Catch::rngSeed());
  const int64_t each = executor->input_elements(0), answers = executor->output_elements(0);
  const std::vector<float> input = noise(random, 77 * each);
  const std::vector<float> together = run(*executor, 77, input);
  for (int64_t i = 0; i < 77; ++i) {
    const std::vector<float> one(input.begin() + i * each, input.begin() + (i + 1) * each);
    CHECK(run(*executor, 1, one) == std::vector<float>(together.begin() + i * answers, together.begin() + (i + 1) * answers));
  }
}

TEST_CASE("plan runtime: many threads at once get what one gets") {
  auto executor = ready(small_plan(6));
  Random random(Catch::rngSeed());
  const std::vector<float> input = noise(random, 8 * executor->input_elements(0));
  const std::vector<float> expected = run(*executor, 8, input);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        std::vector<float> out(expected.size());
        const float* from[] = {input.data()};
        float* to[] = {out.data()};
        if (!executor->run(8, from, to).ok() || out != expected) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace skerry::inference::plan
