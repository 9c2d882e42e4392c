#include "inference/frontends/onnx.h"

#include "tests/inference/frontend_support.h"
#include "tests/inference/onnx_file.h"
#include "tests/support/real_data.h"

using namespace skerry;
using namespace skerry::inference::graph;
using inference::frontends::from_onnx;
using skerry::test::answers;
using skerry::test::check_close;
using skerry::test::must_read;
using skerry::test::OnnxFile;
using skerry::test::random_array;

namespace {

std::string refusal(const std::string& file) {
  Result<Graph> graph = from_onnx(std::as_bytes(std::span(file)));
  REQUIRE_FALSE(graph.ok());
  return graph.error().message;
}

std::vector<float> run(OnnxFile& file, const Array& input) { return answers(must_read(from_onnx, file.bytes()), {input})[0].data; }

}  // namespace

TEST_CASE("onnx: a small network with a fixed batch of one takes any batch") {
  OnnxFile file;
  file.input("x", {1, 2, 4}).output("y");
  file.floats("w", {3, 2, 3}, random_array({3, 2, 3}, 1).data).floats("b", {3}, {1, 2, 3});
  file.node("Conv", {"x", "w", "b"}, {"c"}).with("pads", std::vector<int64_t>{1, 1}).with("kernel_shape", std::vector<int64_t>{3});
  file.node("Relu", {"c"}, {"r"});
  file.node("GlobalAveragePool", {"r"}, {"p"});
  file.ints("flat", {1, 3}).node("Reshape", {"p", "flat"}, {"f"});
  file.floats("head", {3, 2}, {1, 0, 0, 1, 1, 1}).floats("hb", {2}, {0, 10}).node("Gemm", {"f", "head", "hb"}, {"y"});
  Graph graph = must_read(from_onnx, file.bytes());
  CHECK(graph.value(graph.inputs[0]).shape == Shape{-1, 2, 4});
  CHECK(graph.value(graph.outputs[0]).shape == Shape{-1, 2});
  CHECK(graph.nodes.size() == 5);
  Array one = random_array({1, 2, 4}, 2), two = random_array({1, 2, 4}, 3), both{{2, 2, 4}, one.data};
  both.data.insert(both.data.end(), two.data.begin(), two.data.end());
  std::vector<float> first = answers(graph, {one})[0].data, second = answers(graph, {two})[0].data;
  first.insert(first.end(), second.begin(), second.end());
  check_close(answers(graph, {both})[0].data, first);
}

TEST_CASE("onnx: a network that was unrolled over time keeps one copy of the weights that its steps share") {
  OnnxFile file;
  file.input("x0", {1, 100}).output("x999").floats("w", {100, 100}, std::vector<float>(10000, 0.01f));
  for (int i = 0; i < 999; ++i) file.node("Gemm", {"x" + std::to_string(i), "w"}, {"x" + std::to_string(i + 1)});
  Graph graph = must_read(from_onnx, file.bytes());
  CHECK(graph.nodes.size() == 999);
  CHECK(graph.values.size() == 1001);
  CHECK(answers(graph, {{{1, 100}, std::vector<float>(100, 1)}})[0].data[0] == Approx(1));
}

TEST_CASE("onnx: shape calculations disappear") {
  OnnxFile file;  // x.view(x.size(0), -1), as PyTorch exports it
  file.input("x", {-1, 2, 3}).output("y");
  file.node("Shape", {"x"}, {"s"}).scalar("zero", 0).node("Gather", {"s", "zero"}, {"n"}).with("axis", 0);
  file.ints("axes", {0}).node("Unsqueeze", {"n", "axes"}, {"n1"}).ints("rest", {-1});
  file.node("Concat", {"n1", "rest"}, {"target"}).with("axis", 0).node("Reshape", {"x", "target"}, {"y"});
  Graph graph = must_read(from_onnx, file.bytes());
  CHECK(graph.nodes.size() == 1);
  CHECK(graph.value(graph.outputs[0]).shape == Shape{-1, 6});
}

