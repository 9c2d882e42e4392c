#include "tests/bench/inference_models.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <numeric>

#include "base/file.h"
#include "base/random.h"
#include "inference/frontends/onnx.h"
#include "tests/e2e/support/process.h"
#include "tests/inference/onnx_file.h"
#include "tests/support/real_data.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kModelBytesMax = 64 << 20;

std::vector<float> weights(Random& random, size_t count, double size) {
  std::vector<float> out(count);
  for (float& v : out) v = static_cast<float>(random.normal() * size);
  return out;
}

// Three convolutions, two poolings, a mean and a linear layer on windows [9, 128], as for human activities.
std::string har_file() {
  Random random(17);
  test::OnnxFile file;
  file.input("input", {-1, 9, 128}).output("scores");
  int64_t in = 9;
  std::string x = "input";
  for (int64_t layer = 1; const int64_t out : {64, 64, 128}) {
    const std::string n = std::to_string(layer);
    file.floats("w" + n, {out, in, 5}, weights(random, static_cast<size_t>(out * in * 5), std::sqrt(2.0 / static_cast<double>(in * 5))));
    file.floats("b" + n, {out}, weights(random, static_cast<size_t>(out), 0.1));
    file.node("Conv", {x, "w" + n, "b" + n}, {"c" + n}).with("kernel_shape", std::vector<int64_t>{5}).with("pads", std::vector<int64_t>{2, 2});
    file.node("Relu", {"c" + n}, {"r" + n});
    x = "r" + n;
    if (layer < 3) file.node("MaxPool", {x}, {"p" + n}).with("kernel_shape", std::vector<int64_t>{2}).with("strides", std::vector<int64_t>{2});
    if (layer < 3) x = "p" + n;
    in = out;
    ++layer;
  }
  file.floats("w", {6, 128}, weights(random, 6 * 128, 0.2)).floats("b", {6}, weights(random, 6, 0.1));
  file.node("ReduceMean", {x}, {"mean"}).with("axes", std::vector<int64_t>{2}).with("keepdims", 0);
  file.node("Gemm", {"mean", "w", "b"}, {"scores"}).with("transB", 1);
  return file.bytes();
}

// A picture as "dead leaves" (Lee, Mumford and Huang 2001): opaque discs over each other, their sizes by an inverse cube, which has the
// statistics of photographs: edges, flat regions, objects of all sizes. Bytes, as cameras give them, on [0, top].
std::vector<float> picture(Random& random, int64_t size, double top) {
  struct Leaf {
    double colour[3], across, down, grain;
  };
  constexpr size_t kLeavesMax = 3000;
  const auto pixels = static_cast<size_t>(size * size);
  const double edge = static_cast<double>(size), least = edge / 32, most = edge / 2, light = random.uniform(0.4, 1.0);
  std::vector<int> owner(pixels, -1);
  std::vector<Leaf> leaves;
  for (size_t open = pixels; open > 0 && leaves.size() < kLeavesMax;) {  // the front ones first
    const double share = random.uniform(0, 1), radius = 1 / std::sqrt(1 / (least * least) - share * (1 / (least * least) - 1 / (most * most)));
    const double x = random.uniform(-most, edge + most), y = random.uniform(-most, edge + most), grey = random.uniform(0.05, 0.95);
    Leaf leaf{};
    for (double& c : leaf.colour) c = std::clamp(grey + 0.12 * random.normal(), 0.0, 1.0);
    const double slope = random.uniform(0, 0.5) / edge, direction = random.uniform(0, 6.2832);  // of the light on it
    leaf.across = slope * std::cos(direction);
    leaf.down = slope * std::sin(direction);
    leaf.grain = random.uniform(0, 0.05);
    for (int64_t row = std::max<int64_t>(0, std::lround(y - radius)); row < size && static_cast<double>(row) <= y + radius; ++row) {
      for (int64_t column = std::max<int64_t>(0, std::lround(x - radius)); column < size && static_cast<double>(column) <= x + radius; ++column) {
        const double dx = static_cast<double>(column) - x, dy = static_cast<double>(row) - y;
        int& pixel = owner[static_cast<size_t>(row * size + column)];
        if (pixel >= 0 || dx * dx + dy * dy > radius * radius) continue;
        pixel = static_cast<int>(leaves.size());
        --open;
      }
    }
    leaves.push_back(leaf);
  }
  std::vector<float> out(3 * pixels);
  for (size_t i = 0; i < pixels; ++i) {
    const Leaf& leaf = leaves[static_cast<size_t>(std::max(owner[i], 0))];
    const double column = static_cast<double>(i % static_cast<size_t>(size)) - edge / 2, row = static_cast<double>(i / static_cast<size_t>(size)) - edge / 2,
                 shade = leaf.across * column + leaf.down * row + leaf.grain * random.normal();
    for (size_t c = 0; c < 3; ++c) {
      out[c * pixels + i] = static_cast<float>(std::round(std::clamp(light * (leaf.colour[c] + shade), 0.0, 1.0) * 255) / 255 * top);
    }
  }
  return out;
}

