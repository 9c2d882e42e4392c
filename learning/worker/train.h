// Training by LibTorch behind a door without its headers: windows in, bytes of a TorchScript model out.
// On failure: invalid for models and data that do not fit each other, internal with the reason otherwise, also when the loss is no
// longer a number.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/result.h"
#include "learning/delta.h"
#include "learning/job.h"
#include "learning/worker/label_check.h"

namespace skerry::learning::worker {

struct Progress {
  std::string phase;
  uint32_t epoch = 0, epochs = 0;
  double loss = 0;
};

struct TrainInputs {
  JobSpec spec;
  ExampleSet train, holdout, reference;    // normalised
  std::filesystem::path parent_model;      // model.pt; finetune only
  Delta residual;                          // finetune: what rounding left over when the parent was made
  std::filesystem::path checkpoint;        // read when it is there, written every few seconds
  std::filesystem::path verdicts;          // finetune: which labels are believed; read when it is there
  std::function<void(const Progress&)> progress;
};

struct Trained {
  std::string model;                       // TorchScript, fp32
  Delta delta, residual;                   // finetune: parent + delta == model; what rounding left over
  uint64_t parameters = 0, changed_parameters = 0;
  uint32_t epochs = 0;
  LabelVerdicts verdicts;                  // finetune: on what was trained on and held out
};

// A 1-D CNN (after the examples of Ignatov 2018, "Real-time human activity recognition"): three convolutions with batch normalisation, mean over time, one
// linear layer. The normalisation is folded into the convolutions when it is done.
Result<Trained> fit_cnn1d(const TrainInputs& inputs);

// Fine-tuning of any TorchScript module with forward(x)[n, channels, rows] -> [n, classes], with replay and distillation. Of all parameters,
// of the last layer's (head), or sparse (Ansell et al. 2022, "Composable Sparse Fine-Tuning"): a first pass finds which parameters matter; then
// a fifth of the allowed share is trained from the parent again, and all of it when that is too few. Of the change, the smallest step is
// taken that fits. Labels that are doubted (label_check.h) are not learned from. The module stays in evaluation mode: statistics of batch
// normalisation are the parent's, only its weights may move, so that parent + delta is the whole model.
Result<Trained> finetune(const TrainInputs& inputs);

// Names, shapes aside, and values of a model's parameters.
struct NamedTensor {
  std::string name;
  std::vector<float> values;
};
Result<std::vector<NamedTensor>> read_parameters(const std::filesystem::path& model);

void set_threads(uint32_t threads);

}  // namespace skerry::learning::worker
