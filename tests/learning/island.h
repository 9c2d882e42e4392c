// A node without its node: the real store, engine, models, labels and learner over a fake runtime, a scripted worker and a scripted load.
#pragma once

#include <catch2/catch.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "inference/engine.h"
#include "inference/pipeline.h"
#include "learning/delta.h"
#include "learning/job.h"
#include "learning/labels.h"
#include "learning/learner.h"
#include "learning/models.h"
#include "storage/store.h"
#include "tests/inference/fake_runtime.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::learning::test {

using inference::test::make_package;
using inference::test::small_info;
using skerry::test::SimClock;
using skerry::test::TempDir;

// What the scripted workers of one test share, over restarts of the learner.
struct WorkerScript {
  std::function<WorkerExit(const std::filesystem::path& job)> work;  // does the job when it is polled
  bool hangs = false;                                                // never ends by itself
  uint64_t memory = 1 << 20;
  int started = 0, killed = 0, paused = 0, resumed = 0;
  std::vector<std::filesystem::path> jobs;
};

class ScriptedWorker final : public WorkerLauncher {
 public:
  explicit ScriptedWorker(WorkerScript& script) : script_(script) {}
  Status start(const std::filesystem::path& job) override {
    ++script_.started;
    script_.jobs.push_back(job);
    running_ = true;
    return {};
  }
  std::optional<WorkerExit> poll() override {
    if (!running_ || script_.hangs) return std::nullopt;
    running_ = false;
    return script_.work(script_.jobs.back());
  }
  void kill() override {
    if (running_) ++script_.killed;
    running_ = false;
  }
  void pause() override { ++script_.paused; }
  void resume() override { ++script_.resumed; }
  uint64_t memory_bytes() const override { return running_ ? script_.memory : 0; }

 private:
  WorkerScript& script_;
  bool running_ = false;
};

class ScriptedLoad final : public LoadProbe {
 public:
  explicit ScriptedLoad(double& cpu) : cpu_(cpu) {}
  LoadSample sample(double requests_per_second) override { return {cpu_, requests_per_second}; }

 private:
  double& cpu_;
};

// Writes a result as the worker would: `model` is the fake runtime's text; the shares of held-out examples that were answered rightly, the
// candidate losing none that its parent had.
inline WorkerExit write_result(const std::filesystem::path& job, const std::string& model, double parent_right, double candidate_right) {
  JobSpec spec = *read_job(job);
  std::filesystem::path staging = job / "result.tmp";
  make_package(staging / "package", spec.target, model);
  JobReport report;
  Paired& held_out = report.gate.holdout;
  held_out.examples = static_cast<uint32_t>(read_examples(job / kHoldoutFile)->windows.size());
  held_out.parent_correct = static_cast<uint32_t>(parent_right * held_out.examples);
  held_out.candidate_correct = static_cast<uint32_t>(candidate_right * held_out.examples);
  const bool better = held_out.candidate_correct > held_out.parent_correct;
  (better ? held_out.gained : held_out.lost) =
      better ? held_out.candidate_correct - held_out.parent_correct : held_out.parent_correct - held_out.candidate_correct;
  held_out.gained_apart = held_out.gained;
  held_out.lost_apart = held_out.lost;
  Delta delta{spec.target.name, spec.target.parent, spec.target.version, "digest", {{"w", 4, 0.5f, {1}, {3}}}};
  Delta residual{spec.target.name, spec.target.version, spec.target.version, "", {{"w", 4, 0.01f, {1}, {static_cast<int8_t>(spec.target.version)}}}};
  REQUIRE(write_file_atomic(staging / "report.json", to_json(report)).ok());
  REQUIRE(write_file_atomic(staging / "delta.bin", encode_delta(delta)).ok());
  REQUIRE(write_file_atomic(staging / kResidualFile, encode_delta(residual)).ok());
  REQUIRE(publish_folder(staging, job / "result").ok());
  return {true, "done"};
}

