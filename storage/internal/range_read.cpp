#include "storage/internal/range_read.h"

#include <algorithm>

#include "storage/internal/block_codec.h"
#include "storage/internal/block_scan.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

struct Cursor {  // a decoded block, read up to `row`
  Batch batch;
  uint64_t number = 0;
  size_t row = 0;
  std::vector<const Column*> columns;  // as the result's columns; null where the block has none

  int64_t time() const { return batch.times[row]; }
  bool done() const { return row == batch.rows(); }
};

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

// Rows [from, to) of `source` (null: absent) to the end of `out`.
void append(Column& out, const Column* source, size_t from, size_t to) {
  if (source == nullptr) {
    out.present.insert(out.present.end(), to - from, 0);
    std::visit([&](auto& values) { values.resize(values.size() + (to - from)); }, out.values);
    return;
  }
  if (source->present.empty()) {
    out.present.insert(out.present.end(), to - from, 1);
  } else {
    out.present.insert(out.present.end(), source->present.begin() + from, source->present.begin() + to);
  }
  std::visit(
      [&](auto& values) {
        const auto& other = std::get<std::decay_t<decltype(values)>>(source->values);
        values.insert(values.end(), other.begin() + from, other.begin() + to);
      },
      out.values);
}

class Merge {
 public:
  Merge(BlockScan& scan, Batch& out, TimeRange range, size_t rows_max)
      : scan_(scan), out_(out), range_(range), rows_max_(rows_max) {}

  void run() {
    while (out_.rows() < rows_max_) {
      load();
      if (open_.empty()) return;
      if (open_.size() == 1) {
        take_run();
      } else {
        take_record();
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
    auto batch = decode_block(out_.series, scan_.bytes());
    if (!batch.ok()) {
      scan_.damage().found(scan_.place(), batch.error().message);
      return;
    }
    Cursor cursor;
    cursor.number = scan_.number();
    cursor.batch = std::move(*batch);
    const auto& times = cursor.batch.times;
    cursor.row = std::lower_bound(times.begin(), times.end(), range_.from_ns) - times.begin();
    if (cursor.done() || cursor.time() >= range_.to_ns) return;
    for (const Column& wanted : out_.columns) {
      const Column* column = cursor.batch.column(wanted.name);
      cursor.columns.push_back(column && column->type() == wanted.type() ? column : nullptr);
    }
    open_.push_back(std::move(cursor));
  }

  int64_t earliest() const {
    int64_t time = INT64_MAX;
    for (const Cursor& c : open_) time = std::min(time, c.time());
    return time;
  }

  // The only open block up to the next one: copied whole.
  void take_run() {
    Cursor& c = open_.front();
    const int64_t limit = scan_.valid() ? std::min(range_.to_ns, scan_.first_ns()) : range_.to_ns;
    const auto& times = c.batch.times;
    size_t to = std::lower_bound(times.begin() + c.row, times.end(), limit) - times.begin();
    const bool range_ends = to < times.size() && limit == range_.to_ns;
    to = std::min(to, c.row + (rows_max_ - out_.rows()));
    out_.times.insert(out_.times.end(), times.begin() + c.row, times.begin() + to);
    for (size_t i = 0; i < out_.columns.size(); ++i) append(out_.columns[i], c.columns[i], c.row, to);
    c.row = range_ends ? times.size() : to;
  }

  void take_record() {
    const int64_t time = earliest();
    std::vector<Cursor*> same;
    for (Cursor& c : open_) {
      if (c.time() == time) same.push_back(&c);
    }
    std::sort(same.begin(), same.end(), [](const Cursor* a, const Cursor* b) { return a->number > b->number; });
    if (time < range_.to_ns) {
      out_.times.push_back(time);
      for (size_t i = 0; i < out_.columns.size(); ++i) {
        auto newest = std::find_if(same.begin(), same.end(),
                                   [&](const Cursor* c) { return c->columns[i] && c->columns[i]->has(c->row); });
        if (newest == same.end()) {
          append(out_.columns[i], nullptr, 0, 1);
        } else {
          append(out_.columns[i], (*newest)->columns[i], (*newest)->row, (*newest)->row + 1);
        }
      }
    }
    for (Cursor* c : same) c->row = time < range_.to_ns ? c->row + 1 : c->batch.rows();
  }

  BlockScan& scan_;
  Batch& out_;
  const TimeRange range_;
  const size_t rows_max_;
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

}  // namespace

Result<Batch> read_range(const Database& db, Damage& damage, const SeriesState& series, TimeRange range,
                         size_t rows_max, const std::vector<std::string>& fields) {
  Batch out;
  out.series = series.series;
  SKERRY_TRY(choose_columns(series, fields, out));
  // A block that begins before the range may reach into it: by no more than the longest block, and never from an
  // earlier hour.
  const uint64_t room = static_cast<uint64_t>(range.from_ns) - static_cast<uint64_t>(hour_start(range.from_ns));
  const int64_t from = range.from_ns - static_cast<int64_t>(std::min(room, series.span_max_ns));
  BlockScan scan(db, damage, series.id, from, range.to_ns);
  Merge(scan, out, range, rows_max).run();
  SKERRY_TRY(Status(scan.status()));
  for (Column& column : out.columns) {
    if (std::find(column.present.begin(), column.present.end(), 0) == column.present.end()) column.present.clear();
  }
  return out;
}

}  // namespace skerry::storage::internal
