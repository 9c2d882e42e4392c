// What waits longer, or takes more room, than its class allows: what goes, what is told to the hub, what the ledger says.
#include <catch2/catch.hpp>

#include "storage/fsck.h"
#include "storage/internal/database.h"
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
namespace in = skerry::storage::internal;

namespace {

struct Node {
  TempDir folder;
  SimClock clock;
  FaultFs disk;
  Options options;
  std::unique_ptr<Store> store;

  explicit Node(std::vector<OutboxRule> rules) {
    options.path = folder / "store";
    options.file_system = disk.file_system();
    options.outbox = std::move(rules);
    open();
  }
  void open() {
    store.reset();
    auto opened = Store::open(options, clock);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    store = std::move(*opened);
  }
  void power_cut() {
    disk.cut_power();
    store.reset();
    disk.restore_power();
    open();
  }
  void step(Duration by = std::chrono::seconds(2)) {
    clock.advance(by);
    store->step();
    store->step();
  }
  void queue(OutboxClass c, size_t count, size_t bytes = 100) {
    for (size_t i = 0; i < count; ++i) {
      Effect effect;
      effect.outbox.push_back({c, EntryKind::model_event, "s", std::string(bytes, 'x')});
      REQUIRE(store->commit(effect).ok());
    }
  }
  std::vector<OutboxItem> read(OutboxClass c, uint64_t from = 0) {
    auto items = store->outbox_read(c, from, UINT64_MAX);
    INFO((items.ok() ? "" : items.error().message));
    REQUIRE(items.ok());
    return *items;
  }
  OutboxStatus status(OutboxClass c) const {
    for (const OutboxStatus& s : store->outbox_status()) {
      if (s.outbox_class == c) return s;
    }
    return {};
  }
  std::vector<Loss> losses(OutboxClass c) const {
    std::vector<Loss> out;
    for (const Loss& loss : store->losses()) {
      if (loss.outbox_class == c) out.push_back(loss);
    }
    return out;
  }
};

// Every number once, in order, from the first that is offered.
void check_whole(const std::vector<OutboxItem>& items, uint64_t from, uint64_t to) {
  uint64_t next = from;
  for (const OutboxItem& item : items) {
    CHECK(item.seq == next);
    next = item.end_seq() + 1;
  }
  CHECK(next == to + 1);
}

constexpr OutboxClass kClass = OutboxClass::diagnostics;

}  // namespace

TEST_CASE("outbox: what has waited too long goes, is told as one lost item and counted by class, and the sequence stays whole") {
  Node n({{kClass, std::chrono::hours(1), 0}});
  n.queue(kClass, 5);
  n.queue(OutboxClass::alarm, 3);
  n.clock.advance(std::chrono::minutes(40));
  n.queue(kClass, 4);
  n.step(std::chrono::minutes(30));

  auto items = n.read(kClass);
  check_whole(items, 1, 9);
  REQUIRE(items.size() == 5);
  CHECK(items[0].kind == EntryKind::lost);
  CHECK(items[0].last_seq == 5);
  CHECK(items[0].records == 5);
  CHECK(items[0].reason == LossReason::expired);
  CHECK(items[0].payload.empty());
  CHECK(items[1].payload == std::string(100, 'x'));
  CHECK(n.status(kClass).entries == 4);
  CHECK(n.status(kClass).bytes == 400);
  CHECK(n.status(kClass).acked_seq == 0);
  REQUIRE(n.losses(kClass).size() == 1);
  CHECK(n.losses(kClass)[0].entries == 5);
  CHECK(n.losses(kClass)[0].unsent == 5);
  CHECK(n.losses(kClass)[0].reason == LossReason::expired);
  CHECK(n.losses(kClass)[0].series.empty());
  CHECK(n.status(OutboxClass::alarm).entries == 3);  // has no rule

  n.step(std::chrono::hours(2));  // the others too: one stretch, told from within as well
  items = n.read(kClass, 7);
  REQUIRE(items.size() == 1);
  CHECK(items[0].seq == 7);
  CHECK(items[0].last_seq == 9);
  CHECK(n.status(kClass).entries == 0);
  CHECK(n.status(kClass).bytes == 0);
  CHECK(n.status(kClass).oldest_ns == 0);
  CHECK(n.losses(kClass)[0].entries == 9);
  n.queue(kClass, 1);
  CHECK(n.status(kClass).oldest_ns == n.clock.now_ns());
  check_whole(n.read(kClass), 1, 10);
  CHECK(n.store->damaged() == 0);
}

