// Seeded schedules of everything that goes wrong between a node and its hub, in simulated time. Whatever the order: what the
// store acknowledged is at the hub, each record once.
#include <catch2/catch.hpp>

#include "base/random.h"
#include "tests/sync/make.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;
using namespace std::chrono_literals;
using skerry::test::FakeCloud;
using skerry::test::SimClock;

namespace {

void run_schedule(uint64_t seed) {
  Random random(seed);
  SimClock clock;
  FakeCloud cloud(clock);
  sync::Options options;
  options.batch_bytes_max = 200 + random.below(4000);
  options.backoff_max = 10s;
  if (random.chance(0.3)) options.rate_bytes_per_second = 2000 + random.below(20'000);
  Node node(clock, cloud, options);
  for (int act = 0; act < 40; ++act) {
    switch (random.below(14)) {
      case 0: cloud.down(); break;
      case 1:
      case 2: cloud.up(); break;
      case 3: cloud.lose_next_ack(1 + static_cast<int>(random.below(2))); break;
      case 4: cloud.lose_next_request(); break;
      case 5: cloud.duplicate_next(); break;
      case 6: cloud.corrupt_next_reply(); break;
      case 7: cloud.corrupt_next_request(); break;
      case 8: cloud.delay_next_request(); break;
      case 9: node.restart(); break;
      case 10: cloud.restart(); break;
      case 11: cloud.lie(random.chance(0.5) ? static_cast<FakeCloud::Lie>(1 + random.below(6)) : FakeCloud::Lie::none); break;
      case 12: node.queue(random.chance(0.5) ? OutboxClass::model : OutboxClass::alarm, "event " + std::to_string(act)); break;
      default: break;
    }
    for (uint64_t n = random.below(3); n > 0; --n) node.ingest(1 + random.below(30), random.chance(0.5) ? "imu{device=a}" : "temperature");
    for (uint64_t n = random.below(8); n > 0; --n) clock.advance(node.syncer->step());
  }
  cloud.up();
  cloud.lie(FakeCloud::Lie::none);
  REQUIRE(node.run_until_quiet());
  REQUIRE(cloud.received_once() == node.committed);
  REQUIRE(cloud.receiver().nodes()->front().lost == 0);
  REQUIRE(cloud.receiver().nodes()->front().quarantined == 0);
  REQUIRE(node.syncer->status().epochs_begun == 0);
}

}  // namespace

TEST_CASE("sync: over 300 seeded schedules of failures the hub holds exactly what the node acknowledged") {
  for (uint64_t i = 0; i < 300; ++i) {
    const uint64_t seed = Catch::rngSeed() * 1000ULL + i;
    INFO("schedule seed " << seed);
    run_schedule(seed);
  }
}