TEST_CASE("onnx: paddings that PyTorch writes as a calculation are paddings") {
  // torch.nn.functional.pad(x, (1, 2)): the list is extended with zeros, turned around and reordered in the file.
  OnnxFile file;
  file.input("x", {1, 2, 3}).output("y").ints("pads", {1, 2}).ints("four", {4}).floats("fill", {}, {7});
  int64_t zero = 0;
  file.node("ConstantOfShape", {"four"}, {"zeros"}).with_tensor("value", 7, {1}, &zero, 8);
  file.node("Concat", {"pads", "zeros"}, {"six"})
      .with("axis", 0)
      .ints("pairs", {-1, 2})
      .node("Reshape", {"six", "pairs"}, {"by_dimension"});
  file.ints("from", {-1}).ints("to", {INT64_MIN + 1}).ints("axis", {0}).ints("back", {-1});
  file.node("Slice", {"by_dimension", "from", "to", "axis", "back"}, {"turned"})
      .node("Transpose", {"turned"}, {"by_side"})
      .with("perm", std::vector<int64_t>{1, 0});
  file.ints("flat", {-1}).node("Reshape", {"by_side", "flat"}, {"list"}).node("Cast", {"list"}, {"list64"}).with("to", 7);
  file.node("Pad", {"x", "list64", "fill"}, {"y"}).with("mode", "constant");
  check_close(run(file, {{1, 2, 3}, {1, 2, 3, 4, 5, 6}}), {7, 1, 2, 3, 7, 7, 7, 4, 5, 6, 7, 7});
}

