#include <torch/script.h>

#include <cmath>
#include <new>

#include "learning/worker/other_sensors.h"
#include "learning/worker/schedule.h"
#include "learning/worker/tensors.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {
namespace {

constexpr int64_t kKernel = 5;
constexpr int64_t kWidths[] = {32, 48, 48};
constexpr size_t kConvolutions = 3;
constexpr double kBatchNormEpsilon = 1e-5, kBatchNormMomentum = 0.1;

struct Convolution {
  at::Tensor weight, bias, gamma, beta;  // trained
  at::Tensor mean, variance;             // statistics of the batch normalisation
};

struct Network {
  Convolution convolutions[kConvolutions];
  at::Tensor head_weight, head_bias;
};

// Uniform in +-1/sqrt(fan in) (LeCun et al. 1998), from our own generator: torch's may differ between versions.
at::Tensor initial(Random& random, std::vector<int64_t> shape, int64_t fan_in) {
  at::Tensor out = torch::empty(shape);
  float* values = out.data_ptr<float>();
  double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  for (int64_t i = 0; i < out.numel(); ++i) values[i] = static_cast<float>(random.uniform(-bound, bound));
  return out;
}

Network make_network(int64_t channels, int64_t classes, uint64_t seed) {
  Random random(seed);
  Network network;
  int64_t in = channels;
  for (size_t i = 0; i < kConvolutions; ++i) {
    int64_t out = kWidths[i];
    network.convolutions[i] = {initial(random, {out, in, kKernel}, in * kKernel),
                               initial(random, {out}, in * kKernel),
                               torch::ones({out}),
                               torch::zeros({out}),
                               torch::zeros({out}),
                               torch::ones({out})};
    in = out;
  }
  network.head_weight = initial(random, {classes, in}, in);
  network.head_bias = initial(random, {classes}, in);
  return network;
}

at::Tensor forward_training(Network& network, at::Tensor x) {
  for (size_t i = 0; i < kConvolutions; ++i) {
    Convolution& c = network.convolutions[i];
    x = torch::conv1d(x, c.weight, c.bias, 1, kKernel / 2);
    x = torch::batch_norm(x, c.gamma, c.beta, c.mean, c.variance, true, kBatchNormMomentum, kBatchNormEpsilon, false);
    x = torch::relu(x);
    if (i + 1 < kConvolutions) x = torch::max_pool1d(x, 2);
  }
  return torch::linear(x.mean(-1), network.head_weight, network.head_bias);
}

// Layers carry the names that torch.nn gives them: by these names the passes of quantization know a convolution with its relu,
// observe only what comes out of both and make one kernel of them.
constexpr const char* kConvolutionClass = "__torch__.torch.nn.modules.conv.Conv1d";
constexpr const char* kLinearClass = "__torch__.torch.nn.modules.linear.Linear";
constexpr const char* kReluClass = "__torch__.torch.nn.modules.activation.ReLU";

torch::jit::Module layer(const std::string& name, const at::Tensor& weight, const at::Tensor& bias, const std::string& forward) {
  torch::jit::Module module(name);
  module.register_attribute("training", c10::BoolType::get(), false);
  module.register_parameter("weight", weight.detach().clone().set_requires_grad(true), false);
  module.register_parameter("bias", bias.detach().clone().set_requires_grad(true), false);
  module.define(forward);
  return module;
}

torch::jit::Module relu() {
  torch::jit::Module module(kReluClass);
  module.register_attribute("training", c10::BoolType::get(), false);
  module.define(R"JIT(
def forward(self, x: Tensor) -> Tensor:
  return torch.relu(x)
)JIT");
  return module;
}

// The network with its batch normalisation folded in: w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta.
torch::jit::Module folded(const Network& network) {
  torch::jit::Module module("Cnn1d");
  module.register_attribute("training", c10::BoolType::get(), false);
  for (size_t i = 0; i < kConvolutions; ++i) {
    const Convolution& c = network.convolutions[i];
    at::Tensor factor = c.gamma / torch::sqrt(c.variance + kBatchNormEpsilon);
    at::Tensor weight = c.weight * factor.reshape({-1, 1, 1});
    at::Tensor bias = (c.bias - c.mean) * factor + c.beta;
    std::string number = std::to_string(i + 1);
    module.register_module("conv" + number, layer(kConvolutionClass, weight, bias, R"JIT(
def forward(self, x: Tensor) -> Tensor:
  return torch.conv1d(x, self.weight, self.bias, [1], [2], [1], 1)
)JIT"));
    module.register_module("relu" + number, relu());
  }
  module.register_module("head", layer(kLinearClass, network.head_weight, network.head_bias, R"JIT(
def forward(self, x: Tensor) -> Tensor:
  return torch.linear(x, self.weight, self.bias)
)JIT"));
  module.define(R"JIT(
def forward(self, x: Tensor) -> Tensor:
  x = torch.max_pool1d(self.relu1.forward(self.conv1.forward(x)), [2], [2], [0], [1], False)
  x = torch.max_pool1d(self.relu2.forward(self.conv2.forward(x)), [2], [2], [0], [1], False)
  x = self.relu3.forward(self.conv3.forward(x))
  return self.head.forward(torch.mean(x, [-1], False))
)JIT");
  return module;
}

Result<Trained> fit(const TrainInputs& inputs) {
  int64_t channels = inputs.train.channels, classes = static_cast<int64_t>(inputs.spec.target.labels.size());
  constexpr uint32_t kRowsMin = 8;  // two poolings must leave something
  if (inputs.train.rows < kRowsMin) {
    return fail(Code::invalid, "windows of {} rows are too short for cnn1d: at least {}", inputs.train.rows, kRowsMin);
  }
  at::Tensor x = windows_tensor(inputs.train), y = labels_tensor(inputs.train);
  Network network = make_network(channels, classes, inputs.spec.seed);
  OtherSensors other_sensors(inputs.spec);
  Phase phase;
  phase.number = 0;
  phase.name = "fit";
  phase.epochs = inputs.spec.full_epochs;
  phase.learning_rate = inputs.spec.full_learning_rate;
  phase.decay = true;
  phase.examples = x.size(0);
  phase.batch_size = inputs.spec.batch_size;
  for (Convolution& c : network.convolutions) {
    phase.parameters.insert(phase.parameters.end(), {c.weight, c.bias, c.gamma, c.beta});
    phase.carried.insert(phase.carried.end(), {c.mean, c.variance});
  }
  phase.parameters.insert(phase.parameters.end(), {network.head_weight, network.head_bias});
  phase.loss = [&](const at::Tensor& rows, Random& random) {
    at::Tensor seen = other_sensors(x.index_select(0, rows), random);
    return torch::cross_entropy_loss(forward_training(network, seen), y.index_select(0, rows));
  };
  SKERRY_ASSIGN(const uint32_t epochs, run_phase(inputs, phase));

  Trained trained;
  torch::jit::Module module = folded(network);
  for (const at::Tensor& parameter : module.parameters()) trained.parameters += static_cast<uint64_t>(parameter.numel());
  trained.changed_parameters = trained.parameters;
  trained.epochs = epochs;
  trained.model = save_module(module);
  return trained;
}

}  // namespace

Result<Trained> fit_cnn1d(const TrainInputs& inputs) {
  try {
    return fit(inputs);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return from_exception(error, "fit");
  }
}

}  // namespace skerry::learning::worker
