#include <algorithm>

#include "storage/internal/block_codec.h"
#include "storage/internal/block_scan.h"
#include "storage/internal/rolled.h"
#include "storage/internal/store_impl.h"

namespace skerry::storage::internal {
namespace {

constexpr Duration kRepairEvery = std::chrono::seconds(1);
constexpr Duration kTrimEvery = std::chrono::seconds(1);
constexpr auto kReopenPatience = std::chrono::milliseconds(100);  // for reads that are under way
constexpr uint64_t kTrimPiece = 16384;  // entries of a class and step
constexpr uint64_t kSurveyPiece = 65536;  // blocks and chunks that are counted per step
constexpr size_t kSealPiece = 8 << 20;    // bytes of chunks that are written at a time

}  // namespace

Error StoreImpl::note_trouble(Error error) {
  std::lock_guard lock(trouble_mutex_);
  // Damage does not go away by waiting, and what helps against it helps at once.
  if (!trouble_) repair_due_ = clock_.steady() + (error.code == Code::corrupt ? Duration() : kRepairEvery);
  trouble_ = error;
  return error;
}

Status StoreImpl::healthy() {
  if (auto failed = sync_.failure()) return note_trouble(*failed);  // found by a caller that has not come to say so yet
  if (auto failed = db_->log_failure()) return note_trouble(db_->error(*failed, "write the log"));
  std::lock_guard lock(trouble_mutex_);
  return trouble_ ? Status(*trouble_) : Status();
}

Status StoreImpl::mend(Mend when) {
  {
    std::lock_guard lock(trouble_mutex_);
    if (!trouble_) return {};
    if (when == Mend::when_due && clock_.steady() < repair_due_) return *trouble_;
  }
  return reopen();
}

// The one answer to every error of the disk: a log that failed once is not trusted again, and RocksDB's own recovery has errors after
// which it waits for ever. So the database is closed and opened anew: what was in memory comes back from the log and is written as
// tables at once. Where a table is damaged, merging stays off, because that is what met it.
Status StoreImpl::reopen() {
  std::unique_lock alone(open_mutex_, kReopenPatience);
  const auto refused = [&](Error error) {
    std::lock_guard lock(trouble_mutex_);
    repair_due_ = clock_.steady() + kRepairEvery;
    trouble_ = error;
    return error;
  };
  const auto trouble = this->trouble();
  if (!trouble) return {};  // somebody else was faster
  if (!alone) return refused(*trouble);  // a long read goes on
  if (auto status = db_->probe(); !status.ok()) return refused(status.error());
  const bool damaged = trouble->code == Code::corrupt || merging_off_;
  if (damaged && !merging_off_) {
    damage_.found("tables", trouble->message);
    log::warn("storage", "a table of {} is damaged: tables are not merged any more and take ever more space; stop the node and run "
              "`skerry fsck --repair {}`", options_.path.string(), options_.path.string());
  }
  merging_off_ = damaged;
  if (auto status = db_->reopen(damaged ? Database::Compaction::off : Database::Compaction::on); !status.ok()) {
    return refused(status.error());
  }
  if (auto status = load(); !status.ok()) return refused(status.error());
  sync_.repaired();
  std::lock_guard lock(trouble_mutex_);
  trouble_.reset();
  return {};
}

// Removes what the hub has and whose grace is over: a piece at a time, so the work does not grow with the backlog.
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
      // One by one: RocksDB 7.8 aborts when a table of nothing but range deletions cannot be written. An entry is put once, so a single
      // deletion and the entry vanish together the first time they meet.
      for (uint64_t seq = s.trimmed_seq + 1; seq <= upto; ++seq) {
        if (state_.dropped_of(acked.outbox_class).find(seq) != nullptr) continue;  // its row is gone
        batch.SingleDelete(db_->family(kOutbox), key::outbox(acked.outbox_class, seq));
      }
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
  for (OutboxClass c : kOutboxClasses) state_.dropped_of(c).forget(state_.of(c).trimmed_seq);
}

