#include "storage/internal/eviction.h"

#include <algorithm>
#include <queue>

#include "storage/chunk.h"
#include "storage/internal/block_codec.h"
#include "storage/internal/rolled.h"

namespace skerry::storage::internal {
namespace {

constexpr size_t kRunsPerPass = 4096;

}  // namespace

// The runs of one series, oldest first.
class Eviction::Series {
 public:
  Series(const Database& db, Damage& damage, const Candidate& candidate)
      : candidate_(candidate),
        head_(db, damage, kHead, candidate.state->id, INT64_MIN, INT64_MAX),
        index_(db, damage, kIndex, candidate.state->id, INT64_MIN, INT64_MAX) {
    evicted.series = candidate.state->series.text();
    evicted.range = {INT64_MAX, INT64_MIN};
    settle();
  }

  const std::optional<Run>& oldest() const { return run_; }
  const StreamRule& rule() const { return *candidate_.rule; }
  void next() {
    (run_->family == kHead ? head_ : index_).next();
    settle();
  }
  Status status() const { return head_.status().ok() ? index_.status() : head_.status(); }

  Evicted evicted;

 private:
  // What cannot be decoded is stepped over: reading counts it, and fsck moves it away.
  void settle() {
    run_.reset();
    while (!run_ && (head_.valid() || index_.valid())) {
      if (head_.valid() && (!index_.valid() || head_.first_ns() <= index_.first_ns())) {
        auto header = peek_block(head_.bytes());
        if (!header.ok()) {
          head_.next();
          continue;
        }
        run_ = Run{kHead, std::string(head_.key()), header->first_ns, header->last_ns, header->rows, head_.bytes().size(), 0,
                   {{head_.number(), header->rows}}, 0, header->rows};
      } else {
        auto row = decode_sealed_row(index_.bytes());
        auto header = row.ok() ? read_chunk_header(row->header, row->chunk_bytes) : Result<ChunkHeader>(row.error());
        const auto resolution_ns = header.ok() ? resolution_of(*header) : Result<int64_t>(header.error());
        if (!resolution_ns.ok()) {
          index_.next();
          continue;
        }
        const int64_t over_ns = *resolution_ns > 0 ? *resolution_ns - 1 : 0;  // a stretch ends later than it begins
        run_ = Run{kIndex, std::string(index_.key()), header->first_ns, header->last_ns > INT64_MAX - 1 - over_ns ? INT64_MAX - 1 : header->last_ns + over_ns,
                   header->rows, row->chunk_bytes + index_.bytes().size(), row->generation, std::move(row->blocks), level_of(*resolution_ns),
                   *resolution_ns > 0 ? rolled_records(*header) : header->rows};
      }
    }
  }

  const Candidate candidate_;
  BlockScan head_, index_;
  std::optional<Run> run_;
};

bool Eviction::may_go(const Run& run, const StreamRule& rule) const {
  return run.level > 0 || rule.drop_unsent || !rule.sync ||
         std::all_of(run.blocks.begin(), run.blocks.end(), [&](const BlockPart& part) { return part.number < unsent_from_; });
}

uint64_t Eviction::unsent_records(const Run& run) const {
  if (run.level > 0) return 0;
  uint64_t sum = 0, before = 0;
  for (const BlockPart& part : run.blocks) {
    if (part.number >= unsent_from_) sum += part.end_row - before;
    before = part.end_row;
  }
  return sum;
}

Result<std::vector<Evicted>> Eviction::evict(const std::vector<Candidate>& candidates, uint64_t bytes, int64_t before_ns,
                                             rocksdb::WriteBatch& batch) {
  // By the oldest record as far as it is known; a series is only looked into when it is its turn.
  using Turn = std::pair<int64_t, size_t>;
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
  std::vector<std::unique_ptr<Series>> open(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    const SeriesState& s = *candidates[i].state;
    if (s.head.count + s.sealed.count > 0) turns.emplace(std::min(s.head.first_ns, s.sealed.first_ns), i);
  }
  uint64_t freed = 0;
  size_t runs = 0;
  while (!turns.empty() && freed < bytes && runs < kRunsPerPass) {
    const auto [known_ns, i] = turns.top();
    turns.pop();
    if (known_ns >= before_ns) break;
    if (!open[i]) open[i] = std::make_unique<Series>(db_, damage_, candidates[i]);
    Series& series = *open[i];
    SKERRY_TRY(series.status());
    if (!series.oldest()) continue;
    const Run& run = *series.oldest();
    if (run.first_ns > known_ns) {  // it begins later than was known
      turns.emplace(run.first_ns, i);
      continue;
    }
    if (run.last_ns >= before_ns || !may_go(run, series.rule())) continue;
    batch.SingleDelete(db_.family(run.family), run.key);
    if (run.family == kIndex) batch.SingleDelete(db_.family(kChunks), key::chunk(run.generation, run.key));
    Evicted& e = series.evicted;
    (run.family == kHead ? e.head : e.sealed).add({run.rows, run.bytes, 1, run.first_ns});
    e.range = {std::min(e.range.from_ns, run.first_ns), std::max(e.range.to_ns, run.last_ns + 1)};
    if (run.level > 0) e.rolled_bytes[run.level - 1] += run.bytes;
    e.records += run.records;
    e.unsent += series.rule().sync ? unsent_records(run) : 0;
    if (run.family == kIndex) {
      e.generation_min = std::min(e.generation_min, run.generation);
      e.generation_max = std::max(e.generation_max, run.generation);
    }
    freed += run.bytes;
    ++runs;
    series.next();
    SKERRY_TRY(series.status());
    if (series.oldest()) turns.emplace(series.oldest()->first_ns, i);
  }
  std::vector<Evicted> out;
  for (auto& series : open) {
    if (!series || series->evicted.bytes() == 0) continue;
    if (series->oldest()) series->evicted.next_first_ns = series->oldest()->first_ns;
    out.push_back(std::move(series->evicted));
  }
  return out;
}

}  // namespace skerry::storage::internal
