#include <algorithm>

#include "storage/internal/store_impl.h"
#include "storage/record_format.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

constexpr uint64_t kReadPiece = 65536;  // entries per read: with payloads far fewer, where all are lost it bounds the time

bool continues(const OutboxItem& lost, const OutboxItem& next) {
  return lost.kind == EntryKind::lost && next.kind == EntryKind::lost && lost.reason == next.reason && lost.records <= UINT32_MAX - next.records;
}

}  // namespace

Result<OutboxRow> StoreImpl::outbox_row(OutboxClass outbox_class, uint64_t seq) const {
  SKERRY_ASSIGN(std::string bytes, db_->get(kOutbox, key::outbox(outbox_class, seq)));
  return decode_row(bytes);
}

Result<std::string> StoreImpl::block_of(const OutboxRow& row) {
  SKERRY_ASSIGN(const Series series, Series::parse(row.subject));
  auto bytes = db_->get(kHead, row.data);
  if (!bytes.ok() && bytes.error().code == Code::not_found) {
    SKERRY_ASSIGN(const SeriesState state, series_state(series));
    return sealed_blocks_.find({series, row.data, row.span_ns, row.records, state.span_max_ns});
  }
  SKERRY_TRY(bytes.ok() ? Status() : bytes.error());
  // The hub refuses a damaged payload for ever: it must not be sent. Decoding is what the hub will do.
  auto batch = decode_block(series, *bytes);
  if (!batch.ok()) return batch.error();
  return bytes;
}

Result<std::string> StoreImpl::payload_of(OutboxRow& row) {
  switch (row.refers) {
    case Refers::payload:
      return std::move(row.data);
    case Refers::block:
      return block_of(row);
    case Refers::prediction: {
      SKERRY_ASSIGN(std::string bytes, db_->get(kLedger, row.data));
      SKERRY_ASSIGN(Prediction p, decode_prediction(bytes));
      p.label = -1;  // as it was when queued, so that a repeated entry is the same bytes; labels travel by themselves
      return encode(p);
    }
  }
  return fail(Code::corrupt, "an outbox entry refers to nothing known");
}

// The rule that took records of a series, as the ledger tells it.
LossReason StoreImpl::why_lost(const OutboxRow& row) const {
  std::shared_lock lock(state_mutex_);
  auto known = state_.series.find(row.subject);
  if (known == state_.series.end() || row.data.size() < sizeof(uint32_t) + sizeof(int64_t)) return LossReason::quota;
  const int64_t first_ns = Reader(std::string_view(row.data).substr(sizeof(uint32_t))).key_time();
  const int64_t last_ns = first_ns + static_cast<int64_t>(row.span_ns);
  const LossKey* loss = loss_within(state_.losses, known->second.id, first_ns, last_ns);
  return loss != nullptr ? loss->reason : LossReason::quota;
}

// Gone since the reader looked, or long ago and only a reader who goes back asks for it.
std::optional<OutboxItem> StoreImpl::dropped_item(OutboxClass outbox_class, uint64_t seq) const {
  std::shared_lock lock(state_mutex_);
  const Dropped& dropped = state_.dropped_of(outbox_class);
  if (const DroppedStretch* stretch = dropped.find(seq)) return lost_item(seq, *stretch);
  return std::nullopt;
}

// What cannot be read any more is offered as an empty block, so that the sequence stays whole and the hub can go on; what is gone by
// rule as lost.
OutboxItem StoreImpl::resolve(OutboxClass outbox_class, uint64_t seq) {
  if (auto dropped = dropped_item(outbox_class, seq)) return *dropped;
  OutboxItem item;
  item.seq = seq;
  auto row = outbox_row(outbox_class, seq);
  auto payload = row.ok() ? payload_of(*row) : Result<std::string>(row.error());
  if (row.ok()) {
    item.kind = row->kind;
    item.subject = row->subject;
    item.records = row->records;
    item.queued_ns = row->queued_ns;
  }
  if (payload.ok()) {
    item.payload = std::move(payload).value();
    return item;
  }
  // Samples that are not found were dropped by rule: the loss ledger has them.
  if (row.ok() && row->kind == EntryKind::samples && payload.error().code == Code::not_found) {
    return lost_item(seq, {seq, seq, row->records, why_lost(*row), row->queued_ns});
  }
  if (auto dropped = dropped_item(outbox_class, seq)) return *dropped;
  damage_.found(key::outbox(outbox_class, seq),
                fmt::format("outbox entry {} {}: {}", to_string(outbox_class), seq, payload.error().message));
  if (!row.ok() || row->kind != EntryKind::samples) item.subject = "damaged";
  item.kind = EntryKind::samples;
  item.records = 0;
  item.payload = encode_block({});
  return item;
}

