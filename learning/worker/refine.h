// Models made smaller: pruned (weights set to zero, or whole channels taken out), then trained until they answer as before; and a student that
// learns a teacher's answers. Behind a door without LibTorch's headers.
// On failure: invalid for models that can't be pruned or do not fit each other, naming what is in the way; internal when training diverges.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {

struct PruneSpec {
  double channels = 0;  // share of the channels between layers that goes
  double weights = 0;   // share of the weights of each layer that becomes zero
};

struct Pruned {
  std::string model;                                    // TorchScript; the same code, smaller tensors
  uint64_t channels_before = 0, channels_after = 0;     // that layers give to each other
  std::string kept;                                     // why the rest stays, for people; empty: all could be pruned
};

// Channels by the L1 norm of the filters that make them (Li et al. 2017), weights by magnitude (Han et al. 2015). Channels are kept in
// multiples of four, which is what kernels take at once. `channels`, `rows`: of a window.
Result<Pruned> prune(const std::filesystem::path& model, uint32_t channels, uint32_t rows, const PruneSpec& spec);

struct RefineSpec {
  uint32_t epochs = 20;
  double learning_rate = 1e-3;
  double temperature = 2;      // of the teacher's answers (Hinton et al. 2015)
  double label_weight = 0.5;   // of the labels beside the teacher; windows without a label have the teacher alone
  bool keep_zeros = true;      // weights that are zero stay zero
};

// `inputs`: windows and labels, spec (seed, batch size, augmentation), checkpoint, progress. Answers the trained model.
Result<std::string> refine(const TrainInputs& inputs, const std::filesystem::path& student, const std::filesystem::path& teacher, const RefineSpec& spec);

// Parameters of a model, and how many of them are not zero.
struct Size {
  uint64_t parameters = 0, not_zero = 0;
};
Result<Size> size_of(const std::filesystem::path& model);

}  // namespace skerry::learning::worker
