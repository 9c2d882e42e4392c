// Many threads at once. Also meant to be run under ThreadSanitizer.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <thread>

#include "base/random.h"
#include "storage/sample_block.h"
#include "storage/store.h"
#include "tests/storage/make.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;
using skerry::test::FaultFs;
using skerry::test::SimClock;
using skerry::test::TempDir;

namespace {

constexpr OutboxClass kTelemetry = OutboxClass::telemetry;

// Every record of the outbox: time and how often.
std::map<int64_t, int> times_in_outbox(Store& store) {
  std::map<int64_t, int> out;
  auto items = store.outbox_read(kTelemetry, 1, UINT64_MAX);
  REQUIRE(items.ok());
  for (size_t i = 0; i < items->size(); ++i) {
    REQUIRE((*items)[i].seq == i + 1);
    if ((*items)[i].kind != EntryKind::samples) continue;
    auto batch = decode_block({"x", {}}, (*items)[i].payload);
    REQUIRE(batch.ok());
    for (int64_t time : batch->times) ++out[time];
  }
  return out;
}

}  // namespace

TEST_CASE("concurrency: commits from eight threads are each there once, with a sequence without holes") {
  TempDir folder;
  SimClock clock;
  FaultFs disk;
  Options options;
  options.path = folder / "store";
  options.file_system = disk.file_system();
  options.streams = {{"*", Durability::batch, true}};
  auto store = Store::open(options, clock).value();
  constexpr int kThreads = 8, kCommits = 40;
  const int64_t t = clock.now_ns();
  std::atomic<int> failed{0};
  std::atomic<bool> done{false};
  std::thread reader([&] {  // what others do meanwhile
    while (!done) {
      store->step();
      const auto streams = store->streams();
      for (const StreamInfo& info : *streams) {
        if (!store->read(info.series, {}, 100).ok()) ++failed;
      }
      uint64_t last = 0;
      for (const OutboxStatus& s : store->outbox_status()) last = std::max(last, s.last_seq);
      auto items = store->outbox_read(kTelemetry, 1, 10'000);
      if (!items.ok() || (last > 0 && items->empty())) ++failed;
      store->live_score("har", 1);
      (void)store->trouble();
      (void)store->disk_bytes();
    }
  });
  std::vector<std::thread> writers;
  for (int w = 0; w < kThreads; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kCommits; ++i) {
        Effect effect;
        effect.batches.push_back(values("m" + std::to_string(w % 3), {{t + w * 1000 + i, 1.0 * i}}));
        effect.predictions.push_back(prediction("har", 1, "m0", t, 1));
        if (!store->commit(effect).ok()) ++failed;
      }
    });
  }
  for (std::thread& w : writers) w.join();
  done = true;
  reader.join();
  CHECK(failed == 0);
  CHECK(store->live_score("har", 1).predictions == kThreads * kCommits);
  const auto copies = times_in_outbox(*store);
  CHECK(copies.size() == kThreads * kCommits);
  for (const auto& [time, n] : copies) CHECK(n == 1);
  CHECK(disk.counts().syncs <= 3 * kThreads * kCommits);
}

TEST_CASE("concurrency: writers that share rounds on a real clock have outcomes of their own, also those that are refused") {
  TempDir folder;
  Options options;
  options.path = folder / "store";
  options.streams = {{"*", Durability::batch, true}};
  auto store = Store::open(options, system_clock()).value();
  constexpr int kThreads = 8, kCommits = 60;
  const int64_t t = system_clock().now_ns() - 3'600'000'000'000;
  std::atomic<int> wrong{0};
  std::vector<std::vector<uint64_t>> ids(kThreads);
  std::vector<std::thread> writers;
  for (int w = 0; w < kThreads; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kCommits; ++i) {
        Effect effect;
        effect.batches.push_back(values("m" + std::to_string(w), {{t + i, 1.0 * i}}));
        effect.predictions.push_back(prediction("har", 1, "m0", t, 1));
        const bool refused = (i + w) % 5 == 0;
        if (refused) {  // known only once it meets the store's state
          effect.labels.push_back({});
          effect.labels[0].prediction = PredictionId{1'000'000};
          effect.labels[0].value = 1;
        }
        auto receipt = store->commit(effect);
        if (receipt.ok() == refused || (refused && receipt.error().code != Code::not_found)) ++wrong;
        if (receipt.ok()) ids[static_cast<size_t>(w)].push_back(number(receipt->predictions.at(0)));
      }
    });
  }
  for (std::thread& w : writers) w.join();
  CHECK(wrong == 0);
  std::map<uint64_t, int> given;
  for (const auto& of_writer : ids) {
    for (uint64_t id : of_writer) ++given[id];
  }
  CHECK(given.size() == kThreads * kCommits * 4 / 5);
  CHECK(given.rbegin()->first == given.size());
  CHECK(times_in_outbox(*store).size() == kCommits);
  CHECK(store->live_score("har", 1).predictions == given.size());
}

// RocksDB 7.8 aborts when it syncs a log after an append to it has failed, which here happens at any moment: see internal/log_files.h.
TEST_CASE("concurrency: a disk that fills up while some write and others wait for the log to be synced takes nothing that was acknowledged") {
  TempDir folder;
  SimClock clock;
  FaultFs disk;
  Options options;
  options.path = folder / "store";
  options.file_system = disk.file_system();
  options.write_buffer_bytes = 64 << 10;
  options.streams = {{"safe*", Durability::batch, true}, {"*", Durability::os, true}};
  auto store = Store::open(options, clock).value();
  constexpr int kWriters = 6, kOutages = 25, kRowsMax = 1 << 24;
  const int64_t t = clock.now_ns() - 3'600'000'000'000;
  std::atomic<int> refused{0}, wrong{0};
  std::atomic<bool> done{false};
  std::vector<std::vector<int64_t>> kept(kWriters);
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      const std::string name = fmt::format("{}{}", w % 2 == 0 ? "safe" : "quick", w);
      for (int64_t i = 0; !done; ++i) {
        Effect effect;
        effect.batches.push_back(values(name, {{t + i, 0.5}}));
        const auto receipt = store->commit(effect);
        if (receipt.ok()) {
          kept[static_cast<size_t>(w)].push_back(t + i);
        } else {
          ++refused;
          if (receipt.error().code != Code::exhausted && receipt.error().code != Code::unavailable) ++wrong;
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      }
    });
  }
  threads.emplace_back([&] {  // reading the outbox waits for a sync too
    while (!done) (void)store->outbox_read(kTelemetry, 0, 1000);
  });
  Random random(3);
  for (int outage = 0; outage < kOutages; ++outage) {
    const int before = refused;
    disk.set_space_left(random.below(4000));
    for (int i = 0; i < 10'000 && refused == before; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    disk.lift_space();
    for (int i = 0; i < 10'000; ++i) {
      clock.advance(std::chrono::seconds(2));
      store->step();
      if (!store->trouble()) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(refused >= kOutages);
  disk.cut_power();
  store.reset();
  disk.restore_power();
  store = Store::open(options, clock).value();
  for (int w = 0; w < kWriters; w += 2) {
    const auto back = store->read({fmt::format("safe{}", w), {}}, {}, kRowsMax);
    REQUIRE(back.ok());
    for (int64_t time : kept[static_cast<size_t>(w)]) REQUIRE(std::binary_search(back->times.begin(), back->times.end(), time));
  }
  CHECK(store->damaged() == 0);
}
