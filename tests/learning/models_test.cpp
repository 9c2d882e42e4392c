#include "tests/learning/island.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::learning::test::Island;
using storage::ModelState;

TEST_CASE("models: a package found in the models folder serves as the first version, over restarts too") {
  Island island;
  island.package(1);
  island.start();
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(1).state == ModelState::serving);
  island.package(2);
  island.start();  // found, but not the first: a candidate
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(2).state == ModelState::candidate);
}

TEST_CASE("models: promotion retires and pins the version before, and releases older pins") {
  Island island;
  for (uint32_t v = 1; v <= 3; ++v) island.package(v, "linear " + std::to_string(v));
  island.start();  // of several unknown ones the first serves
  REQUIRE(island.engine->serving("toy") == 1u);
  REQUIRE(island.models->promote("toy", 3, "why not").ok());
  CHECK(island.version(1).pinned);
  CHECK(island.version(1).state == ModelState::retired);
  REQUIRE(island.models->promote("toy", 2, "better").ok());
  CHECK(island.engine->serving("toy") == 2u);
  CHECK(island.version(3).pinned);
  CHECK_FALSE(island.version(1).pinned);
  CHECK(island.engine->loaded().size() == 2);
  CHECK(island.models->promote("toy", 9, "").error().code == Code::not_found);
  CHECK(*island.models->next_version("toy") == 4);
}

TEST_CASE("models: rollback goes back to the pinned version once, and rejects the other") {
  Island island;
  island.package(1);
  island.start();
  CHECK(island.models->rollback("toy", "").error().code == Code::not_found);
  island.candidate(2, "linear 2");
  REQUIRE(island.models->promote("toy", 2, "better").ok());
  auto back = island.models->rollback("toy", "worse after all");
  REQUIRE(back.ok());
  CHECK(*back == 1);
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.version(2).reason.find("worse after all") != std::string::npos);
  CHECK(island.models->rollback("toy", "").error().code == Code::not_found);
  island.start();
  CHECK(island.engine->serving("toy") == 1u);
}

TEST_CASE("models: a serving package that is damaged at start is rejected and the last good one serves") {
  Island island;
  island.package(1);
  island.start();
  auto second = island.package(2, "linear 2");
  island.candidate(2, "linear 2");
  REQUIRE(island.models->promote("toy", 2, "better").ok());
  island.stop();
  std::filesystem::resize_file(second / "model.int8.pt", 2);
  island.start();
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(2).state == ModelState::rejected);
  CHECK(island.version(1).state == ModelState::serving);
  island.start();  // and stays so
  CHECK(island.engine->serving("toy") == 1u);
}

TEST_CASE("models: no boot loop when every package is damaged") {
  Island island;
  auto only = island.package(1);
  island.start();
  island.stop();
  std::filesystem::remove(only / "manifest");
  island.start();
  CHECK(island.engine->serving("toy") == std::nullopt);
  CHECK(island.version(1).state == ModelState::rejected);
}

TEST_CASE("models: a candidate that answers NaN is refused and the serving version stays") {
  Island island;
  island.package(1);
  island.start();
  island.candidate(2, "nan");
  CHECK_FALSE(island.models->promote("toy", 2, "").ok());
  CHECK(island.engine->serving("toy") == 1u);
  CHECK(island.version(1).state == ModelState::serving);
}

TEST_CASE("models: promotion goes on like the first time for thirty rounds, in bounded memory and disk") {
  Island island;
  island.package(1);
  island.start();
  for (uint32_t v = 2; v <= 31; ++v) {
    island.candidate(v, "linear " + std::to_string(v));
    REQUIRE(island.models->promote("toy", v, "round").ok());
    REQUIRE(island.engine->serving("toy") == v);
    CHECK(island.engine->loaded().size() == 2);
  }
  auto folders = std::filesystem::directory_iterator(island.dir / "models/toy");
  CHECK(std::distance(begin(folders), end(folders)) <= 8);
  auto back = island.models->rollback("toy", "");
  REQUIRE(back.ok());
  CHECK(*back == 30);
}

TEST_CASE("models: import copies, is idempotent, and refuses another package of the same number") {
  Island island;
  island.package(1);
  island.start();
  auto info = island.info(7);
  auto outside = skerry::learning::test::make_package(island.dir / "outside", info, "linear 7");
  auto imported = island.models->import(outside);
  REQUIRE(imported.ok());
  CHECK(imported->state == ModelState::candidate);
  CHECK(island.models->import(outside).ok());
  auto other = skerry::learning::test::make_package(island.dir / "other", info, "linear 8");
  CHECK(island.models->import(other).error().code == Code::invalid);
  CHECK(island.models->reject("toy", 1, "").error().code == Code::invalid);
  CHECK(island.models->reject("toy", 7, "not wanted").ok());
  CHECK(island.version(7).state == ModelState::rejected);
}
