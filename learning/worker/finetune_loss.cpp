#include "learning/worker/finetune_loss.h"

#include <algorithm>

#include "learning/worker/tensors.h"

namespace skerry::learning::worker {
namespace {

constexpr double kTemperature = 2.0;   // of distillation (Hinton et al. 2015)
constexpr int64_t kFisherExamples = 200;

// Of softened answers, per window.
at::Tensor divergence(const at::Tensor& answers, const at::Tensor& teacher) {
  return (teacher * (teacher.clamp_min(1e-12).log() - torch::log_softmax(answers / kTemperature, 1))).sum(1);
}

}  // namespace

at::Tensor forward(torch::jit::Module& module, const at::Tensor& x) { return module.forward({x}).toTensor(); }

FinetuneLoss::FinetuneLoss(const TrainInputs& inputs, const ExampleSet& own, torch::jit::Module& module)
    : module_(module),
      spec_(inputs.spec),
      other_sensors_(inputs.spec),
      x_(windows_tensor(own)),
      y_(labels_tensor(own)),
      reference_x_(windows_tensor(inputs.reference)),
      reference_y_(labels_tensor(inputs.reference)) {
  torch::NoGradGuard no_grad;
  if (reference_x_.size(0) > 0) teacher_ = torch::softmax(forward(module, reference_x_) / kTemperature, 1);
}

at::Tensor FinetuneLoss::operator()(const at::Tensor& rows, Random& random) {
  at::Tensor loss = of_examples(rows, random);
  for (size_t i = 0; i < fisher_.size(); ++i) loss = loss + spec_.target.training.ewc / 2 * (fisher_[i] * (leaves_[i] - anchor_[i]).square()).sum();
  return loss;
}

void FinetuneLoss::consolidate(const std::vector<at::Tensor>& leaves) {
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

double FinetuneLoss::own_accuracy() const {
  torch::NoGradGuard no_grad;
  return (forward(module_, x_).argmax(1) == y_).to(torch::kFloat32).mean().item<double>();
}

// All windows are seen as other sensors would have seen them, as in the training of the base: without that a fine-tuning unlearns to look
// past the difference, and people other than the node's own pay for it.
at::Tensor FinetuneLoss::of_examples(const at::Tensor& rows, Random& random) {
  at::Tensor x = x_.index_select(0, rows);
  const int64_t references = reference_x_.size(0);
  const at::Tensor y = y_.index_select(0, rows);
  if (references == 0) return torch::cross_entropy_loss(forward(module_, other_sensors_(x, random)), y);
  const int64_t count = std::min<int64_t>(references, spec_.batch_size);
  at::Tensor drawn = torch::empty({count}, torch::kInt64);
  for (int64_t i = 0; i < count; ++i) {
    drawn.data_ptr<int64_t>()[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(references)));
  }
  // One pass over both halves: the interpreter and the kernels are paid once.
  at::Tensor answers = forward(module_, other_sensors_(torch::cat({x, reference_x_.index_select(0, drawn)}), random));
  at::Tensor own = answers.slice(0, 0, x.size(0)), replayed = answers.slice(0, x.size(0));
  return torch::cross_entropy_loss(own, y) + spec_.replay_weight * torch::cross_entropy_loss(replayed, reference_y_.index_select(0, drawn)) +
         spec_.distill_weight * divergence(replayed, teacher_.index_select(0, drawn)).mean();
}

}  // namespace skerry::learning::worker
