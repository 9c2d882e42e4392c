// Streams that outgrow their rule: what goes, what stays, what is told, and that the room comes back.
#include <catch2/catch.hpp>
#include <map>

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

namespace {

constexpr int64_t kSecond = 1'000'000'000;

struct Gateway {
  TempDir folder;
  SimClock clock;
  FaultFs disk;
  Options options;
  std::unique_ptr<Store> store;
  Random random{Catch::rngSeed()};
  std::map<std::string, uint64_t> written;
  int64_t time = clock.now_ns() - 1'000'000 * kSecond;

  explicit Gateway(std::vector<StreamRule> rules, uint64_t quota_bytes = 0) {
    options.path = folder / "store";
    options.file_system = disk.file_system();
    options.write_buffer_bytes = 128 << 10;
    options.streams = std::move(rules);
    options.quota_bytes = quota_bytes;
    start();
  }
  void start() {
    auto opened = Store::open(options, clock);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    store = std::move(*opened);
    step();
  }
  void step() {
    clock.advance(std::chrono::seconds(2));
    store->step();
  }
  // A hundred records of noise, a second apart: about 800 bytes on disk, however they are packed.
  Result<Receipt> write(const std::string& series) {
    std::vector<std::pair<int64_t, double>> rows;
    for (int i = 0; i < 100; ++i) rows.emplace_back(time += kSecond, random.uniform());
    Effect effect;
    effect.batches.push_back(values(series, rows));
    auto receipt = store->commit(effect);
    if (receipt.ok()) written[series] += 100;
    return receipt;
  }
  void write_many(const std::string& series, int batches) {
    for (int i = 0; i < batches; ++i) {
      auto receipt = write(series);
      INFO((receipt.ok() ? "" : receipt.error().message));
      REQUIRE(receipt.ok());
      if (i % 20 == 19) step();
    }
    step();
  }
  OutboxStatus telemetry() const {
    for (const OutboxStatus& s : store->outbox_status()) {
      if (s.outbox_class == OutboxClass::telemetry) return s;
    }
    return {};
  }
  void acknowledge_all() {
    REQUIRE(store->outbox_acknowledge(OutboxClass::telemetry, telemetry().last_seq).ok());
    step();
  }
  uint64_t lost(const std::string& series) const {
    uint64_t sum = 0;
    for (const Loss& loss : store->losses()) sum += loss.series == series ? loss.records : 0;
    return sum;
  }
  uint64_t used() const { return store->quotas().back().bytes; }
  Batch kept(const std::string& series) const {
    auto batch = store->read({series, {}}, {}, 1 << 20);
    REQUIRE(batch.ok());
    return *batch;
  }
};

StreamRule rule(const std::string& name, uint64_t quota, OnFull on_full) {
  StreamRule out;
  out.name = name;
  out.quota_bytes = quota;
  out.on_full = on_full;
  return out;
}

}  // namespace

TEST_CASE("retention: blocks that were in tables before they were sealed give their room back at once") {
  Gateway g({});
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 40; ++i) REQUIRE(g.write("s" + std::to_string(i)).ok());
    g.step();
  }
  REQUIRE(g.store->seal().ok());
  g.store.reset();
  auto db = storage::internal::Database::open(g.options);
  REQUIRE(db.ok());
  uint64_t tables = 0;
  REQUIRE((**db)->GetIntProperty((*db)->family(storage::internal::kHead), rocksdb::DB::Properties::kLiveSstFilesSize, &tables));
  CHECK(tables <= g.options.write_buffer_bytes / 8);
}