struct Island {
  TempDir dir;
  SimClock clock;
  Options options;
  storage::Options storage_options;
  WorkerScript script;
  double cpu = 0.1;
  std::unique_ptr<storage::Store> store;
  std::unique_ptr<inference::Engine> engine;
  std::unique_ptr<Models> models;
  std::unique_ptr<Labels> labels;
  std::unique_ptr<Learner> learner;

  Island() {
    options.jobs = dir / "jobs";
    options.holdout_stretch = std::chrono::seconds(1);
    options.holdout_share = 0.5;
    storage_options.path = dir / "store";
    script.work = [](const std::filesystem::path& job) { return write_result(job, "linear 2", 0.7, 0.9); };
  }
  void start() {
    stop();
    auto opened = storage::Store::open(storage_options, clock);
    REQUIRE(opened.ok());
    store = std::move(*opened);
    inference::Options serving;
    serving.models = dir / "models";
    engine = std::make_unique<inference::Engine>(serving, std::make_unique<inference::test::FakeRuntime>(), clock);
    models = std::make_unique<Models>(*store, *engine, clock);
    REQUIRE(models->start().ok());
    labels = std::make_unique<Labels>(*store, *engine, options, clock);
    learner = std::make_unique<Learner>(*store, *engine, *models, options, std::make_unique<ScriptedWorker>(script),
                                        std::make_unique<ScriptedLoad>(cpu), clock);
  }
  void stop() {
    learner.reset();
    labels.reset();
    models.reset();
    engine.reset();
    store.reset();
  }
  inference::RolloutSpec rollout;  // of the packages to come
  inference::PackageInfo info(uint32_t version) const {
    inference::PackageInfo info = small_info(version);
    info.gate.examples_min = 2;
    info.training.labels_min = 4;
    info.rollout = rollout;
    return info;
  }
  std::filesystem::path package(uint32_t version, const std::string& model = "linear 1") {
    return make_package(dir.path() / "models" / "toy" / std::to_string(version), info(version), model);
  }
  void candidate(uint32_t version, const std::string& model) {
    auto imported = models->import(package(version, model));
    INFO((imported.ok() ? "" : imported.error().message));
    REQUIRE(imported.ok());
  }

  // `seconds` of records, a window each 20 ms, all predicted.
  Series series{"imu", {{"device", "a"}}};
  int64_t begin_ns = 0, end_ns = 0;
  void feed(int seconds) {
    if (end_ns == 0) begin_ns = end_ns = clock.now_ns() / 1'000'000'000 * 1'000'000'000;
    Batch batch{series, {}, {}};
    std::vector<double> x, y;
    for (int i = 0; i < 100 * seconds; ++i, end_ns += 10'000'000) {
      batch.times.push_back(end_ns);
      x.push_back(1 + i % 7);
      y.push_back(1);
    }
    batch.columns = {{"x", x, {}}, {"y", y, {}}};
    clock.advance(std::chrono::seconds(seconds));
    storage::Effect effect;
    effect.batches.push_back(std::move(batch));
    REQUIRE(store->commit(effect).ok());
    inference::Pipelines pipelines(*engine, *store, clock);
    while (pipelines.step() == Duration::zero()) {
    }
  }
  Result<LabelOutcome> label(int64_t from_ns, int64_t to_ns, const std::string& name) {
    LabelRequest request;
    request.series = series.text();
    request.range = {from_ns, to_ns};
    request.label = name;
    return labels->apply(request);
  }
  LabelOutcome label_all(const std::string& name = "high") {
    auto outcome = label(begin_ns, end_ns, name);
    REQUIRE(outcome.ok());
    return *outcome;
  }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) clock.advance(learner->step());
  }
  storage::ModelVersion version(uint32_t number) {
    auto versions = store->versions("toy");
    REQUIRE(versions.ok());
    for (const auto& v : *versions) {
      if (v.version == number) return v;
    }
    return {};
  }
  std::vector<storage::OutboxItem> deltas() {
    auto items = store->outbox_read(storage::OutboxClass::model, 1, 1 << 20);
    REQUIRE(items.ok());
    return *items;
  }
};

}  // namespace skerry::learning::test
