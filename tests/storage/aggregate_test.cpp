#include "storage/aggregate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/clock.h"
#include "storage/chunk.h"
#include "tests/storage/make.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using Catch::Matchers::Contains;

namespace {

constexpr int64_t kStart = 1'764'000'000'000'000'000;
constexpr int64_t kSecond = 1'000'000'000;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class Collect final : public RecordVisitor {
 public:
  Status rows(const Batch& batch, size_t from, size_t to) override {
    for (size_t i = from; i < to; ++i) {
      times.push_back(batch.times[i]);
      for (const Column& c : batch.columns) {
        if (!c.has(i)) continue;
        auto& cell = cells[{batch.times[i], c.name}];
        std::visit([&](const auto& values) {
          if constexpr (std::is_same_v<std::decay_t<decltype(values)>, std::vector<std::string>>) cell.text = values[i];
          else cell.number = static_cast<long double>(values[i]);
        }, c.values);
        cell.type = c.type();
      }
    }
    return {};
  }
  struct Cell {
    FieldType type{};
    long double number = 0;
    std::string text;
  };
  std::vector<int64_t> times;
  std::map<std::pair<int64_t, std::string>, Cell> cells;
};

// Values of one field in one bucket, the slow and plain way.
struct Oracle {
  std::vector<double> values;
  long double sum() const { return std::accumulate(values.begin(), values.end(), 0.0L); }
  long double mean() const { return sum() / values.size(); }
  double least() const {
    double out = kNan;
    for (double v : values) out = std::isnan(out) || v < out ? v : out;
    return out;
  }
  double greatest() const {
    double out = kNan;
    for (double v : values) out = std::isnan(out) || v > out ? v : out;
    return out;
  }
  long double stddev() const {
    long double m2 = 0;
    for (double v : values) m2 += (v - mean()) * (v - mean());
    return std::sqrt(m2 / (values.size() - 1));
  }
  double percentile(double q) const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const double place = q / 100 * (sorted.size() - 1);
    const size_t low = static_cast<size_t>(std::floor(place)), high = std::min(low + 1, sorted.size() - 1);
    return sorted[low] * (1 - (place - low)) + sorted[high] * (place - low);
  }
};

bool near(long double a, long double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::abs(a - b) <= 1e-9L * std::max<long double>({1, std::abs(a), std::abs(b)});
}

// f, n, b and s, each absent now and then; times with gaps.
Batch random_batch(Random& random, size_t rows, double nan_share) {
  Batch batch;
  batch.series = {"imu", {{"device", "a"}}};
  std::vector<double> f;
  std::vector<int64_t> n;
  std::vector<uint8_t> b;
  std::vector<std::string> s;
  int64_t time = kStart;
  batch.columns.resize(4);
  for (size_t i = 0; i < rows; ++i) {
    time += 1 + static_cast<int64_t>(random.below(random.below(50) == 0 ? 200 * kSecond : kSecond));
    batch.times.push_back(time);
    f.push_back(random.uniform() < nan_share ? kNan : 1000 + random.uniform() * 3);
    n.push_back(static_cast<int64_t>(random.below(2000)) - 1000);
    b.push_back(random.below(2) != 0);
    s.push_back("s" + std::to_string(random.below(10)));
    for (Column& c : batch.columns) c.present.push_back(random.below(10) != 0);
  }
  batch.columns[0] = {"f", std::move(f), std::move(batch.columns[0].present)};
  batch.columns[1] = {"n", std::move(n), {}};
  batch.columns[2] = {"b", std::move(b), std::move(batch.columns[2].present)};
  batch.columns[3] = {"s", std::move(s), std::move(batch.columns[3].present)};
  return batch;
}

Fields fields_of(const Batch& batch) {
  Fields out;
  for (const Column& c : batch.columns) out.emplace_back(c.name, c.type());
  return out;
}

Batch slice(const Batch& batch, size_t from, size_t to, size_t columns) {
  Batch out;
  out.times.assign(batch.times.begin() + from, batch.times.begin() + to);
  for (size_t c = 0; c < columns; ++c) {
    Column column = batch.columns[c];
    std::visit([&](auto& v) { v = std::decay_t<decltype(v)>(v.begin() + from, v.begin() + to); }, column.values);
    if (!column.present.empty()) column.present = {column.present.begin() + from, column.present.begin() + to};
    out.columns.push_back(std::move(column));
  }
  return out;
}

AggregateQuery query_of(const std::string& functions, Duration bucket) {
  AggregateQuery query;
  query.bucket = bucket;
  auto parsed = parse_aggregates(functions);
  REQUIRE(parsed.ok());
  query.functions = *parsed;
  return query;
}

