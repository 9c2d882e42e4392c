// Which windows to ask a person about, when only a few can be: those that the model is least sure of (margin sampling, Scheffer et al. 2001),
// and of these such that differ from one another, so that ten labels do not say the same thing ten times.
// Threads: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/types.h"

namespace skerry::learning {

struct Proposal {
  storage::Prediction prediction;
  double margin = 0;     // between the two likeliest classes, [0, 1]: small is unsure
  int32_t second = -1;   // the class that is almost as likely
};

// At most count_max of the predictions that have no label and a series, the most telling first. Of overlapping windows of a series only one.
std::vector<Proposal> choose_next(const std::vector<storage::Prediction>& predictions, size_t count_max);

}  // namespace skerry::learning
