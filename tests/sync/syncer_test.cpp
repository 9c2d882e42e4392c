#include "sync/syncer.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/sync/make.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;
using namespace std::chrono_literals;
using skerry::test::FakeCloud;
using skerry::test::SimClock;
using Lie = FakeCloud::Lie;

namespace {

struct World {
  SimClock clock;
  FakeCloud cloud{clock};
  Node node;
  explicit World(sync::Options options = {}) : node(clock, cloud, options) {}

  bool hub_has_all() const { return cloud.received_once() == node.committed; }
};

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("sync: what was ingested offline for two days arrives once and leaves the outbox") {
  World w;
  w.cloud.down();
  for (int i = 0; i < 20; ++i) w.node.ingest(50);
  w.node.run_for(48h);
  CHECK(w.node.waiting() > 0);
  CHECK_FALSE(w.node.syncer->status().online);
  w.node.restart();
  w.cloud.up();
  w.cloud.lose_next_ack();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  CHECK(w.node.syncer->status().online);
  CHECK(w.node.syncer->status().last_error.empty());
  CHECK(w.node.syncer->status().records == 1000);
}

TEST_CASE("sync: the first word after a start is HELLO, with what the node is") {
  World w;
  w.node.ingest(3);
  REQUIRE(w.node.run_until_quiet());
  REQUIRE(w.cloud.requests().size() >= 2);
  CHECK(w.cloud.requests()[0].hello);
  const auto nodes = w.cloud.receiver().nodes();
  REQUIRE(nodes.ok());
  REQUIRE(nodes->size() == 1);
  CHECK(nodes->front().node == "pump-1");
  CHECK(nodes->front().models == std::vector<std::string>{"har/3 serving"});
}

TEST_CASE("sync: a batch whose ack was lost is delivered once") {
  World w;
  w.node.ingest(10);
  w.node.syncer->step();  // HELLO
  w.cloud.lose_next_ack();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  // The HELLO after the lost answer brings the watermark: nothing is sent a second time.
  CHECK(w.cloud.batches().size() == 1);
  CHECK(w.node.syncer->status().records == 10);
}

TEST_CASE("sync: a request that arrives twice is applied once") {
  World w;
  w.node.ingest(10);
  w.node.syncer->step();
  w.cloud.duplicate_next();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  CHECK(w.cloud.receiver().nodes()->front().duplicates > 0);
}

TEST_CASE("sync: a request that arrives late, after its repetition began, is applied once") {
  sync::Options options;
  options.batch_bytes_max = 2000;
  World w(options);
  for (int i = 0; i < 10; ++i) w.node.ingest(20);
  w.node.syncer->step();
  w.cloud.delay_next_request();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: a lost request and damaged bytes either way cost a repetition and nothing else") {
  for (int fault = 0; fault < 3; ++fault) {
    World w;
    w.node.ingest(10);
    w.node.syncer->step();
    if (fault == 0) w.cloud.lose_next_request();
    if (fault == 1) w.cloud.corrupt_next_reply();
    if (fault == 2) w.cloud.corrupt_next_request();
    REQUIRE(w.node.run_until_quiet());
    CHECK(w.hub_has_all());
    CHECK(w.node.syncer->status().failures == 1);
  }
}

TEST_CASE("sync: urgent classes go before telemetry") {
  sync::Options options;
  options.batch_bytes_max = 4000;
  World w(options);
  for (int i = 0; i < 20; ++i) w.node.ingest(100);
  w.node.queue(OutboxClass::diagnostics, "log");
  w.node.queue(OutboxClass::model, "har/2");
  w.node.queue(OutboxClass::label, "label");
  w.node.queue(OutboxClass::alarm, "fire");
  REQUIRE(w.node.run_until_quiet());
  std::vector<OutboxClass> order;
  for (const auto& b : w.cloud.batches()) {
    if (order.empty() || order.back() != b.outbox_class) order.push_back(b.outbox_class);
  }
  CHECK(order == std::vector<OutboxClass>{OutboxClass::alarm, OutboxClass::label, OutboxClass::model, OutboxClass::telemetry, OutboxClass::diagnostics});
}

TEST_CASE("sync: an alarm overtakes a backlog that is being sent") {
  sync::Options options;
  options.batch_bytes_max = 2000;
  World w(options);
  for (int i = 0; i < 20; ++i) w.node.ingest(100);
  for (int i = 0; i < 4; ++i) w.clock.advance(w.node.syncer->step());
  w.node.queue(OutboxClass::alarm, "fire");
  w.node.syncer->step();
  CHECK(w.cloud.batches().back().outbox_class == OutboxClass::alarm);
}

TEST_CASE("sync: the rate cap holds over every stretch of time") {
  sync::Options options;
  options.rate_bytes_per_second = 10'000;
  options.burst_bytes = 20'000;
  options.batch_bytes_max = 8000;
  World w(options);
  Random random(Catch::rngSeed());
  for (int i = 0; i < 40; ++i) {  // incompressible
    std::string payload;
    for (int k = 0; k < 3000; ++k) payload += static_cast<char>(random.below(256));
    w.node.queue(OutboxClass::diagnostics, "log " + std::to_string(i), payload);
  }
  w.cloud.lose_next_ack(3);  // repetitions are charged too
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  const auto& requests = w.cloud.requests();
  size_t largest = 0;
  for (const auto& r : requests) largest = std::max(largest, r.bytes);
  for (size_t from = 0; from < requests.size(); ++from) {
    double bytes = 0;
    for (size_t to = from; to < requests.size(); ++to) {
      bytes += static_cast<double>(requests[to].bytes);
      const double seconds = std::chrono::duration<double>(requests[to].at - requests[from].at).count();
      REQUIRE(bytes <= 20'000 + 10'000 * seconds + static_cast<double>(largest));
    }
  }
  const double whole = std::chrono::duration<double>(requests.back().at - requests.front().at).count();
  CHECK(whole > 8);    // 120 kB at 10 kB/s, less the burst
  CHECK(whole < 60);
}

TEST_CASE("sync: backoff stays between its bounds, grows, and starts over after success") {
  sync::Options options;
  options.backoff_min = 1s;
  options.backoff_max = 60s;
  World w(options);
  w.node.ingest(3);
  w.cloud.down();
  Duration longest{0};
  for (int i = 0; i < 60; ++i) {
    const Duration wait = w.node.syncer->step();
    CHECK(wait >= 1s);
    CHECK(wait <= 60s);
    longest = std::max(longest, wait);
    w.clock.advance(wait);
  }
  CHECK(longest > 20s);
  CHECK(w.cloud.requests().size() == 60);
  w.cloud.up();
  REQUIRE(w.node.run_until_quiet());
  w.node.ingest(3);
  w.cloud.down();
  CHECK(w.node.syncer->step() <= 3s);
}

TEST_CASE("sync: two nodes that lost the same hub do not come back in step") {
  World a, b;
  b.node.seed = 77;
  b.node.connect();
  a.cloud.down();
  b.cloud.down();
  int same = 0;
  for (int i = 0; i < 20; ++i) {
    const Duration x = a.node.syncer->step(), y = b.node.syncer->step();
    same += x == y;
    a.clock.advance(x);
    b.clock.advance(y);
  }
  CHECK(same < 5);
}

TEST_CASE("sync: held by hand sends nothing, not even a HELLO, until released") {
  World w;
  w.node.ingest(3);
  w.node.syncer->hold(true);
  w.node.run_for(1min);
  CHECK(w.cloud.requests().empty());
  auto status = w.node.syncer->status();
  CHECK(status.held);
  bool said = false;
  for (const auto& d : status.decisions) said = said || d.reason == "held by hand";
  CHECK(said);
  w.node.syncer->hold(false);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: switched off asks for nothing") {
  sync::Options options;
  options.enabled = false;
  World w(options);
  w.node.ingest(3);
  for (int i = 0; i < 10; ++i) w.clock.advance(w.node.syncer->step());
  CHECK(w.cloud.requests().empty());
  CHECK_FALSE(w.node.syncer->status().enabled);
}

TEST_CASE("sync: with nothing to send the hub is greeted every probe interval") {
  World w;
  w.node.run_for(1min);
  CHECK(w.cloud.requests().size() >= 5);
  CHECK(w.cloud.requests().size() <= 8);
}

TEST_CASE("sync: a hub that talks nonsense moves nothing, and the truth drains it all") {
  for (Lie lie : {Lie::garbage, Lie::older_watermark, Lie::acknowledges_the_future, Lie::always_gap, Lie::server_error}) {
    CAPTURE(static_cast<int>(lie));
    World w;
    w.node.ingest(10);
    REQUIRE(w.node.run_until_quiet());
    const uint64_t before = w.node.acked();
    for (int i = 0; i < 5; ++i) w.node.ingest(10);
    w.cloud.lie(lie);
    w.node.run_for(1h);
    // Where the HELLO is honest, it ends the nonsense at once: the hub does hold what it misreported.
    const bool honest_hello = lie == Lie::acknowledges_the_future || lie == Lie::always_gap;
    CHECK(w.node.syncer->status().last_error.empty() == honest_hello);
    CHECK((w.node.syncer->status().failures > 5) != honest_hello);
    CHECK(w.cloud.requests().size() < 400);  // an hour of nonsense is not an hour of hammering
    CHECK(w.node.acked() <= w.cloud.sequences("pump-1")[OutboxClass::telemetry].size());
    CHECK(w.node.acked() >= before);
    w.cloud.lie(Lie::none);
    REQUIRE(w.node.run_until_quiet());
    CHECK(w.hub_has_all());
    CHECK(w.node.syncer->status().last_error.empty());
  }
}

TEST_CASE("sync: an acknowledgement of what was never sent is ignored and reported") {
  World w;
  w.node.ingest(10);
  w.node.syncer->step();
  w.cloud.lie(Lie::acknowledges_the_future);
  w.node.syncer->step();
  CHECK(w.node.acked() == 0);
  CHECK(contains(w.node.syncer->status().last_error, "ignored"));
}

TEST_CASE("sync: a class that the hub refuses does not stop the others") {
  World w;
  w.node.queue(OutboxClass::alarm, "fire");
  w.node.syncer->step();
  w.cloud.lie(Lie::refuses);
  w.node.syncer->step();
  w.cloud.lie(Lie::none);
  w.node.ingest(5);
  w.node.syncer->step();
  CHECK(w.cloud.batches().back().outbox_class == OutboxClass::telemetry);
  CHECK(contains(w.node.syncer->status().last_error, "not today"));
  CHECK(contains(w.node.syncer->status().decisions[0].reason, "not today"));
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  CHECK(w.node.syncer->status().last_error.empty());
}

TEST_CASE("sync: a restored old disk image begins a new epoch and loses nothing it has") {
  World w;
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  w.node.stop();
  const auto image = w.node.dir / "image";
  std::filesystem::copy(w.node.dir / "store", image, std::filesystem::copy_options::recursive);
  w.node.start();
  for (int i = 0; i < 5; ++i) w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  const uint64_t old_epoch = w.node.store->identity().epoch;

  w.node.stop();  // the disk is older now than what the hub has seen
  std::filesystem::remove_all(w.node.dir / "store");
  std::filesystem::copy(image, w.node.dir / "store", std::filesystem::copy_options::recursive);
  w.node.start();
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.node.store->identity().epoch != old_epoch);
  CHECK(w.node.syncer->status().epochs_begun == 1);
  CHECK(w.hub_has_all());
  CHECK(w.cloud.receiver().nodes()->front().epochs == 2);
}