void require_equals_oracle(const Collect& got, const Batch& batch, int64_t bucket_ns) {
  std::map<int64_t, std::vector<size_t>> buckets;
  for (size_t i = 0; i < batch.rows(); ++i) buckets[batch.times[i] / bucket_ns * bucket_ns].push_back(i);
  size_t filled = 0;
  for (const auto& [start, rows] : buckets) {
    bool any = false;
    for (size_t c = 0; c < 3; ++c) {
      const Column& column = batch.columns[c];
      Oracle oracle;
      for (size_t row : rows) {
        if (column.has(row)) oracle.values.push_back(column.number(row));
      }
      any |= !oracle.values.empty();
      auto cell = [&](const std::string& function) { return got.cells.find({start, function + "_" + column.name}); };
      INFO("bucket " << start << ", field " << column.name << ", " << oracle.values.size() << " values");
      if (oracle.values.empty()) {
        REQUIRE(cell("mean") == got.cells.end());
        continue;
      }
      REQUIRE(cell("count") != got.cells.end());
      REQUIRE(cell("count")->second.number == oracle.values.size());
      REQUIRE(near(cell("min")->second.number, oracle.least()));
      REQUIRE(near(cell("max")->second.number, oracle.greatest()));
      REQUIRE(near(cell("mean")->second.number, oracle.mean()));
      REQUIRE(near(cell("sum")->second.number, oracle.sum()));
      REQUIRE(near(cell("first")->second.number, oracle.values.front()));
      REQUIRE(near(cell("last")->second.number, oracle.values.back()));
      REQUIRE((cell("stddev") == got.cells.end()) == (oracle.values.size() == 1));
      if (oracle.values.size() > 1) REQUIRE(near(cell("stddev")->second.number, oracle.stddev()));
      if (cell("p50") == got.cells.end()) continue;
      const bool nan = std::isnan(oracle.sum());
      REQUIRE(near(cell("p50")->second.number, nan ? kNan : oracle.percentile(50)));
      REQUIRE(near(cell("p99.9")->second.number, nan ? kNan : oracle.percentile(99.9)));
      REQUIRE(near(cell("p0")->second.number, nan ? kNan : oracle.least()));
      REQUIRE(near(cell("p100")->second.number, nan ? kNan : oracle.greatest()));
    }
    filled += any;
  }
  REQUIRE(got.times.size() == filled);
  REQUIRE(std::is_sorted(got.times.begin(), got.times.end()));
}

// Chunks of `batch` by their headers where the aggregator takes them, by rows otherwise. Returns how many it took.
size_t feed_chunks(Aggregator& aggregator, const Batch& batch, size_t rows_per_chunk) {
  size_t taken = 0;
  for (size_t from = 0; from < batch.rows(); from += rows_per_chunk) {
    const Batch part = slice(batch, from, std::min(from + rows_per_chunk, batch.rows()), batch.columns.size());
    auto bytes = encode_chunk(part);
    REQUIRE(bytes.ok());
    auto header = read_chunk_header(*bytes);
    REQUIRE(header.ok());
    if (aggregator.chunk(*header)) {
      ++taken;
    } else {
      REQUIRE(aggregator.rows(part, 0, part.rows()).ok());
    }
  }
  return taken;
}

}  // namespace

TEST_CASE("aggregate: rows in any cuts give what the plain way gives") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 30; ++round) {
    const Batch all = random_batch(random, 1 + random.below(6000), round % 3 == 0 ? 0.01 : 0);
    const Batch batch = slice(all, 0, all.rows(), 3);
    const int64_t bucket = std::vector<int64_t>{kSecond, 7 * kSecond, 60 * kSecond, 3600 * kSecond}[random.below(4)];
    Collect got;
    auto aggregator = Aggregator::open(query_of("count,min,max,mean,sum,first,last,stddev,p0,p50,p99.9,p100", Duration(bucket)),
                                       fields_of(batch), got);
    REQUIRE(aggregator.ok());
    for (size_t from = 0; from < batch.rows();) {
      const size_t to = std::min(batch.rows(), from + 1 + random.below(3000));
      REQUIRE(aggregator->rows(batch, from, to).ok());
      from = to;
    }
    REQUIRE(aggregator->finish().ok());
    require_equals_oracle(got, batch, bucket);
  }
}

TEST_CASE("aggregate: headers of chunks give what their rows give") {
  Random random(Catch::rngSeed());
  size_t taken = 0;
  for (int round = 0; round < 20; ++round) {
    const Batch all = random_batch(random, 2000 + random.below(2000), round % 4 == 0 ? 0.01 : 0);
    const Batch batch = slice(all, 0, all.rows(), 3);
    const int64_t bucket = 600 * kSecond;
    Collect got;
    auto aggregator = Aggregator::open(query_of("count,min,max,mean,sum,first,last,stddev", Duration(bucket)), fields_of(batch), got);
    REQUIRE(aggregator.ok());
    taken += feed_chunks(*aggregator, batch, 1 + random.below(200));
    REQUIRE(aggregator->finish().ok());
    require_equals_oracle(got, batch, bucket);
  }
  CHECK(taken > 100);
}

