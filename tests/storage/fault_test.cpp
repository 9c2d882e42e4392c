// Full disks, failed syncs, flipped bits: a clear error, nothing acknowledged that is not kept, and going on
// afterwards.
#include <catch2/catch.hpp>
#include <fstream>

#include "storage/sample_block.h"
#include "storage/store.h"
#include "tests/storage/machine.h"
#include "tests/storage/make.h"

using namespace skerry;
using namespace skerry::storage;
using namespace skerry::storage::test;
using skerry::test::FaultFs;
using skerry::test::flip_bit;

namespace {

struct Faulty : Machine {
  Faulty() : Machine({{"*", Durability::batch, true}}, 64 << 10) {}
  Result<Receipt> put(int64_t time, double value) { return Machine::put(values("m", {{time, value}})); }
  std::vector<std::filesystem::path> files(const std::string& extension) const {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(options.path)) {
      if (entry.path().extension() == extension) out.push_back(entry.path());
    }
    return out;
  }
};

}  // namespace

TEST_CASE("fault: a full disk answers exhausted, reads go on, and commits resume when there is space") {
  Faulty m;
  const int64_t t = m.clock.now_ns();
  Random random(Catch::rngSeed());
  int next = 0;
  std::vector<int> kept;
  for (int outage = 0; outage < 5; ++outage) {
    for (int i = 0; i < 20; ++i, ++next) {
      REQUIRE(m.put(t + next, next).ok());
      kept.push_back(next);
    }
    m.disk.set_space_left(random.below(3000));
    bool full = false;
    for (int i = 0; i < 200 && !full; ++i, ++next) {
      auto result = m.put(t + next, next);
      if (result.ok()) {
        kept.push_back(next);
        continue;
      }
      full = true;
      CHECK(result.error().code == Code::exhausted);
      CHECK(result.error().message.find("disk full at " + m.options.path.string()) != std::string::npos);
    }
    REQUIRE(full);
    REQUIRE(m.store->trouble().has_value());
    CHECK(m.store->trouble()->code == Code::exhausted);
    CHECK(m.put(t + next++, 0).error().code == Code::exhausted);
    m.clock.advance(std::chrono::seconds(2));
    m.store->step();
    CHECK(m.put(t + next++, 0).error().code == Code::exhausted);  // still full
    CHECK(m.store->read({"m", {}}, {}, 1 << 20)->rows() >= kept.size());
    if (outage == 3) {  // the cure may also come from the outside: a restart on a disk with space
      m.disk.lift_space();
      m.power_cut();
    } else {
      m.disk.lift_space();
      m.clock.advance(std::chrono::seconds(2));
      if (outage % 2 == 0) m.store->step();  // else the next commit finds out by itself
    }
    auto again = m.put(t + next, next);
    INFO((again.ok() ? "" : again.error().message));
    REQUIRE(again.ok());
    kept.push_back(next++);
    CHECK(!m.store->trouble().has_value());
  }
  m.power_cut();
  auto back = m.store->read({"m", {}}, {}, 1 << 20);
  REQUIRE(back.ok());
  for (int i : kept) {
    auto at = std::lower_bound(back->times.begin(), back->times.end(), t + i);
    REQUIRE(at != back->times.end());
    REQUIRE(*at == t + i);
  }
  auto items = m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX);
  REQUIRE(items.ok());
  CHECK(items->size() == back->rows());
  for (size_t i = 0; i < items->size(); ++i) CHECK((*items)[i].seq == i + 1);
}

TEST_CASE("fault: an error of a merge that is heard of when the disk is well again does not keep the store from sealing") {
  Faulty m;
  int64_t t = m.clock.now_ns();
  m.disk.fail_merge(std::chrono::milliseconds(100));
  std::vector<double> kept;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 4; ++i) {
      const double value = round * 4 + i;
      auto result = m.put(++t, value);
      if (!result.ok()) {  // it was heard of here
        m.clock.advance(std::chrono::seconds(2));
        m.store->step();
        result = m.put(t, value);
      }
      REQUIRE(result.ok());
      kept.push_back(value);
    }
    const Status sealed = m.store->seal();
    INFO((sealed.ok() ? "" : sealed.error().message));
    REQUIRE(sealed.ok());
    CHECK(!m.store->trouble());
  }
  CHECK(m.disk.counts().merge_faults == 1);
  CHECK(read_values(*m.store, "m", {}) == kept);
}

