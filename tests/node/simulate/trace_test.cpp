#include "node/simulate/trace.h"

#include <catch2/catch.hpp>

#include <map>

using namespace skerry;
using namespace skerry::simulate;

TEST_CASE("trace: lines become steps, remarks and a heading do not") {
  auto trace = parse_trace("seconds,technology,kbit_per_second,rtt_ms\n# a remark\n0, lte, 8000, 60\n10.5,none,0,0\n20,5g-sa,40000,30,1\r\n\n", "t.csv");
  REQUIRE(trace.ok());
  REQUIRE(trace->size() == 3);
  CHECK((*trace)[0].link.rate == 1'000'000);
  CHECK((*trace)[0].up);
  CHECK_FALSE((*trace)[1].up);
  CHECK((*trace)[1].at == std::chrono::milliseconds(10'500));
  CHECK((*trace)[2].link.technology == sync::Technology::nr_sa);
  CHECK((*trace)[2].link.roaming);
}

TEST_CASE("trace: what is no trace is refused with its line") {
  auto complaint = [](const std::string& csv) {
    auto trace = parse_trace(csv, "t.csv");
    REQUIRE_FALSE(trace.ok());
    return trace.error().message;
  };
  CHECK(complaint("") == "t.csv: no line of a trace: write seconds,technology,kbit_per_second,rtt_ms");
  CHECK(complaint("0,lte,1,1\n0,lte,1,1\n").find("t.csv:2: the time does not grow") == 0);
  CHECK(complaint("0,6g,1,1\n").find("'6g' is no technology") != std::string::npos);
  CHECK(complaint("0,lte,nan,1\n").find("t.csv:1:") == 0);
  CHECK(complaint("0,lte,1e300,1\n").find("t.csv:1:") == 0);
  CHECK(complaint("0,lte\n").find("write seconds") != std::string::npos);
}

TEST_CASE("trace: a drive changes its radio about every minute and a half, and an eighth of it has no link") {
  Random random(Catch::rngSeed());
  const auto trace = driving_trace(random, std::chrono::hours(24 * 10));
  std::map<bool, double> seconds;
  for (size_t i = 1; i < trace.size(); ++i) seconds[trace[i - 1].up] += std::chrono::duration<double>(trace[i].at - trace[i - 1].at).count();
  const double whole = seconds[true] + seconds[false];
  CHECK(seconds[false] / whole > 0.09);
  CHECK(seconds[false] / whole < 0.17);
  CHECK(static_cast<double>(trace.size()) / (whole / 60) > 0.5);
  CHECK(static_cast<double>(trace.size()) / (whole / 60) < 0.8);
}