TEST_CASE("onnx: operators mean what their specification says") {
  Array x{{1, 2, 4}, {1, -2, 3, -4, 5, 6, -7, 8}};
  OnnxFile file;
  file.input("x", {1, 2, 4}).output("y");
  SECTION("MaxPool with ceil_mode") {
    file.node("MaxPool", {"x"}, {"y"})
        .with("kernel_shape", std::vector<int64_t>{3})
        .with("strides", std::vector<int64_t>{2})
        .with("ceil_mode", 1);
    check_close(run(file, x), {3, 3, 6, 8});
  }
  SECTION("AveragePool, SAME_UPPER") {
    file.node("AveragePool", {"x"}, {"y"}).with("kernel_shape", std::vector<int64_t>{2}).with("auto_pad", "SAME_UPPER");
    check_close(run(file, x), {-0.5, 0.5, -0.5, -4, 5.5, -0.5, 0.5, 8});
  }
  SECTION("AveragePool that counts its padding") {
    file.node("AveragePool", {"x"}, {"y"}).with("kernel_shape", std::vector<int64_t>{2}).with("strides", std::vector<int64_t>{2});
    file.with("pads", std::vector<int64_t>{1, 1}).with("count_include_pad", 1);
    check_close(run(file, x), {0.5, 0.5, -2, 2.5, -0.5, 4});
  }
  SECTION("Clip from operands") {
    file.floats("low", {}, {-1}).floats("high", {}, {4}).node("Clip", {"x", "low", "high"}, {"y"});
    check_close(run(file, x), {1, -1, 3, -1, 4, 4, -1, 4});
  }
  SECTION("Clip from below alone") {
    file.floats("low", {}, {2}).node("Clip", {"x", "low"}, {"y"});
    check_close(run(file, x), {2, 2, 3, 2, 5, 6, 2, 8});
  }
  SECTION("PRelu per channel") {
    file.floats("slope", {2, 1}, {0.5f, 2}).node("PRelu", {"x", "slope"}, {"y"});
    check_close(run(file, x), {1, -1, 3, -2, 5, 6, -14, 8});
  }
  SECTION("Split and Concat turn halves around") {
    file.node("Split", {"x"}, {"a", "b"}).with("axis", 2).node("Concat", {"b", "a"}, {"y"}).with("axis", -1);
    check_close(run(file, x), {3, -4, 1, -2, -7, 8, 5, 6});
  }
  SECTION("Gather picks one, or several") {
    file.scalar("last", -1).node("Gather", {"x", "last"}, {"one"}).with("axis", 2).ints("some", {1, 0, 1});
    file.node("Gather", {"one", "some"}, {"y"}).with("axis", 1);
    check_close(run(file, x), {8, -4, 8});
  }
  SECTION("Slice with a step, from the end") {
    file.ints("from", {-3})
        .ints("to", {INT64_MAX})
        .ints("axes", {2})
        .ints("steps", {2})
        .node("Slice", {"x", "from", "to", "axes", "steps"}, {"y"});
    check_close(run(file, x), {-2, -4, 6, 8});
  }
  SECTION("ReduceMean over the last axis, Squeeze, Unsqueeze") {
    file.node("ReduceMean", {"x"}, {"m"}).with("axes", std::vector<int64_t>{-1}).ints("two", {2}).node("Squeeze", {"m", "two"}, {"s"});
    file.ints("one", {1}).node("Unsqueeze", {"s", "one"}, {"y"});
    check_close(run(file, x), {-0.5, 3});
  }
  SECTION("layer normalisation, written out") {
    file.node("ReduceMean", {"x"}, {"m"}).with("axes", std::vector<int64_t>{-1}).node("Sub", {"x", "m"}, {"d"}).floats("two", {}, {2});
    file.node("Pow", {"d", "two"}, {"q"}).node("ReduceMean", {"q"}, {"v"}).with("axes", std::vector<int64_t>{-1}).floats("e", {}, {1e-5f});
    file.node("Add", {"v", "e"}, {"ve"}).node("Sqrt", {"ve"}, {"s"}).node("Div", {"d", "s"}, {"y"});
    CHECK(std::holds_alternative<LayerNorm>(must_read(from_onnx, file.bytes()).nodes.at(0).operation));
    OnnxFile whole(17);
    whole.input("x", {1, 2, 4}).output("y").floats("scale", {4}, {1, 1, 1, 1}).node("LayerNormalization", {"x", "scale"}, {"y"});
    check_close(run(file, x), run(whole, x));
  }
  SECTION("layer normalisation, written out with scale and shift; its deviation is needed elsewhere too") {
    file.output("d").node("ReduceMean", {"x"}, {"m"}).with("axes", std::vector<int64_t>{-1}).node("Sub", {"x", "m"}, {"d"});
    file.node("Mul", {"d", "d"}, {"q"}).node("ReduceMean", {"q"}, {"v"}).with("axes", std::vector<int64_t>{-1}).floats("e", {}, {1e-5f});
    file.node("Add", {"v", "e"}, {"ve"}).node("Sqrt", {"ve"}, {"s"}).node("Reciprocal", {"s"}, {"r"}).node("Mul", {"d", "r"}, {"n"});
    file.floats("g", {4}, {1, 2, 3, 4})
        .floats("b", {1, 1, 4}, {4, 3, 2, 1})
        .node("Mul", {"n", "g"}, {"ng"})
        .node("Add", {"b", "ng"}, {"y"});
    Graph graph = must_read(from_onnx, file.bytes());
    INFO(describe(graph));
    CHECK(graph.nodes.size() == 3);  // mean, sub, layer norm
    OnnxFile whole(17);
    whole.input("x", {1, 2, 4})
        .output("y")
        .floats("g", {4}, {1, 2, 3, 4})
        .floats("b", {4}, {4, 3, 2, 1})
        .node("LayerNormalization", {"x", "g", "b"}, {"y"});
    check_close(answers(graph, {x})[0].data, run(whole, x));
    check_close(answers(graph, {x})[1].data, {1.5f, -1.5f, 3.5f, -3.5f, 2, 3, -10, 5});
  }
  SECTION("gelu, written out in both ways") {
    file.floats("root", {}, {1.4142135f}).floats("one", {}, {1}).floats("half", {}, {0.5f});
    file.node("Div", {"x", "root"}, {"z"}).node("Erf", {"z"}, {"e"}).node("Add", {"e", "one"}, {"p"});
    OnnxFile late = file;
    late.node("Mul", {"x", "p"}, {"m"}).node("Mul", {"m", "half"}, {"y"});
    OnnxFile early = file;
    early.node("Mul", {"x", "half"}, {"h"}).node("Mul", {"h", "p"}, {"y"});
    std::vector<float> wanted;
    for (float v : x.data) wanted.push_back(0.5f * v * (1 + std::erf(v / std::sqrt(2.0f))));
    check_close(run(late, x), wanted);
    check_close(run(early, x), wanted);
    CHECK(must_read(from_onnx, early.bytes()).nodes.size() == 1);
    file.node("Relu", {"e"}, {"y"});
    CHECK(refusal(file.bytes()).find("(Erf, opset 13): is supported as part of gelu only") != std::string::npos);
  }
  SECTION("what only looks like layer normalisation stays what it is") {  // the squares are of x, not of its deviation
    file.node("ReduceMean", {"x"}, {"m"}).with("axes", std::vector<int64_t>{-1}).node("Sub", {"x", "m"}, {"d"});
    file.node("Mul", {"x", "x"}, {"q"}).node("ReduceMean", {"q"}, {"v"}).with("axes", std::vector<int64_t>{-1}).floats("e", {}, {1e-5f});
    file.node("Add", {"v", "e"}, {"ve"}).node("Sqrt", {"ve"}, {"s"}).node("Div", {"d", "s"}, {"y"});
    CHECK(must_read(from_onnx, file.bytes()).nodes.size() == 7);
  }
  SECTION("BatchNormalization, Dropout, Identity, Mul of constants") {
    file.floats("s", {2}, {2, 1}).floats("b", {2}, {0, 1}).floats("m", {2}, {1, 0}).floats("v", {2}, {4, 1});
    file.node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"n"})
        .with("epsilon", 0.0)
        .node("Dropout", {"n"}, {"d"})
        .node("Identity", {"d"}, {"i"});
    file.floats("k", {1}, {10}).node("Mul", {"k", "k"}, {"kk"}).node("Mul", {"i", "kk"}, {"y"});
    check_close(run(file, x), {0, -300, 200, -500, 600, 700, -600, 900});
    CHECK(must_read(from_onnx, file.bytes()).nodes.size() == 2);
  }
  SECTION("MatMul with constant weights, bias behind it") {
    file.floats("w", {4, 2}, {1, 0, 0, 1, 1, 0, 0, 1})
        .floats("b", {2}, {100, 200})
        .node("MatMul", {"x", "w"}, {"p"})
        .node("Add", {"p", "b"}, {"y"});
    check_close(run(file, x), {104, 194, 98, 214});
  }
}