TEST_CASE("quota: where the oldest goes, the newest stays, every record is either there or in the loss ledger, and the room comes back") {
  StreamRule oldest = rule("a", 200'000, OnFull::drop_oldest);
  oldest.sync = false;
  Gateway g({oldest});
  uint64_t disk_max = 0;
  for (int i = 0; i < 40; ++i) {
    g.write_many("a", 50);
    disk_max = std::max(disk_max, g.store->disk_bytes());
  }
  CHECK(g.used() <= 200'000);
  CHECK(g.used() > 150'000);
  // 1.6 MB went through; tables, the log and what is not merged yet take some room beside the quota.
  CHECK(disk_max < 200'000 * 5);
  const Batch kept = g.kept("a");
  CHECK(kept.times.back() == g.time);
  CHECK(kept.rows() + g.lost("a") == g.written["a"]);
  REQUIRE(g.store->losses().size() == 1);
  const Loss loss = g.store->losses()[0];
  CHECK(loss.reason == LossReason::quota);
  CHECK(loss.range.to_ns <= kept.times.front());
  CHECK(loss.unsent == 0);
  auto info = g.store->streams();
  CHECK((*info)[0].kept == kept.rows());
  CHECK((*info)[0].first_ns == kept.times.front());
  CHECK(g.store->damaged() == 0);
}

TEST_CASE("quota: what the hub does not have is not dropped, writing is refused instead, and goes on after an acknowledgement") {
  Gateway g({rule("a", 100'000, OnFull::drop_oldest)});
  Result<Receipt> receipt = Receipt{};
  for (int i = 0; i < 1000 && receipt.ok(); ++i) {
    receipt = g.write("a");
    g.step();
  }
  REQUIRE(!receipt.ok());
  CHECK(receipt.error().code == Code::exhausted);
  CHECK(receipt.error().message.find("the hub does not have yet") != std::string::npos);
  CHECK(g.store->losses().empty());
  CHECK(g.kept("a").rows() == g.written["a"]);
  CHECK(g.used() < 100'000 * 1.3);
  Effect other;  // everything else goes on
  other.predictions.push_back(prediction("har", 1, "a", g.time, 1));
  CHECK(g.store->commit(other).ok());

  g.acknowledge_all();
  REQUIRE(g.write("a").ok());
  g.step();
  CHECK(g.lost("a") > 0);
  CHECK(g.kept("a").rows() + g.lost("a") == g.written["a"]);
  for (const Loss& loss : g.store->losses()) CHECK(loss.unsent == 0);
}

TEST_CASE("quota: with drop_unsent the outbox tells what is gone as lost, and its sequence stays whole") {
  StreamRule oldest = rule("*", 100'000, OnFull::drop_oldest);
  oldest.drop_unsent = true;
  Gateway g({oldest});
  g.write_many("a", 400);
  const uint64_t lost = g.lost("a");
  REQUIRE(lost > 0);
  CHECK(g.store->losses()[0].unsent == lost);
  auto items = g.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX);
  REQUIRE(items.ok());
  uint64_t seq = 0, offered = 0, told = 0;
  for (const OutboxItem& item : *items) {
    CHECK(item.seq == ++seq);
    if (item.kind == EntryKind::lost) {
      CHECK(item.reason == LossReason::quota);
      told += item.records;
      seq = item.last_seq;
      continue;
    }
    auto block = decode_block({"a", {}}, item.payload);
    REQUIRE(block.ok());
    CHECK(block->rows() == item.records);
    offered += item.records;
  }
  CHECK(seq == 400);
  CHECK(offered + told == g.written["a"]);
  CHECK(items->front().kind == EntryKind::lost);
  // A block of which a part is gone is told as gone.
  CHECK(offered <= g.written["a"] - lost);
  CHECK(offered + 100 > g.written["a"] - lost);
  CHECK(g.store->damaged() == 0);
}

TEST_CASE("quota: reject refuses, drop_newest takes nothing more and says what it let go") {
  Gateway g({rule("firm", 50'000, OnFull::reject), rule("loose", 50'000, OnFull::drop_newest)});
  g.write_many("other", 10);
  Result<Receipt> receipt = Receipt{};
  for (int i = 0; i < 1000 && receipt.ok(); ++i) {
    receipt = g.write("firm");
    g.step();
  }
  REQUIRE(!receipt.ok());
  CHECK(receipt.error().code == Code::exhausted);
  CHECK(receipt.error().message.find("raise the quota") != std::string::npos);
  CHECK(g.kept("firm").rows() == g.written["firm"]);

  uint64_t dropped = 0;
  for (int i = 0; i < 200; ++i) {
    auto taken = g.write("loose");
    REQUIRE(taken.ok());
    CHECK((taken->dropped == 0 || taken->dropped == 100));
    dropped += taken->dropped;
    g.step();
  }
  CHECK(dropped > 0);
  CHECK(g.lost("loose") == dropped);
  CHECK(g.store->losses()[0].reason == LossReason::full);
  CHECK(g.kept("loose").rows() + dropped == g.written["loose"]);
  CHECK(g.kept("loose").times.front() < g.kept("loose").times.back());
  REQUIRE(g.write("other").ok());
}

TEST_CASE("quota: of all streams together the oldest goes first, whichever stream it is in, but not of those that reject") {
  StreamRule open = rule("*", 0, OnFull::drop_oldest), firm = rule("firm", 0, OnFull::reject);
  open.sync = firm.sync = false;
  Gateway g({firm, open}, 200'000);
  g.write_many("firm", 20);
  g.write_many("old", 100);
  g.write_many("new", 400);
  CHECK(g.used() <= 200'000);
  CHECK(g.kept("firm").rows() == g.written["firm"]);
  CHECK(g.lost("old") == g.written["old"]);
  CHECK(g.kept("old").rows() == 0);
  CHECK(g.lost("new") > 0);
  CHECK(g.kept("new").rows() + g.lost("new") == g.written["new"]);
}

TEST_CASE("retention: records go when they are older than their rule says, and only then") {
  StreamRule day;
  day.name = "a";
  day.sync = false;
  day.retention = std::chrono::hours(24 * 10);
  Gateway g({day});
  g.time = g.clock.now_ns() - 9 * 86'400 * kSecond;
  g.write_many("a", 100);
  g.write_many("b", 100);
  REQUIRE(g.store->seal().ok());
  g.step();
  CHECK(g.lost("a") == 0);
  g.clock.advance(std::chrono::hours(26));
  g.write_many("a", 1);
  CHECK(g.lost("a") > 0);  // some chunks of an hour are over, others not
  CHECK(g.lost("a") < g.written["a"]);
  CHECK(g.kept("a").times.front() >= g.clock.now_ns() - (10 * 86'400 + 3'600) * kSecond);
  g.clock.advance(std::chrono::hours(24 * 3));
  g.step();
  CHECK(g.store->losses()[0].reason == LossReason::retention);
  CHECK(g.kept("a").rows() + g.lost("a") == g.written["a"]);
  g.clock.advance(std::chrono::hours(24 * 20));
  g.step();
  CHECK(g.kept("a").rows() == 0);
  CHECK(g.lost("a") == g.written["a"]);
  CHECK(g.kept("b").rows() == g.written["b"]);
}

TEST_CASE("quota: over power cuts at any moment every acknowledged record is there or in the loss ledger") {
  StreamRule oldest = rule("*", 60'000, OnFull::drop_oldest);
  oldest.durability = Durability::batch;
  oldest.drop_unsent = true;
  Gateway g({oldest});
  for (int round = 0; round < 120; ++round) {
    for (uint64_t n = g.random.below(8); n > 0; --n) REQUIRE(g.write("a").ok());
    if (g.random.chance(0.5)) g.step();
    if (g.random.chance(0.3)) {
      g.disk.cut_power();
      g.store.reset();
      g.disk.restore_power();
      g.start();
    }
    if (g.written["a"] > 0) REQUIRE(g.kept("a").rows() + g.lost("a") == g.written["a"]);
  }
  CHECK(g.lost("a") > 0);
  CHECK(g.store->damaged() == 0);
}
