#include "learning/worker/schedule.h"

#include <torch/csrc/jit/serialization/pickle.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/file.h"

namespace skerry::learning::worker {
namespace {

constexpr uint64_t kCheckpointBytesMax = 4ULL << 30;
constexpr auto kCheckpointInterval = std::chrono::seconds(2);
constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

uint64_t mix(uint64_t seed, uint64_t phase, uint64_t epoch, uint64_t step) {
  Random random(seed ^ (phase << 56) ^ (epoch << 32) ^ step);
  return random();
}

c10::List<at::Tensor> as_list(const std::vector<at::Tensor>& tensors) {
  c10::List<at::Tensor> list;
  for (const at::Tensor& tensor : tensors) list.push_back(tensor.detach().clone());
  return list;
}

Status write_checkpoint(const std::filesystem::path& file, const Phase& phase, const Checkpoint& at) {
  std::vector<c10::IValue> parts;
  for (int64_t part : {static_cast<int64_t>(phase.number), static_cast<int64_t>(at.epoch), at.step, at.steps}) {
    parts.emplace_back(part);
  }
  for (const auto* tensors : {&phase.parameters, &phase.carried, &at.first_moments, &at.second_moments}) {
    parts.emplace_back(as_list(*tensors));
  }
  parts.emplace_back(at.loss_sum);
  parts.emplace_back(at.best_loss);
  parts.emplace_back(at.losses);
  parts.emplace_back(at.epochs_without);
  c10::IValue value = c10::ivalue::Tuple::create(std::move(parts));
  std::vector<char> bytes = torch::jit::pickle_save(value);
  return write_file_atomic(file, std::string_view(bytes.data(), bytes.size()));
}

at::Tensor shuffled(int64_t n, uint64_t seed) {
  at::Tensor order = torch::arange(n, torch::kInt64);
  int64_t* rows = order.data_ptr<int64_t>();
  Random random(seed);
  for (int64_t i = n - 1; i > 0; --i) std::swap(rows[i], rows[random.below(static_cast<uint64_t>(i) + 1)]);
  return order;
}

void adam_step(Phase& phase, Checkpoint& at, double learning_rate) {
  torch::NoGradGuard no_grad;
  ++at.steps;
  double correction1 = 1 - std::pow(kBeta1, static_cast<double>(at.steps));
  double correction2 = 1 - std::pow(kBeta2, static_cast<double>(at.steps));
  for (size_t i = 0; i < phase.parameters.size(); ++i) {
    at::Tensor gradient = phase.parameters[i].grad();
    if (!gradient.defined()) continue;
    if (!phase.masks.empty()) gradient = gradient * phase.masks[i];
    at.first_moments[i].mul_(kBeta1).add_(gradient, 1 - kBeta1);
    at.second_moments[i].mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
    at::Tensor denominator = (at.second_moments[i].sqrt() / std::sqrt(correction2)).add_(kEpsilon);
    phase.parameters[i].addcdiv_(at.first_moments[i], denominator, -learning_rate / correction1);
    phase.parameters[i].mutable_grad() = at::Tensor();
  }
}

bool same_shapes(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const at::Tensor& x, const at::Tensor& y) { return x.sizes() == y.sizes(); });
}

}  // namespace

