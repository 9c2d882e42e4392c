// What a fine-tuning minimises: the labels of own and replayed windows, and on the replayed ones not to answer otherwise than the parent
// (Learning without Forgetting, Li & Hoiem 2016). Includes LibTorch.
// Threads: one.
#pragma once

#include <torch/script.h>

#include <vector>

#include "base/random.h"
#include "learning/worker/other_sensors.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {

at::Tensor forward(torch::jit::Module& module, const at::Tensor& x);

class FinetuneLoss {
 public:
  // The module answers as the parent does just now; what it answers is kept. `own`: the windows to learn from, normalised.
  FinetuneLoss(const TrainInputs& inputs, const ExampleSet& own, torch::jit::Module& module);

  int64_t windows() const { return x_.size(0); }
  at::Tensor operator()(const at::Tensor& rows, Random& random);
  // Elastic Weight Consolidation: from here on a parameter is held back by how much the answers on the reference depend on it, by the
  // diagonal of the empirical Fisher information.
  void consolidate(const std::vector<at::Tensor>& leaves);
  // Share of the own windows that the module answers as their labels say, as they are now.
  double own_accuracy() const;

 private:
  at::Tensor of_examples(const at::Tensor& rows, Random& random);

  torch::jit::Module& module_;
  const JobSpec& spec_;
  OtherSensors other_sensors_;
  at::Tensor x_, y_, reference_x_, reference_y_;
  at::Tensor teacher_;  // softened answers of the parent on the reference
  std::vector<at::Tensor> leaves_, fisher_, anchor_;
};

}  // namespace skerry::learning::worker
