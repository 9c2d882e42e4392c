// What follows from a prediction: a record in a stream, an alarm; and windows by time in the pipeline.
#include "base/random.h"
#include "tests/inference/pipeline_fixture.h"

namespace skerry::inference {
namespace {

using namespace test;

// "high" has the score 3 v for a window whose mean is v: the model is linear, the alarm looks at the score as it is.
PackageInfo alarming(uint32_t windows = 2) {
  PackageInfo info = small_info();
  info.alarms = {{.label = "high", .on = 6, .off = 3, .windows = windows, .softmax = false}};
  return info;
}

// Windows of 4 records every 2, each of one value.
Batch levels(const std::vector<double>& values, size_t from = 0) {
  Batch batch = records("imu{device=a}", regular(from, 2 * values.size()));
  for (Column& column : batch.columns) {
    auto& numbers = std::get<std::vector<double>>(column.values);
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = values[i / 2];
  }
  return batch;
}

std::vector<std::string> alarms(Gateway& g) {
  auto items = g.store->outbox_read(storage::OutboxClass::alarm, 0, 1 << 20);
  std::vector<std::string> out;
  for (const auto& item : items.value_or({})) out.push_back(item.payload.substr(0, item.payload.find(" on ")));
  return out;
}

const std::string kRaised = "alarm 'high'", kEnded = "end of alarm 'high'";

}  // namespace

TEST_CASE("pipeline: predictions are written into a stream too, when the package says so") {
  PackageInfo info = small_info(3);
  info.predictions_stream = true;
  Gateway g("linear 1", info);
  g.write(levels({2, 2, 2}));
  g.settle();
  auto stream = g.store->read(*Series::parse("predictions.toy{device=a}"), {}, 100);
  REQUIRE(stream.ok());
  REQUIRE(stream->rows() == 2);
  CHECK(stream->times[0] == kStart + 3 * kPeriod);
  CHECK(std::get<std::vector<std::string>>(stream->column("label")->values)[0] == "high");
  CHECK(std::get<std::vector<double>>(stream->column("score")->values)[0] == 6.0);
  CHECK(std::get<std::vector<int64_t>>(stream->column("version")->values)[0] == 3);
  CHECK(g.ledger("imu{device=a}").size() == 2);
}

TEST_CASE("pipeline: a stream of that name with other fields takes nothing from the ledger") {
  PackageInfo info = small_info();
  info.predictions_stream = true;
  Gateway g("linear 1", info);
  Batch foreign{*Series::parse("predictions.toy{device=a}"), {kStart}, {{"label", std::vector<double>{1}, {}}}};
  g.write(foreign);
  g.write(levels({2, 2, 2}));
  g.settle();
  CHECK(g.ledger("imu{device=a}").size() == 2);
}

TEST_CASE("pipeline: an alarm needs its windows in a row, holds between its thresholds, and ends below the lower one") {
  Gateway g("linear 1", alarming());
  g.write(levels({0, 0, 3, 0, 0}));  // one window at its height: not enough
  g.settle();
  CHECK(alarms(g).empty());
  g.write(levels({3, 3, 3, 1.5, 1.5, 3, 1.5}, 10));
  g.settle();
  CHECK(alarms(g) == std::vector<std::string>{kRaised});
  g.write(levels({0, 0, 0, 0}, 24));
  g.settle();
  CHECK(alarms(g) == std::vector<std::string>{kRaised, kEnded});
  auto stream = g.store->read(*Series::parse("alarms.toy{alarm=high,device=a}"), {}, 100);
  REQUIRE(stream.ok());
  CHECK(std::get<std::vector<uint8_t>>(stream->column("raised")->values) == std::vector<uint8_t>{1, 0});
}

TEST_CASE("pipeline: a restart neither repeats an alarm nor forgets the windows that spoke for it") {
  Gateway g("linear 1", alarming(3));
  g.write(levels({3, 3, 3}));  // two windows of three
  g.settle();
  g.open();
  CHECK(alarms(g).empty());
  g.write(levels({3}, 6));
  g.settle();
  CHECK(alarms(g) == std::vector<std::string>{kRaised});
  g.open();
  g.write(levels({3, 3, 3, 3, 3}, 8));
  g.settle();
  CHECK(alarms(g) == std::vector<std::string>{kRaised});
}

TEST_CASE("pipeline: an alarm that was given survives a power cut, together with its window") {
  Gateway g("linear 1", alarming(1));
  g.write(levels({3, 3}), storage::Durability::batch);
  g.settle();
  REQUIRE(alarms(g).size() == 1);
  g.disk.cut_power();
  g.pipelines.reset();
  g.store.reset();
  g.disk.restore_power();
  g.open();
  g.settle();
  CHECK(alarms(g).size() == 1);
  CHECK(g.ledger("imu{device=a}").size() == 1);
}

TEST_CASE("pipeline: windows by time are the same whether records come at once, one by one, or across restarts") {
  PackageInfo info = small_info();
  info.window.by = WindowSpec::By::time;
  Random random(Catch::rngSeed());
  std::vector<int64_t> times;
  int64_t t = kStart;
  for (int i = 0; i < 400; ++i) {
    t += 1 + static_cast<int64_t>(random.below(2 * kPeriod));
    if (random.chance(0.03)) t += 5 * kPeriod;  // a gap
    times.push_back(t);
  }
  auto part = [&](size_t from, size_t to) { return records("imu", {times.begin() + static_cast<ptrdiff_t>(from), times.begin() + static_cast<ptrdiff_t>(to)}); };
  Gateway whole("linear 1", info);
  whole.write(part(0, times.size()));
  whole.settle();
  REQUIRE(whole.ledger().size() > 50);
  Gateway piecewise("linear 1", info);
  for (size_t at = 0; at < times.size();) {
    const size_t next = std::min(times.size(), at + 1 + random.below(9));
    piecewise.write(part(at, next));
    piecewise.settle();
    if (random.chance(0.1)) piecewise.open();
    at = next;
  }
  CHECK(ranges(piecewise.ledger()) == ranges(whole.ledger()));
  for (const auto& p : whole.ledger()) {
    CHECK(p.window.to_ns - p.window.from_ns == 3 * kPeriod + 1);
    CHECK(p.window_rows == 4);
    auto again = read_window(*whole.store, info.window, "imu", p.window);
    REQUIRE(again.ok());
    CHECK(*again == std::vector<float>(8, 1.0f));
  }
}

TEST_CASE("pipeline: by time, records may come far more often than the period, and long gaps are passed over") {
  PackageInfo info = small_info();
  info.window.by = WindowSpec::By::time;
  Gateway g("linear 1", info);
  std::vector<int64_t> times;
  for (int i = 0; i < 60'000; ++i) times.push_back(kStart + i * (kPeriod / 1000));  // 60 periods, a thousand records each
  times.push_back(kStart + 10'000 * kPeriod);
  for (int i = 1; i < 5; ++i) times.push_back(kStart + (10'000 + i) * kPeriod);
  g.write(records("imu", times));
  g.settle();
  auto ledger = g.ledger();
  REQUIRE(ledger.size() == 29 + 1);
  CHECK(ledger.back().window.from_ns == kStart + 10'000 * kPeriod);
}

}  // namespace skerry::inference
