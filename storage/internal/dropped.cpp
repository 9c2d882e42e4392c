#include "storage/internal/dropped.h"

#include <algorithm>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {

void Dropped::add(const DroppedStretch& next, uint64_t bytes_end) {
  upto_seq = next.last_seq;
  upto_bytes = bytes_end;
  const bool follows = !stretches.empty() && stretches.back().last_seq + 1 == next.first_seq;
  if (!follows || (stretches.back().reason != next.reason && stretches.size() < kDroppedStretchesMax)) {
    // One that nothing follows was acknowledged: entries are dropped from the oldest waiting on.
    if (stretches.size() >= kDroppedStretchesMax) stretches.erase(stretches.begin());
    stretches.push_back(next);
    return;
  }
  stretches.back().last_seq = next.last_seq;
  stretches.back().records += next.records;
}

void Dropped::forget(uint64_t upto_seq) {
  std::erase_if(stretches, [&](const DroppedStretch& s) { return s.last_seq <= upto_seq; });
}

const DroppedStretch* Dropped::find(uint64_t seq) const {
  auto found = std::find_if(stretches.begin(), stretches.end(), [&](const DroppedStretch& s) { return seq >= s.first_seq && seq <= s.last_seq; });
  return found == stretches.end() ? nullptr : &*found;
}

OutboxItem lost_item(uint64_t seq, const DroppedStretch& stretch) {
  OutboxItem item;
  item.seq = seq;
  item.last_seq = stretch.last_seq;
  item.kind = EntryKind::lost;
  item.records = static_cast<uint32_t>(std::min<uint64_t>(stretch.records, UINT32_MAX));
  item.reason = stretch.reason;
  item.queued_ns = stretch.queued_ns;
  return item;
}

std::string encode_dropped(const Dropped& dropped) {
  Writer out;
  out.fixed64(dropped.upto_seq);
  out.fixed64(dropped.upto_bytes);
  out.varint(dropped.stretches.size());
  for (const DroppedStretch& s : dropped.stretches) {
    out.fixed64(s.first_seq);
    out.fixed64(s.last_seq);
    out.varint(s.records);
    out.u8(static_cast<uint8_t>(s.reason));
    out.signed64(s.queued_ns);
  }
  return seal('d', 1, out.bytes());
}

Result<Dropped> decode_dropped(std::string_view body) {
  Reader in(body);
  Dropped out;
  out.upto_seq = in.fixed64();
  out.upto_bytes = in.fixed64();
  const uint64_t count = in.varint();
  bool sound = in.ok() && count <= kDroppedStretchesMax;
  for (uint64_t i = 0; sound && i < count; ++i) {
    DroppedStretch s;
    s.first_seq = in.fixed64();
    s.last_seq = in.fixed64();
    s.records = in.varint();
    const uint8_t reason = in.u8();
    s.reason = static_cast<LossReason>(reason);
    s.queued_ns = in.signed64();
    sound = in.ok() && s.first_seq > (out.stretches.empty() ? 0 : out.stretches.back().last_seq) && s.first_seq <= s.last_seq && reason >= 1 && reason <= 5;
    out.stretches.push_back(s);
  }
  sound = sound && in.done() && (out.stretches.empty() || out.stretches.back().last_seq <= out.upto_seq);
  return sound ? Result<Dropped>(std::move(out)) : fail(Code::corrupt, "a row about dropped outbox entries has bytes that do not add up");
}

}  // namespace skerry::storage::internal
