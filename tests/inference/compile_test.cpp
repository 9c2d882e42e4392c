#include <catch2/catch.hpp>
#include <cmath>

#include "inference/compile/compile.h"
#include "inference/compile/internal/equalize.h"
#include "inference/compile/internal/ranges.h"
#include "inference/compile/internal/rounding.h"
#include "inference/compile/lower.h"
#include "inference/graph/passes.h"
#include "inference/plan/executor.h"
#include "tests/inference/make_graph.h"

namespace skerry::inference::compile {
namespace {

using namespace graph;

std::vector<float> reference(const Graph& graph, const std::vector<Array>& inputs) {
  auto made = Reference::open(graph);
  INFO((made.ok() ? "" : made.error().message));
  REQUIRE(made.ok());
  auto out = made->run(inputs);
  INFO((out.ok() ? "" : out.error().message));
  REQUIRE(out.ok());
  return out->front().data;
}

std::vector<float> planned(const plan::Plan& plan, const std::vector<Array>& inputs) {
  auto executor = plan::Executor::make(plan);
  INFO((executor.ok() ? "" : executor.error().message));
  REQUIRE(executor.ok());
  const int64_t batch = inputs[0].shape[0];
  const bool free = (*executor)->plan().tensors[(*executor)->plan().inputs[0]].shape[0] == -1;
  std::vector<float> out(static_cast<size_t>((free ? batch : 1) * (*executor)->output_elements(0)));
  std::vector<const float*> from;
  for (const Array& array : inputs) from.push_back(array.data.data());
  float* to[] = {out.data()};
  Status status = (*executor)->run(free ? batch : 1, from.data(), to);
  INFO((status.ok() ? "" : status.error().message));
  REQUIRE(status.ok());
  return out;
}

double error(const std::vector<float>& got, const std::vector<float>& expected) {
  REQUIRE(got.size() == expected.size());
  double sum = 0, norm = 1e-12;
  for (size_t i = 0; i < got.size(); ++i) {
    sum += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(sum / norm);
}

// The graph as a plan in fp32 answers what the reference does, before and after the passes.
void check_real(Graph graph) {
  REQUIRE(infer_shapes(graph).ok());
  const std::vector<Array> inputs = samples(graph, 3, 11);
  const std::vector<float> expected = reference(graph, inputs);
  REQUIRE(simplify(graph).ok());
  INFO(describe(graph));
  CHECK(error(reference(graph, inputs), expected) < 1e-5);
  auto plan = lower(graph);
  INFO((plan.ok() ? "" : plan.error().message));
  REQUIRE(plan.ok());
  CHECK(error(planned(*plan, inputs), expected) < 1e-5);
  auto again = plan::decode(plan::encode(*plan));
  REQUIRE(again.ok());
  CHECK(error(planned(*again, inputs), expected) < 1e-5);
}

}  // namespace

TEST_CASE("passes: each leaves a random network's answers as they are") {
  constexpr Changed (*kPasses[])(Graph&) = {fold_constants, fold_batch_norms, fold_scales, move_transposes, merge_padding,
                                            pools_from_reduces, fuse_activations, fuse_residuals, remove_dead};
  std::vector<size_t> changed(std::size(kPasses));
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Graph graph = random_network(Catch::rngSeed() + seed);
    const std::vector<Array> inputs = samples(graph, 2, seed);
    const std::vector<float> expected = reference(graph, inputs);
    Graph all = graph;
    for (size_t i = 0; i < std::size(kPasses); ++i) {  // alone, and after those before it
      for (Graph* target : {&all}) {
        auto count = kPasses[i](*target);
        INFO(i << " " << (count.ok() ? "" : count.error().message));
        REQUIRE(count.ok());
        changed[i] += *count;
        REQUIRE(infer_shapes(*target).ok());
        INFO(describe(*target));
        REQUIRE(error(reference(*target, inputs), expected) < 1e-5);
      }
      Graph alone = graph;
      REQUIRE(kPasses[i](alone).ok());
      REQUIRE(infer_shapes(alone).ok());
      REQUIRE(error(reference(alone, inputs), expected) < 1e-5);
    }
  }
  for (size_t i = 1; i < changed.size(); ++i) CHECK(changed[i] > 0);
}

TEST_CASE("compile: random networks answer in fp32 plans as in the reference") {
  for (uint64_t seed = 100; seed < 130; ++seed) check_real(random_network(Catch::rngSeed() + seed));
}

TEST_CASE("compile: random networks stay close in int8") {
  for (uint64_t seed = 200; seed < 212; ++seed) {
    const Graph graph = random_network(Catch::rngSeed() + seed);
    Options options;
    options.error_max = 0.1;
    auto compiled = compile(graph, samples(graph, 48, seed), options);
    INFO((compiled.ok() ? "" : compiled.error().message));
    REQUIRE(compiled.ok());
    INFO(describe(graph));
    CHECK(compiled->error <= options.error_max);
    const std::vector<Array> fresh = samples(graph, 8, seed + 1);
    CHECK(error(planned(compiled->plan, fresh), reference(graph, fresh)) < 0.25);
  }
}

TEST_CASE("compile: layers of both kinds make a plan, integers where they may be") {
  Graph graph = random_network(42);
  Options strict;
  strict.error_max = 1e-9;
  strict.real_layers_max = 2;
  auto compiled = compile(graph, samples(graph, 32, 1), strict);
  REQUIRE(compiled.ok());
  size_t real = 0;
  for (const LayerReport& layer : compiled->layers) {
    CHECK(layer.sensitivity >= 0);
    real += layer.precision == "fp32" ? 1 : 0;
  }
  CHECK(real == 2);
  CHECK(compiled->layers.size() > 3);
}

TEST_CASE("compile: every operation answers in a plan as in the reference") {
  auto one = [](Shape shape, auto build) {
    GraphBuilder b(5);
    const ValueId x = b.input(std::move(shape));
    const ValueId y = build(b, x);
    check_real(b.finish({y}));
  };
  for (Activation kind : {Activation::relu, Activation::relu6, Activation::clip, Activation::leaky_relu, Activation::sigmoid, Activation::hard_sigmoid,
                          Activation::tanh, Activation::silu, Activation::hard_swish, Activation::gelu, Activation::elu}) {
    one({-1, 4, 7}, [&](GraphBuilder& b, ValueId x) { return b.activate(x, kind); });
    one({-1, 4, 7}, [&](GraphBuilder& b, ValueId x) { return b.activate(b.conv(x, 8, 3), kind); });
  }
  for (Binary::Kind kind : {Binary::Kind::add, Binary::Kind::sub, Binary::Kind::mul, Binary::Kind::div, Binary::Kind::min, Binary::Kind::max}) {
    one({-1, 4, 7}, [&](GraphBuilder& b, ValueId x) { return b.node(Binary{kind, {}}, {x, b.constant({4, 1}, 0.1, 1)}); });
    one({-1, 4, 7}, [&](GraphBuilder& b, ValueId x) { return b.node(Binary{kind, {}}, {b.constant({1, 1, 7}), b.node(Unary{Unary::Kind::exp}, {b.conv(x, 4, 1)})}); });
  }
  for (Reduce::Kind kind : {Reduce::Kind::mean, Reduce::Kind::sum, Reduce::Kind::max}) {
    for (bool keep : {true, false}) {
      one({-1, 4, 5, 6}, [&](GraphBuilder& b, ValueId x) { return b.node(Reduce{kind, {1, 3}, keep}, {b.conv(x, 8, 3)}); });
    }
  }
  for (Unary::Kind kind : {Unary::Kind::exp, Unary::Kind::neg, Unary::Kind::abs, Unary::Kind::reciprocal}) {
    one({-1, 6}, [&](GraphBuilder& b, ValueId x) { return b.node(Unary{kind}, {x}); });
  }
  for (int64_t axis : {-1, 1}) {
    one({-1, 4, 6, 5}, [&](GraphBuilder& b, ValueId x) { return b.node(Softmax{axis, axis == 1}, {b.conv(x, 8, 3)}); });
  }
  one({-1, 4, 6}, [](GraphBuilder& b, ValueId x) { return b.node(LayerNorm{-1, 1e-5f}, {x, b.constant({6}), b.constant({6})}); });
  one({-1, 4, 6}, [](GraphBuilder& b, ValueId x) { return b.node(LayerNorm{1, 1e-5f}, {x}); });
  one({-1, 4, 6}, [](GraphBuilder& b, ValueId x) { return b.node(MatMul{}, {x, b.node(Transpose{{0, 2, 1}}, {x})}); });
  one({-1, 4, 6}, [](GraphBuilder& b, ValueId x) { return b.linear(x, 9); });
  one({-1, 4, 6}, [](GraphBuilder& b, ValueId x) { return b.node(Reshape{{-1, 24}}, {b.conv(x, 4, 3)}); });
  one({-1, 4, 6, 6}, [](GraphBuilder& b, ValueId x) { return b.node(Transpose{{0, 3, 1, 2}}, {b.conv(x, 4, 3)}); });
  one({-1, 4, 9}, [](GraphBuilder& b, ValueId x) { return b.node(Slice{{2, 1}, {1, -3}, {100, -1}, {3, 1}}, {x}); });
  one({-1, 4, 9}, [](GraphBuilder& b, ValueId x) { return b.node(Pad{{0, 1, 2}, {0, 0, 3}, -1.5f}, {x}); });
  one({-1, 4, 9, 8}, [](GraphBuilder& b, ValueId x) {
    return b.node(Pool{Pool::Kind::average, {3, 3}, {2, 2}, {1, 1}, {1, 1}, true}, {x});
  });
  one({-1, 4, 9, 8}, [](GraphBuilder& b, ValueId x) {
    return b.node(Pool{Pool::Kind::max, {3, 2}, {2, 1}, {1, 0}, {1, 1}, false}, {x});
  });
  for (Recurrent::Kind kind : {Recurrent::Kind::gru, Recurrent::Kind::lstm}) {
    for (Recurrent::Direction direction : {Recurrent::Direction::forward, Recurrent::Direction::reverse, Recurrent::Direction::both}) {
      for (bool after : {true, false}) {
        one({-1, 7, 3}, [&](GraphBuilder& b, ValueId x) {
          const int64_t both = direction == Recurrent::Direction::both ? 2 : 1, rows = kind == Recurrent::Kind::lstm ? 16 : 12;
          const ValueId turned = b.node(Transpose{{1, 0, 2}}, {x});
          Recurrent op{kind, direction, 4, after};
          return b.node(op, {turned, b.constant({both, rows, 3}), b.constant({both, rows, 4}), b.constant({both, 2 * rows})});
        });
      }
    }
  }
}

TEST_CASE("compile: a model that was saved for one sample serves any number") {
  GraphBuilder b(3);
  const ValueId x = b.input({1, 3, 8});
  Graph graph = b.finish({b.linear(b.node(Reshape{{1, 64}}, {b.conv(x, 8, 3)}), 4)});
  REQUIRE(free_batch(graph));
  CHECK(graph.value(graph.outputs[0]).shape == Shape{-1, 4});
}

TEST_CASE("compile: beside a recurrent layer the others become integers, and the report says that it does not") {
  GraphBuilder b(9);
  const ValueId x = b.input({-1, 7, 6});
  const ValueId turned = b.node(Transpose{{1, 0, 2}}, {x});
  const ValueId states = b.node(Recurrent{Recurrent::Kind::gru, Recurrent::Direction::forward, 4, true},
                                {turned, b.constant({1, 12, 6}), b.constant({1, 12, 4}), b.constant({1, 24})});
  const ValueId last = b.node(Reshape{{-1, 4}}, {b.node(Slice{{0}, {6}, {7}, {1}}, {states})});
  const Graph graph = b.finish({b.linear(b.activate(b.linear(last, 8), Activation::relu), 3)});
  auto compiled = compile(graph, samples(graph, 32, 3));
  INFO((compiled.ok() ? "" : compiled.error().message));
  REQUIRE(compiled.ok());
  REQUIRE(compiled->recurrent.size() == 1);
  CHECK(compiled->recurrent[0] == graph.nodes[1].name);
  CHECK(compiled->layers.size() == 2);
  const std::vector<Array> fresh = samples(graph, 8, 4);
  CHECK(error(planned(compiled->plan, fresh), reference(graph, fresh)) < 0.1);
}

TEST_CASE("compile: an operation that a plan lacks is named") {
  GraphBuilder b(3);
  const ValueId x = b.input({-1, 7, 3});
  const ValueId turned = b.node(Transpose{{1, 0, 2}}, {x});
  Graph graph = b.finish({b.node(Recurrent{Recurrent::Kind::gru, Recurrent::Direction::forward, 4, true},
                                 {turned, b.constant({1, 12, 3}), b.constant({1, 12, 4}), kNoValue, b.constant({1, 1, 4})})});
  auto plan = lower(graph);
  REQUIRE_FALSE(plan.ok());
  CHECK(plan.error().code == Code::unavailable);
  CHECK(plan.error().message.find("recurrent1") != std::string::npos);
}

TEST_CASE("equalized: channels are evened out and a random network's answers stay as they are") {
  size_t changed = 0;
  for (uint64_t seed = 300; seed < 330; ++seed) {
    Graph graph = random_network(seed);
    REQUIRE(simplify(graph).ok());
    const std::vector<Array> inputs = samples(graph, 4, seed);
    auto ranges = measure_ranges(graph, inputs);
    REQUIRE(ranges.ok());
    const Graph even = equalized(graph, *ranges, 0.5);
    INFO(describe(graph));
    CHECK(error(reference(even, inputs), reference(graph, inputs)) < 1e-5);
    for (size_t i = 0; i < graph.nodes.size(); ++i) changed += graph.nodes[i].inputs != even.nodes[i].inputs ? 1 : 0;
  }
  CHECK(changed > 100);
}

TEST_CASE("equalized: values of one channel no longer drown those of the others, also across a residual and a pool") {
  GraphBuilder b(7);
  const ValueId x = b.input({-1, 3, 16});
  std::vector<float> loud(8 * 3 * 3);
  for (size_t i = 0; i < loud.size(); ++i) loud[i] = static_cast<float>(b.random.normal() * (i < 9 ? 100 : 1));  // channel 0
  const ValueId first = b.activate(b.node(Conv{{1}, {1}, {1}, {1}, 1, {}}, {x, b.graph.add_constant("loud", {8, 3, 3}, loud), kNoValue}),
                                   Activation::relu);
  const ValueId sum = b.activate(b.node(Binary{}, {b.conv(first, 8, 3), first}), Activation::relu);
  const ValueId pooled = b.node(Pool{Pool::Kind::max, {2}, {2}, {0}, {0}, false}, {sum});
  Graph graph = b.finish({b.conv(pooled, 4, 1)});
  REQUIRE(simplify(graph).ok());
  const std::vector<Array> inputs = samples(graph, 64, 1);
  auto before = measure_ranges(graph, inputs);
  REQUIRE(before.ok());
  const Graph even = equalized(graph, *before, 1);
  auto after = measure_ranges(even, inputs);
  REQUIRE(after.ok());
  for (ValueId id : {graph.nodes[0].outputs[0], graph.nodes[1].outputs[0], graph.nodes[2].outputs[0]}) {
    auto spread = [&](const Range& range) {
      const auto [low, high] = std::minmax_element(range.channel_tops.begin(), range.channel_tops.end());
      return *high / *low;
    };
    CHECK(spread(before->at(id)) > 5);
    CHECK(spread(after->at(id)) < 0.7 * spread(before->at(id)));
  }
  auto compiled = compile(graph, inputs, {});
  REQUIRE(compiled.ok());
  CHECK(compiled->error < 0.02);
}

TEST_CASE("rounded: what rounding one weight costs, the others repair") {
  Random random(5);
  constexpr size_t kWidth = 24, kRows = 400, kOut = 6;
  std::vector<double> rows(kRows * kWidth);
  for (size_t r = 0; r < kRows; ++r) {
    double level = random.normal();  // neighbours are alike, as in images and signals
    for (size_t i = 0; i < kWidth; ++i) rows[r * kWidth + i] = level = 0.95 * level + 0.2 * random.normal();
  }
  Moments moments{kWidth, 1, kRows, std::vector<double>(kWidth * kWidth)};
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t i = 0; i < kWidth; ++i) {
      for (size_t j = 0; j <= i; ++j) moments.sums[i * kWidth + j] += rows[r * kWidth + i] * rows[r * kWidth + j];
    }
  }
  std::vector<float> weights(kOut * kWidth);
  for (float& w : weights) w = static_cast<float>(random.uniform(-1, 1));
  const std::vector<float> scale(kOut, 1.0f / 7);  // coarse, so that it shows
  auto loss = [&](auto stored) {
    double sum = 0;
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t o = 0; o < kOut; ++o) {
        double error = 0;
        for (size_t i = 0; i < kWidth; ++i) {
          const size_t at = o * kWidth + i;
          error += rows[r * kWidth + i] * (stored(at) * scale[o] - weights[at]);
        }
        sum += error * error;
      }
    }
    return sum;
  };
  const std::vector<int8_t> repaired = rounded(weights, scale, moments, 0);
  const double ours = loss([&](size_t i) { return static_cast<double>(repaired[i]); }), nearest = loss([&](size_t i) { return std::round(weights[i] * 7.0); });
  CHECK(ours < 0.3 * nearest);
  Moments nothing{kWidth, 1, 0, std::vector<double>(kWidth * kWidth)};  // samples that say nothing: to the nearest
  const std::vector<int8_t> plain = rounded(weights, scale, nothing, 0);
  for (size_t i = 0; i < weights.size(); ++i) CHECK(std::fabs(plain[i] / 7.0 - weights[i]) <= 0.5001 / 7);
}

TEST_CASE("ranges: outliers are cut where eight bits gain by it, and kept where not") {
  std::vector<double> counts(2048, 0.0);
  for (size_t i = 0; i < 100; ++i) counts[i] = 10000;
  counts[2047] = 1;  // one value far away
  CHECK(best_range(0, 100, counts).high < 20);
  std::vector<double> even(2048, 10);
  CHECK(best_range(0, 100, even).high > 99);
  CHECK(best_range(-100, 100, even).low < -99);
}

}  // namespace skerry::inference::compile
