// The whole story in simulated time: the real store, the real int8 runtime, the real worker and the real receiver; only the clock and the
// link are ours.
#include <chrono>
#include <thread>

#include "tests/e2e/feed.h"
#include "tests/e2e/support/records.h"
#include "tests/node/rest_fixture.h"
#include "tests/support/fake_cloud.h"

using namespace skerry;
using namespace skerry::test;
using namespace std::chrono_literals;

namespace {

class Island {
 public:
  explicit Island(const e2e::Feed& feed) : feed_(feed), config_(node_config(dir_.path())) {
    config_.inference.torch_runtime = SKERRY_BIN_DIR "/libskerry_torch_runtime.so";
    config_.learning.worker = SKERRY_BIN_DIR "/skerry-worker";
    config_.learning.idle_for = 1min;
    config_.learning.job_time_max = 100h;  // the worker takes real seconds, in which hours pass here
    config_.learning.holdout_stretch = 10s;
    inference::GateSpec gate;
    gate.examples_min = 30;
    inference::TrainingSpec training;
    training.labels_min = 80;
    auto base = e2e::base_model(feed, gate, training, dir_ / "base");
    if (!base.ok()) FAIL(base.error().message);
    REQUIRE(inference::install_package(base->folder, config_.inference.models, 256 << 20).ok());
    start();
  }

  void start() {
    node::Seams seams;
    seams.clock = &clock;
    seams.uplink = cloud.uplink();
    seams.probe = std::make_unique<IdleProbe>();
    seams.seed = 1;
    auto opened = node::Node::open(config_, std::move(seams));
    if (!opened.ok()) FAIL(opened.error().message);
    node_ = std::move(opened).value();
  }
  void crash() { node_.reset(); }
  node::Node& node() { return *node_; }
  uint32_t serving() { return node_->engine().serving(feed_.model).value_or(0); }

  void ingest(const e2e::Piece& piece) {
    for (size_t from = 0; from < piece.records.rows(); from += 500) {
      Batch part = e2e::slice(piece.records, from, std::min(from + 500, piece.records.rows()));
      for (int64_t time : part.times) acknowledged_.insert(fmt::format("{}@{}", part.series.text(), time));
      auto taken = node_->ingest({std::move(part)});
      if (!taken.ok()) FAIL(taken.error().message);
    }
    answer();
  }
  void answer() {
    while (node_->step_pipelines() == Duration::zero()) {
    }
  }
  learning::LabelOutcome label(const e2e::Piece& piece) {
    learning::LabelRequest request;
    request.model = feed_.model;
    request.series = feed_.series;
    request.range = {piece.from_ns(), piece.to_ns()};
    request.label = piece.label;
    auto outcome = node_->label(request);
    if (!outcome.ok()) FAIL(outcome.error().message);
    return *outcome;
  }

  // Half an hour of trying, as far as the node's clock goes.
  void run_sync() {
    for (auto end = clock.steady() + 30min; clock.steady() < end;) {
      Duration next = node_->step_sync();
      node_->step_store();
      clock.advance(std::max<Duration>(next, 10ms));
    }
  }
  uint64_t waiting_bytes() const { return node_->status().outbox_bytes; }

  // Steps learning until a job came to its end. Between the steps somebody asks all the time.
  void run_learning(const learning::ExampleSet& windows) {
    const uint64_t ended = ended_jobs();
    const auto limit = std::chrono::steady_clock::now() + 120s;  // of real time, against a worker that hangs
    for (size_t i = 0; ended_jobs() == ended; ++i) {
      if (std::chrono::steady_clock::now() > limit) FAIL("no job ended: " << node_->learner().status().why);
      clock.advance(node_->step_learning());
      ask(windows.windows[i % windows.windows.size()]);
      std::this_thread::sleep_for(5ms);
    }
  }
  uint64_t ended_jobs() const {
    learning::LearnerStatus status = node_->learner().status();
    return status.promoted + status.rejected + status.jobs_failed;
  }

  // Whether a version answers a window rightly.
  bool ask(const learning::LabelledWindow& window, std::optional<uint32_t> version = std::nullopt) {
    ++asked;
    auto answer = node_->engine().infer(feed_.model, version, {inference::make_input(feed_.window, {&window.data})});
    if (!answer.ok()) {
      ++failed;
      return false;
    }
    std::vector<float> scores = answer->outputs.front().floats();
    return std::max_element(scores.begin(), scores.end()) - scores.begin() == window.label;
  }
  double accuracy(const learning::ExampleSet& windows, uint32_t version) {
    size_t right = 0;
    for (const auto& window : windows.windows) right += ask(window, version);
    return static_cast<double>(right) / static_cast<double>(windows.windows.size());
  }

