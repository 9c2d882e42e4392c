// The models that check_labels() asks: of each fold, one that was trained on the stretches of the others (label_check.h). Includes LibTorch.
#pragma once

#include <torch/script.h>

#include "learning/worker/label_check.h"
#include "learning/worker/parameters.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {

// Few examples: smaller batches rather than fewer steps.
int64_t batch_size_of(int64_t examples, const JobSpec& spec);

// Takes a verdict that lies in the job folder already. The parameters are the parent's again when it returns. All are believed when there
// are fewer than two stretches. Error: as run_phase, write_file_atomic.
Result<LabelVerdicts> check_labels(const TrainInputs& inputs, torch::jit::Module& module, Parameters& parameters);

}  // namespace skerry::learning::worker
