// A job again, without what is no longer said: the windows of its folder whose labels were withdrawn or changed since are left out.
// Threads: any.
// On failure: nothing is written; Errors name the folder or the way out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/package.h"
#include "learning/job.h"
#include "storage/store.h"

namespace skerry::learning {

struct RepeatedJob {
  JobSpec spec;                               // as it was, of the version that was asked about
  ExampleSet train, holdout, calibration;
  std::vector<uint64_t> train_ids, holdout_ids;  // of the predictions, by window
  inference::Package parent;
  std::string residual;
  uint32_t left_out = 0;                      // windows
};

// Error: not_found (no such version, or its folder is gone), invalid (nothing is left out, or nothing is left), corrupt.
Result<RepeatedJob> repeat_without_withdrawn(const storage::Store& store, const std::string& model, uint32_t version);

}  // namespace skerry::learning
