// on_full = roll_up: resolution goes instead of records, and what is left stays right.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "storage/aggregate.h"
#include "storage/fsck.h"
#include "storage/internal/database.h"
#include "storage/store.h"
#include "tests/storage/make.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;
using skerry::test::FaultFs;
using skerry::test::SimClock;
using skerry::test::TempDir;
namespace in = skerry::storage::internal;

namespace {

constexpr int64_t kSecond = 1'000'000'000, kMinute = 60 * kSecond, kHour = 60 * kMinute;

struct Bucket {
  uint64_t count = 0, strings = 0;
  double min = 1e300, max = -1e300, sum = 0, first = 0, last = 0;
  int64_t n_sum = 0, n_max = INT64_MIN;
  std::string s_last;
};

struct Gateway {
  TempDir folder;
  SimClock clock;
  FaultFs disk;
  Options options;
  std::unique_ptr<Store> store;
  Random random{Catch::rngSeed()};
  int64_t start = (clock.now_ns() / kHour - 2000) * kHour, time = start;
  std::map<int64_t, std::pair<double, int64_t>> written;

  explicit Gateway(uint64_t quota, bool sync = false) {
    options.path = folder / "store";
    options.file_system = disk.file_system();
    options.write_buffer_bytes = 128 << 10;
    StreamRule rule;
    rule.quota_bytes = quota;
    rule.on_full = OnFull::roll_up;
    rule.sync = sync;
    options.streams = {rule};
    open();
  }
  void open() {
    store.reset();
    auto opened = Store::open(options, clock);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    store = std::move(*opened);
    step();
  }
  void step() {
    clock.advance(std::chrono::seconds(2));
    store->step();
  }
  void settle() {
    for (int i = 0; i < 30; ++i) step();
  }
  static std::string state_at(int64_t n) { return n % 3 == 0 ? "idle" : "run"; }

  Result<Receipt> add(std::vector<int64_t> times) {
    Batch batch;
    batch.series.name = "a";
    std::vector<double> v;
    std::vector<int64_t> n;
    std::vector<std::string> s;
    for (int64_t t : times) {
      v.push_back(random.uniform());
      n.push_back(static_cast<int64_t>(random.below(1 << 20)) - (1 << 19));
      s.push_back(state_at(n.back()));
      batch.times.push_back(t);
    }
    batch.columns = {{"v", v, {}}, {"n", n, {}}, {"s", s, {}}};
    Effect effect;
    effect.batches = {batch};
    auto receipt = store->commit(effect);
    for (size_t i = 0; receipt.ok() && i < times.size(); ++i) written[times[i]] = {v[i], n[i]};
    return receipt;
  }
  // Ten records a second.
  Result<Receipt> write(int64_t length_ns, int64_t step_ns = kSecond / 10) {
    const int64_t end = time + length_ns;
    Result<Receipt> last = Receipt{};
    while (time < end && last.ok()) {
      std::vector<int64_t> times;
      for (; time < end && times.size() < 200; time += step_ns) times.push_back(time);
      last = add(times);
      step();
    }
    return last;
  }
  void acknowledge_all() {
    for (const OutboxStatus& s : store->outbox_status()) REQUIRE(store->outbox_acknowledge(s.outbox_class, s.last_seq).ok());
    step();
  }

  std::map<int64_t, Bucket> expected(int64_t bucket_ns) const {
    std::map<int64_t, Bucket> out;
    for (const auto& [t, value] : written) {
      Bucket& b = out[t / bucket_ns * bucket_ns];
      const auto& [v, n] = value;
      if (b.count++ == 0) b.first = v;
      b.last = v;
      b.min = std::min(b.min, v);
      b.max = std::max(b.max, v);
      b.sum += v;
      b.n_sum += n;
      b.n_max = std::max(b.n_max, n);
      b.s_last = state_at(n);
    }
    return out;
  }

  struct Taken final : RecordVisitor {
    Batch all;
    Status rows(const Batch& batch, size_t from, size_t to) override {
      for (size_t i = from; i < to; ++i) {
        all.times.push_back(batch.times[i]);
        for (size_t c = 0; c < batch.columns.size(); ++c) {
          if (all.columns.size() <= c) all.columns.push_back({batch.columns[c].name, std::vector<double>(), {}});
          const bool number = batch.columns[c].type() != FieldType::string;
          std::get<0>(all.columns[c].values).push_back(number ? batch.columns[c].number(i) : 0);
        }
      }
      return {};
    }
    double at(const std::string& name, size_t row) const {
      for (const Column& c : all.columns) {
        if (c.name == name) return c.number(row);
      }
      FAIL("no column " << name);
      return 0;
    }
  };

