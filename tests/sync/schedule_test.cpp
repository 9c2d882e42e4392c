// Seeded schedules of everything that goes wrong between a node and its hub. `./bench sync` runs 10,000 of them.
#include <catch2/catch.hpp>

#include "base/log.h"
#include "tests/support/sync_schedule.h"

using namespace skerry;

TEST_CASE("sync: over 300 seeded schedules of failures the hub holds exactly what the node acknowledged") {
  const auto scratch = test::schedule_scratch();
  log::configure({.level = log::Level::off});
  uint64_t power_cuts = 0, images = 0, several = 0, dropped = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const test::ScheduleOutcome outcome = test::run_sync_schedule(seed, scratch);
    INFO("schedule seed " << seed);
    CHECK(outcome.wrong == "");
    power_cuts += outcome.power_cuts;
    images += outcome.images;
    several += outcome.most_on_the_way > 1;
    dropped += outcome.dropped;
  }
  log::configure({});
  CHECK(power_cuts > 300);  // the schedules are what they claim to be
  CHECK(images > 50);
  CHECK(several > 100);
  CHECK(dropped > 0);
}
