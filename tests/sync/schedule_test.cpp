// Seeded schedules of everything that goes wrong between a node and its hub. `./bench sync` runs 10,000 of them.
#include <catch2/catch.hpp>

#include <cstdlib>

#include "base/log.h"
#include "tests/support/sync_schedule.h"

using namespace skerry;

namespace {

constexpr uint64_t kSeeds = 25;

void play(uint64_t first) {
  const auto scratch = test::schedule_scratch();
  log::configure({.level = log::Level::off});
  uint64_t power_cuts = 0, images = 0, several = 0;
  for (uint64_t seed = first; seed < first + kSeeds; ++seed) {
    const test::ScheduleOutcome outcome = test::run_sync_schedule(seed, scratch);
    INFO("schedule seed " << seed);
    CHECK(outcome.wrong == "");
    power_cuts += outcome.power_cuts;
    images += outcome.images;
    several += outcome.most_on_the_way > 1;
  }
  log::configure({});
  CHECK(power_cuts + images + several > 20);  // the schedules are what they claim to be
}

}  // namespace

// SKERRY_SEED=79 sync_unit_test "[replay]": one schedule of the bench, with its log.
TEST_CASE("sync: replays one schedule", "[.][replay]") {
  const char* seed = std::getenv("SKERRY_SEED");
  REQUIRE(seed != nullptr);
  CHECK(test::run_sync_schedule(std::strtoull(seed, nullptr, 10), test::schedule_scratch()).wrong == "");
}

TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 1") { play(1); }
TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 26") { play(26); }
TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 51") { play(51); }
TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 76") { play(76); }
TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 101") { play(101); }
TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 126") { play(126); }
TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 151") { play(151); }
TEST_CASE("sync: over seeded schedules of failures the hub holds exactly what the node acknowledged, seeds from 176") { play(176); }
