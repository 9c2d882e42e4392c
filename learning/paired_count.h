// Counts how two versions answer the same labelled windows, as the labels come. Windows of a series that overlap and say the same count once.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "learning/gate.h"
#include "storage/types.h"

namespace skerry::learning {

class PairedCount {
 public:
  PairedCount() = default;
  explicit PairedCount(const Paired& counts) : counts_(counts) {}
  void add(const std::string& series, storage::TimeRange window, bool parent_right, bool candidate_right);
  const Paired& counts() const { return counts_; }

 private:
  Paired counts_;
  std::map<std::string, std::pair<int64_t, int64_t>> counted_until_;  // by series: of gained and lost
};

}  // namespace skerry::learning
