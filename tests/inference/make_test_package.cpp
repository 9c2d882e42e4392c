// inference_make_test_package FOLDER KIND VERSION: seals a real package with a TorchScript module into
// FOLDER, for the tests of the LibTorch runtime. A program of its own, so that the tests do not link
// LibTorch. Kinds:
//   har     int8, onednn: a 1-D CNN of the size that human activity recognition takes, [9, 128] -> 6
//   small   int8, onednn: a 1-D CNN [2, 16] -> 3
//   fp32    the same in fp32
//   blocks  fp32: convolutions with batch normalisation and a residual
//   shared  fp32: one convolution used twice
//   throws  fp32, fails with an exception when the first value of a window is above 5
// inference_make_test_package --int8 MODEL.pt SAMPLES.f32 SHAPE RESULT.pt: what LibTorch itself makes of a model in int8, calibrated on samples
// of this shape ("3,32,32"): what ours is held against.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/fold_conv_bn.h>
#include <torch/csrc/jit/passes/quantization/finalize.h>
#include <torch/csrc/jit/passes/quantization/insert_observers.h>
#include <torch/csrc/jit/passes/quantization/insert_quant_dequant.h>
#include <torch/script.h>
#include <torch/torch.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>

#include "inference/package.h"

using skerry::inference::PackageInfo;
using torch::jit::Module;

