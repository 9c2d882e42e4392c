// Power cuts: what was acknowledged stays, what the hub was shown stays, and nothing is counted twice.
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "storage/sample_block.h"
#include "storage/store.h"
#include "tests/storage/machine.h"
#include "tests/storage/make.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;

namespace {

std::vector<StreamRule> rules() {
  return {{"slow*", Durability::interval, true}, {"loose*", Durability::os, true}, {"*", Durability::batch, true}};
}

struct Cuttable : Machine {
  Cuttable() : Machine(rules(), 64 << 10) {}
};

Effect batch_of(Batch batch) {
  Effect effect;
  effect.batches.push_back(std::move(batch));
  return effect;
}

// The hub: what it was shown, and that it is never shown something else under the same number.
struct Hub {
  std::map<uint64_t, std::string> seen;
  uint64_t acked = 0;

  void pull(Store& store, uint64_t bytes) {
    auto items = store.outbox_read(OutboxClass::telemetry, acked + 1, bytes);
    INFO((items.ok() ? "" : items.error().message));
    REQUIRE(items.ok());
    uint64_t expected = acked;
    for (const OutboxItem& item : *items) {
      REQUIRE(item.seq == ++expected);
      REQUIRE(item.records > 0);
      auto [at, fresh] = seen.emplace(item.seq, item.payload);
      REQUIRE(at->second == item.payload);
    }
  }
};

struct Truth {
  std::map<int64_t, double> acknowledged;   // records of stream "fast"
  std::map<uint64_t, int32_t> predictions;  // acknowledged: id and label (-1 none)
};

void check_truth(const Store& store, const Truth& truth) {
  auto records = truth.acknowledged.empty() ? Result<Batch>(Batch{}) : store.read({"fast", {}}, {}, 1 << 20);
  REQUIRE(records.ok());
  std::map<int64_t, double> kept;
  for (size_t i = 0; i < records->rows(); ++i) {
    REQUIRE(kept.emplace(records->times[i], records->columns[0].number(i)).second);
  }
  for (const auto& [time, value] : truth.acknowledged) REQUIRE(kept[time] == value);
  for (const auto& [id, label] : truth.predictions) {
    auto p = store.prediction(PredictionId{id});
    REQUIRE(p.ok());
    REQUIRE(p->label == label);
  }
  auto all = store.predictions("har", "", {}, 1 << 20);
  REQUIRE(all.ok());
  LiveScore recount;
  for (const Prediction& p : *all) {
    ++recount.predictions;
    recount.labelled += p.label >= 0;
    recount.correct += p.label >= 0 && p.label == p.top;
  }
  REQUIRE(store.live_score("har", 1) == recount);
}

}  // namespace

