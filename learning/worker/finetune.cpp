#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "learning/worker/cross_validation.h"
#include "learning/worker/finetune_loss.h"
#include "learning/worker/parameters.h"
#include "learning/worker/schedule.h"
#include "learning/worker/tensors.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {
namespace {

enum PhaseNumber : uint32_t { kSelect = 0, kTrainFew = 1, kTrainMore = 2 };  // in checkpoints; beyond: cross_validation.h

// Of what may change, first only a part is tried: a change that is as small as the task allows disturbs least what the parent could do.
constexpr double kFewOfMore = 0.2;
constexpr double kFewFallsShort = 0.01;  // of own windows, beside the pass over all parameters: then more parameters are trained
constexpr double kSteps[] = {0, 0.25, 0.5, 0.75, 1};  // of the change that training came to (Wortsman et al. 2022, "Robust fine-tuning")

// One answer to what should change: the parameters' values, where they may differ from the parent.
struct Change {
  std::vector<at::Tensor> values, masks;
};

class Finetuning {
 public:
  Finetuning(const TrainInputs& inputs, const ExampleSet& own, torch::jit::Module& module, Parameters& parameters)
      : inputs_(inputs), training_(inputs.spec.target.training), parameters_(parameters), loss_(inputs, own, module) {
    for (const at::Tensor& leaf : module.parameters()) leaves_.push_back(leaf);
    loss_.consolidate(leaves_);
  }

  Result<Trained> run() {
    const bool sparse = training_.method == inference::TrainingMethod::sparse && training_.sparsity < 1.0;
    std::vector<Change> changes;
    if (sparse) {
      SKERRY_ASSIGN(changes, train_sparse());
    } else {
      Change one{{}, training_.method == inference::TrainingMethod::head ? masks_of_head(parameters_) : masks_of_all(parameters_)};
      SKERRY_TRY(train(kTrainFew, one, one.masks));
      changes.push_back(std::move(one));
    }
    torch::NoGradGuard no_grad;
    const std::vector<at::Tensor> masks = take_smallest_that_fits(changes);
    Trained trained;
    trained.epochs = epochs_;
    SKERRY_TRY(settle(parameters_, masks, inputs_.residual, trained));
    return trained;
  }

 private:
  // The module's own parameters take part in autograd; they share memory with the detached ones that the optimizer moves.
  Phase phase(uint32_t number, const char* name, uint32_t epochs, double rate) {
    Phase out;
    out.number = number;
    out.name = name;
    out.epochs = epochs;
    out.learning_rate = rate;
    out.examples = loss_.windows();
    out.batch_size = batch_size_of(out.examples, inputs_.spec);
    out.parameters = leaves_;
    out.loss = [this](const at::Tensor& rows, Random& random) { return loss_(rows, random); };
    return out;
  }

  Status train(uint32_t number, Change& change, const std::vector<at::Tensor>& carried) {
    Phase training = phase(number, "train", training_.epochs, training_.learning_rate);
    training.decay = true;
    training.patience = training_.patience;
    training.masks = change.masks;
    training.carried = carried;
    SKERRY_ASSIGN(const uint32_t epochs, run_phase(inputs_, training));
    epochs_ += epochs;
    change.values = copies(parameters_.tensors);
    return {};
  }

