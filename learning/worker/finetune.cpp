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

 private:
  torch::jit::Module& module_;
  const JobSpec& spec_;
  OtherSensors other_sensors_;
  at::Tensor x_, y_, reference_x_, reference_y_, teacher_;
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

// The change as it will travel; and the module gets exactly parent + that.
Result<Delta> settle(const Parameters& parameters) {
  Delta delta;
  for (size_t i = 0; i < parameters.tensors.size(); ++i) {
    const at::Tensor parent = parameters.parent[i].contiguous();
    const at::Tensor change = (parameters.tensors[i] - parent).contiguous();
    TensorDelta tensor;
    tensor.name = parameters.names[i];
    tensor.elements = static_cast<uint64_t>(parent.numel());
    tensor.scale = parent.numel() == 0 ? 0.0f : change.abs().max().item<float>() / 127.0f;
    for (int64_t k = 0; tensor.scale > 0 && k < change.numel(); ++k) {
      long value = std::lround(change.data_ptr<float>()[k] / tensor.scale);
      if (value == 0) continue;
      tensor.indices.push_back(static_cast<uint32_t>(k));
      tensor.values.push_back(static_cast<int8_t>(std::clamp(value, -127l, 127l)));
    }
    std::vector<float> values(parent.data_ptr<float>(), parent.data_ptr<float>() + parent.numel());
    SKERRY_TRY(apply_delta(tensor, values));
    parameters.tensors[i].copy_(torch::from_blob(values.data(), parent.sizes()));
    if (!tensor.indices.empty()) delta.tensors.push_back(std::move(tensor));
  }
  return delta;
}

Result<Trained> sparse_finetune(const TrainInputs& inputs) {
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
  const inference::TrainingSpec& training = inputs.spec.target.training;
  Phase phase;
  phase.examples = static_cast<int64_t>(inputs.train.windows.size());
  phase.batch_size = std::clamp<int64_t>(phase.examples / kStepsPerEpochMin, 1, inputs.spec.batch_size);
  phase.parameters = leaves;
  phase.loss = [&](const at::Tensor& rows, Random& random) { return loss(rows, random); };

  std::vector<at::Tensor> masks;
  for (const at::Tensor& parent : parameters.parent) masks.push_back(torch::ones_like(parent));
  std::optional<Checkpoint> saved = read_checkpoint(inputs.checkpoint);
  bool selected = saved && saved->phase == 1 && restore(*saved, parameters.tensors, masks);
  uint32_t epochs = 0;
  if (training.sparsity < 1.0 && !selected) {
    phase.number = 0;
    phase.name = "select";
    phase.epochs = inputs.spec.full_epochs;
    phase.learning_rate = inputs.spec.full_learning_rate;
    SKERRY_TRY(run_phase(inputs, phase));
    torch::NoGradGuard no_grad;
    masks = masks_of_largest(parameters, training.sparsity);
    for (size_t i = 0; i < parameters.tensors.size(); ++i) parameters.tensors[i].copy_(parameters.parent[i]);
  }
  if (training.sparsity < 1.0) epochs += inputs.spec.full_epochs;
  phase.number = 1;
  phase.name = "train";
  phase.epochs = training.epochs;
  phase.learning_rate = training.learning_rate;
  phase.decay = true;
  phase.masks = masks;
  phase.carried = masks;
  SKERRY_TRY(run_phase(inputs, phase));

  torch::NoGradGuard no_grad;
  Trained trained;
  trained.epochs = epochs + training.epochs;
  SKERRY_ASSIGN(trained.delta, settle(parameters));
  for (const at::Tensor& parent : parameters.parent) trained.parameters += static_cast<uint64_t>(parent.numel());
  for (const TensorDelta& tensor : trained.delta.tensors) trained.changed_parameters += tensor.indices.size();
  trained.model = save_module(module);
  return trained;
}

}  // namespace

Result<Trained> finetune(const TrainInputs& inputs) {
  try {
    torch::jit::setGraphExecutorOptimize(false);  // recompiling for every batch size costs more than it gains
    return sparse_finetune(inputs);
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