// What lies in the head and in chunks from before this start. New blocks were counted when they were written; nothing is sealed or
// removed of a series that was not surveyed yet.
Status StoreImpl::survey() {
  for (uint64_t counted = 0; counted < kSurveyPiece && !unsurveyed_.empty();) {
    const auto& [text, id] = unsurveyed_.back();
    Extents head, sealed;
    std::array<uint64_t, 3> rolled_bytes{};
    BlockScan blocks(*db_, damage_, kHead, id, INT64_MIN, INT64_MAX);
    for (; blocks.valid(); blocks.next()) {
      auto header = peek_block(blocks.bytes());
      if (blocks.number() >= first_new_block_ || !header.ok()) continue;
      head.add({header->rows, blocks.bytes().size(), 1, blocks.first_ns()});
    }
    BlockScan chunks(*db_, damage_, kIndex, id, INT64_MIN, INT64_MAX);
    for (; chunks.valid(); chunks.next()) {
      auto row = decode_sealed_row(chunks.bytes());
      if (!row.ok()) continue;
      sealed.add({row->blocks.back().end_row, row->chunk_bytes + chunks.bytes().size(), 1, chunks.first_ns()});
      const auto header = read_chunk_header(row->header, row->chunk_bytes);
      const auto resolution_ns = header.ok() ? resolution_of(*header) : Result<int64_t>(header.error());
      if (resolution_ns.ok() && *resolution_ns > 0) rolled_bytes[level_of(*resolution_ns) - 1] += row->chunk_bytes + chunks.bytes().size();
    }
    SKERRY_TRY(Status(blocks.status()));
    SKERRY_TRY(Status(chunks.status()));
    counted += head.count + sealed.count + 1;
    std::lock_guard commit_lock(commit_mutex_);  // transactions work on copies
    std::unique_lock lock(state_mutex_);
    SeriesState& s = state_.series.at(text);
    s.head.add(head);
    s.sealed.add(sealed);
    for (size_t i = 0; i < rolled_bytes.size(); ++i) s.rolled_bytes[i] += rolled_bytes[i];
    s.surveyed = true;
    unsurveyed_.pop_back();
  }
  return {};
}

// Shortly before RocksDB would write what is in memory as tables: sealed, it is a fraction of it, and the head never reaches a table.
bool StoreImpl::seal_due() {
  uint64_t bytes = 0;
  if (!(*db_)->GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeActiveMemTable, &bytes)) return false;
  if (bytes < options_.write_buffer_bytes / 2) {
    seal_tried_bytes_ = 0;
    return false;
  }
  // There was not enough to seal: not again before there is more.
  if (seal_tried_bytes_ != 0 && bytes < seal_tried_bytes_ + options_.write_buffer_bytes / 8) return false;
  seal_tried_bytes_ = bytes;
  return true;
}

Result<uint64_t> StoreImpl::seal_heads(SealWhat what) {
  std::vector<SeriesState> candidates;
  {
    std::shared_lock lock(state_mutex_);
    for (const auto& [text, s] : state_.series) {
      if (s.surveyed && s.head.rows >= (what == SealWhat::everything ? 1 : kChunkRowsMin)) candidates.push_back(s);
    }
  }
  Sealer sealer(*db_, damage_);
  rocksdb::WriteBatch batch;
  std::vector<std::pair<std::string, Sealed>> done;
  uint64_t freed = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    SKERRY_ASSIGN(const Sealed sealed, sealer.seal(candidates[i], generation_ + 1, what, batch));
    if (sealed.chunks > 0) done.emplace_back(candidates[i].series.text(), sealed);
    freed += sealed.head_bytes;
    if (batch.GetDataSize() < kSealPiece && i + 1 < candidates.size()) continue;
    if (batch.Count() > 0) SKERRY_TRY(write_sealed(batch, done));
    batch.Clear();
    done.clear();
  }
  return freed;
}

