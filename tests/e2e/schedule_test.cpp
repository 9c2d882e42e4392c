#include "tests/e2e/schedule.h"

#include <catch2/catch.hpp>

#include <iostream>

#include "tests/support/temp_dir.h"

using namespace skerry;

TEST_CASE("schedule: outages, lost answers and kill -9 of node and hub lose nothing and repeat nothing") {
  for (uint64_t seed : {1, 2, 3}) {
    test::TempDir folder;
    auto outcome = e2e::run_schedule({.seed = seed, .steps = 20}, folder.path());
    INFO((outcome.ok() ? outcome.value().text() : outcome.error().message));
    REQUIRE(outcome.ok());
    std::cout << outcome.value().text() << "\n";
    CHECK(outcome.value().acknowledged > 0);
    CHECK(outcome.value().passed);
  }
}

TEST_CASE("schedule: a comparison finds what is missing, twice or foreign") {
  // That the schedules can fail at all is shown in records_test.cpp; here: that an outcome with a finding does not pass.
  e2e::ScheduleOutcome outcome;
  outcome.detail = "at the hub: 1 missing";
  CHECK_FALSE(outcome.passed);
  CHECK(outcome.text().find("1 missing") != std::string::npos);
}
