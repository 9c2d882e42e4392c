#include <catch2/catch.hpp>
#include <cmath>

#include "base/random.h"
#include "base/records.h"

using namespace skerry;

TEST_CASE("records: a series' text is read back whatever its tags hold") {
  Random random(Catch::rngSeed());
  const std::string alphabet = "ab,={}\\ \"\xc3\xa9";
  for (int round = 0; round < 2000; ++round) {
    Series series{"n" + std::string(1, alphabet[random.below(alphabet.size())]), {}};
    for (uint64_t i = random.below(4); i > 0; --i) {
      std::string value = "v";
      for (uint64_t k = random.below(5); k > 0; --k) value += alphabet[random.below(alphabet.size())];
      series.tags["k" + std::to_string(i)] = value;
    }
    auto back = Series::parse(series.text());
    REQUIRE(back.ok());
    CHECK(*back == series);
  }
}

TEST_CASE("records: a text that is no series is refused") {
  for (const char* text : {"", "{a=b}", "x{", "x{a}", "x{a=b", "x{a=b}y", "x{a=b,a=c}", "x=y"}) {
    CHECK_FALSE(Series::parse(text).ok());
  }
}

TEST_CASE("records: a batch with a mistake names the field and the record") {
  Batch batch{{"imu", {}}, {1, 2}, {{"ax", std::vector<double>{1.0, NAN}, {}}}};
  auto status = batch.validate();
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().message.find("'ax' of record 1") != std::string::npos);
  batch.columns[0].present = {1, 0};
  CHECK(batch.validate().ok());
  batch.columns.push_back({"ay", std::vector<int64_t>{1}, {}});
  CHECK_FALSE(batch.validate().ok());
}