TEST_CASE("sync: a hub that claims to hold what it cannot show does not make the node begin an epoch") {
  World w;
  w.node.ingest(10);
  w.cloud.lie(Lie::holds_everything);
  w.node.run_for(24h);
  CHECK(w.node.syncer->status().epochs_begun == 0);
  CHECK(w.node.acked() == 0);
  CHECK(contains(w.node.syncer->status().last_error, "holds nothing behind"));
  w.cloud.lie(Lie::none);
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}

TEST_CASE("sync: what the hub lost after acknowledging it is declared on both sides, and the rest goes on") {
  World w;
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  w.cloud.save();
  const uint64_t kept = w.node.acked();
  w.node.ingest(10);
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  const uint64_t acked = w.node.acked();
  w.node.trim();
  w.cloud.restore();
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  const auto info = w.cloud.receiver().nodes()->front();
  REQUIRE(info.losses.size() == 1);
  CHECK(info.losses[0].range.first_seq == kept + 1);
  CHECK(info.losses[0].range.last_seq == acked);
  CHECK(info.lost == acked - kept);
  const auto status = w.node.syncer->status();
  CHECK(status.lost_at_hub == acked - kept);
  CHECK(contains(status.last_error, "lost"));
  CHECK(status.online);
  CHECK(w.cloud.sequences("pump-1")[OutboxClass::telemetry].count(acked + 1) == 1);
}