  // A first pass over all parameters finds those that matter; then few of them are trained from the parent again, and more when few don't do.
  Result<std::vector<Change>> train_sparse() {
    Change few{copies(parameters_.parent), masks_of_all(parameters_)}, more{{}, masks_of_all(parameters_)};
    at::Tensor dense = torch::zeros({1});
    std::vector<at::Tensor> carried = {dense};
    for (const auto* tensors : {&few.masks, &more.masks, &few.values}) carried.insert(carried.end(), tensors->begin(), tensors->end());

    const std::optional<Checkpoint> saved = read_checkpoint(inputs_.checkpoint);
    const bool resumed = saved && (saved->phase == kTrainFew || saved->phase == kTrainMore) && restore(*saved, parameters_.tensors, carried);
    if (!resumed) {
      Phase select = phase(kSelect, "select", inputs_.spec.full_epochs, inputs_.spec.full_learning_rate);
      SKERRY_ASSIGN(const uint32_t epochs, run_phase(inputs_, select));
      epochs_ += epochs;
      torch::NoGradGuard no_grad;
      dense.fill_(loss_.own_accuracy());
      keep(few.masks, masks_of_largest(parameters_, kFewOfMore * training_.sparsity));
      keep(more.masks, masks_of_largest(parameters_, training_.sparsity));
      reset(parameters_);
    }
    if (!resumed || saved->phase == kTrainFew) {
      Change trained{{}, few.masks};
      SKERRY_TRY(train(kTrainFew, trained, carried));
      keep(few.values, trained.values);
    }
    const bool falls_short = (resumed && saved->phase == kTrainMore) || loss_.own_accuracy() < dense.item<double>() - kFewFallsShort;
    if (!falls_short) return std::vector<Change>{few};
    if (!resumed || saved->phase == kTrainFew) reset(parameters_);
    SKERRY_TRY(train(kTrainMore, more, carried));
    return std::vector<Change>{few, more};
  }

  static void keep(std::vector<at::Tensor>& at, const std::vector<at::Tensor>& values) {
    torch::NoGradGuard no_grad;
    for (size_t i = 0; i < at.size(); ++i) at[i].copy_(values[i]);
  }

  void step_to(const Change& change, double share) {
    for (size_t i = 0; i < parameters_.tensors.size(); ++i) {
      parameters_.tensors[i].copy_(parameters_.parent[i] + share * (change.values[i] - parameters_.parent[i]));
    }
  }

  // The smallest step, of the fewest parameters, whose answers on the own windows are as good as the best within one standard error
  // (Breiman et al. 1984). Answers what it may change.
  std::vector<at::Tensor> take_smallest_that_fits(const std::vector<Change>& changes) {
    struct Tried {
      const Change* change;
      double share, accuracy;
    };
    std::vector<Tried> tried;
    double best = 0;
    for (const Change& change : changes) {
      for (double share : kSteps) {
        step_to(change, share);
        tried.push_back({&change, share, loss_.own_accuracy()});
        best = std::max(best, tried.back().accuracy);
      }
    }
    const double error = std::sqrt(best * (1 - best) / static_cast<double>(loss_.windows()));
    const auto chosen = std::find_if(tried.begin(), tried.end(), [&](const Tried& one) { return one.accuracy >= best - error; });
    step_to(*chosen->change, chosen->share);
    return chosen->change->masks;
  }

  const TrainInputs& inputs_;
  const inference::TrainingSpec& training_;
  Parameters& parameters_;
  FinetuneLoss loss_;
  std::vector<at::Tensor> leaves_;
  uint32_t epochs_ = 0;
};

Status check_answers(const TrainInputs& inputs, torch::jit::Module& module) {
  torch::NoGradGuard no_grad;
  at::Tensor probe = forward(module, torch::zeros({1, inputs.train.channels, inputs.train.rows}));
  int64_t classes = static_cast<int64_t>(inputs.spec.target.labels.size());
  if (probe.dim() == 2 && probe.size(1) == classes) return {};
  return fail(Code::invalid, "the parent answers a tensor of {} dimensions, not [n, {}] as its labels say", probe.dim(), classes);
}

Result<Trained> finetune_module(const TrainInputs& inputs) {
  SKERRY_ASSIGN(torch::jit::Module module, load_module(inputs.parent_model));
  SKERRY_ASSIGN(Parameters parameters, parameters_of(module));
  SKERRY_TRY(check_answers(inputs, module));
  SKERRY_ASSIGN(const LabelVerdicts verdicts, check_labels(inputs, module, parameters));
  const ExampleSet own = without_doubted(inputs.train, verdicts.train);
  if (own.windows.empty()) return fail(Code::invalid, "no label is left to learn from: the parent and all others contradict each of them");
  Finetuning finetuning(inputs, own, module, parameters);
  SKERRY_ASSIGN(Trained trained, finetuning.run());
  trained.verdicts = verdicts;
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
