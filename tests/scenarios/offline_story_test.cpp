#include "tests/scenarios/story.h"

using namespace skerry;
using namespace skerry::test;
using namespace std::chrono_literals;

TEST_CASE("story: two days offline, a crash, a lost acknowledgement, and the hub holds everything once") {
  Story s;
  s.cloud.down();
  for (int hour = 0; hour < 48; ++hour) {
    s.clock.advance(1h);
    s.ingest(20);
    s.node().step_pipelines();
    s.node().step_sync();
  }
  s.run_until_quiet();
  auto label = s.node().label({.prediction = number(s.node().store().predictions("toy", "", {}, 1).value().at(0).id), .label = "high"});
  REQUIRE(label.ok());
  CHECK(s.waiting() > 48);
  CHECK(s.cloud.received_once().empty());

  s.restart();
  CHECK(s.node().engine().serving("toy") == 1u);
  s.ingest(20);  // after the start, still without a network
  s.cloud.up();
  s.cloud.lose_next_ack();
  s.run_until_quiet();

  CHECK(s.waiting() == 0);
  CHECK(s.cloud.received_once() == s.held());
  CHECK(s.held().size() > 49u * 20 + 49 * 8);
  CHECK(s.node().syncer().status().online);
}

TEST_CASE("story: a crash after the hub applied and before its answer doubles nothing") {
  Story s;
  for (int round = 0; round < 5; ++round) {
    s.ingest(12);
    s.cloud.lose_next_ack();
    s.node().step_pipelines();
    for (int i = 0; i < 3; ++i) s.node().step_sync();
    s.restart();
    s.clock.advance(1min);
  }
  s.run_until_quiet();
  CHECK(s.waiting() == 0);
  CHECK(s.cloud.received_once() == s.held());
}

TEST_CASE("story: windows are answered once across restarts") {
  Story s;
  std::set<std::string> answered;
  for (int round = 0; round < 4; ++round) {
    s.clock.advance(1min);
    s.ingest(20, round % 2 == 0 ? 1.0 : -1.0);
    s.node().step_pipelines();
    s.restart();
  }
  s.run_until_quiet();
  auto predictions = s.node().store().predictions("toy", "", {}, 1000).value();
  for (const auto& p : predictions) {
    CHECK(answered.insert(fmt::format("{} {}", p.series, p.window.from_ns)).second);
    CHECK(p.top == (p.scores[0] > 0 ? 2 : 0));
  }
  CHECK(answered.size() == 4 * 9);  // 20 records: windows of 4 every 2; a minute between rounds breaks windows
}

TEST_CASE("story: a pump that knows its condition plays the operator, and the labels reach the hub") {
  Story s([](config::Config config) {
    plugins::PumpOptions pump;
    pump.rate_hz = 100;
    pump.state_length = 2s;
    config.sources.push_back({.name = "pump", .operator_share = 1.0, .options = pump});
    return config;
  });
  for (int i = 0; i < 40; ++i) {
    s.clock.advance(500ms);
    s.node().step_sources();
    while (s.node().step_pipelines() == Duration::zero()) {
    }
  }
  const node::NodeStatus status = s.node().status();
  CHECK(status.records > 1900);
  CHECK(status.source_errors == 0);
  CHECK(status.predictions >= 90);
  CHECK(status.labels >= 70);  // all but the stretch under way, and windows that straddle two
  CHECK(s.node().store().live_score("pump", 1).labelled == status.labels);
  CHECK(s.node().store().example_counts("pump", storage::ExampleId::none).value().all() > 0);
  s.run_until_quiet();
  auto at_cloud = s.cloud.received_once();
  CHECK(std::count_if(at_cloud.begin(), at_cloud.end(), [](const std::string& text) { return text.rfind("label ", 0) == 0; }) >=
        static_cast<long>(status.labels));
}

TEST_CASE("story: half the truths are labelled by the same choice when the seed is the same") {
  auto labels = [] {
    Story s([](config::Config config) {
      plugins::PumpOptions pump;
      pump.rate_hz = 100;
      pump.state_length = 1s;
      config.sources.push_back({.name = "pump", .operator_share = 0.5, .options = pump});
      return config;
    });
    for (int i = 0; i < 60; ++i) {
      s.clock.advance(500ms);
      s.node().step_sources();
      while (s.node().step_pipelines() == Duration::zero()) {
      }
    }
    return s.node().status().labels;
  };
  const uint64_t first = labels();
  CHECK(first > 20);
  CHECK(first < 130);  // of 150 windows
  CHECK(labels() == first);
}

TEST_CASE("story: what is held back stays, and goes when it is resumed") {
  Story s;
  s.node().syncer().hold(true);
  s.ingest(12);
  s.run_until_quiet();
  CHECK(s.cloud.received_once().empty());
  CHECK(s.waiting() > 0);
  s.node().syncer().hold(false);
  s.run_until_quiet();
  CHECK(s.cloud.received_once() == s.held());
}
