// Aggregates of a series over stretches of time: one record per bucket that holds any value, at the bucket's beginning, with a column
// per function and field ("mean_ax"). Streamed: memory does not grow with the range. Buckets begin at multiples of their length since
// 1970, as InfluxDB's do. A chunk that lies in one bucket is taken by its header, unless percentiles are asked.
// NaN: counted; min and max pass over it, sum, mean, stddev and percentiles become NaN.
// Threads: any; nothing is shared.
// On failure: invalid names the function or field; exhausted when a bucket holds more values than percentiles may keep.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "storage/store.h"

namespace skerry::storage {

// count and sum of integers and booleans are int64; min, max, first, last have the field's type; all else is float64. Strings have
// count, first and last only. stddev is the sample's (n - 1), absent for a single value. Percentiles are exact, in between linear.
enum class AggregateFunction : uint8_t { count, min, max, mean, sum, first, last, stddev, percentile };

struct Aggregate {
  AggregateFunction function = AggregateFunction::mean;
  double percent = 0;  // of percentile: 0 to 100
  bool operator==(const Aggregate&) const = default;
};
std::string to_string(const Aggregate& aggregate);  // "mean", "p99.9"
// "mean,max,p99.9". Error: invalid, naming what there is.
Result<std::vector<Aggregate>> parse_aggregates(std::string_view list);

using Fields = std::vector<std::pair<std::string, FieldType>>;

// Whether all of them can be had of such a field.
bool takes(const std::vector<Aggregate>& functions, FieldType type);
// The columns of the answer. Error: invalid, naming the function and the field that do not go together.
Result<Fields> aggregate_fields(const std::vector<Aggregate>& functions, const Fields& fields);

struct AggregateQuery {
  Series series;
  TimeRange range;
  Duration bucket{0};                 // 0: the whole range is one, at its beginning, or at the first record's time where that is open
  std::vector<std::string> fields;    // all when empty; strings only where all functions take them
  std::vector<Aggregate> functions;
  size_t values_max = 2 << 20;        // that percentiles keep of one bucket, all fields together
};

// Buckets to the visitor, in time order, as records. Error: as Store::scan, and of the above; the visitor's own.
Status aggregate(const Store& store, const AggregateQuery& query, RecordVisitor& out);

// The same for whoever walks the records: takes rows and chunks in time order, then finish(). Rows' columns are `fields`, in order.
class Aggregator final : public RecordVisitor {
 public:
  // `query.fields` is not looked at. `out` must outlive it. Error: invalid.
  static Result<Aggregator> open(const AggregateQuery& query, const Fields& fields, RecordVisitor& out);
  ~Aggregator() override;
  Aggregator(Aggregator&&) noexcept;

  bool chunk(const ChunkHeader& header) override;
  // A stretch counts in the bucket in which it begins. Error: invalid, when percentiles are asked: they need the values.
  Result<bool> rolled(const ChunkHeader& summary, int64_t resolution_ns) override;
  Status rows(const Batch& batch, size_t from, size_t to) override;
  Status finish();  // hands out what is left

 private:
  struct Impl;
  explicit Aggregator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Where the bucket of `time_ns` begins.
int64_t bucket_start(int64_t time_ns, Duration bucket);

}  // namespace skerry::storage
