// The loss ledger: what is gone by rule, a row per stretch of a series and reason. A loss that follows on another, or nearly, makes it longer.
// Threads: one at a time.
#pragma once

#include <compare>
#include <map>
#include <string>
#include <utility>

#include "base/result.h"
#include "storage/types.h"

namespace skerry::storage::internal {

inline constexpr uint32_t kClassLosses = 0xffffff00;         // from here on, series ids of the ledger are classes of the outbox
inline constexpr size_t kLossRowsMax = 10'000;               // beyond it neighbours are joined however far apart they are
inline constexpr int64_t kLossGapNs = 3'600'000'000'000;     // that still makes one stretch of two

struct LossKey {
  uint32_t series = 0;
  LossReason reason = LossReason::quota;
  int64_t resolution_ns = 0;
  int64_t from_ns = 0;  // of the stretch as it was first written; its range may have grown to earlier times
  auto operator<=>(const LossKey&) const = default;
};
using Losses = std::map<LossKey, Loss>;

inline uint32_t loss_id(OutboxClass c) { return kClassLosses + static_cast<uint32_t>(c); }

// The row that `loss` becomes in the ledger: a new one, or a longer one than before.
std::pair<LossKey, Loss> merged(const Losses& ledger, uint32_t series, const Loss& loss);

// Whether the ledger knows of something lost in this stretch of a series, and why; null: it does not.
const LossKey* loss_within(const Losses& ledger, uint32_t series, int64_t first_ns, int64_t last_ns);

std::string encode_loss(const Loss& loss);
// Error: corrupt.
Result<Loss> decode_loss(std::string_view body, std::string series, LossReason reason);
std::string loss_row_key(const LossKey& at);
// Error: corrupt.
Result<LossKey> loss_row_at(std::string_view row_key);

}  // namespace skerry::storage::internal