  std::set<std::string> held() {
    std::set<std::string> all = acknowledged_;
    auto predictions = node_->store().predictions("", "", {}, 1'000'000).value();
    for (const auto& p : predictions) all.insert(fmt::format("prediction {}", number(p.id)));
    auto labels = node_->store().labels("", 1'000'000).value();
    for (const auto& l : labels) all.insert(fmt::format("label {}", number(l.id)));
    auto versions = node_->store().versions("").value();
    for (const auto& v : versions) {
      if (v.parent != 0 && v.state == storage::ModelState::serving) all.insert(fmt::format("model_delta {}/{}", v.model, v.version));
    }
    return all;
  }

  SimClock clock{1'761'000'000'000'000'000};  // a few days after the feed's records
  FakeCloud cloud{clock};
  uint64_t asked = 0, failed = 0;

 private:
  const e2e::Feed& feed_;
  TempDir dir_;
  config::Config config_;
  std::set<std::string> acknowledged_;
  std::unique_ptr<node::Node> node_;
};

}  // namespace

TEST_CASE("story: cut off, the node learns, dies, and brings everything home once") {
  auto feed = e2e::pump_feed(1);
  REQUIRE(feed.ok());
  const learning::ExampleSet unseen = e2e::windows_of(*feed, feed->after).value();
  Island island(*feed);

  // 1. The base answers for a pump that it has never seen, and labels say how well.
  for (const e2e::Piece& piece : feed->first) island.ingest(piece);
  uint32_t labelled = 0, correct = 0;
  for (const e2e::Piece& piece : feed->first) {
    learning::LabelOutcome outcome = island.label(piece);
    labelled += outcome.predictions;
    correct += outcome.correct;
  }
  CHECK(island.serving() == 1);
  CHECK(labelled > 100);
  storage::LiveScore score = island.node().store().live_score(feed->model, 1);
  CHECK(score.labelled == labelled);
  CHECK(score.correct == correct);
  island.run_sync();
  CHECK(island.waiting_bytes() == 0);

  // 2. Two days without a link.
  island.cloud.down();
  uint64_t backlog = 0;
  for (const e2e::Piece& piece : feed->learn) {
    island.ingest(piece);
    CHECK(island.waiting_bytes() > backlog);
    backlog = island.waiting_bytes();
  }
  island.clock.advance(48h);
  island.run_sync();
  CHECK(island.waiting_bytes() == backlog);

  // 3. Labels make it learn, alone, and nobody who asks is turned away.
  for (const e2e::Piece& piece : feed->learn) island.label(piece);
  island.run_learning(unseen);
  INFO(island.node().learner().status().why);
  REQUIRE(island.serving() == 2);
  const double before = island.accuracy(unseen, 1), after = island.accuracy(unseen, 2);
  INFO("on windows that nobody labelled: " << before << " before, " << after << " after");
  CHECK(after > before + 0.05);
  CHECK(island.asked > 200);
  CHECK(island.failed == 0);

  // 4. It dies among new records, and comes back as it was.
  const size_t half = feed->after.size() / 2;
  for (size_t i = 0; i < half; ++i) island.ingest(feed->after[i]);
  island.crash();
  island.start();
  CHECK(island.serving() == 2);
  for (size_t i = half; i < feed->after.size(); ++i) island.ingest(feed->after[i]);
  storage::LiveScore second = island.node().store().live_score(feed->model, 2);
  CHECK(second.labelled == 0);
  for (const e2e::Piece& piece : feed->after) island.label(piece);
  second = island.node().store().live_score(feed->model, 2);
  CHECK(second.labelled > 100);

  // 5. The link returns, one acknowledgement is lost, and the hub has each thing once, the delta among them.
  island.cloud.up();
  island.cloud.lose_next_ack();
  island.run_sync();
  CHECK(island.waiting_bytes() == 0);
  const std::set<std::string> at_hub = island.cloud.received_once(), ours = island.held();
  CHECK(at_hub == ours);
  CHECK(at_hub.count("model_delta pump/2") == 1);

  // And it can go back.
  REQUIRE(island.node().models().rollback(feed->model, "the test says so").ok());
  CHECK(island.serving() == 1);
}
