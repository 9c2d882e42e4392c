// What an outbox class lost before the hub had it: always its oldest entries, so a few stretches of numbers and reasons say all. Their
// rows are gone; a stretch stays until the hub has acknowledged it, because reading the outbox must not skip numbers.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/types.h"

namespace skerry::storage::internal {

inline constexpr size_t kDroppedStretchesMax = 16;  // beyond it the last one grows, whatever the reason

struct DroppedStretch {
  uint64_t first_seq = 0, last_seq = 0;
  uint64_t records = 0;
  LossReason reason = LossReason::quota;
  int64_t queued_ns = 0;  // of the oldest
};

struct Dropped {
  uint64_t upto_seq = 0;   // 0: nothing was ever dropped
  uint64_t upto_bytes = 0; // payload bytes of all entries ever, up to upto_seq
  std::vector<DroppedStretch> stretches;  // in order, that were not removed after an acknowledgement

  void add(const DroppedStretch& next, uint64_t bytes_end);
  void forget(uint64_t upto_seq);             // acknowledged, and its grace is over
  const DroppedStretch* find(uint64_t seq) const;  // that holds `seq`, or null
};

// The outbox reads it so: from `seq` to the end of the stretch.
OutboxItem lost_item(uint64_t seq, const DroppedStretch& stretch);

std::string encode_dropped(const Dropped& dropped);
// Error: corrupt.
Result<Dropped> decode_dropped(std::string_view body);

}  // namespace skerry::storage::internal
