#include "inference/frontends/tflite.h"

#include "inference/frontends/internal/tflite_model.h"
#include "inference/frontends/onnx.h"
#include "tests/inference/frontend_support.h"
#include "tests/inference/tflite_file.h"
#include "tests/support/real_data.h"

using namespace skerry;
using namespace skerry::inference::graph;
using namespace skerry::inference::frontends;
using skerry::test::answers;
using skerry::test::check_close;
using skerry::test::must_read;
using skerry::test::random_array;
using skerry::test::TfliteFile;

namespace {

std::string refusal(const std::string& file) {
  Result<Graph> graph = from_tflite(std::as_bytes(std::span(file)));
  REQUIRE_FALSE(graph.ok());
  return graph.error().message;
}

Array run(const std::string& file, const Array& input) { return answers(must_read(from_tflite, file), {input})[0]; }

size_t transposes(const Graph& graph) {
  return static_cast<size_t>(
      std::count_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return std::holds_alternative<Transpose>(n.operation); }));
}

// [n, c, h, w] -> [n, h, w, c]
Array channels_last(const Array& x) {
  const int64_t c = x.shape[1], h = x.shape[2], w = x.shape[3];
  Array out{{x.shape[0], h, w, c}, std::vector<float>(x.data.size())};
  for (int64_t i = 0; i < static_cast<int64_t>(x.data.size()); ++i) {
    const int64_t column = i % w, row = i / w % h, channel = i / w / h % c, n = i / w / h / c;
    out.data[static_cast<size_t>(((n * h + row) * w + column) * c + channel)] = x.data[static_cast<size_t>(i)];
  }
  return out;
}

}  // namespace

TEST_CASE("tflite: convolutions stay channels-first from one to the next") {
  TfliteFile file;
  int x = file.tensor("x", {1, 5, 4, 2});
  Array w1 = random_array({3, 3, 3, 2}, 1), b1 = random_array({3}, 2), w2 = random_array({1, 3, 3, 6}, 3), b2 = random_array({6}, 4);
  int conv = file.tensor("conv", {1, 5, 4, 3}), depthwise = file.tensor("depthwise", {1, 3, 2, 6}), mean = file.tensor("mean", {1, 6});
  int first = file.floats("w1", {3, 3, 3, 2}, w1.data), first_bias = file.floats("b1", {3}, b1.data);
  int second = file.floats("w2", {1, 3, 3, 6}, w2.data), second_bias = file.floats("b2", {6}, b2.data),
      axes = file.ints("axes", {2}, {1, 2});
  file.op(kConv2d, {x, first, first_bias}, {conv}, tflite_ir::CreateConv2D(file.fb(), 0, 1, 1, 1).Union());
  file.op(kDepthwiseConv2d, {conv, second, second_bias}, {depthwise}, tflite_ir::CreateDepthwiseConv2D(file.fb(), 0, 2, 2, 2, 3).Union());
  file.op(kMean, {depthwise, axes}, {mean}, tflite_ir::CreateReducer(file.fb(), false).Union());
  Graph graph = must_read(from_tflite, file.bytes({x}, {mean}));
  INFO(describe(graph));
  CHECK(transposes(graph) == 1);  // of the input
  CHECK(graph.value(graph.inputs[0]).shape == Shape{-1, 5, 4, 2});

  // By the book: out[y, x, o] = b[o] + sum in[y s + i - p, x s + j - p, c] w[o, i, j, c].
  Array in = random_array({1, 5, 4, 2}, 5);
  auto at = [](const Array& a, int64_t y, int64_t column, int64_t c) {
    if (y < 0 || column < 0 || y >= a.shape[1] || column >= a.shape[2]) return 0.0;
    return double{a.data[static_cast<size_t>((y * a.shape[2] + column) * a.shape[3] + c)]};
  };
  Array middle{{1, 5, 4, 3}, {}};
  for (int64_t i = 0; i < 60; ++i) {
    const int64_t o = i % 3, column = i / 3 % 4, row = i / 12;
    double sum = b1.data[static_cast<size_t>(o)];
    for (int64_t k = 0; k < 18; ++k)
      sum += at(in, row + k / 6 - 1, column + k / 2 % 3 - 1, k % 2) * w1.data[static_cast<size_t>(o * 18 + k)];
    middle.data.push_back(static_cast<float>(std::max(sum, 0.0)));
  }
  std::vector<float> wanted(6);
  for (int64_t i = 0; i < 36; ++i) {  // rows 5 -> 3: one row of padding on each side; columns 4 -> 2: one column at the end
    const int64_t o = i % 6, column = i / 6 % 2, row = i / 12;
    double sum = b2.data[static_cast<size_t>(o)];
    for (int64_t k = 0; k < 9; ++k)
      sum += at(middle, 2 * row + k / 3 - 1, 2 * column + k % 3, o / 2) * w2.data[static_cast<size_t>(k * 6 + o)];
    wanted[static_cast<size_t>(o)] += static_cast<float>(std::clamp(sum, 0.0, 6.0) / 6);
  }
  check_close(answers(graph, {in})[0].data, wanted, 1e-5);
}

