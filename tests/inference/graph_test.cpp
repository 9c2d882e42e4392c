#include "inference/graph/graph.h"

#include <catch2/catch.hpp>

using namespace skerry;
using namespace skerry::inference::graph;

namespace {

// conv -> relu -> max pool -> mean over time -> linear, as our own small networks are.
struct Small {
  Graph graph;
  ValueId x, conv, pooled, mean, y;

  Small() {
    graph.source = "test";
    x = graph.add_value({"x", ElementType::f32, {-1, 3, 16}, std::nullopt, nullptr});
    graph.inputs = {x};
    ValueId w = graph.add_constant("w", {4, 3, 5}, std::vector<float>(60, 0.1f)), b = graph.add_constant("b", {4}, {1, 2, 3, 4});
    conv = graph.add_node("conv", Conv{{1}, {1}, {2}, {2}, 1, {Activation::relu}}, {x, w, b});
    pooled = graph.add_node("pool", Pool{Pool::Kind::max, {2}, {2}, {0}, {0}}, {conv});
    mean = graph.add_node("mean", Reduce{Reduce::Kind::mean, {2}, false}, {pooled});
    ValueId head = graph.add_constant("head", {2, 4}, std::vector<float>(8, 0.5f));
    y = graph.add_node("head", Linear{}, {mean, head, kNoValue});
    graph.outputs = {y};
  }
};

// The shape that one node makes of an input.
Result<Shape> shape_after(Shape input, Operation operation, std::vector<Shape> constants = {}) {
  Graph graph;
  std::vector<ValueId> inputs = {graph.add_value({"x", ElementType::f32, std::move(input), std::nullopt, nullptr})};
  graph.inputs = inputs;
  for (const Shape& shape : constants) {
    inputs.push_back(graph.add_constant("c", shape, std::vector<float>(static_cast<size_t>(elements(shape)), 1.0f)));
  }
  graph.outputs = {graph.add_node("node", std::move(operation), inputs)};
  SKERRY_TRY(infer_shapes(graph));
  SKERRY_TRY(check(graph));
  return graph.value(graph.outputs[0]).shape;
}

Shape must(Result<Shape> result) {
  INFO((result.ok() ? "" : result.error().message));
  REQUIRE(result.ok());
  return *result;
}

std::string refusal(Result<Shape> result) {
  REQUIRE_FALSE(result.ok());
  INFO(result.error().message);
  CHECK(result.error().message.find("node 'node'") == 0);
  return result.error().message;
}

constexpr int64_t kEnd = INT64_MAX;

}  // namespace

TEST_CASE("graph: shapes of a small network follow from its input, the batch stays unknown") {
  Small small;
  REQUIRE(infer_shapes(small.graph).ok());
  CHECK(small.graph.value(small.conv).shape == Shape{-1, 4, 16});
  CHECK(small.graph.value(small.pooled).shape == Shape{-1, 4, 8});
  CHECK(small.graph.value(small.mean).shape == Shape{-1, 4});
  CHECK(small.graph.value(small.y).shape == Shape{-1, 2});
  CHECK(check(small.graph).ok());
  std::string text = describe(small.graph);
  CHECK(text.find("conv: conv strides [1] dilations [1] pads [2] [2] groups 1 relu (x f32[-1, 3, 16]") != std::string::npos);
  CHECK(text.find("head: linear (mean f32[-1, 4], head f32[2, 4], -) -> head f32[-1, 2]") != std::string::npos);
}

TEST_CASE("graph: the unknown batch keeps its place through a recurrent network") {
  Graph graph;
  graph.inputs = {graph.add_value({"x", ElementType::f32, {-1, 7, 3}, std::nullopt, nullptr})};
  ValueId by_time = graph.add_node("by_time", Transpose{{1, 0, 2}}, graph.inputs);
  ValueId w = graph.add_constant("w", {1, 16, 3}, std::vector<float>(48)), r = graph.add_constant("r", {1, 16, 4}, std::vector<float>(64));
  ValueId all = graph.add_node("lstm", Recurrent{Recurrent::Kind::lstm, Recurrent::Direction::forward, 4}, {by_time, w, r});
  ValueId flat = graph.add_node("squeeze", Reshape{{7, -1, 4}}, {all});
  graph.outputs = {graph.add_node("last", Slice{{0}, {-1}, {INT64_MAX}, {1}}, {flat})};
  REQUIRE(infer_shapes(graph).ok());
  CHECK(graph.value(all).shape == Shape{7, 1, -1, 4});
  CHECK(graph.value(graph.outputs[0]).shape == Shape{1, -1, 4});
}