  // Whole buckets of the length, wherever their records are by now.
  void check_buckets(int64_t bucket_ns) {
    AggregateQuery query;
    query.series = {"a", {}};
    query.bucket = Duration(bucket_ns);
    query.fields = {"v", "n"};
    query.functions = *parse_aggregates("count,min,max,sum,mean,first,last,stddev");
    Taken taken;
    const Status status = aggregate(*store, query, taken);
    INFO((status.ok() ? "" : status.error().message));
    REQUIRE(status.ok());
    const auto right = expected(bucket_ns);
    REQUIRE(taken.all.rows() == right.size());
    size_t row = 0;
    for (const auto& [t, b] : right) {
      INFO("bucket " << format_time(t));
      REQUIRE(taken.all.times[row] == t);
      CHECK(taken.at("count_v", row) == static_cast<double>(b.count));
      CHECK(taken.at("min_v", row) == b.min);
      CHECK(taken.at("max_v", row) == b.max);
      CHECK(taken.at("first_v", row) == b.first);
      CHECK(taken.at("last_v", row) == b.last);
      CHECK(taken.at("sum_v", row) == Approx(b.sum).epsilon(1e-12));
      CHECK(taken.at("mean_v", row) == Approx(b.sum / static_cast<double>(b.count)).epsilon(1e-12));
      CHECK(taken.at("sum_n", row) == static_cast<double>(b.n_sum));
      CHECK(taken.at("max_n", row) == static_cast<double>(b.n_max));
      double deviation = 0;
      for (auto at = written.lower_bound(t); at != written.end() && at->first < t + bucket_ns; ++at) {
        const double d = at->second.first - b.sum / static_cast<double>(b.count);
        deviation += d * d;
      }
      if (b.count > 1) CHECK(taken.at("stddev_v", row) == Approx(std::sqrt(deviation / static_cast<double>(b.count - 1))).epsilon(1e-6));
      ++row;
    }
  }
  uint64_t lost(LossReason reason) const {
    uint64_t sum = 0;
    for (const Loss& loss : store->losses()) sum += loss.reason == reason ? loss.records : 0;
    return sum;
  }
  std::vector<RolledUp> stretches() const { return *store->rolled_up({"a", {}}, {}); }
};

}  // namespace

