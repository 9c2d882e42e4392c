// Stories of a node under a policy, of losses by rule, of disks that come back from the past, and of an entry that the hub never takes.
#include "config/config.h"
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
  Node node;
  explicit World(sync::Options options = {}) : node(clock, cloud, options) {}
  bool hub_has_all() { return cloud.received_once() == node.committed; }
  const hub::NodeInfo hub_node() { return cloud.receiver().nodes()->front(); }
};

sync::Options with_policy(const std::string& toml) {
  auto parsed = config::parse_policy(toml, "policy.toml");
  for (const auto& d : parsed.diagnostics) FAIL(d.text());
  sync::Options options;
  options.policy = parsed.policy;
  return options;
}

std::filesystem::path take_image(Node& node) {
  node.stop();
  const auto image = node.dir / "image";
  std::filesystem::copy(node.dir / "store", image, std::filesystem::copy_options::recursive);
  node.start();
  return image;
}

void restore_image(Node& node, const std::filesystem::path& image) {
  node.stop();
  std::filesystem::remove_all(node.dir / "store");
  std::filesystem::copy(image, node.dir / "store", std::filesystem::copy_options::recursive);
  node.start();
}

uint64_t month_bytes(const Node& node) { return node.syncer->status().bearers.at(0).use.month_bytes; }

}  // namespace

TEST_CASE("sync: an old disk image that queued more offline than it replaces is told from the node that it was") {
  World w;
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  const auto image = take_image(w.node);
  for (int i = 0; i < 3; ++i) w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());

  restore_image(w.node, image);
  w.cloud.down();
  for (int i = 0; i < 8; ++i) w.node.ingest(10);  // more than the three that the hub has of before
  w.cloud.up();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.node.syncer->status().epochs_begun == 1);
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: a clone of a node's disk begins an epoch of its own when it queues the same numbers") {
  World w;
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  const auto image = take_image(w.node);
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  restore_image(w.node, image);  // the clone: exactly as many entries as the original
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.node.syncer->status().epochs_begun == 1);
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: lost answers and restarts are not taken for another history") {
  World w;
  for (int round = 0; round < 10; ++round) {
    w.node.ingest(5);
    w.cloud.lose_next_ack(2);
    for (int i = 0; i < 4; ++i) w.clock.advance(w.node.syncer->step());
    w.node.restart();
    if (round % 3 == 0) w.cloud.restart();
  }
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  CHECK(w.node.syncer->status().epochs_begun == 0);
  CHECK(w.hub_node().epochs == 1);
}

TEST_CASE("sync: what expired in the outbox reaches the hub as lost, counted, and the rest goes on") {
  World w;
  w.node.outbox_rules = {{.outbox_class = OutboxClass::telemetry, .ttl = 1h}};
  w.node.restart();
  w.cloud.down();
  for (int i = 0; i < 4; ++i) w.node.ingest(10);
  const auto expired = w.node.committed;
  w.clock.advance(2h);
  for (int i = 0; i < 10; ++i) w.clock.advance(w.node.store->step());
  w.node.next_ns = w.clock.now_ns();
  for (int i = 0; i < 3; ++i) w.node.ingest(10);
  w.cloud.up();
  REQUIRE(w.node.run_until_quiet());
  std::set<std::string> kept = w.node.committed;
  for (const auto& one : expired) kept.erase(one);
  CHECK(w.cloud.received_once() == kept);
  const auto dropped = w.hub_node().dropped;
  REQUIRE(dropped.contains(storage::LossReason::expired));
  CHECK(dropped.at(storage::LossReason::expired).entries == 4);
  CHECK(dropped.at(storage::LossReason::expired).records == 40);
  CHECK(w.hub_node().lost == 0);
  CHECK(w.cloud.sequences("pump-1")[OutboxClass::telemetry].size() == 7);
}

TEST_CASE("sync: an entry that the hub never takes is found by halves, kept as a dead letter, and stops nothing") {
  World w;
  w.cloud.poison("bad");
  for (int i = 0; i < 20; ++i) w.node.queue(OutboxClass::model, i == 13 ? "bad" : "good " + std::to_string(i), "payload " + std::to_string(i));
  REQUIRE(w.node.run_until_quiet());
  auto expected = w.node.committed;
  expected.erase("model_event bad");
  CHECK(w.cloud.received_once() == expected);
  const auto dead = w.node.syncer->status().dead;
  REQUIRE(dead.size() == 1);
  CHECK(dead[0].subject == "bad");
  CHECK(dead[0].seq == 14);
  CHECK(dead[0].reason == "poisoned");
  CHECK(w.node.store->note("sync/dead/model/14").value() == "payload 13");
  w.node.restart();
  CHECK(w.node.syncer->status().dead.size() == 1);
  w.node.queue(OutboxClass::model, "later");
  REQUIRE(w.node.run_until_quiet());
}

