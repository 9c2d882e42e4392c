// Where every computed tensor lies for one batch size: tensors that are never needed at the same time share memory.
// Threads: values. On failure: exhausted when it would not fit kArenaBytesMax.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/result.h"
#include "inference/plan/plan.h"

namespace skerry::inference::plan {

inline constexpr size_t kNowhere = SIZE_MAX;

struct Arena {
  std::vector<size_t> offset;                             // per tensor; kNowhere: a constant, an input or a view of one
  std::vector<std::pair<uint32_t, size_t>> from_input;    // tensors that lie where input i lies
  std::vector<bool> in_place;                             // per step: its residual lies where its output will
  size_t bytes = 0;
};

Result<Arena> plan_arena(const Plan& plan, int64_t batch);

}  // namespace skerry::inference::plan