TEST_CASE("fault: a failed sync acknowledges nothing, and the log is not trusted again") {
  Faulty m;
  const int64_t t = m.clock.now_ns();
  REQUIRE(m.put(t, 0).ok());
  m.disk.fail_syncs(1);
  auto failed = m.put(t + 1, 1);
  REQUIRE(!failed.ok());
  CHECK(failed.error().code == Code::unavailable);
  CHECK(m.store->trouble().has_value());
  CHECK(!m.put(t + 2, 2).ok());  // no success by a second sync that proves nothing
  auto offered = m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX);
  CHECK(!offered.ok());
  SECTION("after step() everything in memory is on the disk by other means") {
    m.clock.advance(std::chrono::seconds(2));
    m.store->step();
    CHECK(!m.store->trouble().has_value());
    REQUIRE(m.put(t + 3, 3).ok());
    m.power_cut();
    CHECK(read_values(*m.store, "m", {}) == std::vector<double>{0, 1, 3});
    CHECK(m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX)->size() == 3);
  }
  SECTION("a power cut before takes only what was not acknowledged") {
    m.power_cut();
    CHECK(read_values(*m.store, "m", {}) == std::vector<double>{0});
    CHECK(m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX)->size() == 1);
    REQUIRE(m.put(t + 3, 3).ok());
  }
}

TEST_CASE("fault: after an error of the device what was acknowledged is kept, and writing goes on when the device does") {
  Faulty m;
  const int64_t t = m.clock.now_ns();
  REQUIRE(m.put(t, 0).ok());
  m.disk.fail_syncs(1, FaultFs::SyncFault::device);
  REQUIRE(!m.put(t + 1, 1).ok());
  CHECK(!m.put(t + 2, 2).ok());
  CHECK(m.store->trouble().has_value());
  CHECK(read_values(*m.store, "m", {}).size() >= 1);  // reads go on
  m.clock.advance(std::chrono::seconds(2));
  m.store->step();
  CHECK(!m.store->trouble().has_value());
  REQUIRE(m.put(t + 3, 3).ok());
  m.power_cut();
  CHECK(read_values(*m.store, "m", {}) == std::vector<double>{0, 1, 3});
}

TEST_CASE("fault: a flipped bit costs what it hit, is counted once, and the outbox goes on") {
  Faulty m;
  const int64_t t = m.clock.now_ns();
  const std::string noise = [] {
    Random random(7);
    std::string s;
    for (int i = 0; i < 2000; ++i) s += static_cast<char>(random());
    return s;
  }();
  for (int i = 0; i < 200; ++i) {  // some tables of several blocks each
    Batch batch = values("m", {{t + i * 1'000'000, static_cast<double>(i)}});
    batch.columns.push_back({"noise", std::vector<std::string>{noise + std::to_string(i)}, {}});
    Effect effect;
    effect.batches.push_back(batch);
    REQUIRE(m.store->commit(effect).ok());
  }
  m.store.reset();
  // The largest table holds records; its middle is a data block.
  auto tables = m.files(".sst");
  REQUIRE(!tables.empty());
  auto largest = *std::max_element(tables.begin(), tables.end(), [](const auto& a, const auto& b) {
    return std::filesystem::file_size(a) < std::filesystem::file_size(b);
  });
  flip_bit(largest, std::filesystem::file_size(largest) / 2);
  m.start();
  auto back = m.store->read({"m", {}}, {}, 1 << 20);
  REQUIRE(back.ok());
  CHECK(back->rows() < 200);
  CHECK(back->rows() > 150);
  CHECK(back->times.front() == t);
  CHECK(back->times.back() == t + 199 * 1'000'000);
  CHECK(m.store->damaged() == 1);
  REQUIRE(m.store->read({"m", {}}, {}, 1 << 20).ok());
  CHECK(m.store->damaged() == 1);

  auto items = m.store->outbox_read(OutboxClass::telemetry, 1, UINT64_MAX);
  REQUIRE(items.ok());
  REQUIRE(items->size() == 200);
  uint64_t lost = 0;
  for (const OutboxItem& item : *items) {
    auto block = decode_block({"m", {}}, item.payload);
    REQUIRE(block.ok());
    CHECK(block->rows() == item.records);
    lost += item.records == 0;
  }
  CHECK(lost == 200 - back->rows());
  if (!m.put(t + 200 * 1'000'000, 1).ok()) CHECK(m.put(t + 200 * 1'000'000, 1).ok());  // merging may have met it meanwhile
}