// Chunks appear and their blocks disappear in one batch that is not in the log: should it be lost, the log still has the blocks. The
// flush that follows writes all families at once, so a block that is gone was never in a table, and the log ends there.
Status StoreImpl::write_sealed(rocksdb::WriteBatch& batch, const std::vector<std::pair<std::string, Sealed>>& done) {
  {
    std::lock_guard lock(commit_mutex_);
    SKERRY_TRY(healthy());
    std::map<std::string, SeriesState> changed;
    for (const auto& [text, sealed] : done) {
      SeriesState& s = changed.emplace(text, state_.series.at(text)).first->second;
      s.head.remove({sealed.rows, sealed.head_bytes, sealed.blocks});
      s.head.first_ns = sealed.head_first_ns;
      s.sealed.add({sealed.rows, sealed.chunk_bytes, sealed.chunks, sealed.first_ns});
      s.span_max_ns = std::max(s.span_max_ns, sealed.span_max_ns);
      batch.Put(db_->family(kMeta), key::series_totals(s.id), encode_totals(s));
    }
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    rocksdb::Status status = (*db_)->Write(options, &batch);
    if (!status.ok()) return note_trouble(db_->error(status, "seal"));
    ++generation_;
    std::unique_lock state_lock(state_mutex_);
    for (auto& [text, s] : changed) state_.series[text] = std::move(s);
  }
  rocksdb::FlushOptions flush;
  flush.allow_write_stall = true;
  rocksdb::Status status = (*db_)->Flush(flush, db_->families());
  return status.ok() ? Status() : note_trouble(db_->error(status, "write chunks"));
}

Status StoreImpl::seal_all() {
  std::shared_lock use(open_mutex_);
  std::lock_guard lock(upkeep_mutex_);
  while (!unsurveyed_.empty()) SKERRY_TRY(survey());
  SKERRY_TRY(seal_heads(SealWhat::everything));
  reclaim_heads();
  return {};
}

// A merge of tables that met an error of the disk may say so much later, in the middle of sealing, when the disk is long well again. So
// what sealing meets is mended at once, and it begins again.
Status StoreImpl::seal() {
  SKERRY_TRY(mend());
  const Status first = seal_all();
  if (first.ok() || !trouble()) return first;
  SKERRY_TRY(mend(Mend::at_once));
  return seal_all();
}

// Errors are in trouble() when they concern writing; one that only this piece of work met is met again, or not.
void StoreImpl::tend_records() {
  std::unique_lock lock(upkeep_mutex_, std::try_to_lock);
  if (!lock || !survey().ok()) return;
  tend_outbox();
  tend_space();
  if (!seal_due()) return;
  uint64_t head_bytes = 0;
  {
    std::shared_lock state_lock(state_mutex_);
    for (const auto& [text, s] : state_.series) head_bytes += s.head.bytes;
  }
  auto freed = seal_heads(SealWhat::complete);
  if (freed.ok() && *freed < head_bytes / 2) {
    auto more = seal_heads(SealWhat::worthwhile);
    freed = more.ok() ? Result<uint64_t>(*freed + *more) : more;
  }
  if (!freed.ok() || *freed == 0) return;
  seal_tried_bytes_ = 0;
  reclaim_heads();
}

Duration StoreImpl::step() {
  {
    std::shared_lock use(open_mutex_);
    if (auto failed = db_->background_error()) note_trouble(db_->error(*failed, "write in the background"));
    (void)healthy();
  }
  if (!mend().ok()) return kRepairEvery;
  std::shared_lock use(open_mutex_);
  bool sync_due = false;
  Duration delay = std::max(options_.sync_interval, Duration(1));
  {
    std::lock_guard lock(commit_mutex_);
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
  tend_records();
  return delay;
}

}  // namespace skerry::storage::internal
