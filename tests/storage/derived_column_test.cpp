#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "storage/chunk.h"
#include "tests/storage/forge_chunk.h"
#include "tests/support/sensor_data.h"

using namespace skerry;
using namespace skerry::storage;
using storage::test::ForgedColumn;
using storage::test::forge_chunk;
using storage::test::forge_derived;

namespace {

constexpr int64_t kStart = 1'764'000'000'000'000'000;
constexpr char kDerivedFormat = 2;

Batch batch_of(std::vector<std::vector<double>> columns) {
  Batch batch;
  for (size_t i = 0; i < columns.front().size(); ++i) batch.times.push_back(kStart + static_cast<int64_t>(i) * 1'000'000'000);
  char name = 'a';
  for (auto& values : columns) batch.columns.push_back({std::string(1, name++), std::move(values), {}});
  return batch;
}

std::string encoded(const Batch& batch, int zstd_level = 0) {
  auto bytes = encode_chunk(batch, {.zstd_level = zstd_level});
  REQUIRE(bytes.ok());
  return *bytes;
}

std::vector<uint64_t> patterns(const Column& column) {
  std::vector<uint64_t> bits;
  for (double v : std::get<0>(column.values)) bits.push_back(std::bit_cast<uint64_t>(v));
  return bits;
}

// Returns the bytes.
std::string check_round_trip(const Batch& batch) {
  for (int level : {3, 0}) {
    const std::string bytes = encoded(batch, level);
    auto back = decode_chunk(bytes);
    INFO((back.ok() ? "" : back.error().message));
    REQUIRE(back.ok());
    REQUIRE(back->times == batch.times);
    REQUIRE(back->columns.size() == batch.columns.size());
    for (size_t c = 0; c < batch.columns.size(); ++c) REQUIRE(patterns(back->columns[c]) == patterns(batch.columns[c]));
    if (level == 0) return bytes;
  }
  return {};
}

double rounded(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return std::strtod(text, nullptr);
}

// Kilograms of water to one of dry air, from degrees and percent (the Magnus form of the saturation pressure).
double humidity_ratio(double temperature, double humidity) {
  const double pressure = humidity / 100 * 611.2 * std::exp(17.62 * temperature / (243.12 + temperature));
  return 0.622 * pressure / (101'325 - pressure);
}

struct Climate {
  std::vector<double> temperature, humidity, ratio;
};
Climate climate(Random& random, size_t rows) {
  Climate out;
  double t = 21, h = 30;
  for (size_t i = 0; i < rows; ++i) {
    t += random.normal() * 0.05 + (21 - t) * 0.01;
    h += random.normal() * 0.2 + (30 - h) * 0.01;
    out.temperature.push_back(std::round(t * 100) / 100);
    out.humidity.push_back(std::round(h * 10) / 10);
    out.ratio.push_back(rounded(humidity_ratio(out.temperature.back(), out.humidity.back()), 15));
  }
  return out;
}

Batch climate_batch(size_t rows) {
  Random random(5);
  Climate c = climate(random, rows);
  return batch_of({c.ratio, c.temperature, c.humidity});
}

size_t column_bytes(const std::string& chunk, size_t column) { return read_chunk_header(chunk)->columns.at(column).bytes; }

}  // namespace

TEST_CASE("derived columns: what follows from two other fields takes a fraction of its own digits") {
  const Batch batch = climate_batch(8192);
  const std::string bytes = check_round_trip(batch);
  CHECK(bytes[1] == kDerivedFormat);
  Batch alone = batch;
  alone.columns.resize(1);
  CHECK(column_bytes(bytes, 0) < column_bytes(encoded(alone), 0) / 3);
}

TEST_CASE("derived columns: a product of two measurements is found, rounded or not") {
  Random random(6);
  std::vector<double> volts, amperes, watts, floats;
  for (size_t i = 0; i < 4096; ++i) {
    volts.push_back(static_cast<double>(22'000 + random.below(2000)) / 100);
    amperes.push_back(static_cast<double>(random.below(16'000)) / 1000);
    watts.push_back(volts.back() * amperes.back());
    floats.push_back(static_cast<float>(watts.back()));
  }
  for (const auto& power : {watts, floats}) {
    const std::string bytes = check_round_trip(batch_of({volts, amperes, power}));
    CHECK(bytes[1] == kDerivedFormat);
    CHECK(column_bytes(bytes, 2) < 4096 * 5);
  }
}

TEST_CASE("derived columns: rows that do not follow cost themselves, wherever they are") {
  const Batch good = climate_batch(4096);
  const size_t least = column_bytes(encoded(good), 0);
  Batch batch = good;
  auto& ratio = std::get<0>(batch.columns[0].values);
  ratio[0] *= 3;
  ratio[1000] = -17;
  ratio[1001] = ratio[1000];
  ratio[4095] = 1e9;
  const std::string bytes = check_round_trip(batch);
  CHECK(bytes[1] == kDerivedFormat);
  CHECK(column_bytes(bytes, 0) < least * 3 / 2 + 256);
}

TEST_CASE("derived columns: any columns come back to the last bit, whether they follow from others or not") {
  Random random(Catch::rngSeed());
  size_t derived = 0;
  for (int round = 0; round < 150; ++round) {
    const size_t rows = 256 + random.below(round % 10 == 0 ? 3000 : 400);
    const double x_size = std::pow(10, static_cast<double>(random.below(9)) - 4), y_size = std::pow(10, static_cast<double>(random.below(9)) - 4);
    const double z_size = random.chance(0.1) ? 1e290 : random.chance(0.1) ? 1e-290 : 1;
    const uint64_t kind = random.below(5), how = random.below(4), steps = random.chance(0.5) ? 40 : 100'000;
    const bool constant = random.chance(0.05);
    std::vector<double> x, y, z;
    for (size_t i = 0; i < rows; ++i) {
      x.push_back(constant ? x_size : static_cast<double>(random.below(steps)) / static_cast<double>(steps) * x_size);
      y.push_back((static_cast<double>(random.below(steps)) / static_cast<double>(steps) - 0.5) * y_size);
      const double a = x.back() / x_size, b = y.back() / y_size;
      double value = kind == 0 ? 3 * a + b : kind == 1 ? a * b : kind == 2 ? std::exp(a) * b : kind == 3 ? std::sqrt(a + 1) + b * b : random.normal();
      if (random.chance(0.01)) value = random.normal() * 1e6;
      if (how == 1) value = static_cast<float>(value);
      if (how == 2) value = rounded(value, 15);
      z.push_back(how == 3 ? std::round(value * 1000) / 1000 : value * z_size);
    }
    if (random.chance(0.1)) z[random.below(rows)] = std::numeric_limits<double>::quiet_NaN();
    if (random.chance(0.1)) z[random.below(rows)] = -0.0;
    if (random.chance(0.1)) y[random.below(rows)] = std::numeric_limits<double>::infinity();
    if (random.chance(0.1)) x[random.below(rows)] = 1.7976931348623157e308;
    if (random.chance(0.1)) y[random.below(rows)] = -1.7976931348623157e308;
    derived += check_round_trip(batch_of({x, z, y}))[1] == kDerivedFormat ? 1 : 0;
  }
  CHECK(derived > 30);
}

TEST_CASE("derived columns: a chunk without one is of the format that older programs read") {
  Batch batch = climate_batch(1000);
  batch.columns.erase(batch.columns.begin() + 1);
  CHECK(encoded(batch)[1] == 1);
}

TEST_CASE("derived columns: one that is asked for alone takes what it is derived from along, and only that") {
  Batch batch = climate_batch(1000);
  batch.columns.push_back({"other", std::vector<double>(1000, 4.5), {}});
  std::string bytes = encoded(batch);
  REQUIRE(bytes[1] == kDerivedFormat);
  const std::optional<std::vector<std::string>> wanted{{"a"}};
  auto alone = decode_chunk(bytes, {}, wanted);
  REQUIRE(alone.ok());
  REQUIRE(alone->columns.size() == 1);
  CHECK(patterns(alone->columns[0]) == patterns(batch.columns[0]));
  CHECK(decode_chunk(bytes, {.bytes_max = 4 * 8 * 1000}, wanted).ok());
  CHECK(decode_chunk(bytes, {.bytes_max = 3 * 8 * 1000}, wanted).error().code == Code::corrupt);
  CHECK(decode_chunk(bytes, {.bytes_max = 2 * 8 * 1000}, std::vector<std::string>{"b"}).ok());
  const size_t last_of_humidity = bytes.size() - column_bytes(bytes, 3) - 1;
  bytes[last_of_humidity] = static_cast<char>(bytes[last_of_humidity] ^ 1);
  CHECK(decode_chunk(bytes, {}, wanted).error().code == Code::corrupt);
  CHECK(decode_chunk(bytes, {}, std::vector<std::string>{"b", "other"}).ok());
}

TEST_CASE("derived columns: every truncation and every flipped bit is corrupt") {
  const std::string bytes = encoded(climate_batch(300));
  REQUIRE(bytes[1] == kDerivedFormat);
  for (size_t n = 0; n < bytes.size(); ++n) REQUIRE(decode_chunk(std::string_view(bytes).substr(0, n)).error().code == Code::corrupt);
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    std::string flipped = bytes;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    REQUIRE(decode_chunk(flipped).error().code == Code::corrupt);
  }
}

TEST_CASE("derived columns: from nothing but whole columns of floats that are not derived themselves") {
  const std::string line("\x01\x02\x02", 3);  // an integer stream: 1, 2, 3...
  const std::string surface = std::string("\x01\x00", 2) + std::string(20, '\0') + std::string("\x00\x00\x00", 3) + line;
  auto from = [&](char x, char y) { return std::string{x, y, '\0', '\0'} + surface; };
  auto good = decode_chunk(forge_derived(3, from(0, 1)));
  REQUIRE(good.ok());
  CHECK(std::get<0>(good->columns[2].values) == std::vector<double>{1, 2, 3});
  CHECK(!decode_chunk(forge_derived(3, from(0, 2))).ok());  // itself
  CHECK(!decode_chunk(forge_derived(3, from(3, 1))).ok());
  CHECK(!decode_chunk(forge_derived(3, from(0, 1) + "x")).ok());
  const ForgedColumn integers{.type = FieldType::int64, .rows = 3, .count = 3, .bytes = line};
  const ForgedColumn gaps{.flags = 1, .rows = 3, .count = 0};
  ForgedColumn derived{.flags = 4, .rows = 3, .count = 3, .bytes = from(0, 0)};
  CHECK(!decode_chunk(forge_chunk({integers, derived})).ok());
  CHECK(!decode_chunk(forge_chunk({gaps, derived})).ok());
  CHECK(!decode_chunk(forge_chunk({derived, derived})).ok());
  derived.type = FieldType::int64;
  CHECK(!read_chunk_header(forge_chunk({derived})).ok());
  derived = {.flags = 5, .rows = 3, .count = 2};
  CHECK(!read_chunk_header(forge_chunk({derived})).ok());
}

TEST_CASE("derived columns: bytes that hold their checksums but not together are refused, never read past") {
  Random random(Catch::rngSeed());
  const std::string bytes = encoded(climate_batch(300));
  const std::string sound = bytes.substr(bytes.size() - column_bytes(bytes, 1) - column_bytes(bytes, 2) - column_bytes(bytes, 0), column_bytes(bytes, 0));
  size_t decoded = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string part = sound;
    part[0] = 0;
    part[1] = 1;
    for (uint64_t n = 1 + random.below(4); n-- > 0;) {
      part[random.below(random.chance(0.7) ? 48 : part.size())] = static_cast<char>(random.chance(0.3) ? random.below(5) : random.below(256));
    }
    if (random.chance(0.2)) part.resize(random.below(part.size()));
    auto read = decode_chunk(forge_derived(300, part), {.rows_max = 300, .bytes_max = 1 << 16});
    decoded += read.ok() ? 1 : 0;
    if (!read.ok()) REQUIRE(read.error().code == Code::corrupt);
  }
  CHECK(decoded > 0);
}

TEST_CASE("derived columns: the humidity ratio of the Occupancy data is one of them") {
  const std::vector<Batch> batches = skerry::test::occupancy_batches();
  for (const Batch& batch : batches) CHECK(check_round_trip(batch)[1] == kDerivedFormat);
}