TEST_CASE("fault: a lost or cut MANIFEST is refused as corrupt with a remedy, and nothing is overwritten") {
  Faulty m;
  for (int i = 0; i < 3000; ++i) {
    Effect effect;
    effect.outbox.push_back({OutboxClass::alarm, EntryKind::model_event, "s", std::string(100, 'a')});
    effect.durability = Durability::os;
    REQUIRE(m.store->commit(effect).ok());
  }
  m.store.reset();
  const size_t tables = m.files(".sst").size();
  REQUIRE(tables > 0);
  for (const auto& entry : std::filesystem::directory_iterator(m.options.path)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("MANIFEST")) {
      SECTION("MANIFEST removed") { std::filesystem::remove(entry.path()); }
      SECTION("MANIFEST cut short") { std::filesystem::resize_file(entry.path(), 30); }
      SECTION("CURRENT removed") { std::filesystem::remove(m.options.path / "CURRENT"); }
      SECTION("CURRENT garbled") { std::ofstream(m.options.path / "CURRENT") << "no such thing"; }
    }
  }
  auto refused = m.open();
  REQUIRE(!refused.ok());
  INFO(refused.error().message);
  CHECK(refused.error().code == Code::corrupt);
  CHECK(refused.error().message.find("move it away") != std::string::npos);
  CHECK(m.files(".sst").size() == tables);
}

TEST_CASE("fault: a store with a backlog of 100,000 entries opens without reading it") {
  Faulty m;
  Effect effect;
  effect.durability = Durability::os;
  for (int i = 0; i < 1000; ++i) {
    effect.outbox.push_back({OutboxClass::alarm, EntryKind::model_event, "s", std::string(100 + i % 50, 'a')});
  }
  for (int i = 0; i < 100; ++i) REQUIRE(m.store->commit(effect).ok());
  const auto before = m.store->outbox_status();
  m.store.reset();
  const FaultFs::Counts start = m.disk.counts();
  m.start();
  CHECK(m.store->outbox_status()[0].entries == 100'000);
  CHECK(m.store->outbox_status()[0].bytes == before[0].bytes);
  const FaultFs::Counts end = m.disk.counts();
  // The backlog is more than 12 MB; what is read is the log of the last write buffer and the tables' heads.
  CHECK(end.read_bytes - start.read_bytes < 2'000'000);
  CHECK(end.reads - start.reads < 300);
}

TEST_CASE("fault: a merge of tables that meets damage stops nothing: merging stays off, writing and reading go on") {
  Faulty m;
  const int64_t t = m.clock.now_ns();
  for (int i = 0; i < 100; ++i) REQUIRE(m.put(t + i, i).ok());
  m.power_cut();  // opening writes the log's records as a table
  auto tables = m.files(".sst");
  REQUIRE(!tables.empty());
  for (const auto& table : tables) {
    if (std::filesystem::file_size(table) > 1500) flip_bit(table, 100);
  }
  m.store.reset();
  m.start();
  uint64_t refused = 0, damaged = 0;
  for (int i = 0; i < 5000; ++i) {
    auto result = m.put(t + 1000 + i, i);
    if (result.ok()) continue;
    ++refused;
    damaged += result.error().code == Code::corrupt;
    INFO(result.error().message);
    CHECK(result.error().code == Code::corrupt);
  }
  CHECK(refused <= 2);
  CHECK(m.store->damaged() >= damaged);
  auto back = m.store->read({"m", {}}, {t + 1000, INT64_MAX}, 1 << 20);
  REQUIRE(back.ok());
  CHECK(back->rows() == 5000 - refused);
  m.store.reset();
  m.start();  // and it is no boot loop
  CHECK(m.store->read({"m", {}}, {t + 1000, INT64_MAX}, 1 << 20)->rows() == 5000 - refused);
}
