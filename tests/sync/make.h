// Messages, batches and a node for the tests of this room.
#pragma once

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "storage/sample_block.h"
#include "storage/store.h"
#include "sync/syncer.h"
#include "tests/support/fake_cloud.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::sync::test {

using storage::OutboxClass;

inline skerry::Batch samples(const std::string& series, int64_t from_ns, size_t rows) {
  skerry::Batch batch;
  batch.series = *Series::parse(series);
  std::vector<double> values;
  for (size_t i = 0; i < rows; ++i) {
    batch.times.push_back(from_ns + static_cast<int64_t>(i) * 1'000'000);
    values.push_back(static_cast<double>(i) / 8);
  }
  batch.columns.push_back({"v", std::move(values), {}});
  return batch;
}

inline storage::OutboxItem item(uint64_t seq, const std::string& series = "imu{device=a}", size_t rows = 3) {
  const skerry::Batch batch = samples(series, 1'764'000'000'000'000'000 + static_cast<int64_t>(seq) * 1'000'000'000, rows);
  return {seq, storage::EntryKind::samples, series, storage::encode_block(batch), static_cast<uint32_t>(rows), 1'764'000'000'000'000'000};
}

inline sync::Batch batch_of(uint64_t first, uint64_t last, const std::string& node = "pump-1", uint64_t epoch = 7) {
  sync::Batch batch{node, epoch, OutboxClass::telemetry, {}};
  for (uint64_t seq = first; seq <= last; ++seq) batch.entries.push_back(item(seq));
  return batch;
}

inline sync::Hello hello_of(uint64_t first, uint64_t last, const std::string& node = "pump-1", uint64_t epoch = 7) {
  return {.node = node, .epoch = epoch, .positions = {{OutboxClass::telemetry, first, last}}, .software = "test"};
}

inline uint64_t watermark(const HelloReply& reply, OutboxClass outbox_class = OutboxClass::telemetry) {
  for (const Watermark& w : reply.watermarks) {
    if (w.outbox_class == outbox_class) return w.seq;
  }
  FAIL("the reply has no watermark of the class");
  return 0;
}

// One batch there and its answer back.
inline Result<BatchReply> deliver(Uplink& uplink, const sync::Batch& batch) {
  static uint64_t tickets = 1'000'000;
  const uint64_t ticket = ++tickets;
  (void)uplink.begin(ticket, batch, Lane::bulk);
  for (;;) {
    auto answers = uplink.answers(std::chrono::seconds(1));
    REQUIRE(answers.size() <= 1);
    if (answers.empty()) continue;
    REQUIRE(answers.front().ticket == ticket);
    return answers.front().reply;
  }
}

// A store and its syncer, in simulated time.
struct Node {
  skerry::test::SimClock& clock;
  skerry::test::FakeCloud& cloud;
  skerry::test::TempDir dir;
  std::shared_ptr<rocksdb::FileSystem> disk = skerry::test::hasty_file_system();
  sync::Options options;
  std::vector<storage::OutboxRule> outbox_rules;
  Duration acked_grace{0};
  std::function<LinkFacts(const BearerPolicy&)> link;
  std::function<DeviceFacts()> device;
  std::unique_ptr<storage::Store> store;
  std::unique_ptr<Syncer> syncer;
  uint64_t seed = 1;
  int64_t next_ns = 0;
  std::set<std::string> committed;  // records that the store acknowledged

  Node(skerry::test::SimClock& c, skerry::test::FakeCloud& f, sync::Options o = {}) : clock(c), cloud(f), options(o) {
    next_ns = clock.now_ns();
    start();
  }

  void start() {
    storage::Options store_options;
    store_options.path = dir / "store";
    store_options.node = "pump-1";
    store_options.streams = {{.name = "*", .durability = storage::Durability::os, .sync = true}};
    store_options.outbox = outbox_rules;
    store_options.acked_grace = acked_grace;
    store_options.file_system = disk;
    auto opened = storage::Store::open(store_options, clock);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    store = std::move(*opened);
    connect();
  }
  void connect() {
    syncer.reset();
    syncer = std::make_unique<Syncer>(*store, cloud.uplink(), options, clock, seed++,
                                      Environment{.describe = [] { return std::vector<std::string>{"har/3 serving"}; }, .link = link, .device = device});
  }
  void stop() {
    syncer.reset();
    store.reset();
  }
  void restart() {
    stop();
    start();
  }

  void ingest(size_t rows, const std::string& series = "imu{device=a}") {
    storage::Effect effect;
    effect.batches.push_back(samples(series, next_ns, rows));
    for (int64_t time : effect.batches[0].times) committed.insert(series + "@" + std::to_string(time));
    next_ns += static_cast<int64_t>(rows) * 1'000'000;
    clock.advance(std::chrono::milliseconds(rows));
    auto done = store->commit(effect);
    INFO((done.ok() ? "" : done.error().message));
    REQUIRE(done.ok());
  }
  void queue(OutboxClass outbox_class, const std::string& subject, const std::string& payload = "payload") {
    storage::Effect effect;
    effect.outbox.push_back({outbox_class, storage::EntryKind::model_event, subject, payload});
    committed.insert("model_event " + subject);
    REQUIRE(store->commit(effect).ok());
  }

  uint64_t waiting() const {
    uint64_t entries = 0;
    for (const auto& s : store->outbox_status()) entries += s.last_seq - s.acked_seq;
    return entries;
  }
  uint64_t acked(OutboxClass outbox_class = OutboxClass::telemetry) const {
    for (const auto& s : store->outbox_status()) {
      if (s.outbox_class == outbox_class) return s.acked_seq;
    }
    return 0;
  }

  // What is acknowledged leaves the disk.
  void trim() {
    for (int i = 0; i < 10; ++i) clock.advance(store->step());
  }

  // Lets simulated time pass until nothing waits. False when the time was not enough.
  bool run_until_quiet(Duration at_most = std::chrono::hours(1)) {
    const SteadyTime end = clock.steady() + at_most;
    for (int steps = 0; waiting() > 0; ++steps) {
      if (clock.steady() > end || steps > 100'000) return false;
      clock.advance(syncer->step());
    }
    return true;
  }
  void run_for(Duration time) {
    const SteadyTime end = clock.steady() + time;
    for (int steps = 0; clock.steady() < end && steps < 100'000; ++steps) clock.advance(std::min(syncer->step(), end - clock.steady()));
  }
};

}  // namespace skerry::sync::test