TEST_CASE("tflite: a residual block needs no transposes inside; elementwise constants follow the layout") {
  TfliteFile file;
  int x = file.tensor("x", {1, 2, 2, 3}), conv = file.tensor("conv", {1, 2, 2, 3}), sum = file.tensor("sum", {1, 2, 2, 3}),
      out = file.tensor("out", {1, 2, 2, 3});
  int w = file.floats("w", {3, 1, 1, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1}), scale = file.floats("scale", {1, 1, 1, 3}, {1, 10, 100});
  file.op(kConv2d, {x, w, -1}, {conv}, tflite_ir::CreateConv2D(file.fb(), 1, 1, 1).Union());
  file.op(kAdd, {conv, x}, {sum}, tflite_ir::CreateActivated(file.fb(), 1).Union());
  file.op(kMul, {sum, scale}, {out});
  Graph graph = must_read(from_tflite, file.bytes({x}, {out}));
  INFO(describe(graph));
  CHECK(transposes(graph) == 2);  // of the input and of the output
  check_close(answers(graph, {{{1, 2, 2, 3}, {1, 2, 3, -1, -2, -3, 4, 5, 6, 0, 0, 1}}})[0].data,
              {2, 40, 600, 0, 0, 0, 8, 100, 1200, 0, 0, 200});
}

TEST_CASE("tflite: int8 keeps the file's own scales") {
  TfliteFile file;
  int x = file.tensor("x", {1, 3}, tflite_ir::TensorType_int8, {{0.5f}, {-1}});
  int y = file.tensor("y", {1, 2}, tflite_ir::TensorType_int8, {{0.25f}, {3}});
  int w = file.int8s("w", {2, 3}, {{0.1f, 0.2f}, {0, 0}, 0}, {1, 2, 3, 4, 5, -6});
  int32_t biases[] = {10, -20};
  int b = file.tensor("b", {2}, tflite_ir::TensorType_int32, {}, biases, sizeof(biases));
  file.op(kFullyConnected, {x, w, b}, {y}, tflite_ir::CreateFullyConnected(file.fb(), 1).Union());
  Graph graph = must_read(from_tflite, file.bytes({x}, {y}));
  CHECK(graph.value(graph.inputs[0]).quantization == Quantization{{0.5f}, {-1}, 0});
  CHECK(graph.value(graph.outputs[0]).quantization == Quantization{{0.25f}, {3}, 0});
  const Node& node = graph.nodes[0];
  CHECK(graph.value(node.inputs[2]).quantization == Quantization{{0.05f, 0.1f}, {0, 0}, 0});  // the file left it unsaid
  // x 1 2 3 -> .1 + .4 + .9 + .5 = 1.9 -> on the grid of .25: 2 (half to even); .8 + 2 - 3.6 - 2 < 0 -> relu.
  check_close(answers(graph, {{{1, 3}, {1, 2, 3}}})[0].data, {2.0f, 0.0f});
}

TEST_CASE("tflite: hybrid weights are dequantized where the input is float") {
  TfliteFile file;
  int x = file.tensor("x", {1, 2}), y = file.tensor("y", {1, 1});
  int w = file.int8s("w", {1, 2}, {{0.5f}, {0}}, {2, -4});
  file.op(kFullyConnected, {x, w, -1}, {y}, tflite_ir::CreateFullyConnected(file.fb()).Union());
  Graph graph = must_read(from_tflite, file.bytes({x}, {y}));
  CHECK(graph.value(graph.nodes[0].inputs[1]).type == ElementType::f32);
  check_close(answers(graph, {{{1, 2}, {3, 1}}})[0].data, {1});
}