TEST_CASE("onnx: recurrent layers, and states that are made of zeros for any batch") {
  OnnxFile file(14);
  const int64_t hidden = 2, width = 3;
  file.input("x", {5, 1, width}).output("h");
  Array w = random_array({1, 3 * hidden, width}, 1), r = random_array({1, 3 * hidden, hidden}, 2), b = random_array({1, 6 * hidden}, 3);
  file.floats("w", w.shape, w.data).floats("r", r.shape, r.data).floats("b", b.shape, b.data).ints("state", {1, 1, hidden});
  file.node("ConstantOfShape", {"state"}, {"zeros"});
  file.node("GRU", {"x", "w", "r", "b", "", "zeros"}, {"y", "h"}).with("hidden_size", hidden).with("linear_before_reset", 1);
  Graph graph = must_read(from_onnx, file.bytes());
  REQUIRE(graph.nodes.size() == 1);
  CHECK(graph.nodes[0].inputs[4] == kNoValue);
  CHECK(std::get<Recurrent>(graph.nodes[0].operation).reset_after);
  CHECK(answers(graph, {random_array({5, 1, width}, 4)})[0].data.size() == 2);
}

TEST_CASE("onnx: QuantizeLinear and DequantizeLinear become grids of values") {
  OnnxFile file;
  file.input("x", {1, 2, 3}).output("y").floats("xs", {}, {0.5f}).int8s("xz", {}, {3}).floats("ys", {}, {0.25f}).int8s("yz", {}, {-4});
  file.node("QuantizeLinear", {"x", "xs", "xz"}, {"xq"}).node("DequantizeLinear", {"xq", "xs", "xz"}, {"xd"});
  file.int8s("wq", {2, 2, 1}, {1, 2, 3, 4}).floats("ws", {2}, {0.5f, 0.1f}).int8s("wz", {2}, {0, 0});
  file.node("DequantizeLinear", {"wq", "ws", "wz"}, {"w"}).with("axis", 0);
  file.int32s("bq", {2}, {4, 100})
      .floats("bs", {2}, {0.25f, 0.05f})
      .int32s("bz", {2}, {0, 0})
      .node("DequantizeLinear", {"bq", "bs", "bz"}, {"b"})
      .with("axis", 0);
  file.node("Conv", {"xd", "w", "b"}, {"c"}).node("Relu", {"c"}, {"r"});
  file.node("QuantizeLinear", {"r", "ys", "yz"}, {"yq"}).node("DequantizeLinear", {"yq", "ys", "yz"}, {"y"});
  Graph graph = must_read(from_onnx, file.bytes());
  INFO(describe(graph));
  REQUIRE(graph.nodes.size() == 4);  // quantize, conv, relu, dequantize
  const Node& conv = graph.nodes[1];
  CHECK(graph.value(conv.inputs[0]).quantization == Quantization{{0.5f}, {3}, 0});
  CHECK(graph.value(conv.inputs[1]).type == ElementType::i8);
  CHECK(graph.value(conv.inputs[1]).quantization == Quantization{{0.5f, 0.1f}, {0, 0}, 0});
  CHECK(graph.value(conv.inputs[2]).type == ElementType::i32);
  CHECK(graph.value(graph.nodes[2].outputs[0]).quantization == Quantization{{0.25f}, {-4}, 0});
  CHECK(graph.value(graph.outputs[0]).type == ElementType::f32);
  // x on the grid of 0.5, channels 1 1.1 -1 and -1 2 40 (saturates at 62): w [[.5 1] [.3 .4]], b [1 5].
  std::vector<float> got = answers(graph, {{{1, 2, 3}, {1, 1.1f, -1, -1, 2, 80}}})[0].data;
  check_close(got, {0.5f, 3.5f, 32.75f, 5.0f, 6.0f, 29.5f});
}

