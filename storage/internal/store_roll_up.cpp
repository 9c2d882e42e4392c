// Room by less resolution, where the rule of a stream says so.
#include <algorithm>

#include "storage/internal/roll_up.h"
#include "storage/internal/rolled.h"
#include "storage/internal/store_impl.h"
#include "storage/internal/validate.h"

namespace skerry::storage::internal {
namespace {

// The finest that has more than a quarter of the quota: so each resolution keeps its share, the newest in the finest. Else the largest.
size_t level_to_roll(const std::vector<SeriesState>& series, uint64_t quota_bytes) {
  std::array<uint64_t, kResolutions.size()> bytes{};
  for (const SeriesState& s : series) {
    bytes[0] += s.sealed.bytes;
    for (size_t level = 1; level < bytes.size(); ++level) {
      bytes[level] += s.rolled_bytes[level - 1];
      bytes[0] -= std::min(bytes[0], s.rolled_bytes[level - 1]);
    }
  }
  size_t largest = 0;
  for (size_t level = 0; level + 1 < bytes.size(); ++level) {
    if (bytes[level] > quota_bytes / 4) return level;
    if (bytes[level] > bytes[largest]) largest = level;
  }
  return largest;
}

}  // namespace

std::vector<SeriesState> StoreImpl::rolled_series(size_t rule) const {
  const bool all = rule > options_.streams.size();
  std::vector<SeriesState> out;
  std::shared_lock lock(state_mutex_);
  for (const auto& [text, s] : state_.series) {
    const bool wanted = all ? rule_of(options_, s.series.name).on_full == OnFull::roll_up : rule_index(options_, s.series.name) == rule;
    if (wanted) out.push_back(s);
  }
  return out;
}

Result<bool> StoreImpl::shrink(size_t rule, uint64_t bytes) {
  const uint64_t quota_bytes = rule > options_.streams.size() ? options_.quota_bytes : options_.streams[rule].quota_bytes;
  const std::vector<SeriesState> series = rolled_series(rule);
  const size_t first = level_to_roll(series, quota_bytes);
  for (size_t tried = 0; tried + 1 < kResolutions.size(); ++tried) {  // that one, else whatever can be
    SKERRY_ASSIGN(const uint64_t freed, roll_up(series, (first + tried) % (kResolutions.size() - 1), bytes));
    if (freed > 0) return true;
  }
  // Where most is in the head it is sealed first: then there is something to roll up.
  uint64_t head = 0;
  for (const SeriesState& s : series) head += s.head.bytes;
  if (head < quota_bytes / 2) return false;
  SKERRY_ASSIGN(const uint64_t sealed, seal_heads(SealWhat::worthwhile));
  return sealed > 0;
}

Result<uint64_t> StoreImpl::roll_up(const std::vector<SeriesState>& series, size_t level, uint64_t bytes) {
  if (series.empty()) return uint64_t{0};
  uint64_t number = 0;
  {
    std::lock_guard lock(commit_mutex_);  // numbers of blocks that nobody else is given
    std::unique_lock state_lock(state_mutex_);
    number = state_.counters.block;
    state_.counters.block += kRolledChunksMax;
  }
  std::vector<RollUp::Candidate> candidates;
  for (const SeriesState& s : series) {
    if (s.sealed.count > 0) candidates.push_back({&s, &rule_of(options_, s.series.name)});
  }
  rocksdb::WriteBatch batch;
  RollUp pass(*db_, damage_, unsent_from(), generation_ + 1, number);
  SKERRY_ASSIGN(const std::vector<Rolling> rolled, pass.roll(candidates, level, bytes, batch));
  if (rolled.empty()) return uint64_t{0};

  std::lock_guard lock(commit_mutex_);
  SKERRY_TRY(healthy());
  uint64_t freed = 0;
  std::map<std::string, SeriesState> changed;
  Losses known = state_.losses, losses;
  for (const Rolling& r : rolled) {
    SeriesState& s = changed.emplace(r.series, state_.series.at(r.series)).first->second;
    s.sealed.remove(r.gone);
    s.sealed.add(r.added);
    for (size_t i = 0; i < s.rolled_bytes.size(); ++i) s.rolled_bytes[i] += r.added_bytes[i] - std::min(s.rolled_bytes[i], r.gone_bytes[i]);
    s.first_ns = std::min(s.first_ns, r.added.first_ns);  // a stretch begins before its first record
    s.span_max_ns = std::max(s.span_max_ns, r.span_max_ns);
    batch.Put(db_->family(kMeta), key::series_totals(s.id), encode_totals(s));
    for (Loss loss : r.losses) {
      loss.at_ns = clock_.now_ns();
      const auto [at, sum] = merged(known, s.id, loss);
      known[at] = losses[at] = sum;
    }
    freed += r.gone.bytes - std::min(r.gone.bytes, r.added.bytes);
    evicted_bytes_ += r.gone.bytes;
    evicted_min_ = std::min(evicted_min_, r.generation_min);
    evicted_max_ = std::max(evicted_max_, r.generation_max);
  }
  for (const auto& [at, loss] : losses) batch.Put(db_->family(kMeta), loss_row_key(at), encode_loss(loss));
  batch.Put(db_->family(kMeta), key::counters(), encode_counters(state_.counters));
  SKERRY_ASSIGN(evicted_ticket_, write(&batch));
  ++generation_;
  std::unique_lock state_lock(state_mutex_);
  for (auto& [text, s] : changed) state_.series[text] = std::move(s);
  for (const auto& [at, loss] : losses) state_.losses[at] = loss;
  return freed;
}

}  // namespace skerry::storage::internal
