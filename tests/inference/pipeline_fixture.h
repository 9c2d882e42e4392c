// A store, an engine of the fake runtime and pipelines on a simulated clock and a disk that can fail, and records to feed them with.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "inference/pipeline.h"
#include "tests/inference/fake_runtime.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::inference::test {

using skerry::test::FaultFs;
using skerry::test::SimClock;
using skerry::test::TempDir;

inline constexpr int64_t kPeriod = 10'000'000;
inline constexpr int64_t kStart = 1'763'000'000'000'000'000;

inline Batch records(const std::string& series, std::vector<int64_t> times, double value = 1) {
  Batch batch;
  batch.series = *Series::parse(series);
  batch.columns = {{"x", std::vector<double>(times.size(), value), {}},
                   {"y", std::vector<double>(times.size(), value), {}}};
  batch.times = std::move(times);
  return batch;
}

inline std::vector<int64_t> regular(size_t from, size_t count) {
  std::vector<int64_t> times;
  for (size_t i = 0; i < count; ++i) times.push_back(kStart + static_cast<int64_t>(from + i) * kPeriod);
  return times;
}

struct Gateway {
  TempDir dir;
  SimClock clock;
  FaultFs disk;
  storage::Options storage;
  std::unique_ptr<storage::Store> store;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Pipelines> pipelines;

  explicit Gateway(const std::string& model = "linear 1", const PackageInfo& info = small_info()) {
    engine =
        std::make_unique<Engine>(Options{.models = dir / "models"}, std::make_unique<FakeRuntime>(), clock);
    serve(info, model);
    open();
  }
  void open() {
    pipelines.reset();
    store.reset();
    storage.path = dir / "store";
    storage.file_system = disk.file_system();
    auto opened = storage::Store::open(storage, clock);
    REQUIRE(opened.ok());
    store = std::move(*opened);
    pipelines = std::make_unique<Pipelines>(*engine, *store, clock);
  }
  void serve(const PackageInfo& info, const std::string& model) {
    make_package(dir.path() / "models" / info.name / std::to_string(info.version), info, model);
    REQUIRE(engine->load(info.name, info.version).ok());
    REQUIRE(engine->serve(info.name, info.version).ok());
  }
  void write(Batch batch, storage::Durability durability = storage::Durability::os) {
    storage::Effect effect;
    effect.batches.push_back(std::move(batch));
    effect.durability = durability;
    auto committed = store->commit(effect);
    INFO((committed.ok() ? "" : committed.error().message));
    REQUIRE(committed.ok());
  }
  void settle() {
    for (int i = 0; i < 10'000; ++i) {
      if (pipelines->step() > Duration{0}) return;
    }
    FAIL("the pipelines never come to rest");
  }
  std::vector<storage::Prediction> ledger(const std::string& series = "imu") {  // oldest window first
    auto found = store->predictions("toy", series, {}, 100'000);
    REQUIRE(found.ok());
    std::sort(found->begin(), found->end(),
              [](const auto& a, const auto& b) { return a.window.from_ns < b.window.from_ns; });
    return *found;
  }
};

inline std::vector<storage::TimeRange> ranges(const std::vector<storage::Prediction>& predictions) {
  std::vector<storage::TimeRange> out;
  for (const auto& p : predictions) out.push_back(p.window);
  return out;
}

}  // namespace skerry::inference::test
