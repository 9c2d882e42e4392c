#include "storage/internal/roll_up.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <queue>

#include "storage/chunk.h"
#include "storage/internal/block_codec.h"
#include "storage/internal/columns.h"
#include "storage/internal/range_read.h"
#include "storage/internal/rolled.h"
#include "storage/internal/sealer.h"

namespace skerry::storage::internal {
namespace {

constexpr uint64_t kValuesPerPass = 4 << 20;
constexpr size_t kGroupChunks = 256;         // that are rolled up together, unless they overlap
constexpr uint64_t kGroupValues = 1 << 20;
constexpr size_t kBatchBytesMax = 8 << 20;   // of new chunks
constexpr uint64_t kRecordsPerRow = 4;       // at least, or a coarser resolution is taken
// A row has up to seven values per field: below this it is not worth the detail that is lost.
bool saves(uint64_t before, uint64_t after) { return after < before - before / 4; }

// Folds records and stretches into stretches of one resolution.
class Fold final : public RecordVisitor {
 public:
  Fold(const FieldList& fields, int64_t resolution_ns) : resolution_ns_(resolution_ns), builder_(fields, resolution_ns) {
    for (const auto& [name, type] : fields) tallies_.emplace_back(type);
  }

  Status rows(const Batch& batch, size_t from, size_t to) override {
    while (from < to) {
      enter(batch.times[from]);
      size_t end = from + 1;
      while (end < to && span_start(batch.times[end], resolution_ns_) == start_ns_) ++end;
      for (size_t f = 0; f < tallies_.size(); ++f) tallies_[f].add(batch.columns[f], from, end, kRolledNeeds);
      records_ += end - from;
      from = end;
    }
    return {};
  }
  Result<bool> rolled(const ChunkHeader& summary, int64_t) override {
    enter(summary.first_ns);
    for (size_t f = 0; f < tallies_.size(); ++f) tallies_[f].add(summary.columns[f]);
    records_ += summary.rows;
    return true;
  }

  uint64_t records = 0;  // of all, after take()
  Batch take() {
    close();
    return builder_.take();
  }

 private:
  void enter(int64_t time_ns) {
    const int64_t start_ns = span_start(time_ns, resolution_ns_);
    if (records_ > 0 && start_ns == start_ns_) return;
    close();
    start_ns_ = start_ns;
  }
  void close() {
    if (records_ == 0) return;
    builder_.add(start_ns_, records_, tallies_);
    records += records_;
    records_ = 0;
    for (Tally& tally : tallies_) tally.clear();
  }

  const int64_t resolution_ns_;
  RolledBuilder builder_;
  std::vector<Tally> tallies_;
  int64_t start_ns_ = 0;
  uint64_t records_ = 0;
};

}  // namespace

// The chunks of a series that have one level, oldest first.
class RollUp::Chunks {
 public:
  Chunks(const Database& db, Damage& damage, const Candidate& candidate, size_t level)
      : candidate(candidate), level_(level), index_(db, damage, kIndex, candidate.state->id, INT64_MIN, INT64_MAX) {
    rolling.series = candidate.state->series.text();
    settle();
  }

  const std::optional<Run>& oldest() const { return run_; }
  void next() {
    index_.next();
    settle();
  }
  const Status& status() const { return index_.status(); }

  // The next ones that belong together: all that overlap, and what follows until they have about `bytes`.
  Group group(uint64_t bytes, const std::function<bool(const Run&)>& may_go, bool& all_may_go) {
    Group out;
    int64_t end_ns = INT64_MIN;
    uint64_t values = 0, have = 0;
    all_may_go = true;
    const size_t fields = std::max<size_t>(candidate.state->fields.size(), 1);
    for (; run_; next()) {
      const bool overlaps = !out.empty() && run_->first_ns <= end_ns;
      const bool goes = may_go(*run_);
      if (!out.empty() && !overlaps) {
        const bool enough = out.size() >= kGroupChunks || values >= kGroupValues || have >= bytes || span_start(run_->first_ns, kWeekNs) != span_start(end_ns, kWeekNs);
        // Not amid a stretch, as far as it can be helped: its other part would be a row of its own.
        const int64_t whole_ns = kResolutions[level_ == 0 ? 2 : 3];
        const bool amid = span_start(run_->first_ns, whole_ns) == span_start(end_ns, whole_ns) && out.size() < 4 * kGroupChunks;
        if ((enough && !amid) || !goes || !all_may_go) break;
      }
      all_may_go = all_may_go && goes;
      end_ns = std::max(end_ns, run_->last_ns);
      values += run_->rows * fields;
      have += run_->bytes;
      out.push_back(std::move(*run_));
    }
    return out;
  }

  const Candidate candidate;
  Rolling rolling;

