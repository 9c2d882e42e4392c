#include "inference/engine.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <thread>

#include "tests/inference/fake_runtime.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::inference {
namespace {

using skerry::test::SimClock;
using skerry::test::TempDir;
using test::FakeRuntime;
using test::FakeSession;
using test::make_package;
using test::small_info;

struct Bench {
  TempDir dir;
  SimClock clock;
  Engine engine{Options{.models = dir / "models", .batch_max = 8}, std::make_unique<FakeRuntime>(), clock};

  void package(uint32_t version, const std::string& model) { package(small_info(version), model); }
  void package(const PackageInfo& info, const std::string& model) {
    make_package(dir.path() / "models" / info.name / std::to_string(info.version), info, model);
  }
  void serve(uint32_t version, const std::string& model) {
    package(version, model);
    REQUIRE(engine.load("toy", version).ok());
    REQUIRE(engine.serve("toy", version).ok());
  }
};

Tensor window(float value, int64_t batch = 1) {
  return Tensor::fp32("input", {batch, 2, 4}, std::vector<float>(static_cast<size_t>(batch) * 8, value));
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("engine: raw windows are normalised with the package's mean and deviation") {
  Bench b;
  PackageInfo info = small_info();
  info.window.mean = {10, 20};
  info.window.deviation = {2, 4};
  b.package(info, "linear 1");
  REQUIRE(b.engine.load("toy", 1).ok());
  Tensor input = Tensor::fp32("input", {1, 2, 4}, {12, 12, 12, 12, 32, 32, 32, 32});  // (1 + 3) / 2 = 2
  auto answer = b.engine.infer("toy", 1, {input});
  REQUIRE(answer.ok());
  CHECK(answer->version == 1);
  CHECK(answer->outputs[0].name == "scores");
  CHECK(answer->outputs[0].shape == std::vector<int64_t>{1, 3});
  CHECK(answer->outputs[0].floats() == std::vector<float>{2, 4, 6});
}

TEST_CASE("engine: a wrong input is refused by name, with what was given and what is expected") {
  Bench b;
  b.serve(1, "linear 1");
  auto refused = [&](std::vector<Tensor> inputs) {
    auto answer = b.engine.infer("toy", {}, inputs);
    REQUIRE_FALSE(answer.ok());
    CHECK(answer.error().code == Code::invalid);
    CHECK(has(answer.error().message, "'input'"));
    return answer.error().message;
  };
  Tensor input = window(1);
  CHECK(has(refused({}), "not none"));
  CHECK(has(refused({input, input}), "one input"));
  input.name = "images";
  CHECK(has(refused({input}), "'images'"));

  input = window(1);
  input.type = DataType::int64;
  CHECK(has(refused({input}), "INT64, FP32 is expected"));

  for (std::vector<int64_t> shape : {std::vector<int64_t>{2, 4},
                                     {1, 2, 5},
                                     {1, 3, 4},
                                     {1, 2, 4, 1},
                                     {},
                                     {1, -2, -4},
                                     {1, 2, int64_t{1} << 62}}) {
    input = window(1);
    input.shape = shape;
    CHECK(has(refused({input}), "[-1, 2, 4] is expected"));
  }
  input = window(1);
  input.shape.assign(100'000, 1);
  CHECK(refused({input}).size() < 200);

  input = window(1);
  input.shape[0] = 0;
  CHECK(has(refused({input}), "0 windows, 1 to 8"));
  CHECK(has(refused({window(1, 9)}), "9 windows, 1 to 8"));

  input = window(1);
  input.data.pop_back();
  CHECK(has(refused({input}), "31 bytes of data, 32 are expected"));

  for (float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> values(8, 0.0f);
    values[5] = bad;
    CHECK(has(refused({Tensor::fp32("input", {1, 2, 4}, values)}), "element 5"));
  }
  auto statistics = b.engine.statistics("toy", 1);
  CHECK(statistics.requests == 18);
  CHECK(statistics.failures == 18);
  CHECK(statistics.rows == 0);
}

TEST_CASE("engine: a value that only normalisation makes infinite is the caller's mistake") {
  Bench b;
  PackageInfo info = small_info();
  info.window.deviation = {1e-20f, 1};
  b.package(info, "linear 1");
  REQUIRE(b.engine.load("toy", 1).ok());
  auto answer = b.engine.infer("toy", 1, {window(std::numeric_limits<float>::max())});
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().code == Code::invalid);
  CHECK(has(answer.error().message, "too large"));
}

TEST_CASE(
    "engine: a model that answers NaN, the wrong shape or not at all is refused and the serving one stays") {
  Bench b;
  b.serve(1, "linear 1");
  uint32_t version = 2;
  for (const char* model : {"nan", "short", "refuse"}) {
    b.package(version, model);
    Status loaded = b.engine.load("toy", version);
    INFO(model);
    REQUIRE_FALSE(loaded.ok());
    CHECK(has(loaded.error().message,
              std::string(model) == "refuse" ? "model.int8.pt" : "toy/" + std::to_string(version)));
    CHECK_FALSE(b.engine.serve("toy", version).ok());
    ++version;
  }
  CHECK(b.engine.serving("toy") == 1u);
  CHECK(b.engine.loaded().size() == 1);
  CHECK(b.engine.infer("toy", {}, {window(1)}).ok());
}

TEST_CASE("engine: NaN in one answer is an error that names model and version") {
  Bench b;
  b.serve(4, "nan-above 5");
  CHECK(b.engine.infer("toy", {}, {window(1)}).ok());
  auto answer = b.engine.infer("toy", {}, {window(6)});
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().code == Code::internal);
  CHECK(has(answer.error().message, "toy/4"));
}

TEST_CASE("engine: a damaged, misnamed or missing package is refused") {
  Bench b;
  CHECK(b.engine.load("toy", 1).error().code == Code::not_found);
  CHECK(b.engine.load("../toy", 1).error().code == Code::invalid);
  b.package(1, "linear 1");
  std::filesystem::rename(b.dir.path() / "models/toy/1", b.dir.path() / "models/toy/2");
  Status misnamed = b.engine.load("toy", 2);
  REQUIRE_FALSE(misnamed.ok());
  CHECK(has(misnamed.error().message, "calls itself toy/1"));
  std::filesystem::resize_file(b.dir.path() / "models/toy/2/model.int8.pt", 3);
  CHECK(b.engine.load("toy", 2).error().code == Code::corrupt);
}

TEST_CASE("engine: what is not there is named") {
  Bench b;
  CHECK(b.engine.infer("toy", {}, {window(1)}).error().code == Code::not_found);
  b.package(1, "linear 1");
  REQUIRE(b.engine.load("toy", 1).ok());
  CHECK(has(b.engine.infer("toy", {}, {window(1)}).error().message, "no version of 'toy' is serving"));
  CHECK(b.engine.infer("toy", 1, {window(1)}).ok());
  CHECK(has(b.engine.infer("toy", 9, {window(1)}).error().message, "toy/9 is not loaded; loaded are: 1"));
  CHECK(b.engine.serve("toy", 9).error().code == Code::not_found);
  CHECK(b.engine.serve("other", 1).error().code == Code::not_found);
  CHECK_FALSE(b.engine.serving("other").has_value());
}

TEST_CASE("engine: unloading frees the session with its last holder, and never the serving one") {
  Bench b;
  b.serve(1, "linear 1");
  b.serve(2, "linear 2");
  CHECK(b.engine.unload("toy", 2).error().code == Code::invalid);
  std::weak_ptr<Session> session;
  {
    auto held = b.engine.find("toy", 1);
    REQUIRE(held.ok());
    session = (*held)->session;
    REQUIRE(b.engine.unload("toy", 1).ok());
    CHECK_FALSE(session.expired());
    CHECK(b.engine.infer("toy", 1, {window(1)}).error().code == Code::not_found);
  }
  CHECK(session.expired());
  CHECK(b.engine.unload("toy", 1).ok());
  CHECK(b.engine.load("toy", 1).ok());  // and back again
  CHECK(b.engine.infer("toy", 1, {window(1)}).ok());
}

TEST_CASE("engine: swaps under load fail no request and leave no session behind") {
  int before = FakeSession::alive();
  {
    Bench b;
    b.serve(1, "linear 1");
    for (uint32_t version = 2; version <= 31; ++version)
      b.package(version, fmt::format("linear {}", version));
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> answered{0}, failed{0}, mixed{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        while (!stop) {
          auto answer = b.engine.infer("toy", {}, {window(1, 2)});
          if (!answer.ok()) ++failed;
          // The scores are the version's own: an answer never mixes two versions.
          if (answer.ok() && answer->outputs[0].floats()[0] != static_cast<float>(answer->version)) ++mixed;
          ++answered;
        }
      });
    }
    for (uint32_t version = 2; version <= 31; ++version) {
      while (answered < version * 20) std::this_thread::yield();
      CHECK(b.engine.load("toy", version).ok());
      CHECK(b.engine.serve("toy", version).ok());
      CHECK(b.engine.unload("toy", version - 1).ok());
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 0);
    CHECK(mixed == 0);
    CHECK(FakeSession::alive() == before + 1);
    uint64_t counted = 0;
    for (uint32_t version = 1; version <= 31; ++version)
      counted += b.engine.statistics("toy", version).requests;
    CHECK(counted == answered);
  }
  CHECK(FakeSession::alive() == before);
}

TEST_CASE("engine: statistics count requests, rows and time per version") {
  Bench b;
  b.serve(1, "linear 1");
  REQUIRE(b.engine.infer("toy", {}, {window(1, 3)}).ok());
  REQUIRE(b.engine.infer("toy", {}, {window(1, 2)}).ok());
  auto statistics = b.engine.statistics("toy", 1);
  CHECK(statistics.requests == 2);
  CHECK(statistics.rows == 5);
  CHECK(statistics.failures == 0);
  CHECK(statistics.last_ns == b.clock.now_ns());
  CHECK(b.engine.statistics("toy", 2).requests == 0);
  CHECK(b.engine.statistics("none", 1).requests == 0);
}

}  // namespace skerry::inference
