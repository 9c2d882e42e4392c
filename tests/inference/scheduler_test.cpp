#include "inference/scheduler.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "tests/inference/fake_runtime.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::inference {
namespace {

using skerry::test::SimClock;
using skerry::test::TempDir;
using Catch::Matchers::Contains;
using namespace std::chrono_literals;

// A model that is held back until it is let go, and says how many rows it was asked together.
class Gate {
 public:
  void close() { set(true); }
  void open() { set(false); }
  void pass(int64_t rows) {
    std::unique_lock lock(mutex_);
    rows_.push_back(rows);
    entered_ += 1;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !closed_; });
  }
  void wait_entered(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_ >= count; });
  }
  std::vector<int64_t> rows() {
    std::lock_guard lock(mutex_);
    return rows_;
  }
  void forget() {
    std::lock_guard lock(mutex_);
    rows_.clear();
    entered_ = 0;
  }

 private:
  void set(bool closed) {
    std::lock_guard lock(mutex_);
    closed_ = closed;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  int entered_ = 0;
  std::vector<int64_t> rows_;
};

class GatedRuntime final : public Runtime {
 public:
  explicit GatedRuntime(Gate& gate) : gate_(gate) {}
  std::string name() const override { return "gated"; }
  Result<std::shared_ptr<Session>> load(const Package& package) override {
    SKERRY_ASSIGN(auto inner, inner_.load(package));
    return std::shared_ptr<Session>(std::make_shared<Gated>(inner, gate_));
  }

 private:
  struct Gated final : Session {
    Gated(std::shared_ptr<Session> session, Gate& g) : inner(std::move(session)), gate(g) {}
    Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) const override {
      gate.pass(inputs[0].shape[0]);
      return inner->run(inputs);
    }
    std::shared_ptr<Session> inner;
    Gate& gate;
  };
  Gate& gate_;
  test::FakeRuntime inner_;
};

std::vector<Tensor> window(float value, int64_t rows = 1) {
  return {Tensor::fp32("input", {rows, 2, 4}, std::vector<float>(static_cast<size_t>(rows) * 8, value))};
}

// One model, one instance, so that whatever comes second waits.
struct Bench {
  explicit Bench(QueueOptions queue = {.queue_max = 4, .instances = 1}, const std::string& model = "linear 1") : options(queue) {
    serve(1, model);
    gate.forget();
  }
  ~Bench() {
    gate.open();
    for (std::thread& thread : threads) thread.join();
  }
  void serve(uint32_t version, const std::string& model) {
    test::make_package(dir.path() / "models" / "toy" / std::to_string(version), test::small_info(version), model);
    REQUIRE(engine.load("toy", version).ok());
    REQUIRE(engine.serve("toy", version).ok());
  }
  // A request that is under way until the gate opens.
  void occupy() {
    gate.close();
    threads.emplace_back([this] { first = scheduler.infer({.model = "toy", .inputs = window(1)}).ok(); });
    gate.wait_entered(1);
  }
  // Answers come into `answers` by the given name.
  void submit(const std::string& name, Job job) {
    job.model = "toy";
    scheduler.submit(std::move(job), Scheduler::Caller::must_not_block, [this, name](Result<Answer> answer) {
      std::lock_guard lock(mutex);
      order.push_back(name);
      answers.emplace(name, std::move(answer));
    });
  }
  void finish() {
    gate.open();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    while (scheduler.run_once() == Duration::zero()) {
    }
  }
  std::string refusal(const std::string& name) {
    auto at = answers.find(name);
    if (at == answers.end() || at->second.ok()) return "";
    CHECK(at->second.error().code == Code::unavailable);
    return at->second.error().message;
  }
  float score(const std::string& name) {
    auto at = answers.find(name);
    REQUIRE(at != answers.end());
    REQUIRE(at->second.ok());
    return at->second->outputs[0].floats()[0];
  }

  TempDir dir;
  SimClock clock;
  Gate gate;
  QueueOptions options;
  Engine engine{Options{.models = dir / "models", .batch_max = 8}, std::make_unique<GatedRuntime>(gate), clock};
  Scheduler scheduler{engine, options, clock};
  std::vector<std::thread> threads;
  std::atomic<bool> first{false};
  std::mutex mutex;
  std::map<std::string, Result<Answer>> answers;
  std::vector<std::string> order;
};

}  // namespace

TEST_CASE("scheduler: a lone request on an idle model is answered on its caller's thread, without a loop") {
  Bench b;
  b.submit("lone", {.inputs = window(2)});
  CHECK(b.score("lone") == 2.0f);
  CHECK(b.scheduler.infer({.model = "toy", .inputs = window(3)})->outputs[0].floats()[0] == 3.0f);
  CHECK(b.scheduler.run_once() > Duration::zero());
  CHECK(b.engine.statistics("toy", 1).requests == 2);
}

