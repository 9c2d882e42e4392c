#include "learning/worker/cross_validation.h"

#include <algorithm>

#include "base/file.h"
#include "learning/worker/finetune_loss.h"
#include "learning/worker/schedule.h"
#include "learning/worker/tensors.h"

namespace skerry::learning::worker {
namespace {

constexpr uint32_t kFirstPhase = 16;  // numbers of the phases in checkpoints: one a fold
constexpr uint32_t kFolds = 3;
constexpr uint32_t kEpochs = 4;
constexpr int64_t kStepsPerEpochMin = 8;

std::vector<int32_t> classes_of(const at::Tensor& scores) {
  const at::Tensor top = scores.size(0) == 0 ? torch::empty({0}, torch::kInt64) : scores.argmax(1).contiguous();
  return {top.data_ptr<int64_t>(), top.data_ptr<int64_t>() + top.numel()};
}

std::vector<Verdict> judge(const ExampleSet& set, const at::Tensor& parent, const at::Tensor& others) {
  const std::vector<int32_t> of_parent = classes_of(parent), of_others = classes_of(others);
  std::vector<Verdict> out;
  for (size_t i = 0; i < set.windows.size(); ++i) out.push_back(judge_label(set.windows[i].label, of_parent[i], of_others[i]));
  return out;
}

class CrossValidation {
 public:
  CrossValidation(const TrainInputs& inputs, torch::jit::Module& module, Parameters& parameters)
      : inputs_(inputs), module_(module), parameters_(parameters), train_x_(windows_tensor(inputs.train)), holdout_x_(windows_tensor(inputs.holdout)) {
    const auto classes = static_cast<int64_t>(inputs.spec.target.labels.size());
    train_scores_ = torch::zeros({train_x_.size(0), classes});
    holdout_scores_ = torch::zeros({holdout_x_.size(0), classes});
  }

  Result<LabelVerdicts> run(const std::vector<uint32_t>& fold_of, uint32_t folds) {
    torch::NoGradGuard no_grad;
    const at::Tensor parent_of_train = probabilities(train_x_), parent_of_holdout = probabilities(holdout_x_);
    uint32_t first = 0;
    if (const auto saved = read_checkpoint(inputs_.checkpoint); saved && saved->phase >= kFirstPhase && saved->phase < kFirstPhase + folds) {
      first = saved->phase - kFirstPhase;
    }
    for (uint32_t fold = first; fold < folds; ++fold) SKERRY_TRY(ask(fold, fold_of));
    return LabelVerdicts{judge(inputs_.train, parent_of_train, train_scores_), judge(inputs_.holdout, parent_of_holdout, holdout_scores_)};
  }

 private:
  at::Tensor probabilities(const at::Tensor& x) {
    torch::NoGradGuard no_grad;
    return x.size(0) == 0 ? torch::zeros({0, train_scores_.size(1)}) : torch::softmax(forward(module_, x), 1);
  }

  // Trains on the other folds; what was known of folds before is part of the checkpoint.
  Status ask(uint32_t fold, const std::vector<uint32_t>& fold_of) {
    ExampleSet others{inputs_.train.channels, inputs_.train.rows, {}};
    std::vector<int64_t> rows;
    for (size_t i = 0; i < fold_of.size(); ++i) {
      if (fold_of[i] == fold) rows.push_back(static_cast<int64_t>(i));
      else others.windows.push_back(inputs_.train.windows[i]);
    }
    reset(parameters_);
    {
      torch::AutoGradMode learn(true);
      FinetuneLoss loss(inputs_, others, module_);
      Phase phase;
      phase.number = kFirstPhase + fold;
      phase.name = "check labels";
      phase.epochs = kEpochs;
      phase.learning_rate = inputs_.spec.full_learning_rate;
      phase.examples = loss.windows();
      phase.batch_size = batch_size_of(phase.examples, inputs_.spec);
      for (const at::Tensor& leaf : module_.parameters()) phase.parameters.push_back(leaf);
      phase.carried = {train_scores_, holdout_scores_};
      phase.loss = [&](const at::Tensor& batch, Random& random) { return loss(batch, random); };
      SKERRY_TRY(run_phase(inputs_, phase));
    }
    const at::Tensor index = torch::tensor(rows, torch::kInt64);
    train_scores_.index_copy_(0, index, probabilities(train_x_.index_select(0, index)));
    holdout_scores_ += probabilities(holdout_x_);
    return {};
  }

  const TrainInputs& inputs_;
  torch::jit::Module& module_;
  Parameters& parameters_;
  const at::Tensor train_x_, holdout_x_;
  at::Tensor train_scores_, holdout_scores_;
};

}  // namespace

int64_t batch_size_of(int64_t examples, const JobSpec& spec) {
  return std::clamp<int64_t>(examples / kStepsPerEpochMin, 1, spec.batch_size);
}

Result<LabelVerdicts> check_labels(const TrainInputs& inputs, torch::jit::Module& module, Parameters& parameters) {
  const size_t train = inputs.train.windows.size(), holdout = inputs.holdout.windows.size();
  if (Result<LabelVerdicts> known = read_verdicts(inputs.verdicts, train, holdout); known.ok()) return known;
  const std::vector<uint32_t> fold_of = folds_by_stretch(inputs.train, kFolds);
  const uint32_t folds = fold_of.empty() ? 0 : *std::max_element(fold_of.begin(), fold_of.end()) + 1;
  LabelVerdicts verdicts{std::vector<Verdict>(train, Verdict::believed), std::vector<Verdict>(holdout, Verdict::believed)};
  if (folds > 1) {
    CrossValidation validation(inputs, module, parameters);
    SKERRY_ASSIGN(verdicts, validation.run(fold_of, folds));
    reset(parameters);
  }
  SKERRY_TRY(write_file_atomic(inputs.verdicts, to_json(verdicts)));
  return verdicts;
}

}  // namespace skerry::learning::worker
