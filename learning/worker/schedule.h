// The training loop that fit and finetune share: epochs over shuffled examples, Adam (Kingma & Ba 2015), a checkpoint every few
// seconds. All randomness comes from (seed, phase, epoch, step): a resumed run takes the same steps as an uninterrupted one.
#pragma once

#include <torch/script.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {

struct Phase {
  uint32_t number = 0;                 // in the order of the job
  std::string name;
  uint32_t epochs = 1;
  double learning_rate = 1e-3;
  bool decay = false;                  // cosine, to a twentieth
  uint32_t patience = 0;               // ends after so many epochs whose mean loss is not smaller than the best before; 0: never
  int64_t examples = 0;
  int64_t batch_size = 64;
  std::vector<at::Tensor> parameters;  // trained in place
  std::vector<at::Tensor> masks;       // one per parameter, 0 or 1; empty: all are trained
  std::vector<at::Tensor> carried;     // part of the checkpoint as well: statistics, masks of an earlier phase
  // Loss of one batch: rows of the training set, and randomness for whatever else the step draws.
  std::function<at::Tensor(const at::Tensor& rows, Random& random)> loss;
};

// What a checkpoint file holds. An unreadable one counts as none: the phase starts again.
struct Checkpoint {
  uint32_t phase = 0, epoch = 0;
  int64_t step = 0;                    // within the epoch
  int64_t steps = 0;                   // of Adam
  double loss_sum = 0, best_loss = 0;  // of this epoch so far; of the best epoch, 0 before the first
  int64_t losses = 0, epochs_without = 0;
  std::vector<at::Tensor> parameters, carried, first_moments, second_moments;
};
std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& file);

// Copies a checkpoint's tensors over those of a phase. False when the shapes differ.
bool restore(const Checkpoint& checkpoint, std::vector<at::Tensor>& parameters, std::vector<at::Tensor>& carried);

// Trains, going on from the checkpoint if it is of this phase. Answers the number of epochs that it took. Error: internal when the loss is no longer finite, or as
// write_file_atomic.
Result<uint32_t> run_phase(const TrainInputs& inputs, Phase& phase);

}  // namespace skerry::learning::worker
