// Stories of several batches on their way at once: lost, in any order, beside alarms, under a budget.
#include <catch2/catch.hpp>

#include "config/config.h"
#include "tests/sync/make.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;
using namespace std::chrono_literals;
using skerry::test::FakeCloud;
using skerry::test::SimClock;

namespace {

sync::Options small_batches() {
  sync::Options options;
  options.batch_bytes_max = 2000;
  return options;
}

struct World {
  SimClock clock;
  FakeCloud cloud{clock};
  Node node;
  explicit World(FakeCloud::Way way, sync::Options options = small_batches()) : node(clock, cloud, options) { cloud.way(way); }

  void backlog(int n) {  // of batches
    Random random(7);
    for (int i = 0; i < n; ++i) {
      std::string noise(1900, '\0');
      for (char& c : noise) c = static_cast<char>(random());
      node.queue(OutboxClass::diagnostics, "log " + std::to_string(i), noise);
    }
  }
  bool hub_has_all() const { return cloud.received_once() == node.committed; }
};

}  // namespace

TEST_CASE("window: several batches of a class go without waiting for each other's answer, each once") {
  World w(FakeCloud::Way::slow);
  w.backlog(60);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.cloud.most_on_the_way() > 8);
  CHECK(w.cloud.most_on_the_way() <= 16);
  CHECK(w.hub_has_all());
  CHECK(w.node.syncer->status().repeated == 0);
  CHECK(w.cloud.receiver().nodes()->front().duplicates == 0);
}

TEST_CASE("window: batches that arrive in any order are applied in theirs") {
  World w(FakeCloud::Way::shuffle);
  w.backlog(60);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.cloud.most_on_the_way() > 8);
  CHECK(w.hub_has_all());
}

TEST_CASE("window: one that is lost in the middle makes the sender go back, and only what follows goes again") {
  World w(FakeCloud::Way::slow);
  w.backlog(20);
  for (int i = 0; i < 6; ++i) w.node.syncer->step();  // HELLO, and five on their way
  w.cloud.lose_next_request();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  CHECK(w.node.syncer->status().failures == 1);
}

TEST_CASE("window: an alarm goes beside a full window of bulk") {
  World w(FakeCloud::Way::slow);
  w.backlog(60);
  for (int i = 0; i < 17; ++i) w.node.syncer->step();
  CHECK(w.cloud.most_on_the_way() == 16);
  w.node.queue(OutboxClass::alarm, "fire");
  w.node.syncer->step();
  CHECK(w.cloud.most_on_the_way() == 17);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("window: a month's budget holds to the byte with batches on their way") {
  sync::Options options = small_batches();
  options.policy = config::parse_policy("[[sync.bearer]]\nmonthly = \"60 kB\"\npace = false\nalarm_reserve = 0.3\n", "policy.toml").policy;
  World w(FakeCloud::Way::slow, options);
  w.backlog(60);
  w.node.run_for(6h);
  CHECK(w.cloud.most_on_the_way() > 3);
  CHECK(w.node.waiting() > 0);
  CHECK(w.node.syncer->status().bearers.at(0).use.month_bytes <= 42'000);
  CHECK(w.node.syncer->status().bearers.at(0).use.month_bytes > 35'000);
}

TEST_CASE("window: held by hand nothing more begins, and what is on its way is heard of") {
  World w(FakeCloud::Way::slow);
  w.backlog(60);
  for (int i = 0; i < 6; ++i) w.node.syncer->step();
  w.node.syncer->hold(true);
  for (int i = 0; i < 10; ++i) w.clock.advance(w.node.syncer->step());
  CHECK(w.node.acked(OutboxClass::diagnostics) > 0);
  CHECK(w.node.waiting() > 0);
  CHECK(w.cloud.batches().size() == 5);
  w.node.syncer->hold(false);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("window: a policy that takes the bearer away loses nothing that is on its way") {
  World w(FakeCloud::Way::slow);
  w.backlog(60);
  for (int i = 0; i < 6; ++i) w.node.syncer->step();
  Policy other;
  other.bearers.front().name = "another";
  w.node.syncer->set_policy(other);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("window: a node that is killed with batches on their way repeats what did not arrive, once in effect") {
  World w(FakeCloud::Way::shuffle);
  w.backlog(60);
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 8; ++i) w.node.syncer->step();
    w.node.restart();
  }
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("window: an entry that the hub never takes is found with batches on their way") {
  World w(FakeCloud::Way::slow);
  w.cloud.poison("bad");
  for (int i = 0; i < 60; ++i) w.node.queue(OutboxClass::model, i == 37 ? "bad" : "good " + std::to_string(i), std::string(200, 'x'));
  REQUIRE(w.node.run_until_quiet(6h));
  auto expected = w.node.committed;
  expected.erase("model_event bad");
  CHECK(w.cloud.received_once() == expected);
  REQUIRE(w.node.syncer->status().dead.size() == 1);
  CHECK(w.node.store->note("sync/dead/model/38").value() == std::string(200, 'x'));
}
