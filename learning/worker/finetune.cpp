#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "learning/worker/other_sensors.h"
#include "learning/worker/schedule.h"
#include "learning/worker/tensors.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {
namespace {

constexpr double kTemperature = 2.0;   // of distillation (Hinton et al. 2015)
constexpr int kLevels = 15;            // to either side of zero: five bits a value; what is lost is carried over
constexpr int kResidualLevels = 127;
constexpr int64_t kFisherExamples = 200;
constexpr int64_t kStepsPerEpochMin = 8;  // few examples: smaller batches rather than fewer steps

at::Tensor forward(torch::jit::Module& module, const at::Tensor& x) { return module.forward({x}).toTensor(); }

struct Parameters {
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;
  std::vector<at::Tensor> parent;  // copies of what they were
};

Result<Parameters> parameters_of(torch::jit::Module& module) {
  Parameters out;
  for (const auto& parameter : module.named_parameters()) {
    if (parameter.value.scalar_type() != torch::kFloat32) {
      return fail(Code::invalid, "parameter {} is not of type float32: only such models can be fine-tuned", parameter.name);
    }
    out.names.push_back(parameter.name);
    out.tensors.push_back(parameter.value.detach());  // shares its memory with the module
    out.parent.push_back(parameter.value.detach().clone());
  }
  if (out.tensors.empty()) return fail(Code::invalid, "the parent has no parameters: a frozen model can't be fine-tuned");
  return out;
}

// Labels of own and replayed windows, and not to answer otherwise than the parent on the replayed ones. All are seen as other sensors
// would have seen them, as in the training of the base: without that a fine-tuning unlearns to look past the difference, and
// people other than the node's own pay for it.
class Loss {
 public:
  Loss(const TrainInputs& inputs, torch::jit::Module& module)
      : module_(module),
        spec_(inputs.spec),
        other_sensors_(inputs.spec),
        x_(windows_tensor(inputs.train)),
        y_(labels_tensor(inputs.train)),
        reference_x_(windows_tensor(inputs.reference)),
        reference_y_(labels_tensor(inputs.reference)) {
    torch::NoGradGuard no_grad;
    if (reference_x_.size(0) > 0) teacher_ = torch::softmax(forward(module, reference_x_) / kTemperature, 1);
  }

  at::Tensor operator()(const at::Tensor& rows, Random& random) {
    at::Tensor loss = of_examples(rows, random);
    for (size_t i = 0; i < fisher_.size(); ++i) loss = loss + spec_.target.training.ewc / 2 * (fisher_[i] * (leaves_[i] - anchor_[i]).square()).sum();
    return loss;
  }

  // Elastic Weight Consolidation: from here on a parameter is held back by how much the answers on the reference depend on it, by the
  // diagonal of the empirical Fisher information.
  void consolidate(const std::vector<at::Tensor>& leaves) {
    const int64_t count = std::min<int64_t>(reference_x_.size(0), kFisherExamples);
    if (spec_.target.training.ewc <= 0 || count == 0) return;
    leaves_ = leaves;
    for (at::Tensor& leaf : leaves_) {
      leaf.set_requires_grad(true);
      fisher_.push_back(torch::zeros_like(leaf).detach());
      anchor_.push_back(leaf.detach().clone());
    }
    for (int64_t i = 0; i < count; ++i) {
      torch::cross_entropy_loss(forward(module_, reference_x_.slice(0, i, i + 1)), reference_y_.slice(0, i, i + 1)).backward();
      for (size_t k = 0; k < leaves_.size(); ++k) {
        at::Tensor& gradient = leaves_[k].mutable_grad();
        if (!gradient.defined()) continue;
        fisher_[k] += gradient.detach().square() / static_cast<double>(count);
        gradient.zero_();
      }
    }
  }

 private:
  at::Tensor of_examples(const at::Tensor& rows, Random& random) {
    at::Tensor x = x_.index_select(0, rows), y = y_.index_select(0, rows);
    int64_t references = reference_x_.size(0);
    if (references == 0) return torch::cross_entropy_loss(forward(module_, other_sensors_(x, random)), y);
    int64_t count = std::min<int64_t>(references, spec_.batch_size);
    at::Tensor drawn = torch::empty({count}, torch::kInt64);
    for (int64_t i = 0; i < count; ++i) {
      drawn.data_ptr<int64_t>()[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(references)));
    }
    // One pass over both halves: the interpreter and the kernels are paid once.
    at::Tensor answers = forward(module_, other_sensors_(torch::cat({x, reference_x_.index_select(0, drawn)}), random));
    at::Tensor own = answers.slice(0, 0, x.size(0)), replayed = answers.slice(0, x.size(0));
    at::Tensor divergence = torch::kl_div(torch::log_softmax(replayed / kTemperature, 1), teacher_.index_select(0, drawn)) *
                            replayed.size(1);  // kl_div's mean is over elements, ours over examples
    return torch::cross_entropy_loss(own, y) +
           spec_.replay_weight * torch::cross_entropy_loss(replayed, reference_y_.index_select(0, drawn)) +
           spec_.distill_weight * divergence;
  }