bool is_picture(const BenchModel& model) { return model.shape.size() == 3 && model.shape[0] == 3 && model.shape[1] == model.shape[2]; }

}  // namespace

Result<std::vector<BenchModel>> bench_models(const fs::path& work) {
  const fs::path folder = work / "har";
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  SKERRY_TRY(write_file_atomic(folder / "har.onnx", har_file()));
  BenchModel har{"har", {9, 128}, -2, 2, true, folder / "har.onnx", {folder / "har.onnx"}, {}, {}};
  const std::string command = fmt::format("{} {} har 1", (e2e::program_folder() / "inference_make_test_package").string(), (folder / "torch").string());
  if (std::system(command.c_str()) == 0) har.torch_peers = {folder / "torch/model.pt", folder / "torch/model.int8.pt"};

  std::vector<BenchModel> out = {har};
  const fs::path data = test::real_data("mlperf-tiny");
  if (data.empty()) return out;
  const fs::path c = data / "converted", m = data / "models";
  out.push_back({"kws", {1, 49, 10}, -120, 25, true, c / "kws_fp32.onnx", {c / "kws_fp32.onnx", c / "kws_int8_qdq.onnx", c / "kws_u8act_qdq.onnx"},
                 {m / "kws_ref_model.tflite", m / "kws_saved_model_fp32.tflite"}, {c / "kws_fp32.pt", c / "kws_int8_torch_onednn.pt"}});
  out.push_back({"ic", {3, 32, 32}, 0, 255, true, c / "ic_resnet8_fp32.onnx",
                 {c / "ic_resnet8_fp32.onnx", c / "ic_resnet8_int8_qdq.onnx", c / "ic_u8act_qdq.onnx"},
                 {m / "pretrainedResnet.tflite", m / "pretrainedResnet_quant.tflite"}, {c / "ic_resnet8_fp32.pt"}});
  out.push_back({"vww", {3, 96, 96}, 0, 1, true, c / "vww_mobilenet_fp32.onnx",
                 {c / "vww_mobilenet_fp32.onnx", c / "vww_mobilenet_int8_qdq.onnx", c / "vww_u8act_qdq.onnx"},
                 {m / "vww_96_float.tflite", m / "vww_96_int8.tflite"}, {c / "vww_mobilenet_fp32.pt"}});
  out.push_back({"ad", {640}, -85, 15, false, c / "ad01_fp32.onnx", {c / "ad01_fp32.onnx", c / "ad01_int8_qdq.onnx", c / "ad01_u8act_qdq.onnx"},
                 {m / "ad01_fp32.tflite", m / "ad01_int8.tflite"}, {c / "ad01_fp32.pt"}});
  return out;
}

Result<inference::graph::Graph> read_onnx(const fs::path& file) {
  SKERRY_ASSIGN(std::string bytes, read_file(file, kModelBytesMax));
  return inference::frontends::from_onnx({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
}

inference::graph::Array realistic_samples(const BenchModel& model, int64_t count, uint64_t seed) {
  Random random(seed);
  inference::graph::Array out;
  out.shape = model.shape;
  out.shape.insert(out.shape.begin(), count);
  if (is_picture(model)) {
    for (int64_t i = 0; i < count; ++i) {
      const std::vector<float> one = picture(random, model.shape[1], model.high);
      out.data.insert(out.data.end(), one.begin(), one.end());
    }
    return out;
  }
  const int64_t row = model.shape.back(), rows = std::accumulate(model.shape.begin(), model.shape.end() - 1, count, std::multiplies<>());
  const double middle = (double{model.low} + model.high) / 2, reach = (double{model.high} - model.low) / 2;
  constexpr double kKept = 0.85;  // of a neighbour
  std::vector<double> above(static_cast<size_t>(row), 0.0);
  double level = 0, contrast = 1;
  for (int64_t r = 0; r < rows; ++r) {
    if (r % (rows / count) == 0) {  // a new sample: as bright or dark, flat or rich, as they come
      level = random.uniform(-0.7, 0.7);
      contrast = random.uniform(0.2, 1.0);
      std::fill(above.begin(), above.end(), 0.0);
    }
    double left = 0;
    for (size_t i = 0; i < static_cast<size_t>(row); ++i) {
      left = (kKept * (i == 0 ? above[i] : 0.5 * (left + above[i]))) + 0.4 * random.normal();
      above[i] = left;
      out.data.push_back(static_cast<float>(middle + reach * std::tanh(level + contrast * left)));
    }
  }
  return out;
}

}  // namespace skerry::bench
