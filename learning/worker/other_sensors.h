// Windows as slightly different sensors would have seen them: another gain and offset per channel, and turned a little where three fields
// are one vector (..x, ..y, ..z). A model trained on them does not hang on how one device happens to be made and mounted.
#pragma once

#include <torch/script.h>

#include <vector>

#include "base/random.h"
#include "learning/job.h"

namespace skerry::learning::worker {

class OtherSensors {
 public:
  explicit OtherSensors(const JobSpec& spec);  // target.window, augment and rotate

  // x: normalised, [n, channels, rows]; not changed.
  at::Tensor operator()(at::Tensor x, Random& random) const;

 private:
  at::Tensor turned(const at::Tensor& x, Random& random) const;

  double gain_, angle_;
  at::Tensor mean_, deviation_;
  std::vector<int64_t> vectors_;  // index of each vector's first field
};

}  // namespace skerry::learning::worker
