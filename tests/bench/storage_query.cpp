#include "tests/bench/storage_query.h"

#include <algorithm>
#include <chrono>

#include "base/random.h"
#include "storage/aggregate.h"
#include "storage/chunk.h"

namespace skerry::bench {
namespace {

constexpr int64_t kStart = 1'764'000'000'000'000'000, kStep = 10'000'000;
constexpr size_t kFields = 9, kChunkRows = 4096, kDayRows = 24 * 3600 * 100;

class Count final : public storage::RecordVisitor {
 public:
  Status rows(const Batch&, size_t from, size_t to) override {
    buckets += to - from;
    return {};
  }
  size_t buckets = 0;
};

// One chunk's records; the day is this chunk again and again at later times, so that it need not be held.
Batch records() {
  Random random(1);
  Batch batch;
  for (size_t f = 0; f < kFields; ++f) {
    std::vector<double> values(kChunkRows);
    for (double& value : values) value = random.normal();
    batch.columns.push_back({"f" + std::to_string(f), std::move(values), {}});
  }
  for (size_t i = 0; i < kChunkRows; ++i) batch.times.push_back(kStart + static_cast<int64_t>(i) * kStep);
  return batch;
}

// Seconds for the aggregate over `rows` records. Only what the aggregator does is timed.
Result<double> one_round(size_t rows, bool by_headers) {
  storage::AggregateQuery query;
  query.bucket = by_headers ? std::chrono::hours(1) : std::chrono::minutes(1);
  SKERRY_ASSIGN(query.functions, storage::parse_aggregates("count,min,max,mean"));
  storage::Fields fields;
  Batch batch = records();
  for (const Column& column : batch.columns) fields.emplace_back(column.name, column.type());
  SKERRY_ASSIGN(const std::string bytes, storage::encode_chunk(batch));
  SKERRY_ASSIGN(storage::ChunkHeader header, storage::read_chunk_header(bytes));
  Count count;
  SKERRY_ASSIGN(auto aggregator, storage::Aggregator::open(query, fields, count));
  std::chrono::duration<double> spent{0};
  for (size_t at = 0; at < rows; at += kChunkRows) {
    const auto begin = std::chrono::steady_clock::now();
    if (!by_headers || !aggregator.chunk(header)) SKERRY_TRY(aggregator.rows(batch, 0, batch.rows()));
    spent += std::chrono::steady_clock::now() - begin;
    for (int64_t& time : batch.times) time += static_cast<int64_t>(kChunkRows) * kStep;
    header.first_ns = batch.times.front();
    header.last_ns = batch.times.back();
  }
  SKERRY_TRY(aggregator.finish());
  if (count.buckets == 0) return fail(Code::internal, "no bucket came out");
  return spent.count();
}

Result<double> median_seconds(size_t rows, int rounds, bool by_headers) {
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    SKERRY_ASSIGN(seconds.emplace_back(), one_round(rows, by_headers));
  }
  std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
  return seconds[static_cast<size_t>(rounds / 2)];
}

}  // namespace

Result<std::vector<Figure>> aggregate_speed(Size size, const Places&) {
  const size_t rows = size == Size::full ? kDayRows : kDayRows / 100;
  const int rounds = size == Size::full ? 5 : 1;
  std::vector<Figure> figures = {{"storage.aggregate_day_decoded", 0, "s", 0.3, Better::lower},
                                 {"storage.aggregate_day_headers", 0, "s", 0.1, Better::lower}};
  SKERRY_ASSIGN(figures[0].value, median_seconds(rows, rounds, false));
  SKERRY_ASSIGN(figures[1].value, median_seconds(rows, rounds, true));
  figures[1].peer = Peer{"aggregate_day_decoded", figures[1].value / figures[0].value};
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
