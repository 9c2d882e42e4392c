#include "storage/internal/range_read.h"

#include <rocksdb/snapshot.h>

#include <algorithm>

#include "storage/internal/block_codec.h"
#include "storage/internal/block_scan.h"
#include "storage/internal/chunks.h"
#include "storage/internal/columns.h"
#include "storage/internal/rolled.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

struct Cursor {  // a decoded block or chunk, read up to `row`
  Batch batch;   // its columns are those that are wanted, in their order
  std::vector<BlockPart> blocks;
  size_t row = 0;

  int64_t time() const { return batch.times[row]; }
  uint64_t number() const { return number_at(blocks, row); }
  bool done() const { return row == batch.rows(); }
};

struct RolledCursor {  // a decoded chunk of records that were rolled up
  RolledRows rows;
  uint64_t number = 0;
  size_t row = 0;

  int64_t time() const { return rows.times()[row]; }
  bool done() const { return row == rows.rows(); }
};

constexpr uint64_t kMeansNumber = 0;   // less than any block's: a record that came late counts more than the mean of its stretch
constexpr size_t kMergedRows = 1024;  // that are gathered where blocks overlap, before the visitor gets them

Column absent(const Column& like, size_t rows) {
  Column out{like.name, empty_values(like.type()), {}};
  append_absent(out, rows);
  return out;
}

class Merge {
 public:
  // `wanted` has no records, and the columns of the fields that are read.
  Merge(const Database& db, Damage& damage, const SeriesState& series, Batch wanted, TimeRange range, RecordVisitor& visitor,
        std::optional<int64_t> resolution_ns = std::nullopt)
      : db_(db),
        damage_(damage),
        snapshot_(&db.rocks()),  // a block that is being sealed is seen in one place
        wanted_(std::move(wanted)),
        merged_(wanted_),
        range_(range),
        visitor_(visitor),
        resolution_ns_(resolution_ns),
        head_(db, damage, kHead, series.id, look_from(series, range), resolution_ns ? INT64_MIN : range.to_ns, snapshot_.snapshot()),
        index_(db, damage, kIndex, series.id, look_from(series, range), range.to_ns, snapshot_.snapshot()) {
    for (const Column& column : wanted_.columns) {
      names_.push_back(column.name);
      fields_.emplace_back(column.name, column.type());
    }
  }

  Status run() {
    while (true) {
      SKERRY_TRY(load());
      if (open_.empty() && rolled_.empty()) break;
      if (!rolled_.empty() && earliest_rolled() <= earliest_open()) {
        SKERRY_TRY(give_rolled());
      } else if (open_.size() == 1) {
        SKERRY_TRY(give_run());
      } else {
        SKERRY_TRY(merge_record());
      }
      std::erase_if(open_, [](const Cursor& c) { return c.done(); });
    }
    SKERRY_TRY(give_merged());
    SKERRY_TRY(Status(head_.status()));
    return index_.status();
  }

 private:
  // A block that begins before the range may reach into it: by no more than the longest, and never from an earlier week.
  static int64_t look_from(const SeriesState& series, TimeRange range) {
    const uint64_t room = static_cast<uint64_t>(range.from_ns) - static_cast<uint64_t>(span_start(range.from_ns, kWeekNs));
    return range.from_ns - static_cast<int64_t>(std::min(room, series.span_max_ns));
  }

  // First time of the next block or chunk.
  std::optional<int64_t> next_first() const {
    if (!head_.valid() && !index_.valid()) return std::nullopt;
    return std::min(head_.valid() ? head_.first_ns() : INT64_MAX, index_.valid() ? index_.first_ns() : INT64_MAX);
  }

  // Opens everything that may hold the next record.
  Status load() {
    while (auto first = next_first()) {
      if ((!open_.empty() || !rolled_.empty()) && *first > std::min(earliest_open(), earliest_rolled())) break;
      if (index_.valid() && index_.first_ns() == *first) {
        SKERRY_TRY(open_chunk());
      } else {
        open_block();
        head_.next();
      }
    }
    return {};
  }