TEST_CASE("scheduler: what waits together is answered together, each with its own rows") {
  Bench b({.queue_max = 8, .instances = 1, .together_max = 4});
  b.occupy();
  b.submit("two", {.inputs = window(2, 2)});
  b.submit("three", {.inputs = window(3)});
  b.submit("four", {.inputs = window(4)});
  b.submit("five", {.inputs = window(5)});  // does not fit any more
  CHECK(b.scheduler.waiting("toy") == 4);
  CHECK(b.answers.empty());
  b.finish();
  CHECK(b.first);
  CHECK(b.gate.rows() == std::vector<int64_t>{1, 4, 1});
  CHECK(b.answers.at("two")->outputs[0].shape == std::vector<int64_t>{2, 3});
  CHECK(b.answers.at("two")->outputs[0].floats() == std::vector<float>{2, 4, 6, 2, 4, 6});
  CHECK(b.score("three") == 3.0f);
  CHECK(b.score("four") == 4.0f);
  CHECK(b.score("five") == 5.0f);
  EngineStatistics s = b.engine.statistics("toy", 1);
  CHECK(s.requests == 5);
  CHECK(s.rows == 6);
  CHECK(s.executions == 3);
  CHECK(s.batches.at(4).executions == 1);
}

TEST_CASE("scheduler: a request that the model can't answer does not touch those beside it") {
  Bench b({.queue_max = 8, .instances = 1}, "nan-above 100");
  b.occupy();
  b.submit("good", {.inputs = window(1)});
  b.submit("bad", {.inputs = window(1000)});
  b.submit("good too", {.inputs = window(2)});
  b.finish();
  CHECK(b.score("good") == 1.0f);
  CHECK(b.score("good too") == 2.0f);
  REQUIRE_FALSE(b.answers.at("bad").ok());
  CHECK(b.answers.at("bad").error().code == Code::internal);
  CHECK(b.engine.statistics("toy", 1).model_failures == 1);
}

TEST_CASE("scheduler: a full queue refuses, and what is more urgent takes the last place") {
  Bench b({.queue_max = 2, .instances = 1, .together_max = 1});
  b.occupy();
  b.submit("a", {.inputs = window(1)});
  b.submit("b", {.inputs = window(2)});
  b.submit("c", {.inputs = window(3)});
  CHECK_THAT(b.refusal("c"), Contains("2 requests wait for model 'toy' already") && Contains("try again"));
  b.submit("urgent", {.inputs = window(4), .priority = 1});
  CHECK_THAT(b.refusal("b"), Contains("wait for model 'toy'"));
  b.finish();
  CHECK(b.order == std::vector<std::string>{"c", "b", "urgent", "a"});
  CHECK(b.score("urgent") == 4.0f);
  CHECK(b.score("a") == 1.0f);
  CHECK(b.engine.statistics("toy", 1).rejected == 2);
}

TEST_CASE("scheduler: a request is answered within its time or refused") {
  Bench b({.queue_max = 8, .instances = 1, .together_max = 1, .timeout = 5s});
  b.occupy();
  b.submit("patient", {.inputs = window(1), .timeout = 60s});
  b.submit("hasty", {.inputs = window(2), .timeout = 20ms});
  b.submit("usual", {.inputs = window(3)});
  CHECK(b.scheduler.expire() <= 21ms);
  b.clock.advance(21ms);
  b.scheduler.expire();
  CHECK_THAT(b.refusal("hasty"), Contains("20 ms") && Contains("before its turn"));
  CHECK(b.answers.size() == 1);
  b.clock.advance(5s);  // "usual" is late now, and nobody has looked
  b.finish();
  CHECK_THAT(b.refusal("usual"), Contains("5000 ms"));
  CHECK(b.score("patient") == 1.0f);
  CHECK(b.gate.rows().size() == 2);  // the late ones were not run
  CHECK_FALSE(b.first);              // its answer came after its time
}

TEST_CASE("scheduler: with a batch delay, requests wait for each other, but not longer than that") {
  Bench b({.queue_max = 8, .instances = 1, .together_max = 3, .batch_delay = 10ms});
  b.submit("a", {.inputs = window(1)});
  CHECK(b.scheduler.run_once() == 10ms);
  b.clock.advance(4ms);
  b.submit("b", {.inputs = window(2)});
  CHECK(b.scheduler.run_once() == 6ms);
  b.clock.advance(6ms);
  CHECK(b.scheduler.run_once() == Duration::zero());
  CHECK(b.gate.rows() == std::vector<int64_t>{2});
  for (int i = 0; i < 3; ++i) b.submit("full " + std::to_string(i), {.inputs = window(1)});
  CHECK(b.scheduler.run_once() == Duration::zero());  // enough rows: no delay
  CHECK(b.answers.size() == 5);
}

