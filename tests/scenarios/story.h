// One node and one cloud in simulated time, so that a story of outages is a few lines. The node is the real one with the fake runtime's toy
// model; the cloud is the real receiver behind a link that fails by order.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "node/node.h"
#include "tests/node/rest_fixture.h"
#include "tests/support/fake_cloud.h"

namespace skerry::test {

class Story {
 public:
  explicit Story(config::Config (*change)(config::Config) = nullptr) : config_(node_config(dir_.path())) {
    if (change) config_ = change(config_);
    toy_package(dir_ / "models", 1);
    inference::PackageInfo pump = inference::test::small_info(1);
    pump.name = pump.window.stream = "pump";
    pump.window.fields = {"ax", "ay"};
    pump.window.rows = pump.window.stride = 20;
    pump.labels = plugins::kPumpConditions;
    inference::test::make_package(dir_ / "models" / "pump" / "1", pump, "linear 1");
    start();
  }

  void start() {
    node::Seams seams = node_seams(clock);
    seams.uplink = cloud.uplink();
    auto opened = node::Node::open(config_, std::move(seams));
    if (!opened.ok()) FAIL(opened.error().message);
    node_ = std::move(opened).value();
  }
  void crash() { node_.reset(); }  // nothing is told to end first
  void restart() {
    crash();
    start();
  }
  node::Node& node() { return *node_; }

  // Acknowledged records of imu at 100 Hz, ending now. They are what the cloud must hold in the end.
  void ingest(int records, double level = 1.0, const std::string& device = "a") {
    Batch batch{.series = {.name = "imu", .tags = {{"device", device}}}};
    std::vector<double> x(static_cast<size_t>(records), level), y(static_cast<size_t>(records), level / 2);
    for (int i = records; i > 0; --i) batch.times.push_back(clock.now_ns() - i * 10'000'000LL);
    batch.columns = {{.name = "x", .values = x}, {.name = "y", .values = y}};
    auto taken = node_->ingest({batch});
    if (!taken.ok()) FAIL(taken.error().message);
    for (int64_t time : batch.times) acknowledged_.insert(fmt::format("{}@{}", batch.series.text(), time));
  }

  // Steps everything, letting time pass, until a whole round found nothing to do and nothing waits that could go. Bounded.
  void run_until_quiet() {
    for (int round = 0; round < 2000; ++round) {
      Duration next = std::chrono::hours(1);
      for (Duration delay : {node_->step_sources(), node_->step_pipelines(), node_->step_store(), node_->step_sync()}) next = std::min(next, delay);
      if (next > Duration::zero() && (waiting() == 0 || round > 200)) return;
      clock.advance(std::max<Duration>(next, std::chrono::milliseconds(10)));
    }
    FAIL("never quiet: " << waiting() << " entries wait");
  }
  uint64_t waiting() const {
    uint64_t entries = 0;
    for (const auto& outbox : node_->status().outbox) entries += outbox.entries;
    return entries;
  }

  // What the node holds and the cloud should: acknowledged records, every prediction, every label.
  std::set<std::string> held() {
    std::set<std::string> all = acknowledged_;
    auto predictions = node_->store().predictions("", "", {}, 1'000'000).value();
    for (const auto& p : predictions) all.insert(fmt::format("prediction {}", number(p.id)));
    auto labels = node_->store().labels("", 1'000'000).value();
    for (const auto& l : labels) all.insert(fmt::format("label {}", number(l.id)));
    return all;
  }

  SimClock clock;
  FakeCloud cloud{clock};

 private:
  TempDir dir_;
  config::Config config_;
  std::set<std::string> acknowledged_;
  std::unique_ptr<node::Node> node_;
};

}  // namespace skerry::test