TEST_CASE("graph: every operation tells the shape of its output") {
  CHECK(must(shape_after({-1, 4, 9, 9}, Conv{{2, 2}, {1, 1}, {1, 1}, {1, 1}, 4}, {{8, 1, 3, 3}, {8}})) == Shape{-1, 8, 5, 5});
  CHECK(must(shape_after({-1, 4, 20}, Conv{{1}, {3}, {0}, {0}, 1}, {{8, 4, 3}})) == Shape{-1, 8, 14});
  CHECK(must(shape_after({-1, 7, 5}, Linear{}, {{3, 5}})) == Shape{-1, 7, 3});
  CHECK(must(shape_after({-1, 7, 5}, MatMul{}, {{5, 2}})) == Shape{-1, 7, 2});
  CHECK(must(shape_after({-1, 2, 8, 8}, Pool{Pool::Kind::average, {3, 3}, {2, 2}, {1, 1}, {1, 1}})) == Shape{-1, 2, 4, 4});
  CHECK(must(shape_after({-1, 2, 8}, Reduce{Reduce::Kind::max, {1, 2}, true})) == Shape{-1, 1, 1});
  CHECK(must(shape_after({-1, 2, 8}, Binary{}, {{2, 1}})) == Shape{-1, 2, 8});
  CHECK(must(shape_after({-1, 2}, Binary{}, {{3, 1, 2}})) == Shape{3, -1, 2});
  CHECK(must(shape_after({-1, 2}, Activate{{Activation::tanh}})) == Shape{-1, 2});
  CHECK(must(shape_after({-1, 2}, Unary{})) == Shape{-1, 2});
  CHECK(must(shape_after({-1, 2}, Softmax{})) == Shape{-1, 2});
  CHECK(must(shape_after({-1, 2, 3}, BatchNorm{}, {{2}, {2}, {2}, {2}})) == Shape{-1, 2, 3});
  CHECK(must(shape_after({-1, 2, 3}, LayerNorm{-2}, {{2, 3}, {2, 3}})) == Shape{-1, 2, 3});
  CHECK(must(shape_after({4, 2, 3}, Concat{1}, {{4, 5, 3}})) == Shape{4, 7, 3});
  CHECK(must(shape_after({-1, 2, 3}, Reshape{{-1, 6}})) == Shape{-1, 6});
  CHECK(must(shape_after({4, 2, 3}, Reshape{{2, -1}})) == Shape{2, 12});
  CHECK(must(shape_after({-1, 2, 3}, Transpose{{2, 0, 1}})) == Shape{3, -1, 2});
  CHECK(must(shape_after({-1, 2, 3}, Pad{{0, 1, 0}, {0, 0, 4}})) == Shape{-1, 3, 7});
  CHECK(must(shape_after({-1, 2, 9}, Slice{{2, 1}, {-4, 1}, {kEnd, 2}, {2, 1}})) == Shape{-1, 1, 2});
  CHECK(must(shape_after({7, 5, 3}, Recurrent{Recurrent::Kind::gru, Recurrent::Direction::both, 4}, {{2, 12, 3}, {2, 12, 4}, {2, 24}})) ==
        Shape{7, 2, 5, 4});
}