TEST_CASE("scheduler: whoever waits when a version is swapped is answered by the version that it met") {
  Bench b({.queue_max = 8, .instances = 1});
  b.occupy();
  b.submit("old", {.inputs = window(1)});
  b.gate.open();  // the warm-up of the next version passes the same gate
  b.gate.wait_entered(1);
  b.serve(2, "linear 10");
  REQUIRE(b.engine.unload("toy", 1).ok());
  b.submit("new", {.inputs = window(1)});
  b.finish();
  CHECK(b.score("old") == 1.0f);
  CHECK(b.answers.at("old")->version == 1);
  CHECK(b.score("new") == 10.0f);
  CHECK(b.answers.at("new")->version == 2);
}

TEST_CASE("scheduler: where a version on trial fails, the serving one answers, alone and among others") {
  Bench b({.queue_max = 8, .instances = 1});
  test::make_package(b.dir.path() / "models" / "toy" / "2", test::small_info(2), "nan-above 100");
  REQUIRE(b.engine.load("toy", 2).ok());
  REQUIRE(b.engine.set_trial("toy", Trial{.version = 2, .share = 1}).ok());
  b.submit("alone", {.inputs = window(1000)});
  CHECK(b.score("alone") == 1000.0f);
  CHECK(b.answers.at("alone")->version == 1);
  b.gate.forget();
  b.occupy();
  b.submit("good", {.inputs = window(1)});
  b.submit("bad", {.inputs = window(1000)});
  b.finish();
  CHECK(b.answers.at("good")->version == 2);
  CHECK(b.answers.at("bad")->version == 1);
  CHECK(b.score("bad") == 1000.0f);
  CHECK(b.engine.statistics("toy", 2).model_failures == 2);
}

TEST_CASE("scheduler: what is wrong with a request is said at once, also while the model is busy") {
  Bench b;
  b.occupy();
  b.submit("bad", {.inputs = {Tensor::fp32("input", {1, 2, 5}, std::vector<float>(10))}});
  REQUIRE(b.answers.count("bad") == 1);
  CHECK(b.answers.at("bad").error().code == Code::invalid);
  CHECK_FALSE(b.scheduler.infer({.model = "none", .inputs = window(1)}).ok());
}

TEST_CASE("scheduler: at the end, everything that waits is refused, and whatever comes later") {
  Bench b;
  b.occupy();
  b.submit("waits", {.inputs = window(1)});
  b.scheduler.stop();
  CHECK_THAT(b.refusal("waits"), Contains("stopping"));
  b.submit("late", {.inputs = window(1)});
  CHECK_THAT(b.refusal("late"), Contains("stopping"));
}

TEST_CASE("scheduler: callers that block answer each other without any loop, and no request fails while versions are swapped") {
  TempDir dir;
  Options options{.models = dir / "models"};
  Engine engine(options, std::make_unique<test::FakeRuntime>(), system_clock());
  for (uint32_t v : {1u, 2u}) {
    test::make_package(dir.path() / "models" / "toy" / std::to_string(v), test::small_info(v), v == 1 ? "linear 1" : "linear 2");
  }
  REQUIRE(engine.load("toy", 1).ok());
  REQUIRE(engine.serve("toy", 1).ok());
  Scheduler scheduler(engine, {.queue_max = 64, .instances = 1}, system_clock());
  std::atomic<bool> stop{false};
  std::atomic<int> answered{0}, wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&, t] {
      while (!stop) {
        const auto value = static_cast<float>(t + 1);
        auto answer = scheduler.infer({.model = "toy", .inputs = window(value)});
        const bool right = answer.ok() && answer->outputs[0].floats()[0] == value * static_cast<float>(answer->version);
        wrong += right ? 0 : 1;
        answered += 1;
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    const uint32_t next = i % 2 == 0 ? 2 : 1;
    REQUIRE(engine.load("toy", next).ok());
    REQUIRE(engine.serve("toy", next).ok());
    const int before = answered;
    while (answered < before + 20) std::this_thread::yield();
    REQUIRE(engine.unload("toy", 3 - next).ok());
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
  CHECK(test::FakeSession::alive() == 1);
}

}  // namespace skerry::inference
