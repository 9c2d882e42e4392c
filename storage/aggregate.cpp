#include "storage/aggregate.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/units.h"
#include "storage/internal/tally.h"

namespace skerry::storage {
namespace {

using internal::Tally;
using internal::TallyNeeds;

constexpr size_t kBucketsPerBatch = 512;
constexpr size_t kFunctionsMax = 32;
constexpr std::pair<AggregateFunction, const char*> kNames[] = {
    {AggregateFunction::count, "count"}, {AggregateFunction::min, "min"},     {AggregateFunction::max, "max"},
    {AggregateFunction::mean, "mean"},   {AggregateFunction::sum, "sum"},     {AggregateFunction::first, "first"},
    {AggregateFunction::last, "last"},   {AggregateFunction::stddev, "stddev"}};

Result<Aggregate> parse_aggregate(std::string_view text) {
  for (const auto& [function, name] : kNames) {
    if (text == name) return Aggregate{function};
  }
  double percent = -1;
  if (text.size() > 1 && text.front() == 'p' && text[1] >= '0' && text[1] <= '9') {
    const auto [end, code] = std::from_chars(text.data() + 1, text.data() + text.size(), percent);
    if (code != std::errc() || end != text.data() + text.size()) percent = -1;
  }
  if (percent >= 0 && percent <= 100) return Aggregate{AggregateFunction::percentile, percent};
  return fail(Code::invalid, "'{}' is not an aggregate: write count, min, max, mean, sum, first, last, stddev or a percentile like p99",
              text.substr(0, 32));
}

bool of_strings(AggregateFunction f) {
  return f == AggregateFunction::count || f == AggregateFunction::first || f == AggregateFunction::last;
}

bool keeps_type(AggregateFunction f) {
  return f == AggregateFunction::min || f == AggregateFunction::max || f == AggregateFunction::first || f == AggregateFunction::last;
}

FieldType type_of(AggregateFunction function, FieldType field) {
  if (function == AggregateFunction::count) return FieldType::int64;
  if (function == AggregateFunction::sum && field != FieldType::float64) return FieldType::int64;
  return keeps_type(function) ? field : FieldType::float64;
}

Column::Values values_of(FieldType type) {
  switch (type) {
    case FieldType::float64: return std::vector<double>();
    case FieldType::int64: return std::vector<int64_t>();
    case FieldType::boolean: return std::vector<uint8_t>();
    case FieldType::string: break;
  }
  return std::vector<std::string>();
}

TallyNeeds needs_of(const std::vector<Aggregate>& functions) {
  TallyNeeds needs;
  for (const Aggregate& a : functions) {
    switch (a.function) {
      case AggregateFunction::count: break;
      case AggregateFunction::min:
      case AggregateFunction::max: needs.extremes = true; break;
      case AggregateFunction::mean:
      case AggregateFunction::sum: needs.sum = true; break;
      case AggregateFunction::first:
      case AggregateFunction::last: needs.ends = true; break;
      case AggregateFunction::stddev: needs.deviation = true; break;
      case AggregateFunction::percentile: needs.values = true; break;
    }
  }
  return needs;
}

Status check(const std::vector<Aggregate>& functions) {
  if (functions.empty()) return fail(Code::invalid, "no aggregate is named: write e.g. mean,max");
  if (functions.size() > kFunctionsMax) return fail(Code::invalid, "{} aggregates: at most {} are allowed", functions.size(), kFunctionsMax);
  std::set<std::string> names;
  for (const Aggregate& a : functions) {
    if (a.function == AggregateFunction::percentile && !(a.percent >= 0 && a.percent <= 100)) {
      return fail(Code::invalid, "a percentile of {}: write 0 to 100", a.percent);
    }
    if (!names.insert(to_string(a)).second) return fail(Code::invalid, "the aggregate {} is named twice", to_string(a));
  }
  return {};
}

void append_absent(Column& out) {
  std::visit([](auto& values) { values.emplace_back(); }, out.values);
  out.present.push_back(0);
}

template <typename T>
void append_value(Column& out, T value) {
  std::get<std::vector<T>>(out.values).push_back(std::move(value));
  out.present.push_back(1);
}

void append_int(Column& out, int64_t value) {
  if (out.type() == FieldType::boolean) return append_value(out, static_cast<uint8_t>(value));
  append_value(out, value);
}

void append_end(Column& out, const Tally::Value& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return append_int(out, *integer);
  if (const auto* number = std::get_if<double>(&value)) return append_value(out, *number);
  append_value(out, std::get<std::string>(value));
}

Status append_sum(Column& out, const Tally& tally, FieldType type) {
  if (type == FieldType::float64) {
    append_value(out, tally.float_sum());
    return {};
  }
  const internal::Int128 sum = tally.int_sum();
  if (sum > std::numeric_limits<int64_t>::max() || sum < std::numeric_limits<int64_t>::min()) {
    return fail(Code::invalid, "{} does not fit in 64 bits: ask for mean and count instead, or for shorter buckets", out.name);
  }
  append_value(out, static_cast<int64_t>(sum));
  return {};
}

Status append_result(Column& out, const Aggregate& a, Tally& tally, FieldType type) {
  const bool floats = type == FieldType::float64;
  if (a.function == AggregateFunction::count) {
    append_value(out, static_cast<int64_t>(tally.count()));
    return {};
  }
  if (tally.count() == 0 || (a.function == AggregateFunction::stddev && tally.count() == 1)) {
    append_absent(out);
    return {};
  }
  switch (a.function) {
    case AggregateFunction::min: floats ? append_value(out, tally.float_min()) : append_int(out, tally.int_min()); break;
    case AggregateFunction::max: floats ? append_value(out, tally.float_max()) : append_int(out, tally.int_max()); break;
    case AggregateFunction::mean: append_value(out, tally.mean()); break;
    case AggregateFunction::sum: return append_sum(out, tally, type);
    case AggregateFunction::first: append_end(out, tally.first()); break;
    case AggregateFunction::last: append_end(out, tally.last()); break;
    case AggregateFunction::stddev: append_value(out, std::sqrt(tally.deviation() / static_cast<double>(tally.count() - 1))); break;
    case AggregateFunction::percentile: append_value(out, tally.percentile(a.percent)); break;
    case AggregateFunction::count: break;
  }
  return {};
}

}  // namespace

std::string to_string(const Aggregate& aggregate) {
  if (aggregate.function == AggregateFunction::percentile) return fmt::format("p{}", aggregate.percent);
  for (const auto& [function, name] : kNames) {
    if (function == aggregate.function) return name;
  }
  return "unknown";
}

Result<std::vector<Aggregate>> parse_aggregates(std::string_view list) {
  std::vector<Aggregate> out;
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    SKERRY_ASSIGN(out.emplace_back(), parse_aggregate(list.substr(at, comma - at)));
    if (out.size() > kFunctionsMax) return fail(Code::invalid, "more than {} aggregates: ask for fewer", kFunctionsMax);
    at = comma + 1;
  }
  return out;
}