std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& file) {
  Result<std::string> bytes = read_file(file, kCheckpointBytesMax);
  if (!bytes.ok()) return std::nullopt;
  try {
    c10::IValue value = torch::jit::pickle_load(std::vector<char>(bytes->begin(), bytes->end()));
    const std::vector<c10::IValue> parts = value.toTupleRef().elements().vec();
    if (parts.size() != 12) return std::nullopt;
    Checkpoint checkpoint;
    checkpoint.phase = static_cast<uint32_t>(parts[0].toInt());
    checkpoint.epoch = static_cast<uint32_t>(parts[1].toInt());
    checkpoint.step = parts[2].toInt();
    checkpoint.steps = parts[3].toInt();
    checkpoint.parameters = parts[4].toTensorVector();
    checkpoint.carried = parts[5].toTensorVector();
    checkpoint.first_moments = parts[6].toTensorVector();
    checkpoint.second_moments = parts[7].toTensorVector();
    checkpoint.loss_sum = parts[8].toDouble();
    checkpoint.best_loss = parts[9].toDouble();
    checkpoint.losses = parts[10].toInt();
    checkpoint.epochs_without = parts[11].toInt();
    return checkpoint;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

bool restore(const Checkpoint& checkpoint, std::vector<at::Tensor>& parameters, std::vector<at::Tensor>& carried) {
  if (!same_shapes(checkpoint.parameters, parameters) || !same_shapes(checkpoint.carried, carried)) return false;
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_(checkpoint.parameters[i]);
  for (size_t i = 0; i < carried.size(); ++i) carried[i].copy_(checkpoint.carried[i]);
  return true;
}

Result<uint32_t> run_phase(const TrainInputs& inputs, Phase& phase) {
  Checkpoint at;
  std::optional<Checkpoint> saved = read_checkpoint(inputs.checkpoint);
  if (saved && saved->phase == phase.number && same_shapes(saved->first_moments, phase.parameters) &&
      same_shapes(saved->second_moments, phase.parameters) && restore(*saved, phase.parameters, phase.carried)) {
    at = std::move(*saved);
  } else {
    for (const at::Tensor& parameter : phase.parameters) {
      at.first_moments.push_back(torch::zeros_like(parameter).detach());
      at.second_moments.push_back(torch::zeros_like(parameter).detach());
    }
  }
  for (at::Tensor& parameter : phase.parameters) parameter.set_requires_grad(true);

  int64_t steps_per_epoch = (phase.examples + phase.batch_size - 1) / phase.batch_size;
  double steps_total = static_cast<double>(steps_per_epoch) * phase.epochs;
  auto saved_at = std::chrono::steady_clock::now();
  auto enough = [&] { return phase.patience > 0 && at.epochs_without >= phase.patience; };
  for (; at.epoch < phase.epochs && !enough(); ++at.epoch, at.step = 0) {
    at::Tensor order = shuffled(phase.examples, mix(inputs.spec.seed, phase.number, at.epoch, ~0ULL));
    for (; at.step < steps_per_epoch; ++at.step) {
      int64_t from = at.step * phase.batch_size, to = std::min(from + phase.batch_size, phase.examples);
      Random random(mix(inputs.spec.seed, phase.number, at.epoch, static_cast<uint64_t>(at.step)));
      at::Tensor loss = phase.loss(order.slice(0, from, to), random);
      loss.backward();
      double value = loss.item<double>();
      if (!std::isfinite(value)) {
        return fail(Code::internal, "training diverged: the loss is {} in epoch {} of {}; lower the learning rate ({})", value,
                    at.epoch + 1, phase.name, phase.learning_rate);
      }
      at.loss_sum += value;
      ++at.losses;
      double rate = phase.learning_rate;
      if (phase.decay) {
        double done = static_cast<double>(at.steps) / steps_total;
        rate *= 0.05 + 0.95 * 0.5 * (1 + std::cos(std::numbers::pi * done));
      }
      adam_step(phase, at, rate);
      if (std::chrono::steady_clock::now() - saved_at >= kCheckpointInterval) {
        ++at.step;
        SKERRY_TRY(write_checkpoint(inputs.checkpoint, phase, at));
        --at.step;
        saved_at = std::chrono::steady_clock::now();
      }
    }
    const double loss = at.losses > 0 ? at.loss_sum / static_cast<double>(at.losses) : 0;
    inputs.progress({phase.name, at.epoch + 1, phase.epochs, loss});
    const bool better = at.best_loss == 0 || loss < at.best_loss;
    if (better) at.best_loss = loss;
    at.epochs_without = better ? 0 : at.epochs_without + 1;
    at.loss_sum = 0;
    at.losses = 0;
  }
  for (at::Tensor& parameter : phase.parameters) parameter.set_requires_grad(false);
  SKERRY_TRY(write_checkpoint(inputs.checkpoint, phase, at));
  return at.epoch;
}

}  // namespace skerry::learning::worker
