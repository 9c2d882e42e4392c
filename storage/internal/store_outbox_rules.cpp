// What waits longer, or takes more room, than its class allows is dropped from the oldest on, counted in the loss ledger, and told to
// the hub as lost. Rules that refuse or drop what is new are kept where it would be queued (transaction.cpp).
#include <algorithm>

#include "storage/internal/store_impl.h"
#include "storage/internal/validate.h"

namespace skerry::storage::internal {
namespace {

constexpr uint64_t kDropPiece = 16384;  // entries of a class and step

// Adds an entry to the stretches and to what the ledger will say, by reason.
struct Dropping {
  std::vector<DroppedStretch> stretches;
  std::map<LossReason, Loss> losses;

  void add(uint64_t seq, LossReason reason, const OutboxRow& row, OutboxClass c, int64_t now_ns) {
    if (stretches.empty() || stretches.back().reason != reason) stretches.push_back({seq, seq, 0, reason, row.queued_ns});
    stretches.back().last_seq = seq;
    stretches.back().records += row.records;
    auto [at, fresh] = losses.try_emplace(reason);
    Loss& loss = at->second;
    if (fresh) loss = {"", reason, {row.queued_ns, row.queued_ns + 1}, 0, 0, 0, now_ns, c, 0};
    loss.range = {std::min(loss.range.from_ns, row.queued_ns), std::max(loss.range.to_ns, row.queued_ns + 1)};
    loss.records += row.records;
    loss.unsent += row.records;
    ++loss.entries;
  }
};

}  // namespace

void StoreImpl::tend_outbox() {
  if (trouble()) return;
  for (const OutboxRule& rule : options_.outbox) {
    if (!drop_waiting(rule).ok()) return;  // it is met again, or is in trouble()
  }
}

Status StoreImpl::drop_waiting(const OutboxRule& rule) {
  if (rule.ttl <= Duration::zero() && rule.quota_bytes == 0) return {};
  const OutboxClass c = rule.outbox_class;
  const bool drops_oldest = rule.on_full != OnFull::reject && rule.on_full != OnFull::drop_newest;
  uint64_t from = 0, bytes_from = 0;
  ClassState s;
  {
    std::shared_lock lock(state_mutex_);
    s = state_.of(c);
    from = state_.oldest_waiting(c);
    bytes_from = std::max(s.acked_bytes, state_.dropped_of(c).upto_bytes);
  }
  // A clock that was never set says nothing about age: neither now nor when an entry was queued.
  const int64_t now_ns = clock_.now_ns();
  const int64_t old_ns = rule.ttl > Duration::zero() && now_ns >= kClockPlausibleNs ? now_ns - rule.ttl.count() : INT64_MIN;
  rocksdb::WriteBatch batch;
  Dropping dropping;
  uint64_t seq = from, bytes = bytes_from;
  for (; seq <= s.last_seq && seq - from < kDropPiece; ++seq) {
    auto row = outbox_row(c, seq);
    if (!row.ok() && row.error().code != Code::not_found && row.error().code != Code::corrupt) return row.error();
    if (!row.ok()) {  // damaged: it goes with those around it
      row = OutboxRow{};
      row->records = 0;
      row->queued_ns = dropping.stretches.empty() ? s.oldest_ns : dropping.stretches.back().queued_ns;
      row->bytes_before = bytes;
    }
    const bool expired = row->queued_ns <= old_ns && row->queued_ns >= kClockPlausibleNs;
    const bool over = drops_oldest && rule.quota_bytes > 0 && s.queued_bytes > rule.quota_bytes + row->bytes_before;
    if (!expired && !over) break;
    dropping.add(seq, expired ? LossReason::expired : LossReason::quota, *row, c, now_ns);
    bytes = row->bytes_before + row->bytes;
    batch.SingleDelete(db_->family(kOutbox), key::outbox(c, seq));
  }
  if (dropping.stretches.empty()) return {};

  std::lock_guard lock(commit_mutex_);
  SKERRY_TRY(healthy());
  if (state_.oldest_waiting(c) != from) return {};  // the hub acknowledged meanwhile: the next step looks again
  Dropped dropped = state_.dropped_of(c);
  for (const DroppedStretch& stretch : dropping.stretches) dropped.add(stretch, bytes);
  batch.Put(db_->family(kMeta), key::outbox_dropped(c), encode_dropped(dropped));
  Losses losses;
  for (const auto& [reason, loss] : dropping.losses) {
    const auto [at, sum] = merged(state_.losses, loss_id(c), loss);
    batch.Put(db_->family(kMeta), loss_row_key(at), encode_loss(sum));
    losses[at] = sum;
  }
  auto oldest = seq <= state_.of(c).last_seq ? outbox_row(c, seq) : Result<OutboxRow>(OutboxRow{});
  auto written = write(&batch);
  if (!written.ok()) return written.error();
  std::unique_lock state_lock(state_mutex_);
  state_.dropped_of(c) = std::move(dropped);
  state_.of(c).oldest_ns = oldest.ok() ? oldest->queued_ns : state_.of(c).oldest_ns;
  for (const auto& [at, loss] : losses) state_.losses[at] = loss;
  return {};
}

}  // namespace skerry::storage::internal
