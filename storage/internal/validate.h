// What the store accepts: shapes, sizes, times and names of everything in an effect, checked before anything is staged.
#pragma once

#include "base/result.h"
#include "storage/store.h"

namespace skerry::storage::internal {

inline constexpr size_t kScoresMax = 65536;
inline constexpr size_t kPayloadBytesMax = 16 << 20;  // of an outbox entry, a note, an example's data, one record
inline constexpr size_t kTextBytesMax = 4096;         // of reasons and job folders
inline constexpr size_t kSeriesTextBytesMax = 65536;
inline constexpr size_t kBlocksPerEffectMax = 65536;
inline constexpr size_t kBytesPerEffectMax = 256 << 20;
inline constexpr size_t kSeriesMax = 65536;  // all are in memory
inline constexpr size_t kFieldsPerSeriesMax = 1024;
inline constexpr int64_t kClockPlausibleNs = 1'577'836'800'000'000'000;  // 2020-01-01: a clock before it was never set

// Error: invalid, naming the thing and the remedy.
Status validate(const Effect& effect, const Options& options, int64_t now_ns);

// The first rule that matches the series' name; the default rule when none does.
const OutboxRule* outbox_rule_of(const Options& options, OutboxClass c);  // null: it has none
const StreamRule& rule_of(const Options& options, std::string_view series_name);
// Its place in options.streams; their number for the default rule.
size_t rule_index(const Options& options, std::string_view series_name);

}  // namespace skerry::storage::internal