  void open_block() {
    auto header = peek_block(head_.bytes());
    if (header.ok() && header->last_ns < range_.from_ns) return;
    auto batch = decode_block(wanted_.series, head_.bytes());
    if (!batch.ok()) {
      damage_.found(head_.place(), batch.error().message);
      return;
    }
    const auto rows = static_cast<uint32_t>(batch->rows());
    open(std::move(*batch), {{head_.number(), rows}});
  }

  // The next chunk of the index: handed on by its header if that is enough, else opened.
  Status open_chunk() {
    const std::string key(index_.key());
    auto row = decode_sealed_row(index_.bytes());
    const auto header = row.ok() ? read_chunk_header(row->header, row->chunk_bytes) : Result<ChunkHeader>(row.error());
    const auto resolution_ns = header.ok() ? resolution_of(*header) : Result<int64_t>(header.error());
    index_.next();
    if (!resolution_ns.ok()) {
      damage_.found(key, resolution_ns.error().message);
      return {};
    }
    if (header->last_ns < range_.from_ns || (resolution_ns_ && *resolution_ns_ != *resolution_ns)) return {};
    if (*resolution_ns > 0) {
      open_rolled(key, *row, *resolution_ns);
      return {};
    }
    const auto next = next_first();
    const bool alone = open_.empty() && rolled_.empty() && header->first_ns >= range_.from_ns && header->last_ns < range_.to_ns &&
                       (!next || *next > header->last_ns);
    if (alone) {
      SKERRY_TRY(give_merged());
      if (visitor_.chunk(*header)) return {};
    }
    auto batch = load_chunk(db_, key, *row, names_, snapshot_.snapshot());
    if (batch.ok()) {
      open(std::move(*batch), std::move(row->blocks));
    } else {
      cannot_load(key, batch.error());
    }
    return {};
  }

  void cannot_load(const std::string& key, const Error& error) {
    if (error.code != Code::not_found || db_.get(kIndex, key).ok()) damage_.found(key, error.message);  // else a quota took it meanwhile
  }

  void open_rolled(const std::string& key, const SealedRow& row, int64_t resolution_ns) {
    auto batch = load_chunk(db_, key, row, rolled_names(fields_, resolution_ns), snapshot_.snapshot());
    if (!batch.ok()) return cannot_load(key, batch.error());
    RolledCursor cursor{RolledRows(std::move(*batch), fields_, resolution_ns), row.blocks.front().number, 0};
    const auto& times = cursor.rows.times();
    cursor.row = static_cast<size_t>(std::lower_bound(times.begin(), times.end(), range_.from_ns) - times.begin());
    if (!cursor.done() && cursor.time() < range_.to_ns) rolled_.push_back(std::move(cursor));
  }

  void open(Batch&& batch, std::vector<BlockPart>&& blocks) {
    Cursor cursor;
    cursor.blocks = std::move(blocks);
    cursor.batch.series = wanted_.series;
    cursor.batch.times = std::move(batch.times);
    const auto& times = cursor.batch.times;
    cursor.row = static_cast<size_t>(std::lower_bound(times.begin(), times.end(), range_.from_ns) - times.begin());
    if (cursor.done() || cursor.time() >= range_.to_ns) return;
    for (const Column& wanted : wanted_.columns) {
      auto found = std::find_if(batch.columns.begin(), batch.columns.end(),
                                [&](const Column& c) { return c.name == wanted.name && c.type() == wanted.type(); });
      cursor.batch.columns.push_back(found != batch.columns.end() ? std::move(*found) : absent(wanted, times.size()));
    }
    open_.push_back(std::move(cursor));
  }

  int64_t earliest_open() const {
    int64_t time = INT64_MAX;
    for (const Cursor& c : open_) time = std::min(time, c.time());
    return time;
  }
  int64_t earliest_rolled() const {
    int64_t time = INT64_MAX;
    for (const RolledCursor& c : rolled_) time = std::min(time, c.time());
    return time;
  }