bool takes(const std::vector<Aggregate>& functions, FieldType type) {
  return type != FieldType::string || std::all_of(functions.begin(), functions.end(), [](const Aggregate& a) { return of_strings(a.function); });
}

Result<Fields> aggregate_fields(const std::vector<Aggregate>& functions, const Fields& fields) {
  SKERRY_TRY(check(functions));
  Fields out;
  for (const auto& [name, type] : fields) {
    for (const Aggregate& a : functions) {
      if (type == FieldType::string && !of_strings(a.function)) {
        return fail(Code::invalid, "{} of '{}': strings have count, first and last only; name other fields", to_string(a), name);
      }
      out.emplace_back(to_string(a) + "_" + name, type_of(a.function, type));
    }
  }
  return out;
}

int64_t bucket_start(int64_t time_ns, Duration bucket) {
  const int64_t length = bucket.count();
  const int64_t over = time_ns % length;
  const int64_t back = over < 0 ? over + length : over;
  return time_ns < INT64_MIN + back ? INT64_MIN : time_ns - back;
}

struct Aggregator::Impl {
  AggregateQuery query;
  Fields fields, columns;
  TallyNeeds needs;
  RecordVisitor& out;
  std::vector<Tally> tallies;  // one per field
  Batch results;
  bool inside = false;                // a bucket is open: [start, end]
  int64_t start_ns = 0, end_ns = 0;   // both included
  Status pending;                     // of a chunk, whose caller takes no errors