 private:
  // What cannot be decoded is stepped over: reading counts it, and fsck moves it away.
  void settle() {
    for (run_.reset(); index_.valid(); index_.next()) {
      auto row = decode_sealed_row(index_.bytes());
      auto header = row.ok() ? read_chunk_header(row->header, row->chunk_bytes) : Result<ChunkHeader>(row.error());
      const auto resolution_ns = header.ok() ? resolution_of(*header) : Result<int64_t>(header.error());
      if (!resolution_ns.ok() || level_of(*resolution_ns) != level_) continue;
      run_ = Run{std::string(index_.key()), header->first_ns, header->last_ns, header->rows, level_ == 0 ? header->rows : rolled_records(*header),
                 row->chunk_bytes + index_.bytes().size(), row->generation, std::move(row->blocks)};
      return;
    }
  }

  const size_t level_;
  BlockScan index_;
  std::optional<Run> run_;
};

bool RollUp::may_go(const Run& run, size_t level, const StreamRule& rule) const {
  return level > 0 || rule.drop_unsent || !rule.sync ||
         std::all_of(run.blocks.begin(), run.blocks.end(), [&](const BlockPart& part) { return part.number < unsent_from_; });
}

// Records in the head that came late may replace some of the group: first they have to be sealed.
Result<bool> RollUp::under_head(const SeriesState& series, const Group& group) const {
  const int64_t first_ns = group.front().first_ns;
  int64_t last_ns = INT64_MIN;
  for (const Run& run : group) last_ns = std::max(last_ns, run.last_ns);
  const uint64_t room = static_cast<uint64_t>(first_ns) - static_cast<uint64_t>(span_start(first_ns, kWeekNs));
  const int64_t from_ns = first_ns - static_cast<int64_t>(std::min(room, series.span_max_ns));
  BlockScan head(db_, damage_, kHead, series.id, from_ns, last_ns == INT64_MAX ? last_ns : last_ns + 1);
  for (; head.valid(); head.next()) {
    auto header = peek_block(head.bytes());
    if (!header.ok() || header->last_ns >= first_ns) return true;
  }
  SKERRY_TRY(Status(head.status()));
  return false;
}

Result<std::vector<RollUp::Chunk>> RollUp::encode(const SeriesState& series, const Batch& rows) {
  const size_t rows_max = std::clamp<size_t>(kChunkValuesMax / rows.columns.size(), kChunkRowsMin, kChunkRowsMax);
  std::vector<Chunk> out;
  for (size_t from = 0; from < rows.rows();) {
    const int64_t week_ns = span_start(rows.times[from], kWeekNs);
    size_t to = from + 1;
    while (to < rows.rows() && to - from < rows_max && span_start(rows.times[to], kWeekNs) == week_ns) ++to;
    if (number_ == numbers_end_) return fail(Code::exhausted, "a pass rolls up no more than {} chunks", kRolledChunksMax);
    Batch part;
    part.times.assign(rows.times.begin() + static_cast<ptrdiff_t>(from), rows.times.begin() + static_cast<ptrdiff_t>(to));
    append_columns(part.columns, rows.columns, from, to, to - from);
    for (Column& column : part.columns) drop_full_presence(column);
    Chunk chunk;
    SKERRY_ASSIGN(chunk.bytes, encode_chunk(part));
    const uint64_t number = number_++;
    const SealedRow row{generation_, chunk.bytes.size(), {{number, static_cast<uint32_t>(part.rows())}}, std::string(chunk_header_bytes(chunk.bytes))};
    chunk.key = key::run(series.id, part.times.front(), number);
    chunk.row = encode_row(row);
    chunk.rows = part.rows();
    chunk.first_ns = part.times.front();
    chunk.span_ns = static_cast<uint64_t>(part.times.back() - part.times.front());
    out.push_back(std::move(chunk));
    from = to;
  }
  return out;
}

Result<std::vector<RollUp::Chunk>> RollUp::rolled(const SeriesState& series, const Group& group, size_t level, size_t& to_level) {
  uint64_t before = 0, rows = 0;
  TimeRange range{group.front().first_ns, INT64_MIN};
  for (const Run& run : group) {
    before += run.bytes;
    rows += run.rows;
    range.to_ns = std::max(range.to_ns, run.last_ns == INT64_MAX ? INT64_MAX : run.last_ns + 1);
  }
  for (to_level = level + 1; to_level < kResolutions.size(); ++to_level) {
    Damage damage;
    Fold fold(series.fields, kResolutions[to_level]);
    SKERRY_TRY(scan_sealed(db_, damage, series, range, kResolutions[level], fold));
    if (damage.count() > 0) return std::vector<Chunk>();  // what cannot be read is not thrown away here
    const Batch folded = fold.take();
    if (folded.rows() == 0) return std::vector<Chunk>();
    if (folded.rows() * kRecordsPerRow > rows && to_level + 1 < kResolutions.size()) continue;
    const uint64_t number = number_;
    SKERRY_ASSIGN(auto chunks, encode(series, folded));
    uint64_t after = 0;
    for (const Chunk& chunk : chunks) after += chunk.bytes.size() + chunk.row.size();
    if (saves(before, after)) return chunks;
    number_ = number;
  }
  return std::vector<Chunk>();
}

void RollUp::replace(const Candidate& candidate, const Group& group, size_t level, const std::vector<Chunk>& chunks, size_t to_level, Rolling& out,
                     rocksdb::WriteBatch& batch) const {
  Loss loss{out.series, LossReason::rolled_up, {INT64_MAX, INT64_MIN}, kResolutions[to_level], 0, 0, 0, std::nullopt, 0};
  for (const Run& run : group) {
    batch.SingleDelete(db_.family(kIndex), run.key);
    batch.SingleDelete(db_.family(kChunks), key::chunk(run.generation, run.key));
    out.gone.add({run.rows, run.bytes, 1, run.first_ns});
    if (level > 0) out.gone_bytes[level - 1] += run.bytes;
    out.generation_min = std::min(out.generation_min, run.generation);
    out.generation_max = std::max(out.generation_max, run.generation);
    loss.range = {std::min(loss.range.from_ns, run.first_ns), std::max(loss.range.to_ns, run.last_ns == INT64_MAX ? INT64_MAX : run.last_ns + 1)};
    loss.records += run.records;
    uint32_t begin = 0;
    for (const BlockPart& part : run.blocks) {
      if (level == 0 && candidate.rule->sync && part.number >= unsent_from_) loss.unsent += part.end_row - begin;
      begin = part.end_row;
    }
  }
  for (const Chunk& chunk : chunks) {
    batch.Put(db_.family(kIndex), chunk.key, chunk.row);
    batch.Put(db_.family(kChunks), key::chunk(generation_, chunk.key), chunk.bytes);
    const uint64_t bytes = chunk.bytes.size() + chunk.row.size();
    out.added.add({chunk.rows, bytes, 1, chunk.first_ns});
    out.added_bytes[to_level - 1] += bytes;
    out.span_max_ns = std::max(out.span_max_ns, chunk.span_ns);
  }
  out.losses.push_back(std::move(loss));
}

Result<std::vector<Rolling>> RollUp::roll(const std::vector<Candidate>& candidates, size_t level, uint64_t bytes, rocksdb::WriteBatch& batch) {
  // By the oldest record as far as it is known; a series is only looked into when it is its turn.
  using Turn = std::pair<int64_t, size_t>;
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
  std::vector<std::unique_ptr<Chunks>> open(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) turns.emplace(candidates[i].state->sealed.first_ns, i);
  uint64_t freed = 0, values = 0;
  while (!turns.empty() && freed < bytes && values < kValuesPerPass && batch.GetDataSize() < kBatchBytesMax) {
    const auto [known_ns, i] = turns.top();
    turns.pop();
    if (!open[i]) open[i] = std::make_unique<Chunks>(db_, damage_, candidates[i], level);
    Chunks& chunks = *open[i];
    SKERRY_TRY(Status(chunks.status()));
    if (!chunks.oldest()) continue;
    if (chunks.oldest()->first_ns > known_ns) {  // it begins later than was known
      turns.emplace(chunks.oldest()->first_ns, i);
      continue;
    }
    const SeriesState& series = *candidates[i].state;
    bool may = false;
    const Group group = chunks.group((bytes - freed) / 3 * 4, [&](const Run& run) { return may_go(run, level, *candidates[i].rule); }, may);
    SKERRY_TRY(Status(chunks.status()));
    if (!may) continue;  // what follows is not sent either
    if (chunks.oldest()) turns.emplace(chunks.oldest()->first_ns, i);
    for (const Run& run : group) values += run.rows * std::max<size_t>(series.fields.size(), 1);
    if (level == 0) {
      SKERRY_ASSIGN(const bool under, under_head(series, group));
      if (under) continue;
    }
    size_t to_level = level;
    auto made = rolled(series, group, level, to_level);
    if (!made.ok() && made.error().code == Code::exhausted) break;
    SKERRY_TRY(made.ok() ? Status() : Status(made.error()));
    if (made->empty()) continue;
    const Extents gone = chunks.rolling.gone, added = chunks.rolling.added;
    replace(candidates[i], group, level, *made, to_level, chunks.rolling, batch);
    freed += (chunks.rolling.gone.bytes - gone.bytes) - (chunks.rolling.added.bytes - added.bytes);
  }
  std::vector<Rolling> out;
  for (auto& chunks : open) {
    if (chunks && chunks->rolling.gone.count > 0) out.push_back(std::move(chunks->rolling));
  }
  return out;
}

}  // namespace skerry::storage::internal