TEST_CASE("aggregate: a header is not enough for percentiles, for ends of strings, across buckets, and for sums it has rounded") {
  Batch batch;
  batch.times = {0, 1, 2};
  batch.columns = {{"n", std::vector<int64_t>{INT64_MAX, INT64_MAX - 2, -INT64_MAX}, {}},
                   {"s", std::vector<std::string>{"a", "b", "c"}, {}}};
  const ChunkHeader header = read_chunk_header(encode_chunk(batch).value()).value();
  auto takes = [&](const std::string& functions, Duration bucket, const Fields& fields) {
    Collect got;
    return Aggregator::open(query_of(functions, bucket), fields, got).value().chunk(header);
  };
  const Fields n = {{"n", FieldType::int64}}, s = {{"s", FieldType::string}};
  CHECK(takes("count,min,max,first,last", Duration(10), n));
  CHECK(takes("count", Duration(10), s));
  CHECK(takes("sum", Duration(10), {{"other", FieldType::float64}}));
  CHECK_FALSE(takes("p50", Duration(10), n));
  CHECK_FALSE(takes("last", Duration(10), s));
  CHECK_FALSE(takes("max", Duration(2), n));
  CHECK_FALSE(takes("sum", Duration(10), n));

  Collect got;
  auto aggregator = Aggregator::open(query_of("sum", Duration(10)), n, got).value();
  const Batch rows = slice(batch, 0, 3, 1);
  REQUIRE(aggregator.rows(rows, 0, 3).ok());
  REQUIRE(aggregator.finish().ok());
  CHECK(got.cells.at({0, "sum_n"}).number == static_cast<long double>(INT64_MAX - 2));  // exact on the way
}

TEST_CASE("aggregate: a sum that leaves 64 bits is refused, and values far from zero keep their deviation") {
  Batch batch;
  batch.times = {0, 1, 2, 3};
  batch.columns = {{"n", std::vector<int64_t>{INT64_MAX, INT64_MAX, 5, 5}, {}}, {"f", std::vector<double>{1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4}, {}}};
  Collect got;
  auto sum = Aggregator::open(query_of("sum", Duration(10)), fields_of(batch), got).value();
  REQUIRE(sum.rows(batch, 0, 4).ok());
  auto status = sum.finish();
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code == Code::invalid);
  CHECK_THAT(status.error().message, Contains("sum_n") && Contains("mean"));

  auto deviation = Aggregator::open(query_of("stddev", Duration(10)), {{"f", FieldType::float64}}, got).value();
  const Batch only_f = [&] { Batch b = batch; b.columns.erase(b.columns.begin()); return b; }();
  for (size_t i = 0; i < 4; ++i) REQUIRE(deviation.rows(only_f, i, i + 1).ok());
  REQUIRE(deviation.finish().ok());
  CHECK(static_cast<double>(got.cells.at({0, "stddev_f"}).number) == Approx(std::sqrt(5.0 / 3)).epsilon(1e-12));
}

TEST_CASE("aggregate: strings have count, first and last; everything else says so") {
  Random random(Catch::rngSeed());
  const Batch batch = random_batch(random, 100, 0);
  Collect got;
  auto refused = Aggregator::open(query_of("mean", Duration(kSecond)), fields_of(batch), got);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::invalid);
  CHECK_THAT(refused.error().message, Contains("'s'") && Contains("count, first and last"));

  const Fields s = {{"s", FieldType::string}};
  auto aggregator = Aggregator::open(query_of("count,first,last", Duration(0)), s, got).value();
  Batch only;
  only.times = batch.times;
  only.columns = {batch.columns[3]};
  only.columns[0].present = std::vector<uint8_t>(100, 1);
  only.columns[0].present[0] = only.columns[0].present[99] = 0;
  REQUIRE(aggregator.rows(only, 0, 100).ok());
  REQUIRE(aggregator.finish().ok());
  REQUIRE(got.times == std::vector<int64_t>{batch.times[0]});
  CHECK(got.cells.at({batch.times[0], "count_s"}).number == 98);
  CHECK(got.cells.at({batch.times[0], "first_s"}).text == std::get<3>(batch.columns[3].values)[1]);
  CHECK(got.cells.at({batch.times[0], "last_s"}).text == std::get<3>(batch.columns[3].values)[98]);
}

