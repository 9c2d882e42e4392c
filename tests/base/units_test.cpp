#include <catch2/catch.hpp>

#include "base/units.h"

using namespace skerry;
using namespace std::chrono_literals;

TEST_CASE("units: sizes and durations as people write them") {
  CHECK(*parse_bytes("64 MiB") == 64u << 20);
  CHECK(*parse_bytes("10MB") == 10'000'000u);
  CHECK(*parse_bytes("512") == 512u);
  CHECK(*parse_duration("250ms") == 250ms);
  CHECK(*parse_duration("1.5h") == 90min);
  CHECK(*parse_duration("7d") == 168h);
}

TEST_CASE("units: nonsense is refused") {
  for (const char* text : {"", "MiB", "-1 B", "1 XB", "nan", "inf B", "1e30 TB"}) CHECK_FALSE(parse_bytes(text).ok());
  for (const char* text : {"", "5", "5 fortnights", "-3s", "1e30d"}) CHECK_FALSE(parse_duration(text).ok());
}