TEST_CASE("graph: what an operation can't take is refused with the node's name") {
  CHECK(refusal(shape_after({-1, 3, 9}, Conv{{1}, {1}, {0}, {0}, 2}, {{4, 2, 3}})).find("groups do not fit") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3, 9}, Conv{{0}, {1}, {0}, {0}, 1}, {{4, 3, 3}})).find("below 1") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3, 2}, Conv{{1}, {1}, {0}, {0}, 1}, {{4, 3, 3}})).find("beyond the input") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3, 9}, Conv{{1}, {kEnd}, {0}, {0}, 1}, {{4, 3, 3}})).find("one of them over") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3, 9}, Conv{{1}, {1}, {0}, {0}, 1}, {{4, 3, 3}, {5}})).find("the bias is [5], should be [4]") !=
        std::string::npos);
  CHECK(refusal(shape_after({-1, 3, 9}, Pool{Pool::Kind::max, {2}, {2}, {2}, {0}})).find("nothing but padding") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Reduce{Reduce::Kind::mean, {0}})).find("over the batch") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Reduce{Reduce::Kind::mean, {1, 1}})).find("ascend") != std::string::npos);
  CHECK(refusal(shape_after({4, 3}, Reshape{{5, 3}})).find("has other elements") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Reshape{{1, 3}})).find("fixes the batch") != std::string::npos);
  CHECK(refusal(shape_after({-1, 4, 3}, Reshape{{-1, 3}})).find("mixes the batch") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Binary{}, {{4}})).find("do not broadcast") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Softmax{0})).find("over the batch") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Softmax{2})).find("axis 2") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Transpose{{0, 0}})).find("no permutation") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Slice{{1}, {2}, {1}, {1}})).find("leaves nothing") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Slice{{1}, {0}, {kEnd}, {-1}})).find("step of -1") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Pad{{0, 1 << 19}, {0, 1 << 21}})).find("do not fit") != std::string::npos);
  CHECK(refusal(shape_after({1 << 15, 1 << 13}, Pad{{0, 0}, {0, 1 << 19}})).find("more than") != std::string::npos);
  CHECK(refusal(shape_after({-1, 3}, Activate{{Activation::clip, 1.0f, 0.0f}})).find("empty") != std::string::npos);
  CHECK(refusal(shape_after({3, 5, 3}, Recurrent{Recurrent::Kind::lstm, Recurrent::Direction::forward, 4}, {{1, 12, 3}, {1, 12, 4}}))
            .find("the weights is") != std::string::npos);
}

TEST_CASE("graph: a damaged graph is refused, whatever is wrong with it") {
  Small small;
  REQUIRE(infer_shapes(small.graph).ok());
  Graph& graph = small.graph;
  auto refused = [&](const char* why) {
    Status status = check(graph);
    REQUIRE_FALSE(status.ok());
    INFO(status.error().message);
    CHECK(status.error().message.find(why) != std::string::npos);
  };
  SECTION("an id that does not exist") {
    graph.nodes[1].inputs[0] = 4711;
    refused("node 'pool' (pool): an input does not exist");
  }
  SECTION("an output that does not exist") {
    graph.nodes[1].outputs[0] = 4711;
    refused("an output does not exist");
  }
  SECTION("nodes out of order") {
    std::swap(graph.nodes[0], graph.nodes[1]);
    refused("'conv' is used before it is computed");
  }
  SECTION("a value with two makers") {
    graph.nodes[1].outputs[0] = graph.nodes[0].outputs[0];
    refused("computed twice");
  }
  SECTION("a constant that is shorter than it says") {
    graph.values[1].shape = {4, 3, 6};
    refused("has 240 bytes");
  }
  SECTION("a constant whose size overflows") {
    graph.values[1].shape = {INT64_MAX, INT64_MAX, 2};
    refused("has 240 bytes");
  }
  SECTION("a shape that its node does not give") {
    graph.value(small.pooled).shape = {-1, 4, 9};
    refused("says f32 [-1, 4, 9], its node gives f32 [-1, 4, 8]");
  }
  SECTION("a scale of nothing") {
    graph.value(small.conv).type = ElementType::i8;
    graph.value(small.conv).quantization = Quantization{{0.0f}, {0}, 0};
    refused("scale of 0");
  }
  SECTION("a zero point beyond its type") {
    graph.value(small.conv).type = ElementType::u8;
    graph.value(small.conv).quantization = Quantization{{0.1f}, {-1}, 0};
    refused("zero point of -1");
  }
  SECTION("scales that don't fit the axis") {
    graph.value(small.conv).type = ElementType::i8;
    graph.value(small.conv).quantization = Quantization{{0.1f, 0.2f}, {0, 0}, 1};
    refused("2 scales on axis 1");
  }
  SECTION("no outputs") {
    graph.outputs.clear();
    refused("no inputs or no outputs");
  }
  SECTION("an unknown dimension that is not the batch") {
    graph.value(small.x).shape = {1, 3, -1};
    refused("only the first dimension may be unknown");
  }
}

TEST_CASE("graph: quantized constants become the real numbers that they stand for") {
  auto bytes =
      std::make_shared<std::vector<std::byte>>(std::vector<std::byte>{std::byte{1}, std::byte{0xff}, std::byte{10}, std::byte{20}});
  Value value{"w", ElementType::i8, {2, 2}, Quantization{{0.5f, 2.0f}, {0, 10}, 0}, bytes};
  CHECK(real_values(value) == std::vector<float>{0.5f, -0.5f, 0.0f, 20.0f});
  value.quantization->axis = 1;
  CHECK(real_values(value) == std::vector<float>{0.5f, -22.0f, 5.0f, 20.0f});
}
