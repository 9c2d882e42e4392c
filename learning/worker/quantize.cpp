#include "learning/worker/quantize.h"

#include <torch/csrc/jit/passes/fold_conv_bn.h>
#include <torch/csrc/jit/passes/quantization/finalize.h>
#include <torch/csrc/jit/passes/quantization/insert_observers.h>
#include <torch/csrc/jit/passes/quantization/insert_quant_dequant.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <sstream>

#include "inference/package.h"
#include "learning/worker/plan_artefact.h"
#include "learning/worker/tensors.h"

namespace skerry::learning::worker {
namespace {

using torch::jit::Module;

constexpr int64_t kBatch = 256;
constexpr double kRelativeErrorMax = 0.5;  // beyond it the int8 model is another model

// Activations: unsigned 8 bits over what was seen, zero included so that padding is exact.
Module activation_observer() {
  Module module("ActivationObserver");
  module.register_buffer("low", torch::tensor(std::numeric_limits<float>::infinity()));
  module.register_buffer("high", torch::tensor(-std::numeric_limits<float>::infinity()));
  module.register_attribute("dtype", c10::IntType::get(), static_cast<int64_t>(c10::ScalarType::QUInt8));
  module.register_attribute("qscheme", c10::IntType::get(), static_cast<int64_t>(c10::kPerTensorAffine));
  module.define(R"JIT(
def forward(self, x):
  self.low = torch.min(self.low, torch.min(x.detach()))
  self.high = torch.max(self.high, torch.max(x.detach()))
  return x
def calculate_qparams(self):
  low = torch.min(self.low, torch.zeros_like(self.low))
  high = torch.max(self.high, torch.zeros_like(self.high))
  scale = torch.clamp((high - low) / 255.0, min=1e-8)
  zero = torch.clamp(torch.round(-low / scale), 0, 255).to(3)
  return (scale, zero)
)JIT");
  return module;
}

// Weights: signed 8 bits, symmetric, a scale per output channel.
Module weight_observer() {
  Module module("WeightObserver");
  module.register_buffer("high", torch::zeros({0}));
  module.register_attribute("dtype", c10::IntType::get(), static_cast<int64_t>(c10::ScalarType::QInt8));
  module.register_attribute("qscheme", c10::IntType::get(), static_cast<int64_t>(c10::kPerChannelSymmetric));
  module.register_attribute("ch_axis", c10::IntType::get(), static_cast<int64_t>(0));
  module.define(R"JIT(
def forward(self, x):
  self.high = torch.amax(torch.abs(x.detach().flatten(1)), 1)
  return x
def calculate_qparams(self):
  scale = torch.clamp(self.high / 127.0, min=1e-8)
  return (scale, torch.zeros_like(scale).to(4))
)JIT");
  return module;
}

Status use_engine(const std::string& engine) {
  at::QEngine wanted = engine == "onednn" ? at::QEngine::ONEDNN : at::QEngine::QNNPACK;
  if (engine != "onednn" && engine != "qnnpack") {
    return fail(Code::invalid, "quantization engine '{}' is not known: use onednn or qnnpack", engine);
  }
  const auto& supported = at::globalContext().supportedQEngines();
  if (std::find(supported.begin(), supported.end(), wanted) == supported.end()) {
    return fail(Code::invalid, "quantization engine '{}' is not in this LibTorch: use {}", engine, host_engine());
  }
  at::globalContext().setQEngine(wanted);
  return {};
}

Result<Module> load_bytes(const std::string& bytes) {
  std::istringstream in(bytes);
  Module module = torch::jit::load(in);
  module.eval();
  return module;
}

at::Tensor run(Module& module, const at::Tensor& x) { return module.forward({x}).toTensor(); }

Result<std::string> quantize_model(const std::string& model, const ExampleSet& calibration, const std::string& engine) {
  SKERRY_TRY(use_engine(engine));
  if (calibration.windows.empty()) return fail(Code::invalid, "no windows to calibrate the int8 model with");
  torch::NoGradGuard no_grad;
  at::Tensor x = windows_tensor(calibration);
  SKERRY_ASSIGN(Module fp32, load_bytes(model));
  SKERRY_ASSIGN(Module module, load_bytes(model));
  module = torch::jit::FoldConvBatchNorm(module);
  torch::jit::QConfigDict config;
  config[""] = std::make_tuple(activation_observer(), weight_observer());
  module = torch::jit::InsertObservers(module, "forward", config, false, torch::jit::QuantType::STATIC);
  for (int64_t at = 0; at < x.size(0); at += kBatch) run(module, x.slice(0, at, std::min(at + kBatch, x.size(0))));
  module = torch::jit::InsertQuantDeQuant(module, "forward", false, false, torch::jit::QuantType::STATIC);
  module = torch::jit::Finalize(module, torch::jit::QuantType::STATIC, {});

  std::string bytes = save_module(module);
  SKERRY_ASSIGN(Module reloaded, load_bytes(bytes));  // what will serve, not what was just in memory
  at::Tensor probe = x.slice(0, 0, std::min<int64_t>(kBatch, x.size(0)));
  at::Tensor expected = run(fp32, probe), got = run(reloaded, probe);
  if (!torch::isfinite(got).all().item<bool>()) return fail(Code::invalid, "the int8 model answers NaN or infinity");
  double error = ((got - expected).norm() / expected.norm().clamp_min(1e-6)).item<double>();
  if (!(error <= kRelativeErrorMax)) {
    return fail(Code::invalid, "the int8 model is off by {:.0f} % on the calibration windows: it can't replace the fp32 one", 100 * error);
  }
  return bytes;
}

Result<Evaluation> evaluate_model(const std::filesystem::path& file, const std::string& engine, const ExampleSet& examples) {
  Evaluation out;
  if (examples.windows.empty()) return out;
  SKERRY_TRY(use_engine(engine));
  torch::NoGradGuard no_grad;
  SKERRY_ASSIGN(Module module, load_module(file));
  at::Tensor x = windows_tensor(examples), y = labels_tensor(examples);
  for (int64_t at = 0; at < x.size(0); at += kBatch) {
    int64_t to = std::min(at + kBatch, x.size(0));
    at::Tensor answers = run(module, x.slice(0, at, to));
    at::Tensor finite = torch::isfinite(answers).all(1);
    out.finite = out.finite && finite.all().item<bool>();
    at::Tensor classes = torch::where(finite, answers.argmax(1), -torch::ones({to - at}, torch::kInt64)).contiguous();
    out.correct += static_cast<uint32_t>((classes == y.slice(0, at, to)).sum().item<int64_t>());
    out.answers.insert(out.answers.end(), classes.data_ptr<int64_t>(), classes.data_ptr<int64_t>() + classes.numel());
  }
  return out;
}

}  // namespace

std::string host_engine() {
#if defined(__aarch64__) || defined(__arm__)
  return "qnnpack";
#else
  return "onednn";
#endif
}

Result<std::string> quantize(const std::string& model, const ExampleSet& calibration, const std::string& engine) {
  try {
    torch::jit::setGraphExecutorOptimize(false);
    return quantize_model(model, calibration, engine);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return from_exception(error, "quantizing");
  }
}

Result<Evaluation> evaluate(const std::filesystem::path& model, const std::string& engine, const ExampleSet& examples) {
  if (model.filename() == inference::kPlanFile) return evaluate_plan(model, examples);
  try {
    torch::jit::setGraphExecutorOptimize(false);
    return evaluate_model(model, engine, examples);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return from_exception(error, fmt::format("evaluating {}", model.string()));
  }
}

}  // namespace skerry::learning::worker