  torch::jit::Module& module_;
  const JobSpec& spec_;
  OtherSensors other_sensors_;
  at::Tensor x_, y_, reference_x_, reference_y_, teacher_;
  std::vector<at::Tensor> leaves_, fisher_, anchor_;
};

// 1 for the `share` of all parameters that moved most, 0 for the rest. By absolute moves: in units of its tensor's scale they fit the
// own windows as well and disturbed other people more (MotionSense).
std::vector<at::Tensor> masks_of_largest(const Parameters& parameters, double share) {
  std::vector<at::Tensor> moves, masks;
  for (size_t i = 0; i < parameters.tensors.size(); ++i) {
    moves.push_back((parameters.tensors[i] - parameters.parent[i]).abs().flatten());
  }
  at::Tensor all = torch::cat(moves);
  int64_t kept = std::clamp<int64_t>(std::llround(share * static_cast<double>(all.numel())), 1, all.numel());
  at::Tensor threshold = std::get<0>(torch::topk(all, kept)).min();
  for (const at::Tensor& parent : parameters.parent) {
    masks.push_back((moves[masks.size()] >= threshold).to(torch::kFloat32).reshape(parent.sizes()));
  }
  return masks;
}

// 1 for the parameters of the last layer that has any: those that share the last one's name up to its last point.
std::vector<at::Tensor> masks_of_head(const Parameters& parameters) {
  auto layer = [](const std::string& name) { return name.substr(0, name.rfind('.') + 1); };
  std::vector<at::Tensor> masks;
  for (size_t i = 0; i < parameters.names.size(); ++i) {
    const bool head = layer(parameters.names[i]) == layer(parameters.names.back());
    masks.push_back(head ? torch::ones_like(parameters.parent[i]) : torch::zeros_like(parameters.parent[i]));
  }
  return masks;
}

// Adds what was left over the last time to the change, where it may travel this time.
std::vector<std::vector<float>> carried_over(const Parameters& parameters, const Delta& residual) {
  std::vector<std::vector<float>> out;
  for (size_t i = 0; i < parameters.names.size(); ++i) {
    std::vector<float> values(static_cast<size_t>(parameters.parent[i].numel()), 0.0f);
    for (const TensorDelta& tensor : residual.tensors) {
      if (tensor.name == parameters.names[i]) (void)apply_delta(tensor, values);  // of another shape: of another model, left out
    }
    out.push_back(std::move(values));
  }
  return out;
}

// What is not zero of `values`, in `levels` steps to either side of it.
TensorDelta rounded(const std::string& name, const std::vector<float>& values, float scale, int levels) {
  TensorDelta out;
  out.name = name;
  out.elements = values.size();
  out.scale = scale;
  for (size_t k = 0; scale > 0 && k < values.size(); ++k) {
    const long value = std::clamp<long>(std::lround(values[k] / scale), -levels, levels);
    if (value == 0) continue;
    out.indices.push_back(static_cast<uint32_t>(k));
    out.values.push_back(static_cast<int8_t>(value));
  }
  return out;
}

float largest(const std::vector<std::vector<float>>& tensors) {
  float out = 0;
  for (const auto& values : tensors) {
    for (float value : values) out = std::max(out, std::abs(value));
  }
  return out;
}

// The change as it will travel; and the module gets exactly parent + that. One scale for all: the change is chosen by its absolute size.
Status settle(const Parameters& parameters, const std::vector<at::Tensor>& masks, const Delta& residual, Trained& trained) {
  std::vector<std::vector<float>> left = carried_over(parameters, residual), change;
  for (size_t i = 0; i < parameters.tensors.size(); ++i) {
    const at::Tensor moved = (parameters.tensors[i] - parameters.parent[i]).contiguous(), mask = masks[i].contiguous();
    std::vector<float> values(left[i].size());
    for (size_t k = 0; k < values.size(); ++k) {
      if (mask.data_ptr<float>()[k] == 0) continue;
      values[k] = moved.data_ptr<float>()[k] + left[i][k];
      left[i][k] = values[k];
    }
    change.push_back(std::move(values));
  }
  const float scale = largest(change) / kLevels;
  for (size_t i = 0; i < change.size(); ++i) {
    TensorDelta tensor = rounded(parameters.names[i], change[i], scale, kLevels);
    const at::Tensor parent = parameters.parent[i].contiguous();
    std::vector<float> values(parent.data_ptr<float>(), parent.data_ptr<float>() + parent.numel()), sent(change[i].size(), 0.0f);
    SKERRY_TRY(apply_delta(tensor, values));
    SKERRY_TRY(apply_delta(tensor, sent));
    parameters.tensors[i].copy_(torch::from_blob(values.data(), parent.sizes()));
    for (size_t k = 0; k < sent.size(); ++k) left[i][k] -= sent[k];
    if (!tensor.indices.empty()) trained.delta.tensors.push_back(std::move(tensor));
  }
  const float left_scale = largest(left) / kResidualLevels;
  for (size_t i = 0; i < left.size(); ++i) {
    TensorDelta tensor = rounded(parameters.names[i], left[i], left_scale, kResidualLevels);
    if (!tensor.indices.empty()) trained.residual.tensors.push_back(std::move(tensor));
  }
  return {};
}

