#include "inference/windows.h"

#include <algorithm>
#include <cmath>

namespace skerry::inference {
namespace {

Result<std::vector<const Column*>> window_columns(const WindowSpec& spec, const Batch& records) {
  std::vector<const Column*> columns;
  for (const std::string& field : spec.fields) {
    const Column* column = records.column(field);
    if (!column || column->type() == FieldType::string) {
      return fail(Code::invalid, "stream {} has {} '{}', which the model needs as a number",
                  records.series.text(), column ? "text in field" : "no field", field);
    }
    columns.push_back(column);
  }
  return columns;
}

// A row of the window's fields as floats, row-major [rows, channels]; false where one is absent or no finite
// float.
std::vector<uint8_t> to_floats(const std::vector<const Column*>& columns, size_t rows,
                               std::vector<float>& out) {
  out.resize(columns.size() * rows);
  std::vector<uint8_t> whole(rows, 1);
  for (size_t c = 0; c < columns.size(); ++c) {
    for (size_t row = 0; row < rows; ++row) {
      auto value = static_cast<float>(columns[c]->number(row));  // NaN where absent
      out[c * rows + row] = value;
      if (!std::isfinite(value)) whole[row] = 0;
    }
  }
  return whole;
}

int64_t gap_ns(const WindowSpec& spec) { return static_cast<int64_t>(static_cast<double>(spec.period.count()) * spec.gap_factor); }

int64_t minus(int64_t time, int64_t by) { return time < INT64_MIN + by ? INT64_MIN : time - by; }
int64_t plus(int64_t time, int64_t by) { return time > INT64_MAX - by ? INT64_MAX : time + by; }

// From the first point of a window to its last.
int64_t span_ns(const WindowSpec& spec) { return (spec.rows - 1) * spec.period.count(); }

// Records without a break, and the windows whose points lie among them. Points are asked for in ascending order.
class Stretch {
 public:
  Stretch(const WindowSpec& spec, const Batch& records, const std::vector<float>& values, size_t from, size_t to)
      : spec_(spec), times_(records.times), values_(values), rows_(records.rows()), last_(to - 1), at_(from) {}

  int64_t first_ns() const { return times_[at_]; }
  // Whether a window that begins there ends before the last record does. Unsigned: their distance may be more than int64 can say.
  bool holds(int64_t from_ns) const {
    const int64_t last_ns = times_[last_];
    return from_ns <= last_ns && static_cast<uint64_t>(last_ns) - static_cast<uint64_t>(from_ns) >= static_cast<uint64_t>(span_ns(spec_));
  }

  Window window(int64_t from_ns) {
    const size_t channels = spec_.fields.size();
    Window window{{from_ns, plus(from_ns, span_ns(spec_) + 1)}, std::vector<float>(channels * spec_.rows)};
    move_to(from_ns);
    size_t at = at_;
    for (uint32_t row = 0; row < spec_.rows; ++row) {
      const int64_t time = from_ns + row * spec_.period.count();
      while (at < last_ && times_[at + 1] <= time) ++at;
      const double share = at == last_ ? 0 : static_cast<double>(time - times_[at]) / static_cast<double>(times_[at + 1] - times_[at]);
      for (size_t c = 0; c < channels; ++c) {
        const float before = values_[c * rows_ + at], after = values_[c * rows_ + std::min(at + 1, last_)];
        window.data[c * spec_.rows + row] = static_cast<float>(before + share * (static_cast<double>(after) - before));
      }
    }
    return window;
  }

 private:
  void move_to(int64_t time) {
    while (at_ < last_ && times_[at_ + 1] <= time) ++at_;
  }