TEST_CASE("onnx: a value that is also needed as it was gets a quantize node of its own") {
  OnnxFile file;
  file.input("x", {1, 2}).output("y").output("r").floats("s", {}, {1.0f}).int8s("z", {}, {0});
  file.node("Relu", {"x"}, {"r"}).node("QuantizeLinear", {"r", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"y"});
  std::vector<Array> out = answers(must_read(from_onnx, file.bytes()), {{{1, 2}, {0.4f, 2.6f}}});
  check_close(out[0].data, {0, 3});
  check_close(out[1].data, {0.4f, 2.6f});
}

TEST_CASE("onnx: QLinearConv is the same as its operands dequantized") {
  OnnxFile file;
  file.input("x", {1, 1, 3})
      .output("y")
      .floats("xs", {}, {0.5f})
      .int8s("xz", {}, {0})
      .floats("ws", {1}, {0.5f})
      .int8s("wz", {1}, {0})
      .floats("ys", {}, {1.0f});
  file.int8s("yz", {}, {1}).int8s("w", {1, 1, 2}, {2, 4}).int32s("b", {1}, {8});
  file.node("QuantizeLinear", {"x", "xs", "xz"}, {"q"}).node("QLinearConv", {"q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"}, {"c"});
  file.node("DequantizeLinear", {"c", "ys", "yz"}, {"y"});
  check_close(run(file, {{1, 1, 3}, {1, 2, 3}}), {1 + 4 + 2, 2 + 6 + 2});
}

