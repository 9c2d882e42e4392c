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

constexpr Duration kRepairEvery = std::chrono::seconds(1);
constexpr Duration kTrimEvery = std::chrono::seconds(1);
constexpr const char* kRestore = "; reads go on, to write again restore the folder from a copy or move it away";
constexpr uint64_t kTrimPiece = 16384;  // entries of a class and step

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
      return fail(Code::invalid, "records of {} are spread over more than {} hours: split them", prepared.series,
                  kBlocksPerEffectMax);
    }
    out.push_back(std::move(prepared));
  }
  return out;
}

bool empty(const Effect& e) {
  return e.batches.empty() && e.predictions.empty() && e.labels.empty() && e.examples.empty() && e.versions.empty() &&
         e.outbox.empty() && e.notes.empty();
}

}  // namespace

StoreImpl::StoreImpl(const Options& options, const Clock& clock, std::unique_ptr<Database> db)
    : options_(options), clock_(clock), db_(std::move(db)), sync_(*db_) {}

StoreImpl::~StoreImpl() {
  (void)sync_.ensure_all();  // what `interval` still owes; nobody is left to hear of an error
}

Status StoreImpl::start() {
  SKERRY_ASSIGN(state_, load_state(*db_));
  if (state_.epoch == 0) {
    SKERRY_TRY(begin_epoch());
  }
  for (OutboxClass c : kOutboxClasses) {
    ClassState& s = state_.of(c);
    if (s.last_seq > s.acked_seq) {
      auto oldest = outbox_row(c, s.acked_seq + 1);
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

Status StoreImpl::stage(const Effect& effect, const std::vector<PreparedBatch>& batches, Transaction& t) const {
  for (const PreparedBatch& batch : batches) SKERRY_TRY(t.add(batch));
  for (const Prediction& p : effect.predictions) t.add(p);
  for (const Label& l : effect.labels) SKERRY_TRY(t.add(l));
  for (const Example& e : effect.examples) SKERRY_TRY(t.add(e));
  for (const ModelVersion& v : effect.versions) t.add(v);
  for (const OutboxEntry& e : effect.outbox) t.add(e);
  for (const auto& [name, value] : effect.notes) t.add_note(name, value);
  return {};
}

Result<Receipt> StoreImpl::commit(const Effect& effect) {
  if (empty(effect)) return Receipt{};
  const int64_t now_ns = clock_.now_ns();
  SKERRY_TRY(validate(effect, options_, now_ns));
  SKERRY_ASSIGN(const auto batches, prepare(effect));
  const Durability durability = durability_of(effect);
  Receipt receipt;
  uint64_t ticket = 0;
  {
    std::lock_guard lock(commit_mutex_);
    SKERRY_TRY(ready());
    Transaction transaction(*db_, state_, options_, now_ns);
    SKERRY_TRY(stage(effect, batches, transaction));
    SKERRY_ASSIGN(ticket, write(transaction.finish()));
    {
      std::unique_lock state_lock(state_mutex_);
      transaction.apply(state_);
    }
    receipt = std::move(transaction.receipt());
    if (durability == Durability::interval && !interval_due_) interval_due_ = clock_.steady() + options_.sync_interval;
  }
  if (durability == Durability::batch) SKERRY_TRY(sync(ticket));
  return receipt;
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

Error StoreImpl::note_trouble(Error error) {
  if (error.code == Code::corrupt) error.message += kRestore;
  std::lock_guard lock(trouble_mutex_);
  if (!trouble_) repair_due_ = clock_.steady() + kRepairEvery;
  trouble_ = error;
  return error;
}

Status StoreImpl::ready() {
  if (auto failed = sync_.failure()) note_trouble(*failed);  // found by a caller that has not come to say so yet
  {
    std::lock_guard lock(trouble_mutex_);
    if (!trouble_) return {};
    if (clock_.steady() < repair_due_) return *trouble_;
  }
  return repair();
}

// Lets RocksDB go on after an error, and writes what is only in memory and a log that is not trusted any more as
// tables.
Status StoreImpl::repair() {
  rocksdb::Status status = (*db_)->Resume();
  if (status.ok()) {
    rocksdb::FlushOptions flush;
    flush.allow_write_stall = true;
    status = (*db_)->Flush(flush, db_->families());
  }
  std::lock_guard lock(trouble_mutex_);
  if (!status.ok()) {
    trouble_ = db_->error(status, "resume writing");
    if (status.IsCorruption()) {
      trouble_->message += kRestore;
    } else if (status.severity() >= rocksdb::Status::Severity::kFatalError) {
      trouble_->message += ", then restart: what was acknowledged is kept";
    }
    repair_due_ = clock_.steady() + kRepairEvery;
    return *trouble_;
  }
  sync_.repaired();
  trouble_.reset();
  db_->forget_background_error();
  return {};
}

// Removes what the hub has and whose grace is over: a range per class, so the work does not grow with the backlog.
void StoreImpl::trim() {
  const SteadyTime now = clock_.steady();
  if (now < trim_due_ || acked_.empty() || now - acked_.front().at < options_.acked_grace) return;
  trim_due_ = now + kTrimEvery;
  rocksdb::WriteBatch batch;
  auto classes = state_.classes;
  auto waiting = acked_;
  while (!waiting.empty() && now - waiting.front().at >= options_.acked_grace) {
    const Acked& acked = waiting.front();
    ClassState& s = classes[static_cast<size_t>(acked.outbox_class)];
    const uint64_t trimmed_before = state_.of(acked.outbox_class).trimmed_seq;
    const uint64_t upto = std::min(acked.seq, trimmed_before + kTrimPiece);
    if (upto > s.trimmed_seq) {
      batch.DeleteRange(db_->family(kOutbox), key::outbox(acked.outbox_class, s.trimmed_seq + 1),
                        key::outbox(acked.outbox_class, upto + 1));
      s.trimmed_seq = upto;
      batch.Put(db_->family(kMeta), key::outbox_class(acked.outbox_class), encode_class(s));
    }
    if (upto < acked.seq) break;  // the rest of it next time
    waiting.pop_front();
  }
  if (batch.Count() > 0 && !write(&batch).ok()) return;
  acked_ = std::move(waiting);
  std::unique_lock state_lock(state_mutex_);
  state_.classes = classes;
}

Duration StoreImpl::step() {
  if (auto failed = db_->background_error()) note_trouble(db_->error(*failed, "write in the background"));
  bool sync_due = false;
  Duration delay = std::max(options_.sync_interval, Duration(1));
  {
    std::lock_guard lock(commit_mutex_);
    if (auto failed = sync_.failure()) note_trouble(*failed);
    if (trouble() && !repair().ok()) return kRepairEvery;
    const SteadyTime now = clock_.steady();
    if (interval_due_ && *interval_due_ <= now) {
      sync_due = true;
      interval_due_.reset();
    } else if (interval_due_) {
      delay = std::min(delay, *interval_due_ - now);
    }
    trim();
  }
  if (sync_due) {
    if (auto status = sync_.ensure_all(); !status.ok()) note_trouble(status.error());
  }
  return delay;
}

uint64_t StoreImpl::disk_bytes() const { return db_->disk_bytes(); }
uint64_t StoreImpl::damaged() const { return damage_.count(); }

std::optional<Error> StoreImpl::trouble() const {
  std::lock_guard lock(trouble_mutex_);
  return trouble_;
}

}  // namespace internal
}  // namespace skerry::storage