namespace {

Module activation_observer() {
  Module m("ActivationObserver");
  m.register_buffer("lo", torch::tensor(INFINITY));
  m.register_buffer("hi", torch::tensor(-INFINITY));
  m.register_attribute("dtype", c10::IntType::get(), static_cast<int64_t>(c10::ScalarType::QUInt8));
  m.register_attribute("qscheme", c10::IntType::get(), static_cast<int64_t>(c10::kPerTensorAffine));
  m.define(R"JIT(
    def forward(self, x):
      self.lo = torch.min(self.lo, torch.min(x.detach()))
      self.hi = torch.max(self.hi, torch.max(x.detach()))
      return x
    def calculate_qparams(self):
      lo = torch.min(self.lo, torch.zeros_like(self.lo))
      hi = torch.max(self.hi, torch.zeros_like(self.hi))
      scale = torch.clamp((hi - lo) / 255.0, min=1e-8)
      return (scale, torch.clamp(torch.round(-lo / scale), 0, 255).to(3))
  )JIT");
  return m;
}

Module weight_observer() {
  Module m("WeightObserver");
  m.register_buffer("hi", torch::zeros({0}));
  m.register_attribute("dtype", c10::IntType::get(), static_cast<int64_t>(c10::ScalarType::QInt8));
  m.register_attribute("qscheme", c10::IntType::get(), static_cast<int64_t>(c10::kPerChannelSymmetric));
  m.register_attribute("ch_axis", c10::IntType::get(), static_cast<int64_t>(0));
  m.define(R"JIT(
    def forward(self, x):
      self.hi = torch.amax(torch.abs(x.detach().flatten(1)), 1)
      return x
    def calculate_qparams(self):
      scale = torch.clamp(self.hi / 127.0, min=1e-8)
      return (scale, torch.zeros_like(scale).to(4))
  )JIT");
  return m;
}

void weights(Module& m, const std::string& name, std::vector<int64_t> shape) {
  double fan_in = 1;
  for (size_t i = 1; i < shape.size(); ++i) fan_in *= static_cast<double>(shape[i]);
  m.register_parameter("w" + name, torch::randn(shape) / std::sqrt(fan_in), false);
  m.register_parameter("b" + name, torch::randn({shape[0]}) * 0.1, false);
}

Module har() {
  Module m("Har");
  weights(m, "1", {64, 9, 5});
  weights(m, "2", {64, 64, 5});
  weights(m, "3", {128, 64, 5});
  weights(m, "4", {6, 128});
  m.define(R"JIT(
    def forward(self, x):
      x = torch.max_pool1d(torch.relu(torch.conv1d(x, self.w1, self.b1, [1], [2])), [2], [2])
      x = torch.max_pool1d(torch.relu(torch.conv1d(x, self.w2, self.b2, [1], [2])), [2], [2])
      x = torch.relu(torch.conv1d(x, self.w3, self.b3, [1], [2]))
      x = torch.mean(x, [2])
      return torch.linear(x, self.w4, self.b4)
  )JIT");
  return m;
}

Module small(const std::string& guard) {
  Module m("Small");
  weights(m, "1", {4, 2, 3});
  weights(m, "2", {3, 4});
  m.define("def forward(self, x):\n" + guard + R"JIT(
  x = torch.mean(torch.relu(torch.conv1d(x, self.w1, self.b1, [1], [1])), [2])
  return torch.linear(x, self.w2, self.b2)
)JIT");
  return m;
}

void normalisation(Module& m, const std::string& name, int64_t channels) {
  m.register_parameter("g" + name, torch::rand({channels}) + 0.5, false);
  m.register_parameter("s" + name, torch::randn({channels}) * 0.1, false);
  m.register_buffer("m" + name, torch::randn({channels}) * 0.1);
  m.register_buffer("v" + name, torch::rand({channels}) + 0.5);
}

Module blocks() {
  Module m("Blocks");
  weights(m, "1", {16, 2, 3});
  weights(m, "2", {24, 16, 3});
  weights(m, "3", {16, 24, 3});
  weights(m, "4", {3, 16});
  for (auto [name, channels] : {std::pair{"1", 16}, {"2", 24}, {"3", 16}}) normalisation(m, name, channels);
  m.define(R"JIT(
    def forward(self, x):
      x = torch.relu(torch.batch_norm(torch.conv1d(x, self.w1, self.b1, [1], [1]), self.g1, self.s1, self.m1, self.v1, False, 0.1, 1e-5, False))
      y = torch.relu(torch.batch_norm(torch.conv1d(x, self.w2, self.b2, [1], [1]), self.g2, self.s2, self.m2, self.v2, False, 0.1, 1e-5, False))
      y = torch.batch_norm(torch.conv1d(y, self.w3, self.b3, [1], [1]), self.g3, self.s3, self.m3, self.v3, False, 0.1, 1e-5, False)
      return torch.linear(torch.mean(torch.relu(x + y), [2]), self.w4, self.b4)
  )JIT");
  return m;
}

Module shared() {
  Module m("Shared");
  weights(m, "1", {2, 2, 3});
  weights(m, "2", {3, 2});
  m.define(R"JIT(
    def forward(self, x):
      x = torch.relu(torch.conv1d(x, self.w1, self.b1, [1], [1]))
      x = torch.relu(torch.conv1d(x, self.w1, self.b1, [1], [1]))
      return torch.linear(torch.mean(x, [2]), self.w2, self.b2)
  )JIT");
  return m;
}

Module quantized(Module m, const std::vector<torch::Tensor>& samples) {
  torch::jit::QConfigDict config;
  config[""] = std::make_tuple(activation_observer(), weight_observer());
  m = torch::jit::InsertObservers(m, "forward", config, false, torch::jit::QuantType::STATIC);
  for (const torch::Tensor& x : samples) m.forward({x});
  m = torch::jit::InsertQuantDeQuant(m, "forward", false, false, torch::jit::QuantType::STATIC);
  return torch::jit::Finalize(m, torch::jit::QuantType::STATIC, {});
}

PackageInfo describe(const std::string& kind, uint32_t version) {
  bool large = kind == "har";
  PackageInfo info;
  info.name = kind;
  info.version = version;
  info.architecture = "cnn1d";
  info.engine = "onednn";
  info.labels = large ? std::vector<std::string>{"a", "b", "c", "d", "e", "f"}
                      : std::vector<std::string>{"a", "b", "c"};
  info.window.stream = "imu";
  for (int c = 0; c < (large ? 9 : 2); ++c) info.window.fields.push_back("f" + std::to_string(c));
  info.window.rows = large ? 128 : 16;
  info.window.stride = info.window.rows / 2;
  info.window.period = std::chrono::milliseconds(20);
  info.window.mean.assign(info.window.fields.size(), 0);
  info.window.deviation.assign(info.window.fields.size(), 1);
  return info;
}

int make(const std::filesystem::path& folder, const std::string& kind, uint32_t version) {
  PackageInfo info = describe(kind, version);
  torch::manual_seed(version);
  at::set_num_threads(1);
  at::globalContext().setQEngine(at::QEngine::ONEDNN);
  torch::NoGradGuard no_grad;
  Module module = kind == "har" ? har()
                  : kind == "blocks" ? blocks()
                  : kind == "shared" ? shared()
                  : kind == "throws"
                      ? small("  if bool(x[0, 0, 0] > 5.0):\n    x = torch.reshape(x, [-1, 5, 7])")
                      : small("");
  module.eval();
  std::filesystem::create_directories(folder);
  module.save((folder / "model.pt").string());
  auto channels = static_cast<int64_t>(info.window.fields.size());
  if (kind == "har" || kind == "small") {
    std::vector<torch::Tensor> samples;
    for (int i = 0; i < 8; ++i) samples.push_back(torch::randn({16, channels, info.window.rows}));
    module = quantized(module, samples);
  }
  module.save((folder / info.int8_file).string());
  if (auto sealed = skerry::inference::seal_package(folder, info); !sealed.ok()) {
    std::fprintf(stderr, "%s\n", sealed.error().message.c_str());
    return 1;
  }
  return 0;
}

int make_int8(const std::string& model, const std::string& samples, const std::string& shape_text, const std::string& result) {
  at::set_num_threads(1);
  at::globalContext().setQEngine(at::QEngine::ONEDNN);
  torch::NoGradGuard no_grad;
  std::vector<int64_t> shape = {-1};
  std::istringstream sizes(shape_text);
  for (std::string size; std::getline(sizes, size, ',');) shape.push_back(std::stoll(size));
  std::ifstream in(samples, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const torch::Tensor x = torch::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size() / sizeof(float))}, torch::kFloat32).reshape(shape).clone();
  Module module = torch::jit::load(model);
  module.eval();
  quantized(torch::jit::FoldConvBatchNorm(module), x.split(16)).save(result);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool int8 = argc == 6 && std::string(argv[1]) == "--int8";
  if (argc != 4 && !int8) {
    std::fprintf(stderr, "usage: inference_make_test_package FOLDER har|small|fp32|blocks|shared|throws VERSION, or --int8 MODEL.pt SAMPLES.f32 SHAPE RESULT.pt\n");
    return 2;
  }
  try {
    if (int8) return make_int8(argv[2], argv[3], argv[4], argv[5]);
    return make(argv[1], argv[2], static_cast<uint32_t>(std::stoul(argv[3])));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