TEST_CASE("outbox: over its quota the oldest of a class go until the rest fits, and a power cut changes nothing of what was told") {
  Node n({{kClass, {}, 1000}});
  n.queue(kClass, 8);
  n.step();
  CHECK(n.status(kClass).entries == 8);
  n.queue(kClass, 17);
  n.step();
  CHECK(n.status(kClass).bytes == 1000);
  const auto told = n.read(kClass);
  check_whole(told, 1, 25);
  CHECK(told.front().last_seq == 15);
  CHECK(told.front().reason == LossReason::quota);
  for (int round = 0; round < 2; ++round) {
    const auto again = n.read(kClass);
    REQUIRE(again.size() == told.size());
    CHECK(again.front().last_seq == 15);
    CHECK(again.front().records == 15);
    CHECK(n.status(kClass).bytes == 1000);
    CHECK(n.status(kClass).entries == 10);
    CHECK(n.losses(kClass).at(0).entries == 15);
    n.power_cut();
  }
  CHECK(n.store->damaged() == 0);
}

TEST_CASE("outbox: the hub acknowledges what was lost as it does the rest") {
  Node n({{kClass, {}, 1000}});
  n.options.acked_grace = std::chrono::minutes(5);
  n.open();
  n.queue(kClass, 25);
  n.step();
  REQUIRE(n.store->outbox_acknowledge(kClass, 7).ok());  // amid the stretch: it had some before they were dropped
  CHECK(n.status(kClass).entries == 10);
  CHECK(n.status(kClass).bytes == 1000);
  check_whole(n.read(kClass, 8), 8, 25);
  REQUIRE(n.store->outbox_acknowledge(kClass, 20).ok());
  CHECK(n.status(kClass).entries == 5);
  CHECK(n.status(kClass).bytes == 500);
  n.queue(kClass, 20);
  n.step();
  CHECK(n.status(kClass).bytes == 1000);
  check_whole(n.read(kClass, 21), 21, 45);
  check_whole(n.read(kClass, 1), 1, 45);  // the grace is not over
  n.step(std::chrono::minutes(6));
  CHECK(!n.store->outbox_read(kClass, 20, 1).ok());
  check_whole(n.read(kClass, 21), 21, 45);
  REQUIRE(n.store->outbox_acknowledge(kClass, 45).ok());
  n.step(std::chrono::minutes(6));
  n.open();
  CHECK(n.read(kClass).empty());
  CHECK(n.status(kClass).entries == 0);
  CHECK(n.losses(kClass).at(0).entries == 15 + 15);
  CHECK(n.store->damaged() == 0);
}

TEST_CASE("outbox: reasons that alternate make few stretches") {
  Node n({{kClass, std::chrono::hours(1), 1000}});
  for (int i = 0; i < 40; ++i) {
    n.queue(kClass, 12);
    n.step();  // two over the quota
    n.step(std::chrono::hours(2));
  }
  const auto items = n.read(kClass);
  check_whole(items, 1, 480);
  CHECK(items.size() <= 16);
  uint64_t records = 0, entries = 0;
  for (const OutboxItem& item : items) records += item.records;
  for (const Loss& loss : n.losses(kClass)) entries += loss.entries;
  CHECK(records == 480);
  CHECK(entries == 480);
  n.open();
  check_whole(n.read(kClass), 1, 480);
}