Result<std::vector<OutboxItem>> StoreImpl::outbox_read(OutboxClass outbox_class, uint64_t from_seq,
                                                       uint64_t bytes_max) {
  std::shared_lock use(open_mutex_);
  uint64_t last = 0;
  {
    std::shared_lock lock(state_mutex_);
    const ClassState& s = state_.of(outbox_class);
    if (from_seq != 0 && from_seq <= s.trimmed_seq) {
      return fail(Code::not_found, "outbox entries of class {} up to {} were acknowledged and removed: ask from {} on",
                  to_string(outbox_class), s.trimmed_seq, s.trimmed_seq + 1);
    }
    last = s.last_seq;
    if (from_seq == 0) from_seq = s.trimmed_seq + 1;
  }
  std::vector<OutboxItem> items;
  if (from_seq > last) return items;
  // What the hub has seen must not be un-happened by a power cut: its sequence numbers would be given out again.
  SKERRY_TRY(sync(sync_.written()));
  uint64_t bytes = 0, looked = 0;
  for (uint64_t seq = from_seq; seq <= last && looked < kReadPiece; ++looked) {
    OutboxItem item = resolve(outbox_class, seq);
    seq = item.end_seq() + 1;
    bytes += item.payload.size();
    if (!items.empty() && bytes > bytes_max) break;
    if (!items.empty() && continues(items.back(), item)) {
      items.back().last_seq = item.last_seq;
      items.back().records += item.records;
    } else {
      items.push_back(std::move(item));
    }
  }
  return items;
}

Status StoreImpl::outbox_acknowledge(OutboxClass outbox_class, uint64_t seq, const std::pair<std::string, std::string>& note) {
  SKERRY_TRY(mend());
  std::shared_lock use(open_mutex_);
  std::lock_guard lock(commit_mutex_);
  ClassState s = state_.of(outbox_class);
  if (seq > s.last_seq) {
    return fail(Code::invalid,
                "the hub acknowledges entry {} of class {}, but only {} were ever queued: begin a new epoch", seq,
                to_string(outbox_class), s.last_seq);
  }
  if (seq <= s.acked_seq) return {};
  SKERRY_TRY(healthy());
  auto row = outbox_row(outbox_class, seq);
  const Dropped& dropped = state_.dropped_of(outbox_class);
  if (seq == s.last_seq) {
    s.acked_bytes = s.queued_bytes;
    s.oldest_ns = 0;
  } else if (seq <= dropped.upto_seq) {  // what waits does not change
    s.acked_bytes = seq == dropped.upto_seq ? std::max(s.acked_bytes, dropped.upto_bytes) : s.acked_bytes;
  } else {
    // A damaged row only costs the exactness of two figures.
    const uint64_t waiting = s.queued_bytes - s.acked_bytes;
    const double share = static_cast<double>(seq - s.acked_seq) / static_cast<double>(s.last_seq - s.acked_seq);
    s.acked_bytes = row.ok() ? row->bytes_before + row->bytes
                             : s.acked_bytes + static_cast<uint64_t>(share * static_cast<double>(waiting));
    auto oldest = outbox_row(outbox_class, seq + 1);
    if (oldest.ok()) s.oldest_ns = oldest->queued_ns;
  }
  s.acked_seq = seq;
  rocksdb::WriteBatch batch;
  batch.Put(db_->family(kMeta), key::outbox_class(outbox_class), encode_class(s));
  if (!note.first.empty()) batch.Put(db_->family(kMeta), key::note(note.first), note.second);
  // Not synced: an acknowledgement that a power cut takes back costs one repeated batch.
  SKERRY_TRY([&]() -> Status {
    auto written = write(&batch);
    return written.ok() ? Status() : written.error();
  }());
  {
    std::unique_lock state_lock(state_mutex_);
    state_.of(outbox_class) = s;
  }
  // One waiting mark per class and moment is enough.
  const SteadyTime now = clock_.steady();
  auto mark =
      std::find_if(acked_.rbegin(), acked_.rend(), [&](const Acked& a) { return a.outbox_class == outbox_class; });
  if (mark != acked_.rend() && mark->at == now) {
    mark->seq = seq;
  } else {
    acked_.push_back({outbox_class, seq, now});
  }
  trim();
  return {};
}

std::vector<OutboxStatus> StoreImpl::outbox_status() const {
  std::shared_lock lock(state_mutex_);
  std::vector<OutboxStatus> out;
  for (OutboxClass c : kOutboxClasses) {
    const ClassState& s = state_.of(c);
    OutboxStatus status;
    status.outbox_class = c;
    status.last_seq = s.last_seq;
    status.acked_seq = s.acked_seq;
    status.entries = s.last_seq + 1 - state_.oldest_waiting(c);
    status.bytes = s.queued_bytes - std::min(s.queued_bytes, std::max(s.acked_bytes, state_.dropped_of(c).upto_bytes));
    status.oldest_ns = status.entries == 0 ? 0 : s.oldest_ns;
    out.push_back(status);
  }
  return out;
}

Identity StoreImpl::identity() const {
  std::shared_lock lock(state_mutex_);
  return {options_.node, state_.epoch};
}

Status StoreImpl::begin_epoch() {
  SKERRY_TRY(mend());
  std::shared_lock use(open_mutex_);
  uint64_t epoch = 0;
  while (epoch == 0) epoch = options_.draw_epoch();
  uint64_t ticket = 0;
  {
    std::lock_guard lock(commit_mutex_);
    SKERRY_TRY(healthy());
    rocksdb::WriteBatch batch;
    batch.Put(db_->family(kMeta), key::identity(), encode_identity(epoch));
    SKERRY_ASSIGN(ticket, write(&batch));
    std::unique_lock state_lock(state_mutex_);
    state_.epoch = epoch;
  }
  return sync(ticket);
}

}  // namespace skerry::storage::internal