  Impl(const AggregateQuery& q, const Fields& f, Fields c, RecordVisitor& o)
      : query(q), fields(f), columns(std::move(c)), needs(needs_of(q.functions)), out(o) {
    for (const auto& field : fields) tallies.emplace_back(field.second);
    begin_batch();
  }

  void begin_batch() {
    results = Batch();
    results.series = query.series;
    for (const auto& [name, type] : columns) results.columns.push_back({name, values_of(type), {}});
  }

  // Closes the bucket before, when `time_ns` is not in it.
  Status enter(int64_t time_ns) {
    if (inside && time_ns <= end_ns) return {};
    SKERRY_TRY(close());
    std::tie(start_ns, end_ns) = bucket_of(time_ns);
    inside = true;
    return {};
  }

  std::pair<int64_t, int64_t> bucket_of(int64_t time_ns) const {
    if (query.bucket == Duration::zero()) return {query.range.from_ns != INT64_MIN ? query.range.from_ns : time_ns, INT64_MAX};
    const int64_t start = bucket_start(time_ns, query.bucket);
    int64_t end = 0;
    if (__builtin_add_overflow(start, query.bucket.count() - 1, &end)) end = INT64_MAX;
    // The first bucket that int64 can hold only begins within a bucket.
    if (start == INT64_MIN) end = std::max(time_ns, bucket_start(INT64_MIN + query.bucket.count(), query.bucket) - 1);
    return {start, end};
  }

  Status close() {
    if (!inside) return {};
    inside = false;
    if (std::all_of(tallies.begin(), tallies.end(), [](const Tally& t) { return t.count() == 0; })) return {};
    results.times.push_back(start_ns);
    size_t column = 0;
    for (size_t f = 0; f < fields.size(); ++f) {
      for (const Aggregate& a : query.functions) SKERRY_TRY(append_result(results.columns[column++], a, tallies[f], fields[f].second));
      tallies[f].clear();
    }
    return results.rows() < kBucketsPerBatch ? Status() : hand_out();
  }

  Status hand_out() {
    if (results.rows() == 0) return {};
    for (Column& column : results.columns) {
      if (std::find(column.present.begin(), column.present.end(), 0) == column.present.end()) column.present.clear();
    }
    const Batch ready = std::move(results);
    begin_batch();
    return out.rows(ready, 0, ready.rows());
  }

  Status check_room(size_t rows) const {
    if (!needs.values) return {};
    size_t held = rows * fields.size();
    for (const Tally& tally : tallies) held += tally.values();
    if (held <= query.values_max) return {};
    return fail(Code::exhausted, "the bucket at {} holds more than {} values, which is what percentiles may keep: ask for shorter buckets or fewer fields",
                format_time(start_ns), query.values_max);
  }

  const ChunkColumn* find(const ChunkHeader& header, size_t field) const {
    const auto& [name, type] = fields[field];
    auto same = [&](const ChunkColumn& c) { return c.name == name && c.type == type; };
    if (field < header.columns.size() && same(header.columns[field])) return &header.columns[field];
    auto found = std::find_if(header.columns.begin(), header.columns.end(), same);
    return found != header.columns.end() ? &*found : nullptr;
  }
};

Aggregator::Aggregator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Aggregator::Aggregator(Aggregator&&) noexcept = default;
Aggregator::~Aggregator() = default;

Result<Aggregator> Aggregator::open(const AggregateQuery& query, const Fields& fields, RecordVisitor& out) {
  if (query.bucket < Duration::zero()) return fail(Code::invalid, "a bucket of {} ns: write a positive length, e.g. 1m", query.bucket.count());
  SKERRY_ASSIGN(Fields columns, aggregate_fields(query.functions, fields));
  return Aggregator(std::make_unique<Impl>(query, fields, std::move(columns), out));
}