TEST_CASE("onnx: what is missing names itself, its node and the opset") {
  OnnxFile file(12);
  file.input("x", {1, 2, 4, 4}).output("y");
  file.node("NonMaxSuppression", {"x"}, {"y"});
  std::string message = refusal(file.bytes());
  CHECK(message == "operator NonMaxSuppression (opset 12) of node 'NonMaxSuppression_1' is not supported");
  file.graph().mutable_node(0)->set_domain("com.example");
  CHECK(refusal(file.bytes()).find("domain com.example") != std::string::npos);
}

TEST_CASE("onnx: files that can't be trusted are refused with the reason") {
  OnnxFile file;
  file.input("x", {1, 2}).output("y");
  SECTION("not a file of this kind") { CHECK(refusal("This is a text, not a model.").find("no ONNX file") != std::string::npos); }
  SECTION("empty") { CHECK(refusal("").find("is it an ONNX file") != std::string::npos); }
  SECTION("too new") {
    file.model().mutable_opset_import(0)->set_version(18);
    CHECK(refusal(file.bytes()).find("opset 18") != std::string::npos);
  }
  SECTION("data in another file") {
    file.floats("w", {2, 2}, {1, 2, 3, 4}).node("Add", {"x", "w"}, {"y"});
    file.graph().mutable_initializer(0)->set_data_location(1);
    CHECK(refusal(file.bytes()).find("'w' lies in another file") != std::string::npos);
  }
  SECTION("a shape that promises more than the file holds") {
    file.floats("w", {1 << 14, 1 << 13}, {1, 2, 3, 4}).node("Add", {"x", "w"}, {"y"});
    CHECK(refusal(file.bytes()).find("has 16 bytes, its shape needs 536870912") != std::string::npos);
  }
  SECTION("a shape that overflows") {
    file.floats("w", {INT64_MAX, INT64_MAX}, {1}).node("Add", {"x", "w"}, {"y"});
    CHECK(refusal(file.bytes()).find("negative or over") != std::string::npos);
  }
  SECTION("a constant that would be made huge") {
    file.ints("s", {1 << 20, 1 << 10}).node("ConstantOfShape", {"s"}, {"c"}).node("Add", {"x", "c"}, {"y"});
    CHECK(refusal(file.bytes()).find("makes a constant of") != std::string::npos);
  }
  SECTION("a padding that would be huge") {
    file.ints("p", {0, 1 << 20, 0, 1 << 20})
        .node("Pad", {"x", "p"}, {"a"})
        .node("Transpose", {"a"}, {"b"})
        .node("MatMul", {"b", "a"}, {"y"});
    CHECK(refusal(file.bytes()).find("node 'MatMul_3'") != std::string::npos);
  }
  SECTION("a cycle") {
    file.node("Add", {"x", "b"}, {"a"}).node("Relu", {"a"}, {"b"}).node("Relu", {"b"}, {"y"});
    CHECK(refusal(file.bytes()).find("input 'b' is never computed") != std::string::npos);
  }
  SECTION("a name with two makers") {
    file.node("Relu", {"x"}, {"y"}).node("Tanh", {"x"}, {"y"});
    CHECK(refusal(file.bytes()).find("computed twice") != std::string::npos);
  }
  SECTION("a million empty nodes") {
    std::string bomb = file.bytes(), nodes;
    for (int i = 0; i < (1 << 20); ++i) nodes += std::string("\x0a\x00", 2);
    std::string graph = file.graph().SerializeAsString() + nodes;
    onnx_ir::ModelProto rest = file.model();
    rest.clear_graph();
    std::string length;
    for (size_t n = graph.size(); n > 0; n >>= 7) length += static_cast<char>((n & 127) | (n > 127 ? 128 : 0));
    CHECK(refusal(rest.SerializeAsString() + "\x3a" + length + graph).find("more than") != std::string::npos);
  }
  SECTION("constants that would grow with every use") {
    OnnxFile other;
    other.input("x0", {1, 100}).output("x999").floats("w", {100, 100}, std::vector<float>(10000, 0.01f));
    for (int i = 0; i < 999; ++i) {
      other.node("Gemm", {"x" + std::to_string(i), "w"}, {"x" + std::to_string(i + 1)}).with("alpha", 2.0);
    }
    CHECK(refusal(other.bytes()).find("grow far beyond its file") != std::string::npos);
  }
  SECTION("unknown dimensions beside the batch") {
    OnnxFile other;
    other.input("x", {-1, 2, -1}).output("y").node("Relu", {"x"}, {"y"});
    CHECK(refusal(other.bytes()).find("beside the batch") != std::string::npos);
  }
  SECTION("names that are no text") {
    file.node(std::string("\xff\x00\n'", 4), {"x"}, {"y"});
    std::string message = refusal(file.bytes());
    CHECK(std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; }));
  }
}

