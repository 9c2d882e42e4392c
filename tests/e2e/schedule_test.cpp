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

TEST_CASE("schedule: the same between two network namespaces, where packets get lost in either direction") {
  for (uint64_t seed : {1, 2}) {
    test::TempDir folder;
    auto outcome = e2e::run_schedule({.seed = seed, .steps = 20, .between = e2e::Between::namespaces}, folder.path());
    if (!outcome.ok() && outcome.error().message.find("network namespace") != std::string::npos) {
      std::cout << "SKIPPED: " << outcome.error().message << "\n";
      return;
    }
    INFO((outcome.ok() ? outcome.value().text() : outcome.error().message));
    REQUIRE(outcome.ok());
    std::cout << outcome.value().text() << "\n";
    CHECK(outcome.value().acknowledged > 0);
    CHECK(outcome.value().passed);
  }
}