TEST_CASE("sync: a hub that was restored before anything was trimmed gets it again without a loss") {
  World w;
  w.cloud.save();
  w.node.ingest(10);
  w.node.syncer->step();
  w.cloud.lose_next_ack();
  w.node.syncer->step();  // applied, the node does not know
  w.cloud.restore();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
  CHECK(w.cloud.receiver().nodes()->front().lost == 0);
}

TEST_CASE("sync: a wiped hub is told who this is and takes what is left") {
  World w;
  w.node.ingest(10);
  REQUIRE(w.node.run_until_quiet());
  w.node.trim();
  w.cloud.wipe();
  w.node.ingest(10);
  const uint64_t acked = w.node.acked();
  REQUIRE(w.node.run_until_quiet());
  auto held = w.cloud.sequences("pump-1")[OutboxClass::telemetry];
  CHECK(*held.begin() == acked + 1);
}

TEST_CASE("sync: a killed node sends again what it cannot know to have arrived, once in effect") {
  World w;
  for (int i = 0; i < 5; ++i) w.node.ingest(10);
  w.node.syncer->step();
  w.cloud.lose_next_ack();
  w.node.syncer->step();
  w.node.restart();
  REQUIRE(w.node.run_until_quiet());
  CHECK(w.hub_has_all());
}