TEST_CASE("onnx: the networks of MLPerf Tiny, fp32 and int8, agree with each other") {
  std::filesystem::path folder = skerry::test::real_data("mlperf-tiny");
  if (folder.empty()) return;
  struct Pair {
    const char *fp32, *int8, *u8;
    Shape input;
    float low, high;  // what the network was trained on
    double distance;
  };
  const Pair pairs[] = {{"kws_fp32", "kws_int8_qdq", "kws_u8act_qdq", {2, 1, 49, 10}, -1, 1, 0.25},
                        {"ic_resnet8_fp32", "ic_resnet8_int8_qdq", "ic_u8act_qdq", {2, 3, 32, 32}, 0, 255, 0.25},
                        {"vww_mobilenet_fp32", "vww_mobilenet_int8_qdq", "vww_u8act_qdq", {2, 3, 96, 96}, 0, 1, 0.25},
                        {"ad01_fp32", "ad01_int8_qdq", "ad01_u8act_qdq", {2, 640}, -20, 20, 0.25}};
  for (const Pair& pair : pairs) {
    INFO(pair.fp32);
    auto read = [&](const char* name) {
      return must_read(from_onnx, skerry::test::read_all(folder / "converted" / (std::string(name) + ".onnx")));
    };
    Graph fp32 = read(pair.fp32), int8 = read(pair.int8), u8 = read(pair.u8);
    CHECK(fp32.value(fp32.inputs[0]).shape[0] == -1);
    CHECK(int8.value(int8.inputs[0]).shape[0] == -1);
    Array x = random_array(pair.input, 7, pair.low, pair.high);
    std::vector<float> exact = answers(fp32, {x})[0].data;
    double from_int8 = skerry::test::distance(answers(int8, {x})[0].data, exact);
    double from_u8 = skerry::test::distance(answers(u8, {x})[0].data, exact);
    std::cout << pair.fp32 << ": int8 is " << from_int8 << " away, with uint8 activations " << from_u8 << "\n";
    CHECK(from_int8 < pair.distance);
    CHECK(from_u8 < pair.distance);
  }
}

TEST_CASE("onnx: MLPerf Tiny's own ONNX files are the same networks as the converted ones") {
  std::filesystem::path folder = skerry::test::real_data("mlperf-tiny");
  if (folder.empty()) return;
  auto read = [&](const char* name) { return must_read(from_onnx, skerry::test::read_all(folder / name)); };
  Array image = random_array({1, 3, 32, 32}, 1, 0, 255), person = random_array({1, 3, 96, 96}, 2, 0, 1);
  CHECK(skerry::test::distance(answers(read("models/pretrainedResnet.onnx"), {image})[0].data,
                               answers(read("converted/ic_resnet8_fp32.onnx"), {image})[0].data) < 1e-4);
  CHECK(skerry::test::distance(answers(read("models/vww_96_float.onnx"), {person})[0].data,
                               answers(read("converted/vww_mobilenet_fp32.onnx"), {person})[0].data) < 1e-4);
}