TEST_CASE("power: over hundreds of random rounds nothing acknowledged or shown to the hub is ever un-happened") {
  Cuttable m;
  Random random(Catch::rngSeed());
  Truth truth;
  Hub hub;
  int64_t time = m.clock.now_ns() - 1'000'000'000'000;
  size_t cuts = 0;
  for (int round = 0; round < 500; ++round) {
    const uint64_t what = random.below(10);
    if (what < 4) {
      std::vector<std::pair<int64_t, double>> rows;
      for (uint64_t n = 1 + random.below(100); n > 0; --n) rows.emplace_back(time += 1'000'000, random.uniform());
      Effect effect = batch_of(values("fast", rows));
      effect.predictions.push_back(prediction("har", 1, "fast", rows[0].first, 1));
      auto receipt = m.store->commit(effect);
      REQUIRE(receipt.ok());
      truth.acknowledged.insert(rows.begin(), rows.end());
      REQUIRE(truth.predictions.emplace(number(receipt->predictions[0]), -1).second);
    } else if (what == 4) {  // not durable by itself, but a part of the same sequence
      REQUIRE(m.store->commit(batch_of(values(random.chance(0.5) ? "slow" : "loose", {{time += 1'000'000, 1}}))).ok());
    } else if (what == 5 && !truth.predictions.empty()) {
      auto at = std::next(truth.predictions.begin(), static_cast<long>(random.below(truth.predictions.size())));
      Effect effect;
      effect.labels.push_back({});
      effect.labels[0].prediction = PredictionId{at->first};
      effect.labels[0].value = static_cast<int32_t>(random.below(3));
      REQUIRE(m.store->commit(effect).ok());
      at->second = effect.labels[0].value;
    } else if (what == 6) {
      hub.pull(*m.store, random.below(20'000));
    } else if (what == 7) {
      if (!hub.seen.empty()) {
        const uint64_t last = hub.seen.rbegin()->first;
        hub.acked += random.below(last - hub.acked + 1);
        REQUIRE(m.store->outbox_acknowledge(OutboxClass::telemetry, hub.acked).ok());
      }
    } else if (what == 8) {
      m.clock.advance(std::chrono::milliseconds(random.below(2000)));
      m.store->step();
    } else if (random.chance(0.6)) {
      m.power_cut();
      ++cuts;
      check_truth(*m.store, truth);
      const OutboxStatus s = m.outbox(OutboxClass::telemetry);
      REQUIRE(s.last_seq >= (hub.seen.empty() ? 0 : hub.seen.rbegin()->first));
      REQUIRE(s.acked_seq <= hub.acked);
      hub.pull(*m.store, UINT64_MAX);  // everything from the watermark on, without a hole
    }
  }
  REQUIRE(cuts > 5);
  check_truth(*m.store, truth);
  CHECK(m.store->damaged() == 0);
  // Every acknowledged record reached the hub in exactly one entry.
  hub.pull(*m.store, UINT64_MAX);
  std::map<int64_t, int> copies;
  for (const auto& [seq, payload] : hub.seen) {
    if (auto batch = decode_block({"x", {}}, payload); batch.ok()) {
      for (int64_t t : batch->times) ++copies[t];
    }
  }
  for (const auto& [t, value] : truth.acknowledged) REQUIRE(copies[t] == 1);
}

TEST_CASE("power: the interval rule loses at most what came after the last due sync") {
  Cuttable m;
  const int64_t t = m.clock.now_ns();
  for (int i = 0; i < 10; ++i) REQUIRE(m.store->commit(batch_of(values("slow", {{t + i, i}}))).ok());
  m.clock.advance(m.options.sync_interval);
  m.store->step();
  for (int i = 10; i < 15; ++i) REQUIRE(m.store->commit(batch_of(values("slow", {{t + i, i}}))).ok());
  SECTION("a power cut takes the tail only") {
    m.power_cut();
    CHECK(read_values(*m.store, "slow", {}).size() == 10);
    CHECK(m.outbox(OutboxClass::telemetry).last_seq == 10);
  }
  SECTION("a crash of the process takes nothing") {
    m.store.reset();
    m.start();
    CHECK(read_values(*m.store, "slow", {}).size() == 15);
  }
  SECTION("step says in time when it wants to be called") {
    CHECK(m.store->step() <= m.options.sync_interval);
    m.clock.advance(m.options.sync_interval);
    m.store->step();
    m.power_cut();
    CHECK(read_values(*m.store, "slow", {}).size() == 15);
  }
}

TEST_CASE("power: without a sync a power cut does take records, so these tests can fail") {
  Cuttable m;
  REQUIRE(m.store->commit(batch_of(values("loose", {{m.clock.now_ns(), 1}}))).ok());
  m.power_cut();
  CHECK(m.store->streams()->empty());
}

TEST_CASE("power: a log that was given its size ahead ends in zeros after a cut, and is read up to them") {
  Cuttable m;
  const int64_t t = m.clock.now_ns();
  for (int round = 0; round < 3; ++round) {
    REQUIRE(m.store->commit(batch_of(values("fast", {{t + round, round}}))).ok());
    REQUIRE(m.store->commit(batch_of(values("loose", {{t + round, round}}))).ok());
    m.disk.cut_power();
    m.store.reset();
    m.disk.restore_power();
    size_t ahead = 0;
    for (const auto& entry : std::filesystem::directory_iterator(m.options.path)) {
      if (entry.path().extension() != ".log" || entry.file_size() == 0) continue;
      const std::string bytes = read_file(entry.path(), 64 << 20).value();
      ahead += bytes.size() - (bytes.find_last_not_of('\0') + 1);
    }
    if (ahead == 0) WARN("this file system gives no file its size ahead");
    m.start();
    CHECK(read_values(*m.store, "fast", {}).size() == static_cast<size_t>(round) + 1);
    CHECK(m.store->damaged() == 0);
  }
}

TEST_CASE("power: what the outbox has offered stays, whatever the stream's rule") {
  Cuttable m;
  const int64_t t = m.clock.now_ns();
  for (int i = 0; i < 5; ++i) REQUIRE(m.store->commit(batch_of(values("loose", {{t + i, i}}))).ok());
  auto offered = m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX);
  REQUIRE(offered->size() == 5);
  m.power_cut();
  auto again = m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX);
  REQUIRE(again->size() == 5);
  for (size_t i = 0; i < 5; ++i) CHECK((*again)[i].payload == (*offered)[i].payload);
}

TEST_CASE("power: an acknowledgement that is lost is only asked for again") {
  Cuttable m;
  const int64_t t = m.clock.now_ns();
  for (int i = 0; i < 5; ++i) REQUIRE(m.store->commit(batch_of(values("fast", {{t + i, i}}))).ok());
  REQUIRE(m.store->outbox_acknowledge(OutboxClass::telemetry, 5).ok());
  m.power_cut();
  const OutboxStatus s = m.outbox(OutboxClass::telemetry);
  CHECK(s.last_seq == 5);
  CHECK(s.acked_seq == 0);
  CHECK(m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX)->size() == 5);
}

TEST_CASE("power: a fresh store and a new epoch survive a cut at once") {
  Cuttable m;
  const uint64_t first = m.store->identity().epoch;
  m.power_cut();
  CHECK(m.store->identity().epoch == first);
  REQUIRE(m.store->begin_epoch().ok());
  const uint64_t second = m.store->identity().epoch;
  m.power_cut();
  CHECK(m.store->identity().epoch == second);
}