Result<Trained> finetune_module(const TrainInputs& inputs) {
  SKERRY_ASSIGN(torch::jit::Module module, load_module(inputs.parent_model));
  SKERRY_ASSIGN(Parameters parameters, parameters_of(module));
  {
    torch::NoGradGuard no_grad;
    at::Tensor probe = forward(module, torch::zeros({1, inputs.train.channels, inputs.train.rows}));
    int64_t classes = static_cast<int64_t>(inputs.spec.target.labels.size());
    if (probe.dim() != 2 || probe.size(1) != classes) {
      return fail(Code::invalid, "the parent answers a tensor of {} dimensions, not [n, {}] as its labels say", probe.dim(), classes);
    }
  }
  // The module's own parameters take part in autograd; they share memory with the detached ones that the optimizer moves.
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& leaf : module.parameters()) leaves.push_back(leaf);
  Loss loss(inputs, module);
  loss.consolidate(leaves);
  const inference::TrainingSpec& training = inputs.spec.target.training;
  Phase phase;
  phase.examples = static_cast<int64_t>(inputs.train.windows.size());
  phase.batch_size = std::clamp<int64_t>(phase.examples / kStepsPerEpochMin, 1, inputs.spec.batch_size);
  phase.parameters = leaves;
  phase.loss = [&](const at::Tensor& rows, Random& random) { return loss(rows, random); };

  std::vector<at::Tensor> masks;
  for (const at::Tensor& parent : parameters.parent) masks.push_back(torch::ones_like(parent));
  const bool sparse = training.method == inference::TrainingMethod::sparse && training.sparsity < 1.0;
  if (training.method == inference::TrainingMethod::head) masks = masks_of_head(parameters);
  std::optional<Checkpoint> saved = read_checkpoint(inputs.checkpoint);
  bool selected = saved && saved->phase == 1 && restore(*saved, parameters.tensors, masks);
  uint32_t epochs = 0;
  if (sparse && !selected) {
    phase.number = 0;
    phase.name = "select";
    phase.epochs = inputs.spec.full_epochs;
    phase.learning_rate = inputs.spec.full_learning_rate;
    SKERRY_ASSIGN(epochs, run_phase(inputs, phase));
    torch::NoGradGuard no_grad;
    masks = masks_of_largest(parameters, training.sparsity);
    for (size_t i = 0; i < parameters.tensors.size(); ++i) parameters.tensors[i].copy_(parameters.parent[i]);
  }
  phase.number = 1;
  phase.name = "train";
  phase.epochs = training.epochs;
  phase.learning_rate = training.learning_rate;
  phase.decay = true;
  phase.patience = training.patience;
  phase.masks = masks;
  phase.carried = masks;
  SKERRY_ASSIGN(const uint32_t trained_for, run_phase(inputs, phase));

  torch::NoGradGuard no_grad;
  Trained trained;
  trained.epochs = epochs + trained_for;
  SKERRY_TRY(settle(parameters, masks, inputs.residual, trained));
  for (const at::Tensor& parent : parameters.parent) trained.parameters += static_cast<uint64_t>(parent.numel());
  for (const TensorDelta& tensor : trained.delta.tensors) trained.changed_parameters += tensor.indices.size();
  trained.model = save_module(module);
  return trained;
}

}  // namespace

Result<Trained> finetune(const TrainInputs& inputs) {
  try {
    torch::jit::setGraphExecutorOptimize(false);  // recompiling for every batch size costs more than it gains
    return finetune_module(inputs);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return from_exception(error, "finetune");
  }
}

Result<std::vector<NamedTensor>> read_parameters(const std::filesystem::path& model) {
  SKERRY_ASSIGN(torch::jit::Module module, load_module(model));
  std::vector<NamedTensor> out;
  for (const auto& parameter : module.named_parameters()) {
    at::Tensor values = parameter.value.detach().to(torch::kFloat32).contiguous();
    out.push_back({parameter.name, std::vector<float>(values.data_ptr<float>(), values.data_ptr<float>() + values.numel())});
  }
  return out;
}

void set_threads(uint32_t threads) {
  at::set_num_threads(static_cast<int>(threads));
  at::set_num_interop_threads(1);
}

}  // namespace skerry::learning::worker