TEST_CASE("sync: a hub that refuses everything makes no dead letters") {
  World w;
  for (int i = 0; i < 5; ++i) w.node.queue(OutboxClass::model, "event " + std::to_string(i));
  w.cloud.lie(FakeCloud::Lie::refuses);
  w.node.run_for(6h);
  CHECK(w.node.syncer->status().dead.empty());
  w.cloud.lie(FakeCloud::Lie::none);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: bytes of the month survive a crash and are never fewer than what was sent") {
  World w(with_policy("[[sync.bearer]]\nmonthly = \"10 MB\"\n"));
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 5; ++i) w.node.ingest(50);
    REQUIRE(w.node.run_until_quiet());
    const uint64_t before = month_bytes(w.node);
    CHECK(before > 0);
    w.node.restart();
    CHECK(month_bytes(w.node) >= before);
    CHECK(month_bytes(w.node) <= before + (64 << 10));
  }
  CHECK(w.node.syncer->status().bearers[0].use.purposes.at("telemetry").exchanges >= 5);
}

TEST_CASE("sync: a month's budget holds to the byte, then only alarms go, and at its reset all goes on") {
  World w(with_policy("[[sync.bearer]]\nmonthly = \"60 kB\"\npace = false\nalarm_reserve = 0.3\n"));
  Random random(Catch::rngSeed());
  auto noise = [&] {
    std::string bytes(3000, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    return bytes;
  };
  for (int i = 0; i < 40; ++i) w.node.queue(OutboxClass::diagnostics, "log " + std::to_string(i), noise());
  w.node.run_for(24h);
  CHECK(w.node.waiting() > 0);
  CHECK(month_bytes(w.node) <= 42'000);
  w.node.queue(OutboxClass::alarm, "fire");
  w.node.run_for(1h);
  CHECK(w.node.acked(OutboxClass::alarm) == 1);
  CHECK(month_bytes(w.node) <= 60'000);
  const uint64_t acked = w.node.acked(OutboxClass::diagnostics);
  w.clock.advance(31 * 24h);
  w.node.run_for(1h);
  CHECK(w.node.acked(OutboxClass::diagnostics) > acked);
  CHECK(month_bytes(w.node) <= 42'000);
}

TEST_CASE("sync: a policy that is changed while a backlog waits loses none of it") {
  World w(with_policy("[sync.class.telemetry]\nwindows_only = true\n"));
  for (int i = 0; i < 5; ++i) w.node.ingest(10);
  w.node.run_for(1h);
  CHECK(w.node.waiting() == 5);
  const auto tried = with_policy("").policy;
  for (const auto& d : w.node.syncer->explain(&tried)) CHECK(d.send == (d.outbox_class == OutboxClass::telemetry));
  CHECK(w.node.waiting() == 5);
  w.node.syncer->set_policy(tried);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: when the first bearer has no carrier the next one serves, and the first again when it is back") {
  World w(with_policy("[[sync.bearer]]\nname = \"lan\"\ndevice = \"eth0\"\n[[sync.bearer]]\nname = \"sim\"\ndevice = \"wwan0\"\nprice_per_mb = 1\n"));
  bool lan_up = true;
  w.node.link = [&](const BearerPolicy& b) { return LinkFacts{.up = b.name == "sim" || lan_up}; };
  w.node.connect();
  auto sent_over = [&](size_t bearer) {
    const auto purposes = w.node.syncer->status().bearers[bearer].use.purposes;
    auto found = purposes.find("telemetry");
    return found == purposes.end() ? 0 : found->second.exchanges;
  };
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  CHECK(sent_over(0) == 1);
  lan_up = false;
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  CHECK(sent_over(0) == 1);
  CHECK(sent_over(1) == 1);
  CHECK(w.node.syncer->status().bearers[1].use.cost > 0);
  lan_up = true;
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  CHECK(sent_over(0) == 2);
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: when the carrier comes back nobody waits for the backoff") {
  World w;
  bool up = true;
  w.node.link = [&](const BearerPolicy&) { return LinkFacts{.up = up}; };
  w.node.connect();
  w.node.ingest(10);
  w.cloud.down();
  for (int i = 0; i < 30; ++i) w.clock.advance(w.node.syncer->step());
  up = false;
  w.node.syncer->step();
  const size_t tries = w.cloud.requests().size();
  w.clock.advance(1s);
  w.node.syncer->step();
  CHECK(w.cloud.requests().size() == tries);  // without a carrier nothing is tried
  up = true;
  w.cloud.up();
  for (int i = 0; i < 3; ++i) w.node.syncer->step();
  CHECK(w.node.waiting() == 0);
}

TEST_CASE("sync: a window that was revoked stays so over a restart, until it is given back") {
  World w(with_policy("[sync.class.telemetry]\nwindows_only = true\n[[sync.window]]\nname = \"night\"\ntimes = \"00:00-23:59\"\n"));
  w.node.syncer->revoke_window("night", true);
  w.node.restart();
  CHECK(w.node.syncer->status().revoked == std::set<std::string>{"night"});
  w.node.ingest(10);
  w.node.run_for(10min);
  CHECK(w.node.waiting() == 1);
  w.node.syncer->revoke_window("night", false);
  w.node.restart();
  CHECK(w.node.syncer->status().revoked.empty());
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}
