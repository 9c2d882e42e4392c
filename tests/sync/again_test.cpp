// Stories of a hub that lost what it had acknowledged, and of a disk that comes back from the past: what is still here goes again, and nothing
// goes twice.
#include <catch2/catch.hpp>

#include "tests/sync/make.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;
using namespace std::chrono_literals;
using skerry::test::FakeCloud;
using skerry::test::SimClock;

namespace {

struct World {
  SimClock clock;
  FakeCloud cloud{clock};
  Node node{clock, cloud};

  World() {
    node.acked_grace = 1h;
    node.restart();
  }
  bool hub_has_all() const { return cloud.received_once() == node.committed; }
  hub::NodeInfo at_hub() { return cloud.receiver().nodes()->front(); }
  void records(int n) {
    for (int i = 0; i < n; ++i) node.ingest(10);
  }
  std::filesystem::path take_image() {
    node.stop();
    const auto image = node.dir / "image";
    std::filesystem::copy(node.dir / "store", image, std::filesystem::copy_options::recursive);
    node.start();
    return image;
  }
  void restore_image(const std::filesystem::path& image) {
    node.stop();
    std::filesystem::remove_all(node.dir / "store");
    std::filesystem::copy(image, node.dir / "store", std::filesystem::copy_options::recursive);
    node.start();
  }
};

}  // namespace

TEST_CASE("again: a hub that lost its disk gets all that the node still keeps") {
  World w;
  w.records(8);
  w.node.queue(OutboxClass::model, "har/2");
  REQUIRE(w.node.run_until_quiet());
  w.cloud.wipe();
  w.records(3);
  w.node.run_for(1min);
  CHECK(w.hub_has_all());
  CHECK(w.at_hub().lost == 0);
  CHECK(w.node.syncer->status().lost_at_hub == 0);
  CHECK(w.node.syncer->status().last_error.empty());
  CHECK(w.node.syncer->status().epochs_begun == 0);
}

TEST_CASE("again: a hub that comes back from a backup gets what is newer, also when nothing new is queued") {
  World w;
  w.records(4);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.save();
  w.records(6);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.restore();
  w.node.run_for(1min);
  CHECK(w.hub_has_all());
  CHECK(w.at_hub().lost == 0);
  CHECK(w.at_hub().duplicates == 0);
}

TEST_CASE("again: what the node trimmed meanwhile is declared lost, the rest goes again") {
  World w;
  w.records(4);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.save();
  w.records(3);
  REQUIRE(w.node.run_until_quiet());
  w.clock.advance(2h);
  w.node.trim();
  const uint64_t trimmed = w.node.acked();
  w.records(3);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.restore();
  w.node.run_for(1min);
  CHECK(w.at_hub().lost == trimmed - 4);
  CHECK(w.cloud.sequences("pump-1")[OutboxClass::telemetry].count(trimmed) == 0);
  CHECK(w.cloud.sequences("pump-1")[OutboxClass::telemetry].count(trimmed + 1) == 1);
  CHECK(w.cloud.sequences("pump-1")[OutboxClass::telemetry].count(trimmed + 3) == 1);
}

TEST_CASE("again: interrupted while it goes again, it goes on, each once") {
  World w;
  w.node.options.batch_bytes_max = 500;
  w.node.connect();
  w.records(20);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.wipe();
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 4; ++i) w.clock.advance(w.node.syncer->step());
    w.cloud.lose_next_ack();
    if (round % 2 == 0) w.node.restart();
  }
  w.node.run_for(10min);
  CHECK(w.hub_has_all());
  CHECK(w.at_hub().lost == 0);
}

TEST_CASE("again: what an old disk image still holds as waiting, and the hub has, does not go a second time") {
  World w;
  w.records(3);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.down();
  w.records(5);                       // waiting in the image
  const auto image = w.take_image();
  w.cloud.up();
  w.records(4);
  REQUIRE(w.node.run_until_quiet());  // and at the hub
  w.restore_image(image);
  w.cloud.down();
  w.records(9);                       // other entries under numbers that the hub knows, and more than it knows
  w.cloud.up();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.node.syncer->status().epochs_begun == 1);
  CHECK(w.hub_has_all());             // received_once() would not take one that is there twice
}

TEST_CASE("again: what was acknowledged under an earlier epoch is not asked for under the next") {
  World w;
  w.records(3);
  REQUIRE(w.node.run_until_quiet());
  const auto image = w.take_image();
  w.records(4);
  REQUIRE(w.node.run_until_quiet());
  w.restore_image(image);
  w.records(2);
  REQUIRE(w.node.run_until_quiet());
  REQUIRE(w.node.syncer->status().epochs_begun == 1);
  w.node.restart();
  w.node.run_for(1min);
  CHECK(w.hub_has_all());
}

