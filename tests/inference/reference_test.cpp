#include "inference/graph/reference.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

using namespace skerry;
using namespace skerry::inference::graph;

namespace {

std::vector<float> counting(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

size_t size_of(const Shape& shape) { return static_cast<size_t>(elements(shape)); }

// Input and constants hold 1, 2, 3, … unless given. Every output of the node is an output of the graph.
std::vector<Array> run_node(Array input, Operation operation, std::vector<Array> constants = {}, size_t outputs = 1) {
  Graph graph;
  graph.inputs = {graph.add_value({"x", ElementType::f32, input.shape, std::nullopt, nullptr})};
  std::vector<ValueId> inputs = graph.inputs;
  for (Array& constant : constants) {
    if (constant.shape.empty()) {
      inputs.push_back(kNoValue);
      continue;
    }
    if (constant.data.empty()) constant.data = counting(size_of(constant.shape));
    inputs.push_back(graph.add_constant("c", constant.shape, constant.data));
  }
  graph.add_node("node", std::move(operation), inputs);
  while (graph.nodes[0].outputs.size() < outputs) graph.nodes[0].outputs.push_back(graph.add_value({"more"}));
  graph.outputs = graph.nodes[0].outputs;
  Status inferred = infer_shapes(graph);
  INFO((inferred.ok() ? "" : inferred.error().message));
  REQUIRE(inferred.ok());
  Result<Reference> reference = Reference::open(graph);
  REQUIRE(reference.ok());
  if (input.data.empty()) input.data = counting(size_of(input.shape));
  Result<std::vector<Array>> result = reference->run({input});
  INFO((result.ok() ? "" : result.error().message));
  REQUIRE(result.ok());
  return *result;
}

std::vector<float> after(Array input, Operation operation, std::vector<Array> constants = {}) {
  return run_node(std::move(input), std::move(operation), std::move(constants))[0].data;
}

void check_close(const std::vector<float>& got, const std::vector<float>& wanted) {
  REQUIRE(got.size() == wanted.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(wanted[i]).margin(1e-6));
}

}  // namespace

TEST_CASE("reference: convolutions, worked by hand") {
  SECTION("one dimension, padded, strided") {  // [1 2 3 4 5] * [1 2 3], pad 1, stride 2
    check_close(after({{1, 1, 5}, {}}, Conv{{2}, {1}, {1}, {1}, 1}, {{{1, 1, 3}, {}}}), {0 + 2 + 6, 2 + 6 + 12, 4 + 10 + 0});
  }
  SECTION("dilated, with a bias and an activation") {  // taps 2 apart
    check_close(after({{1, 1, 5}, {1, -2, 3, 4, -50}}, Conv{{1}, {2}, {0}, {0}, 1, {Activation::relu}}, {{{1, 1, 2}, {}}, {{1}, {10}}}),
                {1 + 6 + 10, -2 + 8 + 10, 0});
  }
  SECTION("two dimensions") {
    check_close(after({{1, 1, 3, 3}, {}}, Conv{{1, 1}, {1, 1}, {0, 0}, {0, 0}, 1}, {{{1, 1, 2, 2}, {1, 0, 0, 10}}}),
                {1 + 50, 2 + 60, 4 + 80, 5 + 90});
  }
  SECTION("unequal padding puts the window where it should be") {
    check_close(after({{1, 1, 2, 2}, {}}, Conv{{1, 1}, {1, 1}, {0, 1}, {1, 0}, 1}, {{{1, 1, 2, 2}, {1, 2, 4, 8}}}),
                {2 + 24, 1 + 4 + 12 + 32, 6, 3 + 8});
  }
  SECTION("depthwise and groups") {
    check_close(after({{1, 2, 2}, {}}, Conv{{1}, {1}, {0}, {0}, 2}, {{{4, 1, 1}, {}}}), {1, 2, 2, 4, 9, 12, 12, 16});
  }
  SECTION("pointwise over two examples and channels") {
    check_close(after({{2, 2, 1, 2}, {}}, Conv{{1, 1}, {1, 1}, {0, 0}, {0, 0}, 1}, {{{1, 2, 1, 1}, {1, 10}}}), {31, 42, 75, 86});
  }
  SECTION("residual before the activation") {
    check_close(after({{1, 1, 2}, {1, -4}}, Conv{{1}, {1}, {0}, {0}, 1, {Activation::relu}}, {{{1, 1, 1}, {2}}, {}, {{1, 1, 2}, {3, 3}}}),
                {5, 0});
  }
}

TEST_CASE("reference: linear and matrix products") {
  check_close(after({{2, 3}, {}}, Linear{}, {{{2, 3}, {1, 0, 0, 1, 1, 1}}, {{2}, {0, 100}}}), {1, 106, 4, 115});
  std::vector<float> ones(19, 1.0f);
  check_close(after({{1, 19}, {}}, Linear{}, {{{1, 19}, ones}}), {190});  // longer than a vector register
  check_close(after({{1, 2, 2}, {}}, MatMul{}, {{{2, 2}, {1, 1, 0, 1}}}), {1, 3, 3, 7});
  check_close(after({{2, 1, 2}, {}}, MatMul{}, {{{2, 2, 1}, {1, 0, 0, 1}}}), {1, 4});
}

TEST_CASE("reference: pools see what lies in the input, and divide by it or by the whole kernel") {
  check_close(after({{1, 1, 5}, {}}, Pool{Pool::Kind::max, {3}, {2}, {1}, {1}}), {2, 4, 5});
  check_close(after({{1, 1, 4}, {-4, -3, -2, -1}}, Pool{Pool::Kind::max, {2}, {2}, {1}, {1}}), {-4, -2, -1});
  check_close(after({{1, 1, 4}, {}}, Pool{Pool::Kind::average, {2}, {2}, {1}, {1}}), {1, 2.5, 4});
  check_close(after({{1, 1, 4}, {}}, Pool{Pool::Kind::average, {2}, {2}, {1}, {1}, true}), {0.5, 2.5, 2});
  check_close(after({{1, 1, 2, 3}, {}}, Pool{Pool::Kind::average, {2, 2}, {1, 1}, {0, 0}, {0, 0}}), {3, 4});
}

TEST_CASE("reference: reductions, broadcasts and activations") {
  check_close(after({{1, 2, 2}, {}}, Reduce{Reduce::Kind::mean, {1}, false}), {2, 3});
  check_close(after({{1, 2, 2}, {}}, Reduce{Reduce::Kind::sum, {1, 2}, true}), {10});
  check_close(after({{1, 2, 2}, {-1, -2, -3, -4}}, Reduce{Reduce::Kind::max, {2}, true}), {-1, -3});
  check_close(after({{1, 2, 2}, {}}, Binary{Binary::Kind::mul}, {{{2, 1}, {10, 100}}}), {10, 20, 300, 400});
  check_close(after({{1, 2}, {}}, Binary{Binary::Kind::sub, {Activation::relu}}, {{{2}, {5, 1}}}), {0, 1});
  check_close(after({{1, 2}, {}}, Binary{Binary::Kind::pow}, {{{1}, {2}}}), {1, 4});
  auto activated = [](ActivationSpec spec, float x) { return after({{1, 1}, {x}}, Activate{spec})[0]; };
  CHECK(activated({Activation::relu6}, 7) == 6);
  CHECK(activated({Activation::clip, -1, 2}, -7) == -1);
  CHECK(activated({Activation::leaky_relu, 0.1f}, -2) == Approx(-0.2));
  CHECK(activated({Activation::sigmoid}, 2) == Approx(1 / (1 + std::exp(-2.0))));
  CHECK(activated({Activation::hard_sigmoid, 0.2f, 0.5f}, 1) == Approx(0.7));
  CHECK(activated({Activation::tanh}, 0.3f) == Approx(std::tanh(0.3)));
  CHECK(activated({Activation::silu}, 2) == Approx(2 / (1 + std::exp(-2.0))));
  CHECK(activated({Activation::hard_swish}, 1) == Approx(4.0 / 6));
  CHECK(activated({Activation::gelu}, 1) == Approx(0.8413447));
  CHECK(activated({Activation::elu, 2}, -1) == Approx(2 * (std::exp(-1.0) - 1)));
  check_close(after({{1, 3}, {4, 9, 16}}, Unary{Unary::Kind::sqrt}), {2, 3, 4});
}

TEST_CASE("reference: normalisations") {
  double e1 = std::exp(-1.0), sum = 1 + e1;
  check_close(after({{1, 2, 2}, {}}, Softmax{1}),
              {float(std::exp(-2.0) / (1 + std::exp(-2.0))), float(std::exp(-2.0) / (1 + std::exp(-2.0))), float(1 / (1 + std::exp(-2.0))),
               float(1 / (1 + std::exp(-2.0)))});
  check_close(after({{1, 2}, {1000, 999}}, Softmax{-1}), {float(1 / sum), float(e1 / sum)});
  check_close(after({{1, 2}, {1000, 999}}, Softmax{-1, true}), {float(std::log(1 / sum)), float(std::log(e1 / sum))});
  check_close(after({{1, 2, 1}, {3, 8}}, BatchNorm{0}, {{{2}, {2, 1}}, {{2}, {0, 5}}, {{2}, {1, 2}}, {{2}, {4, 9}}}), {2, 7});
  check_close(after({{1, 2, 2}, {1, 3, 10, 30}}, LayerNorm{-1, 0}, {{{2}, {1, 2}}, {{2}, {0, 1}}}), {-1, 3, -1, 3});
}

TEST_CASE("reference: what only moves numbers moves them right") {
  check_close(after({{1, 2, 3}, {}}, Transpose{{0, 2, 1}}), {1, 4, 2, 5, 3, 6});
  check_close(after({{1, 2, 3}, {}}, Transpose{{2, 0, 1}}), {1, 4, 2, 5, 3, 6});
  check_close(after({{1, 2, 2}, {}}, Pad{{0, 1, 0}, {0, 0, 1}, -1}), {-1, -1, -1, 1, 2, -1, 3, 4, -1});
  check_close(after({{1, 2, 5}, {}}, Slice{{2}, {-4}, {INT64_MAX}, {2}}), {2, 4, 7, 9});
  check_close(after({{1, 2, 2}, {}}, Reshape{{-1, 4}}), {1, 2, 3, 4});
  Graph graph;  // concat of a value with itself turned around
  graph.inputs = {graph.add_value({"x", ElementType::f32, {-1, 2, 2}, std::nullopt, nullptr})};
  ValueId turned = graph.add_node("turn", Transpose{{0, 2, 1}}, graph.inputs);
  graph.outputs = {graph.add_node("both", Concat{1}, {graph.inputs[0], turned})};
  REQUIRE(infer_shapes(graph).ok());
  check_close(Reference::open(graph)->run({{{2, 2, 2}, counting(8)}})->at(0).data, {1, 2, 3, 4, 1, 3, 2, 4, 5, 6, 7, 8, 5, 7, 6, 8});
}

namespace {
double sig(double x) { return 1 / (1 + std::exp(-x)); }
}  // namespace

TEST_CASE("reference: one LSTM step and two GRU steps, worked by hand") {
  // One feature, one hidden: weights per gate are numbers.
  std::vector<Array> lstm =
      run_node({{1, 1, 1}, {2}}, Recurrent{Recurrent::Kind::lstm, Recurrent::Direction::forward, 1},
               {{{1, 4, 1}, {0.1f, 0.2f, 0.3f, 0.4f}}, {{1, 4, 1}, {1, 1, 1, 1}}, {{1, 8}, {0.1f, 0, 0, 0, 0, 0.2f, 0, 0}}}, 3);
  double c = sig(0.2 + 0.1) * std::tanh(0.8), h = sig(0.4 + 0.2) * std::tanh(c);
  check_close(lstm[0].data, {float(h)});
  check_close(lstm[1].data, {float(h)});
  check_close(lstm[2].data, {float(c)});

  for (bool reset_after : {false, true}) {
    Recurrent op{Recurrent::Kind::gru, Recurrent::Direction::forward, 1, reset_after};
    std::vector<Array> gru = run_node(
        {{2, 1, 1}, {1, -1}}, op, {{{1, 3, 1}, {0.5f, 0.6f, 0.7f}}, {{1, 3, 1}, {0.2f, 0.3f, 0.4f}}, {{1, 6}, {0, 0, 0, 0, 0, 0.25f}}}, 2);
    double state = 0;
    std::vector<float> states;
    for (double x : {1.0, -1.0}) {
      double z = sig(0.5 * x + 0.2 * state), r = sig(0.6 * x + 0.3 * state);
      double recurrent = reset_after ? r * (0.4 * state + 0.25) : 0.4 * r * state + 0.25;
      state = (1 - z) * std::tanh(0.7 * x + recurrent) + z * state;
      states.push_back(static_cast<float>(state));
    }
    check_close(gru[0].data, states);
    check_close(gru[1].data, {states[1]});
  }
}

TEST_CASE("reference: both directions of a GRU meet at the ends they started from") {
  Recurrent both{Recurrent::Kind::gru, Recurrent::Direction::both, 1, true};
  std::vector<Array> out = run_node({{3, 2, 1}, {1, 2, 3, 4, 5, 6}}, both,
                                    {{{2, 3, 1}, {.1f, .2f, .3f, .1f, .2f, .3f}}, {{2, 3, 1}, {.1f, .2f, .3f, .1f, .2f, .3f}}}, 2);
  CHECK(out[0].shape == Shape{3, 2, 2, 1});
  // Forward ends at t = 2, backward at t = 0.
  CHECK(out[1].data[0] == out[0].data[2 * 4 + 0]);
  CHECK(out[1].data[2] == out[0].data[0 * 4 + 2]);
  // Equal weights: the backward pass over a turned sequence is the forward pass.
  std::vector<Array> turned = run_node({{3, 2, 1}, {5, 6, 3, 4, 1, 2}}, both,
                                       {{{2, 3, 1}, {.1f, .2f, .3f, .1f, .2f, .3f}}, {{2, 3, 1}, {.1f, .2f, .3f, .1f, .2f, .3f}}}, 2);
  CHECK(out[1].data[0] == turned[1].data[2]);
}

TEST_CASE("reference: quantized values lie on their grid, saturate, and are seen dequantized") {
  Graph graph;
  ValueId x = graph.add_value({"x", ElementType::u8, {-1, 4}, Quantization{{0.5f}, {10}, 0}, nullptr});
  ValueId y = graph.add_node("double", Binary{Binary::Kind::mul}, {x, graph.add_constant("two", {1}, {2})});
  graph.value(y).type = ElementType::i8;
  graph.value(y).quantization = Quantization{{1.0f}, {0}, 0};
  ValueId z = graph.add_node("real", Dequantize{}, {y});
  graph.inputs = {x};
  graph.outputs = {y, z};
  REQUIRE(infer_shapes(graph).ok());
  CHECK(graph.value(y).type == ElementType::i8);
  CHECK(graph.value(z).type == ElementType::f32);
  Result<Reference> reference = Reference::open(graph);
  REQUIRE(reference.ok());
  std::vector<std::pair<ValueId, Array>> seen;
  auto result = reference->run({{{1, 4}, {0.6f, -100.0f, 1000.0f, std::nanf("")}}},
                               [&](ValueId id, const Array& array) { seen.emplace_back(id, array); });
  REQUIRE(result.ok());
  // 0.6 -> 0.5; -100 -> -5 (stored 0); 1000 -> 122.5 (stored 255), doubled 245 saturates at 127; not a number becomes zero.
  check_close(result->at(1).data, {1, -10, 127, 0});
  REQUIRE(seen.size() == 3);
  check_close(seen[0].second.data, {0.5f, -5.0f, 122.5f, 0.0f});
  CHECK(seen[1].first == y);
}

TEST_CASE("reference: any batch, the same answers; wrong inputs are named") {
  Graph graph;
  graph.inputs = {graph.add_value({"x", ElementType::f32, {-1, 2}, std::nullopt, nullptr})};
  graph.outputs = {graph.add_node("sum", Linear{}, {graph.inputs[0], graph.add_constant("w", {1, 2}, {1, 1})})};
  REQUIRE(infer_shapes(graph).ok());
  Result<Reference> reference = Reference::open(graph);
  REQUIRE(reference.ok());
  CHECK(reference->run({{{1, 2}, {1, 2}}})->at(0).data == std::vector<float>{3});
  CHECK(reference->run({{{3, 2}, {1, 2, 3, 4, 5, 6}}})->at(0).data == std::vector<float>{3, 7, 11});
  CHECK(reference->run({{{1, 2}, {1, 2}}})->at(0).shape == Shape{1, 1});
  for (const Array& wrong : {Array{{1, 3}, {1, 2, 3}}, Array{{0, 2}, {}}, Array{{2, 2}, {1, 2, 3}}, Array{{}, {1}}}) {
    auto refused = reference->run({wrong});
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::invalid);
    CHECK(refused.error().message.find("input 'x'") != std::string::npos);
  }
  CHECK_FALSE(reference->run({}).ok());
}

TEST_CASE("reference: a graph that needs more memory than is sane is refused before it takes it") {
  Graph graph;
  graph.inputs = {graph.add_value({"x", ElementType::f32, {-1, 1}, std::nullopt, nullptr})};
  graph.outputs = {graph.add_node("wide", Pad{{0, 0}, {0, 1 << 20}}, graph.inputs)};
  REQUIRE(infer_shapes(graph).ok());
  auto result = Reference::open(graph)->run({{{1024, 1}, std::vector<float>(1024)}});
  REQUIRE_FALSE(result.ok());
  INFO(result.error().message);
  CHECK(result.error().message.find("wide") != std::string::npos);
}
