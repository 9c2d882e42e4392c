#include <rocksdb/convenience.h>

#include <algorithm>

#include "storage/internal/store_impl.h"
#include "storage/internal/validate.h"

namespace skerry::storage::internal {
namespace {

constexpr uint64_t kUnsentScanMax = 100'000;  // outbox rows that are looked at per step
constexpr uint64_t kReclaimBytes = 4 << 20;   // evicted, or a sixteenth of what is there, before files are rewritten

bool anything_ruled(const Options& options) {
  return options.quota_bytes > 0 || std::any_of(options.streams.begin(), options.streams.end(), [](const StreamRule& rule) {
           return rule.quota_bytes > 0 || rule.retention > Duration::zero();
         });
}

bool may_shrink(OnFull on_full) { return on_full == OnFull::drop_oldest || on_full == OnFull::roll_up; }

// A little more than is needed, so that not every step has to.
uint64_t excess(const QuotaStatus& quota) {
  return quota.quota_bytes > 0 && quota.bytes > quota.quota_bytes ? quota.bytes - quota.quota_bytes + quota.quota_bytes / 32 : 0;
}

}  // namespace

std::vector<QuotaStatus> StoreImpl::measure() const {
  std::vector<QuotaStatus> quotas(options_.streams.size() + 2);  // each rule, the default rule, all together
  for (size_t i = 0; i < options_.streams.size(); ++i) {
    quotas[i].rule = options_.streams[i].name;
    quotas[i].quota_bytes = options_.streams[i].quota_bytes;
  }
  quotas[options_.streams.size()].rule = "*";
  quotas.back().quota_bytes = options_.quota_bytes;
  std::shared_lock lock(state_mutex_);
  for (const auto& [text, s] : state_.series) {
    const uint64_t bytes = s.head.bytes + s.sealed.bytes;
    quotas[rule_index(options_, s.series.name)].bytes += bytes;
    quotas.back().bytes += bytes;
  }
  return quotas;
}

void StoreImpl::tend_space() {
  if (!unsurveyed_.empty() || !anything_ruled(options_) || trouble()) return;
  Eviction eviction(*db_, damage_, unsent_from());
  auto quotas = measure();
  for (size_t i = 0; i < options_.streams.size(); ++i) {
    const StreamRule& rule = options_.streams[i];
    if (rule.retention > Duration::zero()) {
      if (!evict(eviction, i, UINT64_MAX, clock_.now_ns() - rule.retention.count(), LossReason::retention).ok()) return;
      quotas = measure();
    }
    if (excess(quotas[i]) > 0 && may_shrink(rule.on_full) && !make_room(eviction, i, excess(quotas[i]), rule.on_full).ok()) return;
  }
  quotas = measure();
  if (excess(quotas.back()) > 0) {
    const bool rolls = std::any_of(options_.streams.begin(), options_.streams.end(), [](const StreamRule& r) { return r.on_full == OnFull::roll_up; });
    if (!make_room(eviction, quotas.size() - 1, excess(quotas.back()), rolls ? OnFull::roll_up : OnFull::drop_oldest).ok()) return;
    quotas = measure();
  }
  reclaim();
  for (size_t i = 0; i < quotas.size(); ++i) {
    QuotaStatus& quota = quotas[i];
    const bool drops = i < options_.streams.size() ? may_shrink(options_.streams[i].on_full) : true;
    // Where the oldest goes, the quota is a mark that is passed a little between two steps, and by far only when nothing may go.
    quota.full = quota.quota_bytes > 0 && quota.bytes >= quota.quota_bytes + (drops ? quota.quota_bytes / 8 : 0);
  }
  std::lock_guard commit_lock(commit_mutex_);  // a transaction looks at them
  std::unique_lock lock(state_mutex_);
  state_.quotas = std::move(quotas);
}

// By less resolution where that is the rule; the oldest goes where it is not, or where nothing coarser is left.
Status StoreImpl::make_room(Eviction& eviction, size_t rule, uint64_t bytes, OnFull how) {
  if (how == OnFull::roll_up) {
    SKERRY_ASSIGN(const bool shrunk, shrink(rule, bytes));
    if (shrunk) return {};  // should it not have been enough, the next step goes on
  }
  return evict(eviction, rule, bytes, INT64_MAX, LossReason::quota);
}

// Out of the series of rule number `rule`, or of all whose rule lets their oldest go.
Status StoreImpl::evict(Eviction& eviction, size_t rule, uint64_t bytes, int64_t before_ns, LossReason reason) {
  const bool all = rule > options_.streams.size();
  std::vector<SeriesState> series;
  {
    std::shared_lock lock(state_mutex_);
    for (const auto& [text, s] : state_.series) {
      const bool wanted = all ? may_shrink(rule_of(options_, s.series.name).on_full) : rule_index(options_, s.series.name) == rule;
      if (wanted && std::min(s.head.first_ns, s.sealed.first_ns) < before_ns) series.push_back(s);
    }
  }
  std::vector<Eviction::Candidate> candidates;
  std::map<std::string, int64_t> first_seen;
  for (const SeriesState& s : series) {
    candidates.push_back({&s, &rule_of(options_, s.series.name)});
    first_seen[s.series.text()] = s.first_ns;
  }
  rocksdb::WriteBatch batch;
  SKERRY_ASSIGN(const std::vector<Evicted> evicted, eviction.evict(candidates, bytes, before_ns, batch));
  if (evicted.empty()) return {};

  std::lock_guard lock(commit_mutex_);
  SKERRY_TRY(healthy());
  std::map<std::string, SeriesState> changed;
  Losses losses;
  for (const Evicted& e : evicted) {
    SeriesState& s = changed.emplace(e.series, state_.series.at(e.series)).first->second;
    s.head.remove(e.head);
    s.sealed.remove(e.sealed);
    for (size_t i = 0; i < s.rolled_bytes.size(); ++i) s.rolled_bytes[i] -= std::min(s.rolled_bytes[i], e.rolled_bytes[i]);
    // Not when something late came meanwhile: it may be older than what was seen.
    if (e.next_first_ns && s.first_ns == first_seen.at(e.series)) {
      s.first_ns = std::max(s.first_ns, *e.next_first_ns);
      s.head.first_ns = std::max(s.head.first_ns, *e.next_first_ns);
      s.sealed.first_ns = std::max(s.sealed.first_ns, *e.next_first_ns);
    }
    batch.Put(db_->family(kMeta), key::series_totals(s.id), encode_totals(s));
    const auto [at, loss] = merged(state_.losses, s.id, {e.series, reason, e.range, 0, e.records, e.unsent, clock_.now_ns()});
    batch.Put(db_->family(kMeta), loss_row_key(at), encode_loss(loss));
    losses[at] = loss;
    evicted_bytes_ += e.sealed.bytes;
    evicted_min_ = std::min(evicted_min_, e.generation_min);
    evicted_max_ = std::max(evicted_max_, e.generation_max);
  }
  SKERRY_ASSIGN(evicted_ticket_, write(&batch));
  std::unique_lock state_lock(state_mutex_);
  for (auto& [text, s] : changed) state_.series[text] = std::move(s);
  for (const auto& [at, loss] : losses) state_.losses[at] = loss;
  return {};
}

// Entries of the telemetry class are in the order of block numbers, with predictions among them.
uint64_t StoreImpl::unsent_from() {
  uint64_t acked = 0, last = 0;
  {
    std::shared_lock lock(state_mutex_);
    acked = state_.oldest_waiting(OutboxClass::telemetry) - 1;
    last = state_.of(OutboxClass::telemetry).last_seq;
  }
  if (acked < unsent_seq_ && unsent_block_ != 0) return unsent_block_;  // that entry still waits
  uint64_t seq = std::max(unsent_seq_, acked + 1);
  for (uint64_t looked = 0; seq <= last && looked < kUnsentScanMax; ++seq, ++looked) {
    auto row = outbox_row(OutboxClass::telemetry, seq);
    if (!row.ok() || row->refers != Refers::block || row->data.size() < sizeof(uint64_t)) continue;
    unsent_seq_ = seq;
    return unsent_block_ = Reader(std::string_view(row->data).substr(row->data.size() - sizeof(uint64_t))).key64();
  }
  unsent_seq_ = seq;
  if (seq <= last) return unsent_block_;  // not found yet: what was known holds, and is less
  unsent_block_ = 0;
  return UINT64_MAX;
}

// Files of nothing but evicted chunks are deleted at once; those with some are written anew without them when that is worth it.
void StoreImpl::reclaim() {
  if (evicted_bytes_ == 0 || merging_off_) return;
  // A file is gone at once and for ever; what says so, and what was made of its chunks, must not be lost to a power cut.
  if (!sync(evicted_ticket_).ok()) return;
  rocksdb::ColumnFamilyHandle* chunks = db_->family(kChunks);
  std::string end = key::build(key::u64(evicted_max_ + 1));
  {
    auto oldest = db_->iterate(kChunks);
    oldest->SeekToFirst();
    if (oldest->Valid()) end = std::min(end, oldest->key().ToString());
  }
  const rocksdb::Slice begin_slice("", 0), end_slice(end);
  rocksdb::DeleteFilesInRange(&db_->rocks(), chunks, &begin_slice, &end_slice, /*include_end=*/false);
  uint64_t bytes = 0;
  (*db_)->GetIntProperty(chunks, rocksdb::DB::Properties::kTotalSstFilesSize, &bytes);
  if (evicted_bytes_ < std::max(kReclaimBytes, bytes / 16)) return;
  const std::string from = key::build(key::u64(evicted_min_)), to = key::build(key::u64(evicted_max_ + 1));
  const rocksdb::Slice from_slice(from), to_slice(to);
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.allow_write_stall = true;
  rocksdb::Status status = (*db_)->CompactRange(options, chunks, &from_slice, &to_slice);
  if (!status.ok()) log::warn("storage", "the room of old chunks is not free yet: {}", status.ToString());
  evicted_bytes_ = 0;
  evicted_min_ = UINT64_MAX;
  evicted_max_ = 0;
}

// A block that came into a table before it was sealed keeps its room until tables are merged, which RocksDB begins with the fourth. What is
// written anew by merging sooner is at most half of what it frees.
void StoreImpl::reclaim_heads() {
  if (merging_off_) return;
  uint64_t tables = 0, live = 0;
  if (!(*db_)->GetIntProperty(db_->family(kHead), rocksdb::DB::Properties::kLiveSstFilesSize, &tables)) return;
  {
    std::shared_lock lock(state_mutex_);
    for (const auto& [text, s] : state_.series) live += s.head.bytes;
  }
  if (tables < options_.write_buffer_bytes / 8 + 3 * live) return;
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.allow_write_stall = true;
  rocksdb::Status status = (*db_)->CompactRange(options, db_->family(kHead), nullptr, nullptr);
  if (!status.ok()) log::warn("storage", "the room of sealed records is not free yet: {}", status.ToString());
}

}  // namespace skerry::storage::internal
