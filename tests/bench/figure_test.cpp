#include "tests/bench/figure.h"

#include <catch2/catch.hpp>

#include <limits>

using namespace skerry::bench;

TEST_CASE("figure: a line says name, value, unit, target and whether it holds") {
  CHECK(Figure{"ready", 240, "ms", 1000, Better::lower}.line() == "ready 240 ms target <=1000 ok");
  CHECK(Figure{"ready", 1240, "ms", 1000, Better::lower}.line() == "ready 1240 ms target <=1000 short");
  CHECK(Figure{"accuracy", 91.5, "%", 92, Better::higher}.line() == "accuracy 91.5 % target >=92 short");
  CHECK(Figure{"p99", 3, "ms", 4, Better::lower, Peer{"idle", 1.25}}.line() == "p99 3 ms ratio idle 1.25 target <=4 ok");
}

TEST_CASE("figure: NaN never holds; skipped figures and those of a smoke run are not judged") {
  CHECK_FALSE(Figure{"x", std::numeric_limits<double>::quiet_NaN(), "", 1, Better::lower}.holds());
  CHECK_FALSE(Figure{"x", std::numeric_limits<double>::quiet_NaN(), "", 1, Better::higher}.holds());
  Figure skipped{"x", 9, "", 1, Better::lower};
  skipped.skipped = "no data";
  CHECK(skipped.holds());
  CHECK(skipped.line() == "x skipped: no data");
}
