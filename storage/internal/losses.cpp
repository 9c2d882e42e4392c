#include "storage/internal/losses.h"

#include <algorithm>

#include "storage/internal/coding.h"
#include "storage/internal/store_format.h"

namespace skerry::storage::internal {
namespace {

bool near(const TimeRange& a, const TimeRange& b) {
  const auto gap = [](int64_t end, int64_t start) { return start <= end || static_cast<uint64_t>(start) - static_cast<uint64_t>(end) <= kLossGapNs; };
  return a.from_ns <= b.from_ns ? gap(a.to_ns, b.from_ns) : gap(b.to_ns, a.from_ns);
}

}  // namespace

std::pair<LossKey, Loss> merged(const Losses& ledger, uint32_t series, const Loss& loss) {
  auto at = ledger.upper_bound({series, loss.reason, loss.resolution_ns, loss.range.from_ns});
  const auto same = [&](auto row) {
    return row->first.series == series && row->first.reason == loss.reason && row->first.resolution_ns == loss.resolution_ns;
  };
  const auto join = [&](auto row) {
    Loss sum = row->second;
    sum.range = {std::min(sum.range.from_ns, loss.range.from_ns), std::max(sum.range.to_ns, loss.range.to_ns)};
    sum.records += loss.records;
    sum.unsent += loss.unsent;
    sum.entries += loss.entries;
    sum.at_ns = loss.at_ns;
    return std::pair{row->first, sum};
  };
  const bool crowded = ledger.size() >= kLossRowsMax;
  if (at != ledger.begin() && same(std::prev(at)) && (crowded || near(std::prev(at)->second.range, loss.range))) return join(std::prev(at));
  if (at != ledger.end() && same(at) && (crowded || near(at->second.range, loss.range))) return join(at);
  return {{series, loss.reason, loss.resolution_ns, loss.range.from_ns}, loss};
}

const LossKey* loss_within(const Losses& ledger, uint32_t series, int64_t first_ns, int64_t last_ns) {
  for (auto at = ledger.lower_bound({series, LossReason{}, INT64_MIN, INT64_MIN}); at != ledger.end() && at->first.series == series; ++at) {
    if (at->second.range.from_ns <= last_ns && at->second.range.to_ns > first_ns) return &at->first;
  }
  return nullptr;
}

std::string encode_loss(const Loss& loss) {
  Writer out;
  out.signed64(loss.range.from_ns);
  out.signed64(loss.range.to_ns);
  out.varint(loss.records);
  out.varint(loss.unsent);
  out.signed64(loss.at_ns);
  out.varint(loss.entries);
  return seal('l', 1, out.bytes());
}

std::string loss_row_key(const LossKey& at) {
  std::string out = key::loss(at.series, at.reason, at.from_ns);
  return at.reason == LossReason::rolled_up ? out + key::build(key::u64(static_cast<uint64_t>(at.resolution_ns))) : out;
}

Result<LossKey> loss_row_at(std::string_view row_key) {
  Reader key(row_key);
  key.u8();
  LossKey at;
  at.series = __builtin_bswap32(key.fixed32());
  at.reason = static_cast<LossReason>(key.u8());
  at.from_ns = key.key_time();
  if (at.reason == LossReason::rolled_up) at.resolution_ns = static_cast<int64_t>(key.key64());
  return key.done() ? Result<LossKey>(at) : fail(Code::corrupt, "a key of the loss ledger has bytes that do not add up");
}

Result<Loss> decode_loss(std::string_view body, std::string series, LossReason reason) {
  Reader in(body);
  Loss loss;
  loss.series = std::move(series);
  loss.reason = reason;
  loss.range.from_ns = in.signed64();
  loss.range.to_ns = in.signed64();
  loss.records = in.varint();
  loss.unsent = in.varint();
  loss.at_ns = in.signed64();
  if (!in.done()) loss.entries = in.varint();  // rows of before have none
  if (!in.done()) return fail(Code::corrupt, "a row of the loss ledger has bytes that do not add up");
  return loss;
}

}  // namespace skerry::storage::internal
