#include "storage/pages.h"

#include <algorithm>

namespace skerry::storage {
namespace {

// Gathers records until a limit is met, then ends the scan.
class Page final : public RecordVisitor {
 public:
  explicit Page(const PageLimits& limits) : limits_(limits) {}

  Status rows(const Batch& batch, size_t from, size_t to) override {
    if (page_.columns.empty()) begin(batch);
    to = std::min(to, from + room(batch, from, to));
    page_.times.insert(page_.times.end(), batch.times.begin() + static_cast<ptrdiff_t>(from), batch.times.begin() + static_cast<ptrdiff_t>(to));
    for (size_t c = 0; c < page_.columns.size(); ++c) append(page_.columns[c], batch.columns[c], from, to);
    return full_ ? Status(fail(Code::cancelled, "the page is full")) : Status();
  }
  bool full() const { return full_; }

  Batch take() {
    for (Column& column : page_.columns) {
      if (std::find(column.present.begin(), column.present.end(), 0) == column.present.end()) column.present.clear();
    }
    return std::move(page_);
  }

 private:
  void begin(const Batch& batch) {
    page_.series = batch.series;
    for (const Column& column : batch.columns) {
      page_.columns.push_back({column.name, std::visit([](const auto& v) { return Column::Values(std::decay_t<decltype(v)>()); }, column.values), {}});
      if (column.type() == FieldType::string) strings_.push_back(page_.columns.size() - 1);
    }
  }

  // How many of the rows from `from` on still fit.
  size_t room(const Batch& batch, size_t from, size_t to) {
    const size_t fixed = sizeof(int64_t) + batch.columns.size() * (sizeof(int64_t) + 1);
    size_t rows = 0;
    while (from + rows < to && !full_) {
      bytes_ += fixed;
      for (size_t c : strings_) bytes_ += sizeof(std::string) + std::get<3>(batch.columns[c].values)[from + rows].size();
      ++rows;
      full_ = bytes_ >= limits_.bytes_max || page_.rows() + rows >= limits_.rows_max;
    }
    return rows;
  }

  static void append(Column& out, const Column& source, size_t from, size_t to) {
    if (source.present.empty()) {
      out.present.insert(out.present.end(), to - from, 1);
    } else {
      out.present.insert(out.present.end(), source.present.begin() + static_cast<ptrdiff_t>(from), source.present.begin() + static_cast<ptrdiff_t>(to));
    }
    std::visit(
        [&](auto& values) {
          const auto& other = std::get<std::decay_t<decltype(values)>>(source.values);
          values.insert(values.end(), other.begin() + static_cast<ptrdiff_t>(from), other.begin() + static_cast<ptrdiff_t>(to));
        },
        out.values);
  }

  const PageLimits limits_;
  Batch page_;
  std::vector<size_t> strings_;
  size_t bytes_ = 0;
  bool full_ = false;
};

// The first buckets that are handed out.
class Buckets final : public RecordVisitor {
 public:
  Status rows(const Batch& batch, size_t, size_t) override {
    buckets = batch;
    return fail(Code::cancelled, "the page is full");
  }
  Batch buckets;
};

}  // namespace

Pages::Pages(const Store& store, Series series, TimeRange range, std::vector<std::string> fields, const PageLimits& limits)
    : store_(store), series_(std::move(series)), range_(range), fields_(std::move(fields)), limits_(limits) {}

Result<Batch> Pages::next(size_t rows_max) {
  Batch none;
  none.series = series_;
  if (range_.from_ns >= range_.to_ns || rows_max == 0) return none;
  Page page({std::min(rows_max, limits_.rows_max), limits_.bytes_max});
  const Status status = store_.scan(series_, range_, fields_, page);
  if (!status.ok() && !page.full()) return status.error();
  const bool more = page.full();
  Batch out = page.take();
  if (out.rows() == 0) return none;
  range_.from_ns = more ? out.times.back() + 1 : range_.to_ns;  // a time below INT64_MAX: the range ends before it
  return out;
}

Result<Batch> BucketPages::next() {
  Batch none;
  none.series = query_.series;
  if (query_.range.from_ns >= query_.range.to_ns) return none;
  Buckets page;
  const Status status = aggregate(store_, query_, page);
  if (!status.ok() && page.buckets.rows() == 0) return status.error();
  if (page.buckets.rows() == 0) return none;
  int64_t behind = 0;
  if (query_.bucket == Duration::zero() || __builtin_add_overflow(page.buckets.times.back(), query_.bucket.count(), &behind)) behind = query_.range.to_ns;
  query_.range.from_ns = behind;
  return std::move(page.buckets);
}

}  // namespace skerry::storage