bool Aggregator::chunk(const ChunkHeader& header) {
  Impl& a = *impl_;
  if (!a.pending.ok() || header.rows == 0) return false;
  const auto [start_ns, end_ns] = a.bucket_of(header.first_ns);
  if (header.last_ns > (a.inside && header.first_ns <= a.end_ns ? a.end_ns : end_ns)) return false;
  std::vector<const ChunkColumn*> columns;
  for (size_t f = 0; f < a.fields.size(); ++f) {
    columns.push_back(a.find(header, f));
    if (columns.back() != nullptr && !Tally::suffices(*columns.back(), a.needs)) return false;
  }
  a.pending = a.enter(header.first_ns);
  if (!a.pending.ok()) return false;  // rows() is called next, and says why
  for (size_t f = 0; f < columns.size(); ++f) {
    if (columns[f] != nullptr) a.tallies[f].add(*columns[f]);
  }
  return true;
}

Result<bool> Aggregator::rolled(const ChunkHeader& summary, int64_t resolution_ns) {
  Impl& a = *impl_;
  SKERRY_TRY(a.pending);
  if (a.needs.values) {
    return fail(Code::invalid, "percentiles need every value, and the records from {} on are rolled up to {}: ask for min, max, mean or stddev, or for later records",
                format_time(summary.first_ns), format_duration(Duration(resolution_ns)));
  }
  SKERRY_CHECK(summary.columns.size() == a.fields.size(), "{} columns for {} fields", summary.columns.size(), a.fields.size());
  SKERRY_TRY(a.enter(summary.first_ns));
  for (size_t f = 0; f < a.fields.size(); ++f) a.tallies[f].add(summary.columns[f]);
  return true;
}

Status Aggregator::rows(const Batch& batch, size_t from, size_t to) {
  Impl& a = *impl_;
  SKERRY_TRY(a.pending);
  SKERRY_CHECK(batch.columns.size() == a.fields.size(), "{} columns for {} fields", batch.columns.size(), a.fields.size());
  const auto times = batch.times.begin();
  while (from < to) {
    SKERRY_TRY(a.enter(batch.times[from]));
    size_t end = to;
    if (batch.times[to - 1] > a.end_ns) {
      end = static_cast<size_t>(std::upper_bound(times + static_cast<ptrdiff_t>(from), times + static_cast<ptrdiff_t>(to), a.end_ns) - times);
    }
    SKERRY_TRY(a.check_room(end - from));
    for (size_t f = 0; f < a.fields.size(); ++f) a.tallies[f].add(batch.columns[f], from, end, a.needs);
    from = end;
  }
  return {};
}

Status Aggregator::finish() {
  SKERRY_TRY(impl_->pending);
  SKERRY_TRY(impl_->close());
  return impl_->hand_out();
}

Status aggregate(const Store& store, const AggregateQuery& query, RecordVisitor& out) {
  SKERRY_ASSIGN(const auto streams, store.streams());
  auto stream = std::find_if(streams.begin(), streams.end(), [&](const StreamInfo& s) { return s.series == query.series; });
  if (stream == streams.end()) return fail(Code::not_found, "no stream {}: nothing was ever written to it", query.series.text());
  Fields fields;
  std::vector<std::string> names;
  for (const auto& field : stream->fields) {
    if (query.fields.empty() && takes(query.functions, field.second)) fields.push_back(field);
  }
  for (const std::string& name : query.fields) {
    auto field = std::find_if(stream->fields.begin(), stream->fields.end(), [&](const auto& f) { return f.first == name; });
    if (field == stream->fields.end()) return fail(Code::not_found, "{} has no field '{}'", query.series.text(), name);
    if (std::find(fields.begin(), fields.end(), *field) != fields.end()) return fail(Code::invalid, "the field '{}' is named twice", name);
    fields.push_back(*field);
  }
  if (fields.empty()) {
    return fail(Code::invalid, "{} has only strings, of which there are count, first and last: ask for those", query.series.text());
  }
  for (const auto& field : fields) names.push_back(field.first);
  SKERRY_ASSIGN(Aggregator aggregator, Aggregator::open(query, fields, out));
  SKERRY_TRY(store.scan(query.series, query.range, names, aggregator));
  return aggregator.finish();
}

}  // namespace skerry::storage
