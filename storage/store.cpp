// Opening, committing, upkeep. Internals: internal/store_impl.h.
#include "storage/store.h"

#include <algorithm>

#include "base/random.h"
#include "storage/internal/store_impl.h"
#include "storage/internal/validate.h"

namespace skerry::storage {

Result<std::unique_ptr<Store>> Store::open(const Options& options, const Clock& clock) {
  SKERRY_ASSIGN(auto db, internal::Database::open(options));
  auto store = std::make_unique<internal::StoreImpl>(options, clock, std::move(db));
  SKERRY_TRY(store->start());
  return std::unique_ptr<Store>(std::move(store));
}

namespace internal {
namespace {

constexpr size_t kTogetherBytesMax = 1 << 20;  // of records that several effects may have in one write

Result<std::vector<PreparedBatch>> prepare(const Effect& effect) {
  std::vector<PreparedBatch> out;
  size_t blocks = 0;
  for (const Batch& batch : effect.batches) {
    PreparedBatch prepared{&batch, batch.series.text(), make_blocks(batch)};
    blocks += prepared.blocks.size();
    for (const Block& block : prepared.blocks) {
      if (block.bytes.size() > kPayloadBytesMax) {
        return fail(Code::invalid, "a record of {} has {} bytes: at most {} are kept", prepared.series,
                    block.bytes.size(), kPayloadBytesMax);
      }
    }
    if (blocks > kBlocksPerEffectMax) {
      return fail(Code::invalid, "records of {} are spread over more than {} weeks: split them", prepared.series,
                  kBlocksPerEffectMax);
    }
    out.push_back(std::move(prepared));
  }
  return out;
}

size_t bytes_of(const CommitQueue::Round& round) {
  size_t sum = 0;
  for (const PendingCommit* pending : round) {
    for (const PreparedBatch& batch : pending->batches) {
      for (const Block& block : batch.blocks) sum += block.bytes.size();
    }
  }
  return sum;
}

bool empty(const Effect& e) {
  return e.batches.empty() && e.predictions.empty() && e.labels.empty() && e.examples.empty() && e.versions.empty() &&
         e.outbox.empty() && e.notes.empty() && !e.producer;
}

}  // namespace

StoreImpl::StoreImpl(const Options& options, const Clock& clock, std::unique_ptr<Database> db)
    : options_(options), clock_(clock), db_(std::move(db)), sync_(*db_),
      durable_commits_(clock, [this](const CommitQueue::Round& round) { commit_round(round); }),
      sealed_blocks_(*db_, damage_) {}

StoreImpl::~StoreImpl() {
  (void)sync_.ensure_all();  // what `interval` still owes; nobody is left to hear of an error
}

Status StoreImpl::start() {
  SKERRY_TRY(load());
  return state_.epoch == 0 ? begin_epoch() : Status();
}

Status StoreImpl::load() {
  SKERRY_ASSIGN(State state, load_state(*db_));
  std::unique_lock state_lock(state_mutex_);
  state_ = std::move(state);
  interval_due_.reset();
  acked_.clear();
  sealed_blocks_.forget();
  unsurveyed_.clear();
  for (const auto& [text, s] : state_.series) unsurveyed_.emplace_back(text, s.id);
  unsent_seq_ = unsent_block_ = 0;
  first_new_block_ = state_.counters.block;
  auto newest = db_->iterate(kChunks);
  newest->SeekToLast();
  if (newest->Valid()) generation_ = Reader(view(newest->key())).key64();
  for (OutboxClass c : kOutboxClasses) {
    ClassState& s = state_.of(c);
    state_.dropped_of(c).forget(s.trimmed_seq);
    if (s.last_seq >= state_.oldest_waiting(c)) {
      auto oldest = outbox_row(c, state_.oldest_waiting(c));
      s.oldest_ns = oldest.ok() ? oldest->queued_ns : clock_.now_ns();
    }
    if (s.acked_seq > s.trimmed_seq) acked_.push_back({c, s.acked_seq, clock_.steady()});
  }
  return {};
}

Durability StoreImpl::durability_of(const Effect& effect) const {
  if (effect.durability) return *effect.durability;
  if (effect.batches.empty()) return Durability::batch;
  Durability strictest = Durability::os;
  for (const Batch& batch : effect.batches) {
    strictest = std::min(strictest, rule_of(options_, batch.series.name).durability);
  }
  return strictest;
}

Result<Receipt> StoreImpl::stage(const PendingCommit& pending, Transaction& t) const {
  const Effect& effect = pending.effect;
  t.begin(pending.now_ns);
  if (effect.producer && !t.claim(*effect.producer)) {
    Receipt receipt;
    receipt.duplicate = true;
    return receipt;
  }
  for (const PreparedBatch& batch : pending.batches) SKERRY_TRY(t.add(batch));
  for (const Prediction& p : effect.predictions) SKERRY_TRY(t.add(p));
  for (const Label& l : effect.labels) SKERRY_TRY(t.add(l));
  for (const Example& e : effect.examples) SKERRY_TRY(t.add(e));
  for (const ModelVersion& v : effect.versions) t.add(v);
  for (const OutboxEntry& e : effect.outbox) SKERRY_TRY(t.add(e));
  for (const auto& [name, value] : effect.notes) t.add_note(name, value);
  return t.take_receipt();
}

Result<Receipt> StoreImpl::commit(const Effect& effect) {
  if (empty(effect)) return Receipt{};
  SKERRY_TRY(mend());
  std::shared_lock use(open_mutex_);
  const int64_t now_ns = clock_.now_ns();
  SKERRY_TRY(validate(effect, options_, now_ns));
  SKERRY_ASSIGN(const auto batches, prepare(effect));
  const Durability durability = durability_of(effect);
  PendingCommit pending{effect, batches, now_ns, Receipt{}};
  if (durability == Durability::batch) {
    durable_commits_.run(pending);
    return std::move(pending.outcome);
  }
  std::lock_guard lock(commit_mutex_);
  uint64_t ticket = 0;
  PendingCommit* const alone[] = {&pending};
  SKERRY_TRY(commit_together(alone, ticket));
  if (durability == Durability::interval && !interval_due_) interval_due_ = clock_.steady() + options_.sync_interval;
  return std::move(pending.outcome);
}

// All or none of them. Sets their outcomes when all could be written.
Status StoreImpl::commit_together(std::span<PendingCommit* const> effects, uint64_t& ticket) {
  SKERRY_TRY(healthy());
  Transaction transaction(*db_, state_, options_);
  bool fresh = false;
  for (PendingCommit* pending : effects) {
    pending->outcome = stage(*pending, transaction);
    if (!pending->outcome.ok()) return pending->outcome.error();
    fresh = fresh || !pending->outcome->duplicate;
  }
  if (!fresh) {
    ticket = sync_.written();  // what they repeat may still wait for its sync
    return {};
  }
  SKERRY_ASSIGN(ticket, write(transaction.finish()));
  for (const PendingCommit* pending : effects) {
    for (const Batch& batch : pending->effect.batches) taken_bytes_ += pending->outcome->duplicate ? 0 : batch.bytes();
  }
  std::unique_lock state_lock(state_mutex_);
  transaction.apply(state_);
  return {};
}

void StoreImpl::commit_round(const CommitQueue::Round& round) {
  uint64_t ticket = 0;
  {
    std::lock_guard lock(commit_mutex_);
    const bool together = round.size() > 1 && bytes_of(round) <= kTogetherBytesMax && commit_together(round, ticket).ok();
    for (size_t i = 0; i < round.size() && !together; ++i) {  // one that is refused does not keep the others from their place
      if (auto status = commit_together({&round[i], 1}, ticket); !status.ok()) round[i]->outcome = status.error();
    }
  }
  if (ticket == 0) return;  // all were refused
  const Status synced = sync(ticket);
  if (synced.ok()) return;
  for (PendingCommit* pending : round) {
    if (pending->outcome.ok()) pending->outcome = synced.error();
  }
}

Result<uint64_t> StoreImpl::write(rocksdb::WriteBatch* batch) {
  rocksdb::Status status = (*db_)->Write({}, batch);
  if (!status.ok()) return note_trouble(db_->error(status, "write"));
  return sync_.wrote();
}

Status StoreImpl::sync(uint64_t ticket) {
  Status status = sync_.ensure(ticket);
  if (status.ok()) return status;
  return note_trouble(status.error());
}

uint64_t StoreImpl::disk_bytes() const {
  std::shared_lock use(open_mutex_);
  return db_->disk_bytes();
}
uint64_t StoreImpl::damaged() const { return damage_.count(); }

std::optional<Error> StoreImpl::trouble() const {
  std::lock_guard lock(trouble_mutex_);
  return trouble_;
}

}  // namespace internal
}  // namespace skerry::storage