TEST_CASE("roll up: under a quota the past loses resolution, no record, and whole buckets stay right through restarts") {
  Gateway g(200'000);
  REQUIRE(g.write(kHour, kSecond / 50).ok());  // 180,000 records, about 2 MB
  g.settle();
  // Where chunks end depends on when RocksDB's thread has written a table. All seconds may just have become minutes: then more go on.
  for (int more = 0; more < 5 && g.stretches().size() < 2; ++more) {
    REQUIRE(g.write(kHour / 4, kSecond / 50).ok());
    g.settle();
  }
  CHECK(g.store->quotas()[0].bytes <= 200'000 * 9 / 8);
  CHECK(g.lost(LossReason::quota) == 0);
  CHECK(g.lost(LossReason::rolled_up) > 100'000);
  const auto stretches = g.stretches();
  for (const RolledUp& s : stretches) UNSCOPED_INFO(format_time(s.range.from_ns) << " " << format_time(s.range.to_ns) << " " << s.resolution_ns);
  REQUIRE(stretches.size() >= 2);
  CHECK(stretches.front().range.from_ns == g.start);
  CHECK(stretches.front().resolution_ns > stretches.back().resolution_ns);  // the older the coarser
  CHECK(stretches.back().range.to_ns <= g.time);
  for (int round = 0; round < 2; ++round) {
    g.check_buckets(kMinute);
    g.open();
  }
  CHECK(g.stretches() == stretches);
  CHECK(g.store->damaged() == 0);

  g.store.reset();
  auto report = fsck(g.options);
  REQUIRE(report.ok());
  INFO((report->damage.empty() ? "" : report->damage[0].place + ": " + report->damage[0].reason));
  CHECK(report->clean());
  g.open();
  g.check_buckets(kMinute);
}

TEST_CASE("roll up: read as records, a stretch is its mean at its beginning") {
  Gateway g(150'000);
  REQUIRE(g.write(3 * kHour).ok());
  g.settle();
  const auto stretches = g.stretches();
  REQUIRE(!stretches.empty());
  auto records = g.store->read({"a", {}}, {}, 1 << 20);
  REQUIRE(records.ok());
  for (size_t i = 1; i < records->rows(); ++i) REQUIRE(records->times[i - 1] < records->times[i]);
  const auto seconds = g.expected(kSecond), minutes = g.expected(kMinute), hours = g.expected(kHour);
  size_t means = 0;
  for (size_t i = 0; i < records->rows(); ++i) {
    const int64_t t = records->times[i];
    auto stretch = std::find_if(stretches.begin(), stretches.end(), [&](const RolledUp& s) { return t >= s.range.from_ns && t < s.range.to_ns; });
    const double found = records->columns[0].number(i);
    if (stretch == stretches.end()) {
      CHECK(found == g.written.at(t).first);
      continue;
    }
    if (t >= stretch->range.to_ns - stretch->resolution_ns) continue;  // a part of the last may still be there as it came
    ++means;
    const auto& buckets = stretch->resolution_ns == kSecond ? seconds : stretch->resolution_ns == kMinute ? minutes : hours;
    const Bucket& b = buckets.at(t);
    CHECK(found == Approx(b.sum / static_cast<double>(b.count)).epsilon(1e-9));
    CHECK(records->columns[1].number(i) == Approx(std::round(static_cast<double>(b.n_sum) / static_cast<double>(b.count))).margin(1));
    CHECK(std::get<3>(records->columns[2].values)[i] == b.s_last);
  }
  CHECK(means > 0);
}

TEST_CASE("roll up: a range that begins or ends amid what was rolled up, and percentiles of it") {
  Gateway g(150'000);
  REQUIRE(g.write(3 * kHour).ok());
  g.settle();
  REQUIRE(!g.stretches().empty());
  AggregateQuery query;
  query.series = {"a", {}};
  query.fields = {"v"};
  query.range = {g.start + kHour, g.start + 2 * kHour};
  query.functions = *parse_aggregates("count");
  Gateway::Taken taken;
  REQUIRE(aggregate(*g.store, query, taken).ok());
  CHECK(taken.at("count_v", 0) == 36'000);
  CHECK(g.store->rolled_up({"a", {}}, {g.time - kSecond, INT64_MAX})->empty());
  query.range = {};
  query.functions = *parse_aggregates("count,p99");
  const Status refused = aggregate(*g.store, query, taken);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Code::invalid);
  CHECK(refused.error().message.find("ask for min, max, mean") != std::string::npos);
}

TEST_CASE("roll up: what comes late into a stretch counts with it, and is rolled up with it in turn") {
  Gateway g(150'000);
  REQUIRE(g.write(3 * kHour).ok());
  g.settle();
  const auto stretches = g.stretches();
  REQUIRE(!stretches.empty());
  std::vector<int64_t> late;
  for (int i = 0; i < 100; ++i) late.push_back(g.start + i * kSecond + 7);  // no record has this time
  REQUIRE(g.add(late).ok());
  g.check_buckets(kHour);
  REQUIRE(g.store->seal().ok());
  g.check_buckets(kHour);
  REQUIRE(g.write(2 * kHour).ok());
  g.settle();
  g.check_buckets(kHour);
  auto records = g.store->read({"a", {}}, {}, 1 << 20);
  REQUIRE(records.ok());
  for (size_t i = 1; i < records->rows(); ++i) REQUIRE(records->times[i - 1] < records->times[i]);
  CHECK(g.store->damaged() == 0);
}

TEST_CASE("roll up: what the hub does not have stays as it is, then goes on after an acknowledgement") {
  Gateway g(150'000, /*sync=*/true);
  Result<Receipt> receipt = g.write(5 * kHour);
  REQUIRE(!receipt.ok());
  CHECK(receipt.error().code == Code::exhausted);
  CHECK(receipt.error().message.find("the hub does not have yet") != std::string::npos);
  CHECK(g.stretches().empty());
  g.acknowledge_all();
  g.settle();
  CHECK(!g.stretches().empty());
  REQUIRE(g.write(10 * kMinute).ok());
  for (const Loss& loss : g.store->losses()) CHECK(loss.unsent == 0);
  g.check_buckets(kHour);
}

TEST_CASE("roll up: with drop_unsent the outbox tells it as lost") {
  Gateway g(150'000, /*sync=*/true);
  g.options.streams[0].drop_unsent = true;
  g.open();
  REQUIRE(g.write(2 * kHour).ok());
  g.settle();
  auto items = g.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX);
  REQUIRE(items.ok());
  REQUIRE(items->front().kind == EntryKind::lost);
  CHECK(items->front().reason == LossReason::rolled_up);
  uint64_t next = 1, records = 0;
  for (const OutboxItem& item : *items) {
    CHECK(item.seq == next);
    next = item.end_seq() + 1;
    records += item.records;
  }
  CHECK(records == g.written.size());
  uint64_t unsent = 0;
  for (const Loss& loss : g.store->losses()) unsent += loss.unsent;
  CHECK(unsent > 0);
  g.check_buckets(kHour);
  g.store.reset();
  auto report = fsck(g.options);
  REQUIRE(report.ok());
  INFO((report->damage.empty() ? "" : report->damage[0].place + ": " + report->damage[0].reason));
  CHECK(report->clean());
}

TEST_CASE("roll up: a repair takes in again what was rolled up when the index is lost") {
  Gateway g(150'000);
  REQUIRE(g.write(2 * kHour).ok());
  g.settle();
  REQUIRE(g.store->seal().ok());
  const auto stretches = g.stretches();
  REQUIRE(!stretches.empty());
  g.store.reset();
  {
    auto db = in::Database::open(g.options);
    REQUIRE(db.ok());
    std::vector<std::string> keys;
    auto it = (*db)->iterate(in::kIndex);
    for (it->SeekToFirst(); it->Valid(); it->Next()) keys.push_back(it->key().ToString());
    for (const std::string& key : keys) REQUIRE((**db)->Delete({}, (*db)->family(in::kIndex), key).ok());
  }
  FsckRequest request;
  request.repair = true;
  auto report = fsck(g.options, request);
  REQUIRE(report.ok());
  CHECK(report->damage_by_kind.at(DamageKind::index_lost) > 0);
  CHECK(report->repaired);
  CHECK(fsck(g.options)->clean());
  g.open();
  CHECK(g.stretches() == stretches);
  CHECK((*g.store->streams())[0].fields.size() == 3);
  g.check_buckets(kHour);
}

TEST_CASE("roll up: when everything is by the hour the oldest hours go, counted as the records that they stood for") {
  Gateway g(20'000);
  for (int day = 0; day < 70; ++day) REQUIRE(g.write(20 * kHour, kMinute / 4).ok());
  g.settle();
  CHECK(g.lost(LossReason::quota) > 0);
  AggregateQuery query;
  query.series = {"a", {}};
  query.fields = {"v"};
  query.functions = *parse_aggregates("count");
  Gateway::Taken taken;
  REQUIRE(aggregate(*g.store, query, taken).ok());
  CHECK(taken.at("count_v", 0) + static_cast<double>(g.lost(LossReason::quota)) == static_cast<double>(g.written.size()));
  CHECK(g.store->quotas()[0].bytes <= 20'000 * 9 / 8);
}

TEST_CASE("roll up: a power cut at any moment repeats and loses nothing") {
  Gateway g(150'000);
  for (int round = 0; round < 12; ++round) {
    REQUIRE(g.write(10 * kMinute + static_cast<int64_t>(g.random.below(600)) * kSecond).ok());
    Effect durable;  // what came before it in the log is on the disk too
    durable.notes = {{"round", std::to_string(round)}};
    REQUIRE(g.store->commit(durable).ok());
    if (g.random.chance(0.5)) REQUIRE(g.store->seal().ok());
    for (uint64_t steps = g.random.below(6); steps > 0; --steps) g.store->step();
    g.disk.cut_power();
    g.store.reset();
    g.disk.restore_power();
    g.open();
    g.check_buckets(kHour);
    CHECK(g.store->damaged() == 0);
  }
  CHECK(!g.stretches().empty());
}
