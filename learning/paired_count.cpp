#include "learning/paired_count.h"

namespace skerry::learning {

void PairedCount::add(const std::string& series, storage::TimeRange window, bool parent_right, bool candidate_right) {
  ++counts_.examples;
  counts_.parent_correct += parent_right;
  counts_.candidate_correct += candidate_right;
  if (parent_right == candidate_right) return;
  ++(candidate_right ? counts_.gained : counts_.lost);
  auto& [gained_until, lost_until] = counted_until_.try_emplace(series, INT64_MIN, INT64_MIN).first->second;
  int64_t& until = candidate_right ? gained_until : lost_until;
  if (window.from_ns < until && window.to_ns > until - (window.to_ns - window.from_ns)) return;
  ++(candidate_right ? counts_.gained_apart : counts_.lost_apart);
  until = window.to_ns;
}

}  // namespace skerry::learning