  const WindowSpec& spec_;
  const std::vector<int64_t>& times_;
  const std::vector<float>& values_;
  const size_t rows_, last_;
  size_t at_;
};

bool breaks(const WindowSpec& spec, int64_t before, int64_t now) {
  // Unsigned: times of a hostile batch may be further apart than int64 can say.
  return now <= before || static_cast<uint64_t>(now) - static_cast<uint64_t>(before) > static_cast<uint64_t>(gap_ns(spec));
}

Result<std::vector<float>> read_window_by_time(const storage::Store& store, const WindowSpec& spec, const Series& series,
                                               storage::TimeRange range) {
  constexpr size_t kRecordsMax = 1 << 20;
  const storage::TimeRange needed{record_needed_ns(spec, range.from_ns), plus(range.to_ns, gap_ns(spec))};
  SKERRY_ASSIGN(const Batch records, store.read(series, needed, kRecordsMax, spec.fields));
  SKERRY_ASSIGN(TimeCutResult cut, cut_windows_by_time(spec, records, range.from_ns, 1));
  if (cut.windows.empty() || !(cut.windows.front().range == range)) {
    return fail(Code::not_found, "the window of {} from {} can't be made again: records of it are gone", series.text(), format_time(range.from_ns));
  }
  return std::move(cut.windows.front().data);
}

Status refuse_means(const storage::Store& store, const Series& series, storage::TimeRange range) {
  SKERRY_ASSIGN(const auto rolled, store.rolled_up(series, range));
  if (rolled.empty()) return {};
  return fail(Code::not_found, "the window of {} from {} can't be made again: its records were rolled up", series.text(), format_time(range.from_ns));
}

}  // namespace

int64_t record_needed_ns(const WindowSpec& spec, int64_t from_ns) { return minus(from_ns, gap_ns(spec)); }

Result<TimeCutResult> cut_windows_by_time(const WindowSpec& spec, const Batch& records, int64_t from_ns, size_t windows_max) {
  SKERRY_ASSIGN(std::vector<const Column*> columns, window_columns(spec, records));
  std::vector<float> values;
  const size_t rows = records.rows();
  const std::vector<uint8_t> whole = to_floats(columns, rows, values);
  const int64_t step = spec.stride * spec.period.count();
  TimeCutResult result{{}, from_ns};
  for (size_t from = 0; from < rows;) {
    if (!whole[from]) {
      ++from;
      continue;
    }
    size_t to = from + 1;
    while (to < rows && whole[to] && !breaks(spec, records.times[to - 1], records.times[to])) ++to;
    Stretch stretch(spec, records, values, from, to);
    result.next_ns = std::max(result.next_ns, stretch.first_ns());
    for (; stretch.holds(result.next_ns); result.next_ns = plus(result.next_ns, step)) {
      if (result.windows.size() == windows_max) return result;
      result.windows.push_back(stretch.window(result.next_ns));
    }
    from = to;
  }
  return result;
}

Result<CutResult> cut_windows(const WindowSpec& spec, const Batch& records, size_t windows_max) {
  SKERRY_ASSIGN(std::vector<const Column*> columns, window_columns(spec, records));
  const size_t rows = records.rows(), channels = columns.size();
  std::vector<float> values;
  std::vector<uint8_t> whole = to_floats(columns, rows, values);

  CutResult result;
  size_t start = 0;  // of the next window; [start, row) is one unbroken stretch
  for (size_t row = 0; row < rows; ++row) {
    if (!whole[row]) {
      start = row + 1;
      continue;
    }
    if (row > start && breaks(spec, records.times[row - 1], records.times[row])) start = row;
    if (row + 1 - start < spec.rows) continue;
    if (result.windows.size() == windows_max) break;
    Window window{{records.times[start], records.times[row] + 1}, std::vector<float>(channels * spec.rows)};
    for (size_t c = 0; c < channels; ++c) {
      std::copy_n(values.begin() + static_cast<ptrdiff_t>(c * rows + start), spec.rows,
                  window.data.begin() + static_cast<ptrdiff_t>(c * spec.rows));
    }
    result.windows.push_back(std::move(window));
    start += spec.stride;
  }
  result.consumed = start;
  return result;
}

Tensor make_input(const WindowSpec& spec, const std::vector<const std::vector<float>*>& windows) {
  std::vector<float> values;
  values.reserve(windows.size() * spec.fields.size() * spec.rows);
  for (const std::vector<float>* window : windows) {
    SKERRY_CHECK(window->size() == spec.fields.size() * spec.rows, "a window of {} values for {} fields",
                 window->size(), spec.fields.size());
    values.insert(values.end(), window->begin(), window->end());
  }
  return Tensor::fp32(
      "input", {static_cast<int64_t>(windows.size()), static_cast<int64_t>(spec.fields.size()), spec.rows},
      values);
}

Result<std::vector<float>> read_window(const storage::Store& store, const WindowSpec& spec,
                                       const std::string& series, storage::TimeRange range) {
  SKERRY_ASSIGN(Series parsed, Series::parse(series));
  SKERRY_TRY(refuse_means(store, parsed, range));
  if (spec.by == WindowSpec::By::time) return read_window_by_time(store, spec, parsed, range);
  SKERRY_ASSIGN(Batch records, store.read(parsed, range, spec.rows + 1, spec.fields));
  if (records.rows() != spec.rows) {
    return fail(Code::not_found, "the window of {} from {} to {} has {} records now, it had {}", series,
                format_time(range.from_ns), format_time(range.to_ns),
                records.rows() > spec.rows ? "more" : std::to_string(records.rows()), spec.rows);
  }
  SKERRY_ASSIGN(std::vector<const Column*> columns, window_columns(spec, records));
  std::vector<float> values;
  std::vector<uint8_t> whole = to_floats(columns, spec.rows, values);
  if (std::find(whole.begin(), whole.end(), 0) != whole.end()) {
    return fail(Code::not_found, "the window of {} from {} has lost values of a field", series,
                format_time(range.from_ns));
  }
  return values;
}

}  // namespace skerry::inference
