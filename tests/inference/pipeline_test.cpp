#include "inference/pipeline.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/random.h"
#include "tests/inference/pipeline_fixture.h"

namespace skerry::inference {
namespace {

using namespace test;

}  // namespace

TEST_CASE("pipeline: every complete window becomes a prediction of the version that answered") {
  Gateway g;
  g.write(records("imu", regular(0, 7), 2));
  g.settle();
  auto ledger = g.ledger();
  REQUIRE(ledger.size() == 2);
  CHECK(ledger[0].window == storage::TimeRange{kStart, kStart + 3 * kPeriod + 1});
  CHECK(ledger[1].window == storage::TimeRange{kStart + 2 * kPeriod, kStart + 5 * kPeriod + 1});
  CHECK(ledger[0].version == 1);
  CHECK(ledger[0].scores == std::vector<float>{2, 4, 6});
  CHECK(ledger[0].top == 2);
  CHECK(ledger[0].window_rows == 4);
  CHECK(ledger[0].at_ns == g.clock.now_ns());
  CHECK(g.pipelines->windows() == 2);
  CHECK(g.pipelines->failures() == 0);

  PackageInfo next = small_info(2);
  g.serve(next, "linear -1");
  g.write(records("imu", regular(7, 1), 2));
  g.settle();
  ledger = g.ledger();
  REQUIRE(ledger.size() == 3);
  CHECK(ledger[2].version == 2);
  CHECK(ledger[2].top == 0);
}

TEST_CASE("pipeline: a version with other windows goes on where the one before was") {
  Gateway g;
  g.write(records("imu", regular(0, 8)));
  g.settle();
  REQUIRE(g.ledger().size() == 3);  // the next window begins at record 6
  PackageInfo longer = small_info(2);
  longer.window.rows = 6;
  longer.window.stride = 6;
  g.serve(longer, "linear 1");
  g.write(records("imu", regular(8, 4)));
  g.settle();
  auto ledger = g.ledger();
  REQUIRE(ledger.size() == 4);
  CHECK(ledger[3].window == storage::TimeRange{kStart + 6 * kPeriod, kStart + 11 * kPeriod + 1});
  CHECK(ledger[3].window_rows == 6);
}

TEST_CASE(
    "pipeline: a backlog larger than one step is worked through in bounded steps, series taking turns") {
  Gateway g;
  g.write(records("imu{device=a}", regular(0, 1000)));
  g.write(records("imu{device=b}", regular(0, 8)));
  g.write(records("other", regular(0, 1000)));
  CHECK(g.pipelines->step() == Duration{0});
  CHECK(g.pipelines->windows() <= 64);
  CHECK(g.pipelines->step() == Duration{0});
  CHECK(g.pipelines->windows() <= 128);
  CHECK(g.ledger("imu{device=b}").size() == 3);  // does not wait for all of a
  g.settle();
  CHECK(g.ledger("imu{device=a}").size() == 499);
  CHECK(g.ledger("other").empty());
  CHECK(g.pipelines->windows() == 502);
}

TEST_CASE("pipeline: however it is restarted, no window is repeated and none is left out") {
  Random random(Catch::rngSeed());
  for (uint32_t round = 0; round < 8; ++round) {
    PackageInfo info = small_info();
    info.window.stride = 1 + round % info.window.rows;  // up to windows that share no record
    Gateway g("linear 1", info);
    int64_t t = kStart;
    Batch all = records("imu", {});
    for (int part = 0; part < 12; ++part) {
      std::vector<int64_t> times;
      for (size_t i = 0, n = random.below(150); i < n; ++i) {
        t += kPeriod + static_cast<int64_t>(random.below(kPeriod / 4)) +
             (random.chance(0.05) ? 5 * kPeriod : 0);
        times.push_back(t);
      }
      if (times.empty()) continue;
      all.times.insert(all.times.end(), times.begin(), times.end());
      g.write(records("imu", times));
      for (uint64_t steps = random.below(4); steps > 0; --steps) (void)g.pipelines->step();
      if (random.chance(0.3)) g.pipelines = std::make_unique<Pipelines>(*g.engine, *g.store, g.clock);
      if (random.chance(0.2)) g.open();
    }
    g.settle();
    for (Column& column : all.columns) column.values = std::vector<double>(all.rows(), 1);
    std::vector<storage::TimeRange> expected;
    auto cut = cut_windows(info.window, all);
    REQUIRE(cut.ok());
    for (const Window& window : cut->windows) expected.push_back(window.range);
    REQUIRE(ranges(g.ledger()) == expected);
  }
}

TEST_CASE(
    "pipeline: after a power cut the windows whose predictions were lost are answered again, each once") {
  for (bool synced : {false, true}) {
    Gateway g;
    g.write(records("imu", regular(0, 40)), storage::Durability::batch);
    g.settle();
    REQUIRE(g.ledger().size() == 19);
    if (synced) {  // by the durability of a later effect: then nothing may be made again
      g.write(records("other", regular(0, 1)), storage::Durability::batch);
    }
    g.disk.cut_power();
    g.pipelines.reset();
    g.store.reset();
    g.disk.restore_power();
    g.open();
    size_t kept = g.ledger().size();
    CHECK((synced ? kept == 19 : kept < 19));
    g.settle();
    auto found = ranges(g.ledger());
    CHECK(found.size() == 19);
    CHECK(std::adjacent_find(found.begin(), found.end()) == found.end());
    CHECK(g.pipelines->windows() == 19 - kept);
  }
}

TEST_CASE("pipeline: records that come late are not windowed, those ahead of the cursor are") {
  Gateway g;
  std::vector<int64_t> times = regular(0, 6);
  times.erase(times.begin() + 1);
  g.write(records("imu", times));  // 0 2 3 4 5: window 0..4, the next begins at 3
  g.settle();
  REQUIRE(g.ledger().size() == 1);
  g.write(records("imu", regular(1, 1)));
  g.settle();
  CHECK(g.ledger().size() == 1);
  g.write(records("imu", regular(6, 1)));
  g.settle();
  auto ledger = g.ledger();
  REQUIRE(ledger.size() == 2);
  CHECK(ledger[1].window.from_ns == kStart + 3 * kPeriod);
}

TEST_CASE(
    "pipeline: a series that lacks a field or holds text is counted once and does not stop the others") {
  Gateway g;
  Batch lacking = records("imu{device=a}", regular(0, 8));
  lacking.columns.pop_back();
  g.write(lacking);
  Batch text = records("imu{device=b}", regular(0, 8));
  text.columns[1].values = std::vector<std::string>(8, "high");
  g.write(text);
  g.write(records("imu{device=c}", regular(0, 8)));
  g.settle();
  CHECK(g.pipelines->failures() == 2);
  CHECK(g.ledger("imu{device=c}").size() == 3);
  lacking.times = regular(8, 8);
  g.write(lacking);
  g.settle();
  g.settle();
  CHECK(g.pipelines->failures() == 2);

  g.write(records("imu{device=a}", regular(16, 8)));  // now with the field
  g.settle();
  CHECK(g.ledger("imu{device=a}").size() == 3);
  CHECK(g.pipelines->failures() == 2);
}

TEST_CASE("pipeline: a window that the model can't answer is passed over, its neighbours are answered") {
  Gateway g("nan-above 5");
  Batch batch = records("imu", regular(0, 12));
  auto& x = std::get<std::vector<double>>(batch.columns[0].values);
  x[4] = 100;  // in the windows that begin at 2 and 4
  g.write(batch);
  g.settle();
  std::vector<int64_t> starts;
  for (const auto& p : g.ledger()) starts.push_back((p.window.from_ns - kStart) / kPeriod);
  CHECK(starts == std::vector<int64_t>{0, 6, 8});
  CHECK(g.pipelines->windows() == 3);
  CHECK(g.pipelines->failures() == 2);
}

TEST_CASE("pipeline: on a full disk it waits, longer and longer, and goes on when there is space") {
  Gateway g;
  g.write(records("imu", regular(0, 40)));
  g.disk.set_space_left(0);
  Duration waited{0}, longest{0};
  for (int i = 0; i < 20; ++i) {
    Duration delay = g.pipelines->step();
    REQUIRE(delay > Duration{0});
    CHECK(delay <= std::chrono::seconds(30));
    CHECK(g.pipelines->step() == delay);  // asked too early: nothing is tried
    waited += delay;
    longest = std::max(longest, delay);
    g.clock.advance(delay);
  }
  CHECK(longest == std::chrono::seconds(30));
  CHECK(g.pipelines->windows() == 0);
  g.disk.lift_space();
  for (int i = 0; i < 20 && g.pipelines->windows() == 0; ++i) {
    (void)g.store->step();
    g.clock.advance(std::max<Duration>(g.pipelines->step(), std::chrono::milliseconds(1)));
  }
  g.settle();
  CHECK(g.ledger().size() == 19);
  CHECK(g.pipelines->windows() == 19);
}

TEST_CASE("pipeline: a damaged cursor goes on after the newest prediction") {
  Gateway g;
  g.write(records("imu", regular(0, 8)));
  g.settle();
  REQUIRE(g.ledger().size() == 3);
  storage::Effect effect;
  effect.notes = {{"pipeline/toy/imu", "12x"}};
  REQUIRE(g.store->commit(effect).ok());
  g.open();
  g.write(records("imu", regular(8, 8)));
  g.settle();
  auto found = ranges(g.ledger());
  CHECK(found.size() == 6);
  CHECK(std::adjacent_find(found.begin(), found.end()) == found.end());
}

TEST_CASE("pipeline: a series with more tags than a note's name has room is served too") {
  Gateway g;
  Series series{"imu", {}};
  for (int i = 0; i < 32; ++i) series.tags["tag" + std::to_string(i)] = std::string(200, 'v');
  g.write(records(series.text(), regular(0, 8)));
  g.settle();
  g.open();
  g.settle();
  CHECK(g.ledger(series.text()).size() == 3);
}

TEST_CASE("pipeline: what was rolled up before a model came to it is passed over and counted, its means are no samples") {
  const bool by_time = GENERATE(false, true);
  PackageInfo info = small_info();
  info.window.period = std::chrono::seconds(1);  // means by the second would fit
  info.window.by = by_time ? WindowSpec::By::time : WindowSpec::By::count;
  Gateway g("linear 1", info);
  storage::StreamRule rule;
  rule.sync = false;
  rule.quota_bytes = 400'000;
  rule.on_full = storage::OnFull::roll_up;
  g.storage.streams = {rule};
  g.storage.write_buffer_bytes = 128 << 10;
  g.open();
  constexpr int64_t kStep = 100'000'000;
  Random random(7);
  int64_t time = kStart;
  std::map<int64_t, double> written;
  const auto write = [&](int rows) {
    Batch batch = records("imu", {});
    std::vector<double> values;
    for (int i = 0; i < rows; ++i, time += kStep) {
      batch.times.push_back(time);
      values.push_back(random.uniform());
      written[time] = static_cast<float>(values.back());
    }
    batch.columns = {{"x", values, {}}, {"y", values, {}}};
    g.write(batch);
  };
  for (int i = 0; i < 300; ++i) {
    write(200);
    g.clock.advance(std::chrono::seconds(2));
    g.store->step();
  }
  const auto stretches = *g.store->rolled_up({"imu", {}}, {});
  REQUIRE(!stretches.empty());
  const int64_t last_mean = stretches.back().range.to_ns - stretches.back().resolution_ns;
  g.settle();

  const auto ledger = g.ledger();
  REQUIRE(ledger.size() > 100);
  CHECK(g.pipelines->rolled_up() == stretches.size());
  CHECK(g.pipelines->failures() == 0);
  CHECK(ledger.front().window.from_ns == written.lower_bound(stretches.back().range.to_ns)->first);
  for (size_t i = 1; i < ledger.size(); ++i) {
    REQUIRE(ledger[i].window.from_ns - ledger[i - 1].window.from_ns == (by_time ? 2 * info.window.period.count() : 2 * kStep));
  }
  CHECK(ledger.back().window.to_ns > time - (by_time ? 7'000'000'000 : 3 * kStep));
  for (const auto& p : ledger) {  // the fake model answers with the mean of what it is given
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += written.at(p.window.from_ns + i * (by_time ? info.window.period.count() : kStep));
    REQUIRE(p.scores[0] == Approx(sum / 4).epsilon(1e-5));
  }
  const storage::TimeRange before{last_mean, last_mean + 4'000'000'000};
  CHECK(read_window(*g.store, info.window, "imu", before).error().message.find("rolled up") != std::string::npos);

  g.open();  // the cursor is behind it for good
  write(8);
  g.settle();
  CHECK(g.pipelines->rolled_up() == 0);
}

TEST_CASE("pipeline: a model that serves without data and a node without models are at rest") {
  Gateway g;
  CHECK(g.pipelines->step() > Duration{0});
  Engine empty(Options{.models = g.dir / "none"}, std::make_unique<FakeRuntime>(), g.clock);
  Pipelines none(empty, *g.store, g.clock);
  g.write(records("imu", regular(0, 8)));
  CHECK(none.step() > Duration{0});
  CHECK(none.windows() == 0);
}

TEST_CASE("read_window: gives back raw what the prediction saw, and says when it is gone") {
  Gateway g;
  Batch batch = records("imu", regular(0, 4), 3);
  std::get<std::vector<double>>(batch.columns[1].values) = {1, 2, 3, 4};
  g.write(batch);
  g.settle();
  auto ledger = g.ledger();
  REQUIRE(ledger.size() == 1);
  WindowSpec spec = small_info().window;
  auto window = read_window(*g.store, spec, "imu", ledger[0].window);
  REQUIRE(window.ok());
  CHECK(*window == std::vector<float>{3, 3, 3, 3, 1, 2, 3, 4});
  for (auto range :
       {storage::TimeRange{kStart, kStart + 3 * kPeriod}, {kStart + 100 * kPeriod, kStart + 104 * kPeriod}}) {
    CHECK(read_window(*g.store, spec, "imu", range).error().code == Code::not_found);
  }
  CHECK(read_window(*g.store, spec, "nothing", ledger[0].window).error().code == Code::not_found);
  CHECK(read_window(*g.store, spec, "im{u", ledger[0].window).error().code == Code::invalid);
  spec.fields[1] = "z";
  CHECK_FALSE(read_window(*g.store, spec, "imu", ledger[0].window).ok());
}

}  // namespace skerry::inference
