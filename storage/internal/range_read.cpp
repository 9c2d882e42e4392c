#include "storage/internal/range_read.h"

#include <algorithm>

#include "storage/internal/block_codec.h"
#include "storage/internal/block_scan.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

struct Cursor {  // a decoded block, read up to `row`
  Batch batch;   // its columns are those that are wanted, in their order
  uint64_t number = 0;
  size_t row = 0;

  int64_t time() const { return batch.times[row]; }
  bool done() const { return row == batch.rows(); }
};

constexpr size_t kMergedRows = 1024;  // that are gathered where blocks overlap, before the visitor gets them

Column::Values empty_values(FieldType type) {
  switch (type) {
    case FieldType::float64:
      return std::vector<double>();
    case FieldType::int64:
      return std::vector<int64_t>();
    case FieldType::boolean:
      return std::vector<uint8_t>();
    case FieldType::string:
      return std::vector<std::string>();
  }
  SKERRY_CHECK(false, "field type {}", static_cast<int>(type));
}

Column absent(const Column& like, size_t rows) {
  Column out{like.name, empty_values(like.type()), std::vector<uint8_t>(rows, 0)};
  std::visit([&](auto& values) { values.resize(rows); }, out.values);
  return out;
}

// Rows [from, to) of `source` to the end of `out`, whose `present` is always there.
void append(Column& out, const Column& source, size_t from, size_t to) {
  if (source.present.empty()) {
    out.present.insert(out.present.end(), to - from, 1);
  } else {
    out.present.insert(out.present.end(), source.present.begin() + from, source.present.begin() + to);
  }
  std::visit(
      [&](auto& values) {
        const auto& other = std::get<std::decay_t<decltype(values)>>(source.values);
        values.insert(values.end(), other.begin() + from, other.begin() + to);
      },
      out.values);
}

class Merge {
 public:
  // `wanted` has no records, and the columns of the fields that are read.
  Merge(BlockScan& scan, Batch wanted, TimeRange range, RecordVisitor& visitor)
      : scan_(scan), wanted_(std::move(wanted)), merged_(wanted_), range_(range), visitor_(visitor) {}

  Status run() {
    while (true) {
      load();
      if (open_.empty()) return give_merged();
      if (open_.size() == 1) {
        SKERRY_TRY(give_run());
      } else {
        SKERRY_TRY(merge_record());
      }
      std::erase_if(open_, [](const Cursor& c) { return c.done(); });
    }
  }

 private:
  // Opens every block that may hold the next record.
  void load() {
    while (scan_.valid() && (open_.empty() || scan_.first_ns() <= earliest())) {
      open_block();
      scan_.next();
    }
  }

  void open_block() {
    auto header = peek_block(scan_.bytes());
    if (header.ok() && header->last_ns < range_.from_ns) return;
    auto batch = decode_block(wanted_.series, scan_.bytes());
    if (!batch.ok()) {
      scan_.damage().found(scan_.place(), batch.error().message);
      return;
    }
    Cursor cursor;
    cursor.number = scan_.number();
    cursor.batch.series = wanted_.series;
    cursor.batch.times = std::move(batch->times);
    const auto& times = cursor.batch.times;
    cursor.row = std::lower_bound(times.begin(), times.end(), range_.from_ns) - times.begin();
    if (cursor.done() || cursor.time() >= range_.to_ns) return;
    for (const Column& wanted : wanted_.columns) {
      auto found = std::find_if(batch->columns.begin(), batch->columns.end(),
                                [&](const Column& c) { return c.name == wanted.name && c.type() == wanted.type(); });
      cursor.batch.columns.push_back(found != batch->columns.end() ? std::move(*found) : absent(wanted, times.size()));
    }
    open_.push_back(std::move(cursor));
  }

  int64_t earliest() const {
    int64_t time = INT64_MAX;
    for (const Cursor& c : open_) time = std::min(time, c.time());
    return time;
  }

  // The only open block up to the next one.
  Status give_run() {
    SKERRY_TRY(give_merged());
    Cursor& c = open_.front();
    const int64_t limit = scan_.valid() ? std::min(range_.to_ns, scan_.first_ns()) : range_.to_ns;
    const auto& times = c.batch.times;
    const size_t from = c.row;
    const size_t to = std::lower_bound(times.begin() + static_cast<ptrdiff_t>(from), times.end(), limit) - times.begin();
    c.row = limit == range_.to_ns ? times.size() : to;
    return to > from ? visitor_.rows(c.batch, from, to) : Status();
  }

  // One record out of several blocks: field by field the newest that has it.
  Status merge_record() {
    const int64_t time = earliest();
    std::vector<Cursor*> same;
    for (Cursor& c : open_) {
      if (c.time() == time) same.push_back(&c);
    }
    std::sort(same.begin(), same.end(), [](const Cursor* a, const Cursor* b) { return a->number > b->number; });
    if (time >= range_.to_ns) {
      for (Cursor* c : same) c->row = c->batch.rows();
      return {};
    }
    merged_.times.push_back(time);
    for (size_t i = 0; i < merged_.columns.size(); ++i) {
      auto newest = std::find_if(same.begin(), same.end(), [&](const Cursor* c) { return c->batch.columns[i].has(c->row); });
      const Cursor& from = newest == same.end() ? *same.front() : **newest;
      append(merged_.columns[i], from.batch.columns[i], from.row, from.row + 1);
    }
    for (Cursor* c : same) ++c->row;
    return merged_.rows() < kMergedRows ? Status() : give_merged();
  }

  Status give_merged() {
    if (merged_.rows() == 0) return {};
    const Batch ready = std::exchange(merged_, wanted_);
    return visitor_.rows(ready, 0, ready.rows());
  }

  BlockScan& scan_;
  const Batch wanted_;
  Batch merged_;
  const TimeRange range_;
  RecordVisitor& visitor_;
  std::vector<Cursor> open_;
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
    for (size_t i = 0; i < out_.columns.size(); ++i) append(out_.columns[i], batch.columns[i], from, to);
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
  // A block that begins before the range may reach into it: by no more than the longest block, and never from an
  // earlier hour.
  const uint64_t room = static_cast<uint64_t>(range.from_ns) - static_cast<uint64_t>(hour_start(range.from_ns));
  const int64_t from = range.from_ns - static_cast<int64_t>(std::min(room, series.span_max_ns));
  BlockScan scan(db, damage, series.id, from, range.to_ns);
  SKERRY_TRY(Merge(scan, std::move(wanted), range, visitor).run());
  return scan.status();
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
  for (Column& column : out.columns) {
    if (std::find(column.present.begin(), column.present.end(), 0) == column.present.end()) column.present.clear();
  }
  return out;
}

}  // namespace skerry::storage::internal