  // The next stretch that was rolled up: all that is known of it, in one summary; where that does not do, a record with the means.
  Status give_rolled() {
    SKERRY_TRY(give_merged());
    const int64_t time = earliest_rolled();
    std::vector<RolledCursor*> same;
    for (RolledCursor& c : rolled_) {
      if (c.time() == time) same.push_back(&c);
    }
    int64_t resolution_ns = same.front()->rows.resolution_ns();
    same.front()->rows.summary(same.front()->row, summary_);
    if (same.size() > 1) resolution_ns = add_up(same);
    for (RolledCursor* c : same) {
      ++c->row;
      if (!c->done() && c->time() >= range_.to_ns) c->row = c->rows.rows();
    }
    std::erase_if(rolled_, [](const RolledCursor& c) { return c.done(); });
    SKERRY_ASSIGN(const bool taken, visitor_.rolled(summary_, resolution_ns));
    if (taken) return {};
    Cursor means;
    means.batch = mean_record(summary_, wanted_.series);
    means.blocks = {{kMeansNumber, 1}};
    open_.push_back(std::move(means));
    return {};
  }

  // What was rolled up at different times, e.g. because it came late. Into summary_; the resolution of the coarsest.
  int64_t add_up(std::vector<RolledCursor*>& same) {
    std::sort(same.begin(), same.end(), [](const RolledCursor* a, const RolledCursor* b) { return a->number < b->number; });
    std::vector<Tally> tallies;
    for (const auto& [name, type] : fields_) tallies.emplace_back(type);
    int64_t resolution_ns = 0;
    uint64_t records = 0;
    for (RolledCursor* c : same) {
      c->rows.summary(c->row, summary_);
      for (size_t f = 0; f < fields_.size(); ++f) tallies[f].add(summary_.columns[f]);
      records += summary_.rows;
      resolution_ns = std::max(resolution_ns, c->rows.resolution_ns());
    }
    for (size_t f = 0; f < fields_.size(); ++f) summary_.columns[f] = summary_of(tallies[f], fields_[f].first, fields_[f].second);
    summary_.rows = static_cast<uint32_t>(std::min<uint64_t>(records, UINT32_MAX));
    return resolution_ns;
  }

  // The only open block up to the next one.
  Status give_run() {
    SKERRY_TRY(give_merged());
    Cursor& c = open_.front();
    const int64_t limit = std::min({range_.to_ns, next_first().value_or(INT64_MAX), earliest_rolled()});
    const auto& times = c.batch.times;
    const size_t from = c.row;
    const size_t to = std::lower_bound(times.begin() + static_cast<ptrdiff_t>(from), times.end(), limit) - times.begin();
    c.row = limit == range_.to_ns ? times.size() : to;
    return to > from ? visitor_.rows(c.batch, from, to) : Status();
  }

  // One record out of several blocks: field by field the newest that has it.
  Status merge_record() {
    const int64_t time = earliest_open();
    std::vector<Cursor*> same;
    for (Cursor& c : open_) {
      if (c.time() == time) same.push_back(&c);
    }
    std::sort(same.begin(), same.end(), [](const Cursor* a, const Cursor* b) { return a->number() > b->number(); });
    if (time >= range_.to_ns) {
      for (Cursor* c : same) c->row = c->batch.rows();
      return {};
    }
    merged_.times.push_back(time);
    for (size_t i = 0; i < merged_.columns.size(); ++i) {
      auto newest = std::find_if(same.begin(), same.end(), [&](const Cursor* c) { return c->batch.columns[i].has(c->row); });
      const Cursor& from = newest == same.end() ? *same.front() : **newest;
      append_rows(merged_.columns[i], from.batch.columns[i], from.row, from.row + 1);
    }
    for (Cursor* c : same) ++c->row;
    return merged_.rows() < kMergedRows ? Status() : give_merged();
  }

  Status give_merged() {
    if (merged_.rows() == 0) return {};
    const Batch ready = std::exchange(merged_, wanted_);
    return visitor_.rows(ready, 0, ready.rows());
  }

  const Database& db_;
  Damage& damage_;
  rocksdb::ManagedSnapshot snapshot_;
  const Batch wanted_;
  std::vector<std::string> names_;
  FieldList fields_;
  Batch merged_;
  const TimeRange range_;
  RecordVisitor& visitor_;
  const std::optional<int64_t> resolution_ns_;  // sealed records of this one alone
  BlockScan head_, index_;
  std::vector<Cursor> open_;
  std::vector<RolledCursor> rolled_;
  ChunkHeader summary_;
};