TEST_CASE("outbox: records that the hub will not get stay in their stream, and count as settled for it") {
  StreamRule rule;
  rule.name = "*";
  rule.quota_bytes = 60'000;
  Node n({{OutboxClass::telemetry, std::chrono::hours(1), 0}});
  n.options.streams = {rule};
  n.open();
  Random random(7);
  int64_t time = n.clock.now_ns() - 1'000'000'000'000'000;
  const auto write = [&]() {
    std::vector<std::pair<int64_t, double>> rows;
    for (int i = 0; i < 100; ++i) rows.emplace_back(time += 1'000'000'000, random.uniform());
    Effect effect;
    effect.batches.push_back(values("a", rows));
    return n.store->commit(effect);
  };
  for (int i = 0; i < 20; ++i) REQUIRE(write().ok());
  n.step(std::chrono::hours(2));
  auto items = n.read(OutboxClass::telemetry);
  REQUIRE(items.size() == 1);
  CHECK(items[0].records == 2000);
  CHECK(n.store->read({"a", {}}, {}, 1 << 20)->rows() == 2000);
  for (int i = 0; i < 200; ++i) {
    auto receipt = write();
    INFO((receipt.ok() ? "" : receipt.error().message));
    REQUIRE(receipt.ok());
    n.step(std::chrono::hours(2));
  }
  uint64_t lost = 0;
  for (const Loss& loss : n.store->losses()) lost += loss.series == "a" ? loss.records : 0;
  CHECK(lost > 0);
  CHECK(n.store->read({"a", {}}, {}, 1 << 20)->rows() + lost == 22'000);
}

TEST_CASE("outbox: a clock that was never set ages nothing") {
  Node n({{kClass, std::chrono::hours(1), 0}});
  n.clock.jump_wall(Duration(-n.clock.now_ns()));  // 1970
  n.queue(kClass, 3);
  n.step(std::chrono::hours(5));
  CHECK(n.status(kClass).entries == 3);
  n.clock.jump_wall(Duration(1'764'000'000'000'000'000));  // the time is known at last
  n.queue(kClass, 2);
  n.step();
  CHECK(n.status(kClass).entries == 5);
}

TEST_CASE("outbox: when the note of what was dropped is lost, the sequence is whole again after a repair") {
  Node n({{kClass, {}, 1000}});
  n.queue(kClass, 40);
  n.step();
  n.store.reset();
  {
    auto db = in::Database::open(n.options);
    REQUIRE(db.ok());
    REQUIRE((**db)->Delete({}, (*db)->family(in::kMeta), in::key::outbox_dropped(kClass)).ok());
  }
  n.open();
  check_whole(n.read(kClass), 1, 40);  // as empty blocks
  CHECK(n.store->damaged() > 0);
  n.store.reset();
  FsckRequest request;
  request.repair = true;
  auto report = fsck(n.options, request);
  REQUIRE(report.ok());
  CHECK(report->repaired);
  CHECK(report->outbox_holes == 30);
  n.open();
  check_whole(n.read(kClass), 1, 40);
  CHECK(n.store->damaged() == 0);
}

TEST_CASE("outbox: a store that dropped entries is clean to fsck") {
  Node n({{kClass, {}, 1000}});
  n.queue(kClass, 40);
  n.step();
  check_whole(n.read(kClass), 1, 40);
  n.store.reset();
  auto report = fsck(n.options);
  INFO((report.ok() ? (report->damage.empty() ? "" : report->damage[0].reason) : report.error().message));
  REQUIRE(report.ok());
  CHECK(report->clean());
  n.open();
  check_whole(n.read(kClass), 1, 40);
  CHECK(n.losses(kClass).at(0).entries == 30);
}

TEST_CASE("outbox: a full class that rejects refuses the whole effect, and takes it when the hub has acknowledged") {
  Node n({{kClass, {}, 1000, OnFull::reject}});
  n.queue(kClass, 1, 5000);  // alone, however large
  REQUIRE(n.store->outbox_acknowledge(kClass, 1).ok());
  n.queue(kClass, 10);
  Effect effect;
  effect.batches.push_back(values("m", {{n.clock.now_ns(), 1}}));
  effect.outbox.push_back({OutboxClass::alarm, EntryKind::model_event, "s", "of another class"});
  effect.outbox.push_back({kClass, EntryKind::model_event, "s", "x"});
  for (int i = 0; i < 2; ++i) {
    auto refused = n.store->commit(effect);
    REQUIRE(!refused.ok());
    CHECK(refused.error().code == Code::exhausted);
    CHECK(refused.error().message.find("1000 of 1000 bytes of class diagnostics") != std::string::npos);
    CHECK(n.store->read({"m", {}}, {}, 10).error().code == Code::not_found);
    CHECK(n.status(OutboxClass::alarm).last_seq == 0);
    CHECK(n.status(kClass).last_seq == 11);
    CHECK(!n.store->trouble());
    i == 0 ? n.open() : n.step();  // nor does a restart make room, or time
  }
  CHECK(n.losses(kClass).empty());
  check_whole(n.read(kClass, 2), 2, 11);

  REQUIRE(n.store->outbox_acknowledge(kClass, 2).ok());
  REQUIRE(n.store->commit(effect).ok());
  CHECK(n.status(kClass).last_seq == 12);
  CHECK(n.status(OutboxClass::alarm).last_seq == 1);
  CHECK(read_values(*n.store, "m", {}) == std::vector<double>{1});
}

TEST_CASE("outbox: a full class that drops what is new gives it no number, counts it, and goes on after an acknowledgement") {
  Node n({{kClass, {}, 1000, OnFull::drop_newest}});
  n.queue(kClass, 13);
  CHECK(n.status(kClass).last_seq == 10);
  CHECK(n.status(kClass).bytes == 1000);
  n.step(std::chrono::minutes(10));
  n.queue(kClass, 2);
  REQUIRE(n.losses(kClass).size() == 1);
  CHECK(n.losses(kClass)[0].reason == LossReason::full);
  CHECK(n.losses(kClass)[0].entries == 5);
  CHECK(n.losses(kClass)[0].unsent == 5);
  n.power_cut();
  CHECK(n.losses(kClass)[0].entries == 5);

  auto items = n.read(kClass);
  check_whole(items, 1, 10);
  for (const OutboxItem& item : items) CHECK(item.kind == EntryKind::model_event);
  REQUIRE(n.store->outbox_acknowledge(kClass, 4).ok());
  n.queue(kClass, 6);
  CHECK(n.status(kClass).last_seq == 14);
  CHECK(n.losses(kClass)[0].entries == 7);
  check_whole(n.read(kClass, 5), 5, 14);
}

TEST_CASE("outbox: records that a full class does not take stay in their stream, through sealing and a check") {
  Node n({{OutboxClass::telemetry, {}, 2000, OnFull::drop_newest}});
  const int64_t t = n.clock.now_ns() - 1'000'000'000;
  std::vector<double> written;
  for (int i = 0; i < 500; ++i) {
    Effect effect;
    effect.batches.push_back(values("m", {{t + i, i}}));
    REQUIRE(n.store->commit(effect)->records == 1);
    written.push_back(i);
  }
  const uint64_t queued = n.status(OutboxClass::telemetry).last_seq;
  CHECK(queued < 500);
  REQUIRE(n.losses(OutboxClass::telemetry).size() == 1);
  CHECK(n.losses(OutboxClass::telemetry)[0].records == 500 - queued);
  REQUIRE(n.store->seal().ok());
  CHECK(read_values(*n.store, "m", {}) == written);
  const auto items = n.read(OutboxClass::telemetry);
  check_whole(items, 1, queued);
  std::vector<double> sent;
  for (const OutboxItem& item : items) {
    auto batch = decode_block({item.subject, {}}, item.payload);
    REQUIRE(batch.ok());
    for (size_t i = 0; i < batch->rows(); ++i) sent.push_back(batch->columns[0].number(i));
  }
  CHECK(sent == std::vector<double>(written.begin(), written.begin() + static_cast<ptrdiff_t>(queued)));
  n.store.reset();
  auto report = fsck(n.options);
  REQUIRE(report.ok());
  CHECK(report->clean());
}
