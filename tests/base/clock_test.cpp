#include <catch2/catch.hpp>

#include "base/clock.h"

using namespace skerry;

TEST_CASE("clock: times are written and read back") {
  for (int64_t ns : {int64_t{0}, int64_t{1'764'000'000'123'456'789}, int64_t{-1}, int64_t{1'500'000'000}}) {
    CHECK(*parse_time(format_time(ns)) == ns);
  }
  CHECK(*parse_time("2026-11-23T10:00:00+02:00") == *parse_time("2026-11-23 08:00:00"));
  CHECK(*parse_time("1764000000123456789") == 1'764'000'000'123'456'789);
}

TEST_CASE("clock: what is no time is refused with an example") {
  for (const char* text : {"", "yesterday", "2026-13-01T00:00:00Z", "2026-11-23T08:04", "9999-01-01T00:00:00Z",
                           "2026-11-23T08:04:16Zzz"}) {
    auto result = parse_time(text);
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().code == Code::invalid);
  }
}