Status choose_columns(const SeriesState& series, const std::vector<std::string>& fields, Batch& out) {
  for (const std::string& name : fields) {
    const int at = series.field(name);
    if (at < 0) {
      std::string known;
      for (const auto& field : series.fields) known += (known.empty() ? "" : ", ") + field.first;
      return fail(Code::not_found, "{} has no field '{}': it has {}", out.series.text(), name, known);
    }
    out.columns.push_back({name, empty_values(series.fields[at].second), {}});
  }
  if (!fields.empty()) return {};
  for (const auto& [name, type] : series.fields) out.columns.push_back({name, empty_values(type), {}});
  return {};
}

class Collector final : public RecordVisitor {
 public:
  Collector(Batch& out, size_t rows_max) : out_(out), rows_max_(rows_max) {}
  bool full() const { return out_.rows() == rows_max_; }

  Status rows(const Batch& batch, size_t from, size_t to) override {
    to = std::min(to, from + (rows_max_ - out_.rows()));
    out_.times.insert(out_.times.end(), batch.times.begin() + static_cast<ptrdiff_t>(from), batch.times.begin() + static_cast<ptrdiff_t>(to));
    for (size_t i = 0; i < out_.columns.size(); ++i) append_rows(out_.columns[i], batch.columns[i], from, to);
    return full() ? Status(fail(Code::cancelled, "there are as many records as were asked for")) : Status();
  }

 private:
  Batch& out_;
  const size_t rows_max_;
};

}  // namespace

Status scan_range(const Database& db, Damage& damage, const SeriesState& series, TimeRange range,
                  const std::vector<std::string>& fields, RecordVisitor& visitor) {
  Batch wanted;
  wanted.series = series.series;
  SKERRY_TRY(choose_columns(series, fields, wanted));
  if (range.from_ns >= range.to_ns) return {};
  return Merge(db, damage, series, std::move(wanted), range, visitor).run();
}

Status scan_sealed(const Database& db, Damage& damage, const SeriesState& series, TimeRange range, int64_t resolution_ns, RecordVisitor& visitor) {
  Batch wanted;
  wanted.series = series.series;
  SKERRY_TRY(choose_columns(series, {}, wanted));
  return Merge(db, damage, series, std::move(wanted), range, visitor, resolution_ns).run();
}

Result<std::vector<RolledUp>> rolled_stretches(const Database& db, Damage& damage, const SeriesState& series, TimeRange range) {
  std::vector<RolledUp> out;
  const uint64_t room = static_cast<uint64_t>(range.from_ns) - static_cast<uint64_t>(span_start(range.from_ns, kWeekNs));
  const int64_t from_ns = range.from_ns - static_cast<int64_t>(std::min(room, series.span_max_ns));
  for (BlockScan scan(db, damage, kIndex, series.id, from_ns, range.to_ns); scan.valid(); scan.next()) {
    auto row = decode_sealed_row(scan.bytes());
    auto header = row.ok() ? read_chunk_header(row->header, row->chunk_bytes) : Result<ChunkHeader>(row.error());
    auto resolution_ns = header.ok() ? resolution_of(*header) : Result<int64_t>(header.error());
    if (!resolution_ns.ok() || *resolution_ns == 0 || header->last_ns < range.from_ns) continue;  // what is damaged, reading counts
    const int64_t to_ns = header->last_ns > INT64_MAX - *resolution_ns ? INT64_MAX : header->last_ns + *resolution_ns;
    const bool follows = !out.empty() && out.back().resolution_ns == *resolution_ns && header->first_ns <= out.back().range.to_ns;
    if (follows) {
      out.back().range.to_ns = std::max(out.back().range.to_ns, to_ns);
    } else {
      out.push_back({{header->first_ns, to_ns}, *resolution_ns});
    }
  }
  return out;
}

Result<Batch> read_range(const Database& db, Damage& damage, const SeriesState& series, TimeRange range,
                         size_t rows_max, const std::vector<std::string>& fields) {
  Batch out;
  out.series = series.series;
  SKERRY_TRY(choose_columns(series, fields, out));
  if (rows_max == 0) return out;
  Collector collector(out, rows_max);
  const Status status = scan_range(db, damage, series, range, fields, collector);
  if (!status.ok() && !collector.full()) return status.error();
  for (Column& column : out.columns) drop_full_presence(column);
  return out;
}

}  // namespace skerry::storage::internal