TEST_CASE("aggregate: percentiles over more values than may be kept end in exhausted with the remedy") {
  Batch batch = storage::test::imu("a", kStart, 2000);
  Collect got;
  AggregateQuery query = query_of("p99", std::chrono::hours(1));
  query.values_max = 1000;
  auto aggregator = Aggregator::open(query, fields_of(batch), got).value();
  auto status = aggregator.rows(batch, 0, batch.rows());
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code == Code::exhausted);
  CHECK_THAT(status.error().message, Contains("shorter buckets"));
  query.bucket = std::chrono::seconds(5);  // 250 records of 2 fields
  auto shorter = Aggregator::open(query, fields_of(batch), got).value();
  CHECK(shorter.rows(batch, 0, batch.rows()).ok());
}

TEST_CASE("aggregate: buckets begin at multiples of their length, also before 1970 and at the ends of time") {
  CHECK(bucket_start(25, Duration(10)) == 20);
  CHECK(bucket_start(-25, Duration(10)) == -30);
  CHECK(bucket_start(-30, Duration(10)) == -30);
  CHECK(bucket_start(INT64_MIN, Duration(1000)) == INT64_MIN);
  Batch batch;
  batch.times = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1};
  batch.columns = {{"v", std::vector<double>{1, 2, 3, 4, 5}, {}}};
  Collect got;
  auto aggregator = Aggregator::open(query_of("count", std::chrono::hours(24)), fields_of(batch), got).value();
  REQUIRE(aggregator.rows(batch, 0, 5).ok());
  REQUIRE(aggregator.finish().ok());
  REQUIRE(got.times.size() == 4);
  CHECK(got.cells.at({INT64_MIN, "count_v"}).number == 2);
  CHECK(got.times[1] == -86'400 * kSecond);
}

TEST_CASE("aggregate: names are read, and wrong ones name what there is") {
  auto list = parse_aggregates("mean,p99.9,p50,stddev");
  REQUIRE(list.ok());
  REQUIRE(list->size() == 4);
  CHECK(to_string((*list)[1]) == "p99.9");
  for (const char* wrong : {"", "avg", "mean,", "p", "p101", "p-1", "pNaN", "p5x"}) {
    INFO(wrong);
    auto refused = parse_aggregates(wrong);
    REQUIRE_FALSE(refused.ok());
    CHECK_THAT(refused.error().message, Contains("stddev"));
  }
  Collect got;
  CHECK_FALSE(Aggregator::open(query_of("mean,mean", Duration(1)), {{"v", FieldType::float64}}, got).ok());
  CHECK_FALSE(Aggregator::open(query_of("mean", Duration(-1)), {{"v", FieldType::float64}}, got).ok());
}

TEST_CASE("aggregate: out of a store, written out of order and written again, streamed over many buckets") {
  skerry::test::TempDir dir;
  auto store = Store::open({.path = dir.path()}, system_clock());
  REQUIRE(store.ok());
  Random random(Catch::rngSeed());
  Batch batch = slice(random_batch(random, 4000, 0), 0, 4000, 3);
  batch.series = {"imu", {{"device", "a"}}};
  std::vector<size_t> starts;
  for (size_t at = 0; at < 4000; at += 500) starts.push_back(at);
  for (size_t i = starts.size(); i > 1; --i) std::swap(starts[i - 1], starts[random.below(i)]);
  for (size_t at : starts) {
    Batch part = slice(batch, at, at + 500, 3);
    part.series = batch.series;
    REQUIRE((*store)->commit({.batches = {part}}).ok());
    REQUIRE((*store)->commit({.batches = {part}}).ok());
  }
  AggregateQuery query = query_of("count,min,max,mean,sum,first,last,stddev,p50,p99.9,p0,p100", Duration(2 * kSecond));
  query.series = batch.series;
  query.fields = {"f", "n", "b"};
  Collect got;
  auto status = aggregate(**store, query, got);
  INFO((status.ok() ? "" : status.error().message));
  REQUIRE(status.ok());
  require_equals_oracle(got, batch, 2 * kSecond);
  CHECK(got.times.size() > 512);

  query.range = {batch.times[1000] - 1, batch.times[2000]};  // gaps are long: a fixed range may hold nothing
  query.bucket = Duration(0);
  query.functions = {{AggregateFunction::count}};
  query.fields = {"n"};
  Collect whole;
  REQUIRE(aggregate(**store, query, whole).ok());
  CHECK(whole.times == std::vector<int64_t>{query.range.from_ns});
  CHECK(whole.cells.at({query.range.from_ns, "count_n"}).number == 1000);
  query.fields = {"nope"};
  CHECK(aggregate(**store, query, whole).error().code == Code::not_found);
  query.series.name = "nope";
  CHECK(aggregate(**store, query, whole).error().code == Code::not_found);
}
