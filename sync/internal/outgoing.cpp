#include "sync/internal/outgoing.h"

#include <algorithm>

#include "base/log.h"
#include "base/units.h"
#include "storage/sample_block.h"
#include "sync/budget.h"

namespace skerry::sync::internal {
namespace {

using storage::OutboxItem;

constexpr int kRefusalsMax = 3;                                      // of one entry, before it is a dead letter
constexpr uint64_t kPayloadBytesMax = kMessageBytesMax - (1 << 20);  // leaves room for the entries' own fields

uint64_t entry_bytes(const OutboxItem& item) { return item.payload.size() + item.subject.size() + 64; }

// To a hub that does not know of losses: empty blocks, one for each number.
std::vector<OutboxItem> as_blocks(std::vector<OutboxItem> items) {
  std::vector<OutboxItem> out;
  for (OutboxItem& item : items) {
    if (item.kind != storage::EntryKind::lost) {
      out.push_back(std::move(item));
      continue;
    }
    for (uint64_t seq = item.seq; seq <= item.last_seq && out.size() < kBatchEntriesMax; ++seq) {
      out.push_back({seq, storage::EntryKind::samples, "lost", storage::encode_block({}), 0, item.queued_ns});
    }
    if (out.size() >= kBatchEntriesMax) break;
  }
  return out;
}

}  // namespace

uint64_t payload_of(const Batch& batch) {
  uint64_t bytes = 0;
  for (const auto& item : batch.entries) bytes += entry_bytes(item);
  return bytes;
}

uint64_t batch_wire(uint64_t payload) { return wire_bytes(payload + 256) + 600; }

Result<Cut> Outgoing::cut(const ClassDecision& decision, bool hub_takes_losses) {
  const storage::OutboxClass outbox_class = decision.outbox_class;
  const char* name = storage::to_string(outbox_class);
  ClassState& state = classes_[outbox_class];
  SKERRY_ASSIGN(auto items, store_.outbox_read(outbox_class, state.next, decision.bytes_max));
  if (items.empty()) return fail(Code::internal, "the outbox has entries of {} waiting but gives none from {} on: run `skerry fsck`", name, state.next);
  if (!hub_takes_losses) items = as_blocks(std::move(items));
  if (items.front().seq != state.next) {
    return fail(Code::internal, "the outbox gives {} {} where {} was asked for: run `skerry fsck`", name, items.front().seq, state.next);
  }
  dead_.leave_out(outbox_class, items);
  const storage::Identity identity = store_.identity();
  Cut cut{.batch = {identity.node, identity.epoch, outbox_class, std::move(items)}, .again = state.next <= state.highest_sent, .too_large = {}};
  cut.batch.compression = decision.compression;
  auto& entries = cut.batch.entries;
  uint64_t bytes = 0;
  size_t n = 0;
  for (; n < std::min(entries.size(), state.entries_max); ++n) {
    bytes += entry_bytes(entries[n]);
    if (bytes > kPayloadBytesMax || batch_wire(bytes) > decision.wire_left) break;
  }
  if (n == 0) {
    cut.too_large = bytes > kPayloadBytesMax ? fmt::format("entry {} of {} has {}: at most {} can be sent", state.next, name, format_bytes(bytes),
                                                           format_bytes(kPayloadBytesMax))
                                             : fmt::format("entry {} of {} needs up to {} on the wire, the budget leaves {}", state.next, name,
                                                           format_bytes(batch_wire(bytes)), format_bytes(decision.wire_left));
  }
  entries.resize(n);
  return cut;
}

Result<Batch> Outgoing::cut_again(const Loss& range, uint64_t bytes_max) {
  SKERRY_ASSIGN(auto items, store_.outbox_read(range.outbox_class, range.first_seq, bytes_max));
  std::erase_if(items, [&](const OutboxItem& item) { return item.end_seq() > range.last_seq; });
  if (items.empty() || items.front().seq != range.first_seq) return fail(Code::not_found, "{} {} is no longer here", storage::to_string(range.outbox_class), range.first_seq);
  dead_.leave_out(range.outbox_class, items);
  const storage::Identity identity = store_.identity();
  return Batch{identity.node, identity.epoch, range.outbox_class, std::move(items)};
}

void Outgoing::sent(const Batch& batch) {
  ClassState& state = classes_[batch.outbox_class];
  for (const auto& item : batch.entries) {
    if (item.end_seq() > state.highest_sent) state.sent.emplace_back(item.end_seq(), item.kind == storage::EntryKind::lost ? 0 : item.records);
  }
  state.next = batch.entries.back().end_seq() + 1;
  state.highest_sent = std::max(state.highest_sent, state.next - 1);
}

Result<uint64_t> Outgoing::acknowledged(storage::OutboxClass outbox_class, uint64_t seq, const std::pair<std::string, std::string>& note) {
  ClassState& state = classes_[outbox_class];
  SKERRY_TRY(store_.outbox_acknowledge(outbox_class, seq, note));
  uint64_t records = 0;
  for (; !state.sent.empty() && state.sent.front().first <= seq; state.sent.pop_front()) records += state.sent.front().second;
  state.next = std::max(state.next, seq + 1);
  state.gap_answered = false;
  state.backoff = Duration::zero();
  state.refusals = 0;
  state.entries_max = std::min(kBatchEntriesMax, state.entries_max * 2);
  for (auto& [c, other] : classes_) other.others_taken = true;
  return records;
}

bool Outgoing::refused(const Batch& batch, const std::string& reason) {
  ClassState& state = classes_[batch.outbox_class];
  if (!state.searching()) state.others_taken = false;  // the first refusal of a row
  state.next = std::min(state.next, batch.entries.front().seq);
  if (batch.entries.size() > 1) {
    state.entries_max = batch.entries.size() / 2;
    return true;
  }
  state.entries_max = 1;
  if (++state.refusals < kRefusalsMax || !state.others_taken) return false;
  const uint64_t seq = batch.entries.front().seq;
  auto items = store_.outbox_read(batch.outbox_class, seq, 1);  // the flight has it without its payload
  if (!items.ok() || items->empty() || items->front().seq != seq || items->front().kind == storage::EntryKind::lost) return false;
  const OutboxItem& item = items->front();
  if (auto kept = dead_.put(batch.outbox_class, item, reason); !kept.ok()) {
    log::warn("sync", "{}", kept.error().message);
    return false;
  }
  log::error("sync", "the hub refuses {} {} ({}) for good: it is kept as a dead letter and left out: {}", storage::to_string(batch.outbox_class), item.seq,
             item.subject, reason);
  state.refusals = 0;
  return true;
}

}  // namespace skerry::sync::internal