TEST_CASE("again: another history is noticed although what lies before it expired here") {
  World w;
  w.node.outbox_rules = {{.outbox_class = OutboxClass::telemetry, .ttl = 1h}};
  w.node.restart();
  w.cloud.down();
  w.records(5);  // waiting in the image
  const auto image = w.take_image();
  w.cloud.up();
  w.records(3);
  REQUIRE(w.node.run_until_quiet());
  w.restore_image(image);
  w.cloud.down();
  w.clock.advance(2h);
  w.node.trim();  // the five have expired in the image
  w.node.next_ns = w.clock.now_ns();
  w.records(4);
  w.cloud.up();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.node.syncer->status().epochs_begun == 1);
  CHECK(w.hub_has_all());
}

TEST_CASE("again: one damaged row at the hub is found, asked for and mended, and nothing else goes") {
  World w;
  w.records(8);
  REQUIRE(w.node.run_until_quiet());
  const uint64_t records = w.at_hub().records, duplicates = w.at_hub().duplicates;
  w.cloud.damage_row(3);
  CHECK_FALSE(w.hub_has_all());
  const size_t before = w.cloud.batches().size();
  w.node.run_for(1min);
  CHECK(w.hub_has_all());
  const auto batches = w.cloud.batches();
  REQUIRE(batches.size() == before + 1);
  CHECK(batches.back().first == 3);
  CHECK(batches.back().last == 3);
  CHECK(w.at_hub().records == records);
  CHECK(w.at_hub().duplicates == duplicates);
  CHECK(w.at_hub().lost == 0);
  w.records(2);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("again: a damaged row whose answer is lost on the way is asked for until it is whole") {
  World w;
  w.records(8);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.damage_row(2);
  w.cloud.damage_row(3);
  w.cloud.damage_row(7);
  w.node.run_for(11s);
  w.cloud.lose_next_request(2);
  w.node.run_for(2min);
  CHECK(w.hub_has_all());
}

TEST_CASE("again: a damaged row that the node no longer has is not asked for, and stops nothing") {
  World w;
  w.node.acked_grace = 0s;
  w.node.restart();
  w.records(8);
  REQUIRE(w.node.run_until_quiet());
  w.node.trim();
  w.cloud.damage_row(3);
  const size_t before = w.cloud.batches().size();
  w.node.run_for(1min);
  CHECK(w.cloud.batches().size() == before);
  w.records(2);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.node.syncer->status().lost_at_hub == 0);
}

TEST_CASE("again: what a hub acknowledged and did not take goes again when the epoch ends before anybody asked") {
  World w;
  w.records(3);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.lie(FakeCloud::Lie::acknowledges_what_it_lacks);
  w.records(2);
  REQUIRE(w.node.run_until_quiet());
  const uint64_t epoch = w.node.store->identity().epoch;
  w.node.stop();
  w.cloud.lie(FakeCloud::Lie::none);
  // A history that this disk has not: an alarm of it is at the hub.
  sync::Batch other{"pump-1", epoch, OutboxClass::alarm, {}};
  other.entries.push_back({.seq = 1, .kind = storage::EntryKind::model_event, .subject = "of before", .payload = "x", .records = 1, .queued_ns = 1});
  REQUIRE(w.cloud.receiver().apply(other).ok());
  w.node.start();
  w.node.run_for(1min);
  CHECK(w.node.syncer->status().epochs_begun == 1);
  w.node.committed.insert("model_event of before");
  CHECK(w.hub_has_all());
}

TEST_CASE("again: a batch of an epoch that the node has ended is not taken any more") {
  World w;
  w.records(3);
  REQUIRE(w.node.run_until_quiet());
  const uint64_t epoch = w.node.store->identity().epoch;
  REQUIRE(w.cloud.receiver().range({.node = "pump-1", .epoch = epoch, .ends_epoch = true}).ok());
  auto late = w.cloud.receiver().apply({"pump-1", epoch, OutboxClass::telemetry, {item(4)}});
  REQUIRE(late.ok());
  CHECK(late->outcome == BatchOutcome::unknown_epoch);
  w.records(2);  // the node is told, and begins another
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.node.syncer->status().epochs_begun == 1);
  CHECK(w.hub_has_all());
}