TEST_CASE("tflite: half-precision weights are widened") {
  TfliteFile file;
  int x = file.tensor("x", {1, 4}), y = file.tensor("y", {1, 1}), wide = file.tensor("wide", {1, 4});
  uint16_t halves[] = {0x3c00, 0xc000, 0x3555, 0x0001};  // 1, -2, 0.333251953125, 2^-24
  int w = file.tensor("w", {1, 4}, tflite_ir::TensorType_float16, {}, halves, sizeof(halves));
  file.op(kDequantize, {w}, {wide});
  file.op(kFullyConnected, {x, wide, -1}, {y}, tflite_ir::CreateFullyConnected(file.fb()).Union());
  CHECK(run(file.bytes({x}, {y}), {{1, 4}, {1, 1, 3, 16777216}}).data[0] == Approx(1 - 2 + 0.999755859375 + 1));
}

TEST_CASE("tflite: pools, paddings, slices, joins and shapes") {
  TfliteFile file;
  int x = file.tensor("x", {1, 4, 4, 1});
  Array in{{1, 4, 4, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
  SECTION("AVERAGE_POOL_2D, SAME: padding is not counted") {
    int y = file.tensor("y", {1, 2, 2, 1});
    file.op(kAveragePool2d, {x}, {y}, tflite_ir::CreatePool2D(file.fb(), 0, 3, 3, 3, 3).Union());
    check_close(run(file.bytes({x}, {y}), in).data, {3.5f, 5.5f, 11.5f, 13.5f});
  }
  SECTION("PAD, MAX_POOL_2D, CONCATENATION along channels, CONV_2D") {
    int p = file.tensor("p", {1, 5, 4, 1}), m = file.tensor("m", {1, 2, 2, 1}), a = file.tensor("a", {1, 2, 2, 1}),
        c = file.tensor("c", {1, 2, 2, 2});
    int y = file.tensor("y", {1, 2, 2, 1}), pads = file.ints("pads", {4, 2}, {0, 0, 1, 0, 0, 0, 0, 0}),
        w = file.floats("w", {1, 1, 1, 2}, {1, 1000});
    file.op(kPad, {x, pads}, {p});
    file.op(kMaxPool2d, {p}, {m}, tflite_ir::CreatePool2D(file.fb(), 1, 2, 2, 2, 2).Union());
    file.op(kAveragePool2d, {p}, {a}, tflite_ir::CreatePool2D(file.fb(), 1, 2, 2, 2, 2).Union());
    file.op(kConcatenation, {m, a}, {c}, tflite_ir::CreateConcatenation(file.fb(), 3).Union());
    file.op(kConv2d, {c, w, -1}, {y}, tflite_ir::CreateConv2D(file.fb(), 0, 1, 1).Union());
    Graph graph = must_read(from_tflite, file.bytes({x}, {y}));
    CHECK(transposes(graph) == 0);  // one channel in, one out: reshapes do
    check_close(answers(graph, {in})[0].data, {2 + 750, 4 + 1750, 10 + 7500, 12 + 9500});
  }
  SECTION("STRIDED_SLICE that drops an axis, SPLIT, SUB") {
    int row = file.tensor("row", {1, 4, 1}), l = file.tensor("l", {1, 2, 1}), r = file.tensor("r", {1, 2, 1}),
        y = file.tensor("y", {1, 2, 1});
    int begin = file.ints("begin", {2}, {0, -1}), end = file.ints("end", {2}, {0, 0}), step = file.ints("step", {2}, {1, 1}),
        axis = file.ints("axis", {}, {1});
    file.op(kStridedSlice, {x, begin, end, step}, {row}, tflite_ir::CreateStridedSlice(file.fb(), 1, 1, 0, 0, 2).Union());
    file.op(kSplit, {axis, row}, {l, r});
    file.op(kSub, {r, l}, {y});
    check_close(run(file.bytes({x}, {y}), in).data, {2, 2});
  }
  SECTION("RESHAPE by a shape that the file calculates") {
    int s = file.tensor("s", {4}, tflite_ir::TensorType_int32), n = file.tensor("n", {}, tflite_ir::TensorType_int32),
        to = file.tensor("to", {2}, tflite_ir::TensorType_int32);
    int y = file.tensor("y", {1, 16}), zero = file.ints("zero", {1}, {0}), one = file.ints("one", {1}, {1}),
        width = file.ints("width", {}, {16});
    file.op(kShape, {x}, {s});
    file.op(kStridedSlice, {s, zero, one, one}, {n}, tflite_ir::CreateStridedSlice(file.fb(), 0, 0, 0, 0, 1).Union());
    file.op(kPack, {n, width}, {to});
    file.op(kReshape, {x, to}, {y});
    Graph graph = must_read(from_tflite, file.bytes({x}, {y}));
    CHECK(graph.nodes.size() == 1);
    CHECK(graph.value(graph.outputs[0]).shape == Shape{-1, 16});
  }
}

TEST_CASE("tflite: an LSTM layer is the same as its gates written down") {
  TfliteFile file;
  const int time = 3, width = 2, hidden = 2;
  int x = file.tensor("x", {1, time, width}), y = file.tensor("y", {1, time, hidden});
  std::vector<int> inputs = {x};
  std::vector<Array> w, r, b;
  for (uint32_t gate = 0; gate < 4; ++gate)
    w.push_back(random_array({hidden, width}, gate)), inputs.push_back(file.floats("w", {hidden, width}, w.back().data));
  for (uint32_t gate = 0; gate < 4; ++gate)
    r.push_back(random_array({hidden, hidden}, 10 + gate)), inputs.push_back(file.floats("r", {hidden, hidden}, r.back().data));
  for (int i = 0; i < 3; ++i) inputs.push_back(-1);
  for (uint32_t gate = 0; gate < 4; ++gate)
    b.push_back(random_array({hidden}, 20 + gate)), inputs.push_back(file.floats("b", {hidden}, b.back().data));
  inputs.insert(inputs.end(), {-1, -1, file.tensor("h", {1, hidden}), file.tensor("c", {1, hidden})});
  file.op(kSequenceLstm, inputs, {y}, tflite_ir::CreateSequenceLstm(file.fb(), 4).Union());
  Array in = random_array({1, time, width}, 30);
  double h[2] = {}, c[2] = {};
  std::vector<float> wanted;
  for (size_t t = 0; t < time; ++t) {
    double sums[4][2];
    for (size_t gate = 0; gate < 4; ++gate) {
      for (size_t i = 0; i < 2; ++i) {
        sums[gate][i] = b[gate].data[i];
        for (size_t k = 0; k < 2; ++k) sums[gate][i] += w[gate].data[2 * i + k] * in.data[2 * t + k] + r[gate].data[2 * i + k] * h[k];
      }
    }
    auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    for (size_t i = 0; i < 2; ++i) {  // gates of the file: i f c o
      c[i] = sigmoid(sums[1][i]) * c[i] + sigmoid(sums[0][i]) * std::tanh(sums[2][i]);
    }
    for (size_t i = 0; i < 2; ++i) {
      h[i] = sigmoid(sums[3][i]) * std::tanh(c[i]);
      wanted.push_back(static_cast<float>(h[i]));
    }
  }
  check_close(run(file.bytes({x}, {y}), in).data, wanted);
}

TEST_CASE("tflite: what is missing names itself") {
  TfliteFile file;
  int x = file.tensor("x", {1, 2, 2, 1}), y = file.tensor("magnified", {1, 4, 4, 1}), size = file.ints("size", {2}, {4, 4});
  file.op(23, {x, size}, {y});
  CHECK(refusal(file.bytes({x}, {y})) == "operator RESIZE_BILINEAR of 'magnified' is not supported");
}

TEST_CASE("tflite: files that can't be trusted are refused with the reason") {
  TfliteFile file;
  int x = file.tensor("x", {1, 2}), y = file.tensor("y", {1, 2});
  SECTION("not a file of this kind") { CHECK(refusal("This is a text, not a model.") == "this is no TensorFlow Lite file"); }
  SECTION("empty") { CHECK(refusal("") == "this is no TensorFlow Lite file"); }
  SECTION("cut off") {
    file.op(kRelu, {x}, {y});
    std::string whole = file.bytes({x}, {y});
    CHECK(refusal(whole.substr(0, whole.size() / 2)).find("damaged, or cut off") != std::string::npos);
  }
  SECTION("data that is shorter than its shape") {
    int w = file.floats("w", {1000, 1000}, {1, 2, 3});
    file.op(kAdd, {x, w}, {y});
    CHECK(refusal(file.bytes({x}, {y})).find("'w' has 12 bytes, its shape needs 4000000") != std::string::npos);
  }
  SECTION("a tensor that does not exist") {
    file.op(kAdd, {x, 77}, {y});
    CHECK(refusal(file.bytes({x}, {y})).find("refers to tensor 77") != std::string::npos);
  }
  SECTION("a cycle") {
    int a = file.tensor("a", {1, 2});
    file.op(kAdd, {x, y}, {a});
    file.op(kRelu, {a}, {y});
    CHECK(refusal(file.bytes({x}, {y})).find("input 'y' is never computed") != std::string::npos);
  }
  SECTION("a scale of nothing") {
    int q = file.tensor("q", {1, 2}, tflite_ir::TensorType_int8, {{0.0f}, {0}});
    file.op(kQuantize, {x}, {q});
    CHECK(refusal(file.bytes({x}, {q})).find("scale of 0") != std::string::npos);
  }
}

TEST_CASE("tflite: MLPerf Tiny's files give the same answers as the same networks in ONNX") {
  std::filesystem::path folder = skerry::test::real_data("mlperf-tiny");
  if (folder.empty()) return;
  struct Pair {
    const char *tflite, *onnx;
    Shape input;  // channels first
    float low, high;
    double distance;  // int8: rounding of the last step, fp32: of sums
  };
  // The hybrid model has been trained apart from the others: it has no partner.
  const Pair pairs[] = {{"kws_saved_model_fp32", "kws_fp32", {2, 1, 49, 10}, -1, 1, 1e-4},
                        {"pretrainedResnet", "ic_resnet8_fp32", {2, 3, 32, 32}, 0, 255, 1e-4},
                        {"vww_96_float", "vww_mobilenet_fp32", {2, 3, 96, 96}, 0, 1, 1e-4},
                        {"ad01_fp32", "ad01_fp32", {2, 640}, -20, 20, 1e-4},
                        {"pretrainedResnet_quant", "ic_resnet8_int8_qdq", {2, 3, 32, 32}, -128, 127, 0.3},
                        {"vww_96_int8", "vww_mobilenet_int8_qdq", {2, 3, 96, 96}, 0, 1, 0.1},
                        {"ad01_int8", "ad01_int8_qdq", {2, 640}, -20, 20, 0.1}};
  for (const Pair& pair : pairs) {
    INFO(pair.tflite);
    Graph tflite = must_read(from_tflite, skerry::test::read_all(folder / "models" / (std::string(pair.tflite) + ".tflite")));
    Graph onnx = must_read(from_onnx, skerry::test::read_all(folder / "converted" / (std::string(pair.onnx) + ".onnx")));
    CHECK(tflite.value(tflite.inputs[0]).shape[0] == -1);
    CHECK(transposes(tflite) <= 1);
    Array x = random_array(pair.input, 9, pair.low, pair.high);
    Array in = x.shape.size() == 4 ? channels_last(x) : x;
    double away = skerry::test::distance(answers(tflite, {in})[0].data, answers(onnx, {x})[0].data);
    std::cout << pair.tflite << ": " << away << " from " << pair.onnx << ".onnx\n";
    CHECK(away < pair.distance);
  }
}

TEST_CASE("tflite: every file of MLPerf Tiny is understood") {
  std::filesystem::path folder = skerry::test::real_data("mlperf-tiny");
  if (folder.empty()) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "models")) {
    if (entry.path().extension() != ".tflite") continue;
    INFO(entry.path());
    Graph graph = must_read(from_tflite, skerry::test::read_all(entry.path()));
    Shape shape = graph.value(graph.inputs[0]).shape;
    shape[0] = 3;
    Array out = answers(graph, {random_array(shape, 1)})[0];
    CHECK(out.shape[0] == 3);
    CHECK(std::all_of(out.data.begin(), out.data.end(), [](float v) { return std::isfinite(v); }));
  }
}
