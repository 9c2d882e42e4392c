#include "storage/chunk.h"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <limits>

#include "base/random.h"
#include "storage/internal/bit_packing.h"
#include "storage/internal/float_scale.h"
#include "tests/storage/forge_chunk.h"
#include "tests/support/sensor_data.h"

using namespace skerry;
using namespace skerry::storage;
using storage::test::forge_chunk;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kStart = 1'764'000'000'000'000'000;

std::vector<int64_t> regular_times(size_t rows, int64_t step = 20'000'000) {
  std::vector<int64_t> times(rows);
  for (size_t i = 0; i < rows; ++i) times[i] = kStart + static_cast<int64_t>(i) * step;
  return times;
}

Batch one_column(Column::Values values) {
  Batch batch;
  batch.columns = {{"v", std::move(values), {}}};
  batch.times = regular_times(batch.columns[0].size());
  return batch;
}

std::vector<uint64_t> patterns(const std::vector<double>& values) {
  std::vector<uint64_t> bits;
  for (double v : values) bits.push_back(std::bit_cast<uint64_t>(v));
  return bits;
}

// Bit for bit, so that NaN payloads and the sign of zero count.
void require_same(const Batch& back, const Batch& batch) {
  REQUIRE(back.times == batch.times);
  REQUIRE(back.columns.size() == batch.columns.size());
  for (size_t c = 0; c < batch.columns.size(); ++c) {
    const Column &a = back.columns[c], &b = batch.columns[c];
    REQUIRE(a.name == b.name);
    REQUIRE(a.present == b.present);
    REQUIRE(a.type() == b.type());
    if (b.type() == FieldType::float64) REQUIRE(patterns(std::get<0>(a.values)) == patterns(std::get<0>(b.values)));
    else REQUIRE(a.values == b.values);
  }
}

std::string encoded(const Batch& batch, const ChunkOptions& options = {}) {
  auto bytes = encode_chunk(batch, options);
  INFO((bytes.ok() ? "" : bytes.error().message));
  REQUIRE(bytes.ok());
  return *bytes;
}

size_t check_round_trip(const Batch& batch) {
  size_t plain = 0;
  for (int level : {0, 3}) {
    const std::string bytes = encoded(batch, {.zstd_level = level});
    auto back = decode_chunk(bytes);
    INFO((back.ok() ? "" : back.error().message));
    REQUIRE(back.ok());
    require_same(*back, batch);
    if (level == 0) plain = bytes.size();
    else REQUIRE(bytes.size() <= plain + 8);
  }
  return plain;
}

// How sensors, counters and people make numbers.
double random_float(Random& random, int kind, double& level) {
  switch (kind) {
    case 0: return random.normal() * 1e6;
    case 1: return static_cast<double>(static_cast<int64_t>(random.below(4000)) - 2000) * 3.125e-05;
    case 2: return static_cast<double>(random.below(100'000)) / 1000;
    case 3: return level += random.chance(0.1) ? 0.5 : 0;
    case 4: return std::bit_cast<double>(random());
    case 5: return static_cast<float>(level += random.normal());
    case 6: return random.chance(0.02) ? kNan : 21.5;
    default: {
      const double some[] = {0.0, -0.0, kInf, -kInf, kNan, 5e-324, 1.7976931348623157e308, 0x1p53 + 2, -0x1p51, 0.1};
      return some[random.below(10)];
    }
  }
}

int64_t random_integer(Random& random, int kind, int64_t& level) {
  switch (kind) {
    case 0: return static_cast<int64_t>(random());
    case 1: return level += 1000 * static_cast<int64_t>(random.below(5));
    case 2: return random.chance(0.5) ? INT64_MIN : INT64_MAX;
    case 3: return static_cast<int64_t>(random.below(3));
    default: return level = random.chance(0.05) ? static_cast<int64_t>(random()) : level;
  }
}

Batch random_batch(Random& random, size_t rows) {
  Batch batch;
  int64_t time = kStart;
  const uint64_t jitter = uint64_t{1} << random.below(40);
  for (size_t i = 0; i < rows; ++i) batch.times.push_back(time += 1 + static_cast<int64_t>(random.below(jitter)));
  for (uint64_t c = random.below(5); c-- > 0;) {
    Column column;
    column.name = "field" + std::to_string(c);
    if (rows > 0 && random.chance(0.4)) {
      column.present.resize(rows);
      for (uint8_t& p : column.present) p = random.chance(0.7);
      column.present[random.below(rows)] = 0;
    }
    auto fill = [&](auto values, auto make) {
      values.resize(rows);
      for (size_t i = 0; i < rows; ++i) {
        if (column.has(i)) values[i] = make();
      }
      column.values = std::move(values);
    };
    const int kind = static_cast<int>(random.below(8));
    double level = random.normal() * 100;
    int64_t count = static_cast<int64_t>(random.below(1'000'000));
    switch (random.below(4)) {
      case 0: fill(std::vector<double>(), [&] { return random_float(random, kind, level); }); break;
      case 1: fill(std::vector<int64_t>(), [&] { return random_integer(random, kind % 5, count); }); break;
      case 2: fill(std::vector<uint8_t>(), [&] { return static_cast<uint8_t>(random.below(2)); }); break;
      default:
        fill(std::vector<std::string>(),
             [&] { return std::string(random.below(kind * 4 + 1), static_cast<char>('a' + random.below(26))); });
    }
    batch.columns.push_back(std::move(column));
  }
  return batch;
}

Batch every_type() {
  Batch batch;
  batch.times = regular_times(5);
  batch.columns = {{"f", std::vector<double>{1.5, -2, 0, 8, 0.25}, {1, 1, 0, 1, 1}},
                   {"i", std::vector<int64_t>{-7, 5, 5, 9, 1}, {}},
                   {"b", std::vector<uint8_t>{1, 0, 1, 1, 0}, {}},
                   {"s", std::vector<std::string>{"on", "off", "", "on", "on"}, {}},
                   {"none", std::vector<double>(5), {0, 0, 0, 0, 0}}};
  return batch;
}

}  // namespace

TEST_CASE("bit packing: numbers of every width come back, in whole blocks and in what is left") {
  using namespace skerry::storage::internal;
  Random random(Catch::rngSeed());
  for (unsigned width = 0; width <= 64; ++width) {
    for (size_t count : {kPackedBlock, size_t{1}, size_t{7}, size_t{127}}) {
      uint64_t in[kPackedBlock] = {}, out[kPackedBlock] = {};
      for (size_t i = 0; i < count; ++i) in[i] = width == 0 ? 0 : random() >> (64 - width);
      Writer bytes;
      pack(in, count, width, bytes);
      REQUIRE(bytes.bytes().size() == packed_bytes(count, width));
      unpack(bytes.bytes(), count, width, out);
      REQUIRE(std::equal(in, in + count, out));
    }
  }
}

TEST_CASE("chunk: what is encoded is decoded, whatever the types, numbers and gaps") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 400; ++round) check_round_trip(random_batch(random, 1 + random.below(round % 10 == 0 ? 3000 : 300)));
}

TEST_CASE("chunk: hostile floats come back to the last bit") {
  const double payload = std::bit_cast<double>(uint64_t{0x7ff4dead0000beef});
  std::vector<double> values = {0.0, -0.0, kInf, -kInf, kNan, -kNan, payload, 5e-324, -5e-324, 2.2250738585072014e-308,
                                1.7976931348623157e308, 0x1p51, 0x1p52 + 1, 0x1p53, 0.1, 1e22, 1e23};
  check_round_trip(one_column(values));
  for (double value : values) check_round_trip(one_column(std::vector<double>(200, value)));
  std::vector<double> among(1000, 21.375);  // each of them among ordinary ones
  for (size_t i = 0; i < values.size(); ++i) among[i * 50 + 3] = values[i];
  check_round_trip(one_column(among));
}

TEST_CASE("chunk: extreme integers and times come back") {
  check_round_trip(one_column(std::vector<int64_t>{INT64_MIN, INT64_MAX, 0, -1, INT64_MIN, INT64_MIN, INT64_MAX}));
  check_round_trip(one_column(std::vector<int64_t>{INT64_MIN, 0}));
  Batch batch = one_column(std::vector<int64_t>{1, 2, 3, 4});
  batch.times = {INT64_MIN, -1, 0, INT64_MAX};
  check_round_trip(batch);
}

TEST_CASE("chunk: regular times cost almost nothing, jitter only itself, gaps one exception") {
  Batch batch;
  batch.times = regular_times(8192);
  const size_t none = check_round_trip(batch);
  CHECK(none < 64);
  Random random(7);
  for (int64_t& time : batch.times) time += static_cast<int64_t>(random.below(4096));  // 4 us
  CHECK(check_round_trip(batch) < 8192 * 15 / 8);
  batch.times = regular_times(8192);
  for (size_t i = 4000; i < batch.rows(); ++i) batch.times[i] += 3'600'000'000'000;
  CHECK(check_round_trip(batch) < none + 8192 * 5 / 128);
  batch.times = regular_times(8192, 1'000'000);
  for (int64_t& time : batch.times) time += 100'000 * static_cast<int64_t>(random.below(8));  // 0.1 ms clock
  CHECK(check_round_trip(batch) < 8192 * 5 / 8);
}

TEST_CASE("chunk: counts times a scale and decimal numbers take the bits of the counts") {
  Random random(3);
  for (double scale : {3.125e-05, 0.001, 0.0005, 1.0 / 3, 0.061 / 1000, 9.80665 / 16384}) {
    std::vector<double> values(4096);
    for (double& v : values) v = static_cast<double>(static_cast<int64_t>(random.below(1024)) - 512) * scale;
    INFO(scale);
    CHECK(check_round_trip(one_column(values)) < 4096 * 10 / 8 + 4096 * 6 / 128 + 128);
  }
  std::vector<double> decimals(4096);
  for (double& v : decimals) v = static_cast<double>(random.below(1024)) / 100;
  CHECK(check_round_trip(one_column(decimals)) < 4096 * 10 / 8 + 4096 * 6 / 128 + 128);
  decimals[77] = std::acos(-1);  // one odd one costs itself
  CHECK(check_round_trip(one_column(decimals)) < 4096 * 10 / 8 + 4096 * 6 / 128 + 256);
}

TEST_CASE("chunk: repeating values take runs or a dictionary") {
  Random random(11);
  std::vector<double> steps(8192), few(8192);
  double level = 0;
  for (double& v : steps) v = level = random.chance(0.002) ? random.normal() : level;
  CHECK(check_round_trip(one_column(steps)) < 600);
  const std::vector<double> names = {random.normal(), random.normal(), random.normal(), random.normal()};
  for (double& v : few) v = names[random.below(4)];
  CHECK(check_round_trip(one_column(few)) < 8192 / 4 + 600);
  std::vector<std::string> states(8192);
  for (std::string& s : states) s = random.chance(0.5) ? "running" : "a rather long name of a state";
  CHECK(check_round_trip(one_column(states)) < 8192 / 8 + 700);
}

TEST_CASE("chunk: floats that are nothing but noise take no more than they are") {
  Random random(13);
  std::vector<double> noise(4096);
  for (double& v : noise) v = std::bit_cast<double>(random());
  CHECK(check_round_trip(one_column(noise)) < 4096 * 8 + 128);
}

TEST_CASE("chunk: the header tells what aggregates need, without decoding") {
  auto header = read_chunk_header(encoded(every_type()));
  REQUIRE(header.ok());
  CHECK(header->rows == 5);
  CHECK(header->first_ns == kStart);
  CHECK(header->last_ns == kStart + 4 * 20'000'000);
  REQUIRE(header->columns.size() == 5);
  const auto &f = header->columns[0], &i = header->columns[1], &b = header->columns[2], &s = header->columns[3], &none = header->columns[4];
  CHECK(f.name == "f");
  CHECK(f.type == FieldType::float64);
  CHECK(f.count == 4);
  CHECK(std::get<Extent<double>>(f.extent) == Extent<double>{-2, 8, 1.5, 0.25});
  CHECK(f.sum == 7.75);
  CHECK(std::get<Extent<int64_t>>(i.extent) == Extent<int64_t>{-7, 9, -7, 1});
  CHECK(i.sum == 13);
  CHECK(std::get<Extent<int64_t>>(b.extent) == Extent<int64_t>{0, 1, 1, 0});
  CHECK(b.sum == 3);
  CHECK(s.type == FieldType::string);
  CHECK(s.count == 5);
  CHECK(std::holds_alternative<std::monostate>(s.extent));
  CHECK(none.count == 0);
  CHECK(std::holds_alternative<std::monostate>(none.extent));
}

TEST_CASE("chunk: aggregates of the header are those of a scan") {
  Random random(Catch::rngSeed());
  std::vector<double> values(3000);
  for (double& v : values) v = random.chance(0.01) ? kNan : random.normal();
  auto column = read_chunk_header(encoded(one_column(values)))->columns.at(0);
  double low = kInf, high = -kInf, sum = 0;
  for (double v : values) {
    sum += v;
    if (std::isnan(v)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const auto extent = std::get<Extent<double>>(column.extent);
  CHECK(extent.min == low);
  CHECK(extent.max == high);
  CHECK(std::isnan(column.sum) == std::isnan(sum));
  CHECK(patterns({extent.first, extent.last}) == patterns({values.front(), values.back()}));

  std::erase_if(values, [](double v) { return std::isnan(v); });
  sum = 0;
  for (double v : values) sum += v;
  CHECK(read_chunk_header(encoded(one_column(values)))->columns.at(0).sum == sum);

  const auto nothing = read_chunk_header(encoded(one_column(std::vector<double>{kNan, kNan})))->columns.at(0);
  CHECK(std::isnan(std::get<Extent<double>>(nothing.extent).min));
  const auto large = read_chunk_header(encoded(one_column(std::vector<int64_t>{INT64_MAX, INT64_MAX, 5})))->columns.at(0);
  CHECK(large.sum == 0x1p64);  // no overflow
}

TEST_CASE("chunk: deviations of two chunks make that of all their records, as close as rounding allows") {
  Random random(Catch::rngSeed());
  auto check = [](const auto& values, size_t split, double tolerance) {
    using Values = std::decay_t<decltype(values)>;
    const auto cut = values.begin() + static_cast<std::ptrdiff_t>(split);
    auto of = [](Values part) { return read_chunk_header(encoded(one_column(std::move(part))))->columns.at(0); };
    const ChunkColumn a = of(Values(values.begin(), cut)), b = of(Values(cut, values.end())), whole = of(values);
    long double sum = 0, deviation = 0;
    for (auto v : values) sum += static_cast<long double>(v);
    const long double mean = sum / static_cast<long double>(values.size());
    for (auto v : values) deviation += (static_cast<long double>(v) - mean) * (static_cast<long double>(v) - mean);
    const double difference = b.sum / b.count - a.sum / a.count, weight = static_cast<double>(a.count) * b.count / whole.count;
    CHECK(whole.deviation == Approx(static_cast<double>(deviation)).epsilon(1e-12));
    CHECK(a.deviation + b.deviation + difference * difference * weight == Approx(static_cast<double>(deviation)).epsilon(tolerance));
  };
  for (int round = 0; round < 20; ++round) {
    const size_t rows = 2 + random.below(5000), split = 1 + random.below(rows - 1);
    std::vector<double> floats(rows);
    for (double& v : floats) v = 1e6 + random.normal();  // where the textbook's sum of squares has lost all
    check(floats, split, 1e-6);
    std::vector<int64_t> integers(rows);
    for (int64_t& v : integers) v = 1000 + static_cast<int64_t>(random.below(100'000));
    check(integers, split, 1e-9);
    std::vector<uint8_t> booleans(rows);
    for (uint8_t& v : booleans) v = static_cast<uint8_t>(random.below(2));
    check(booleans, split, 1e-9);
  }
}

TEST_CASE("chunk: deviations of extreme values are what plain arithmetic makes of them") {
  auto of = [](Column::Values values) { return read_chunk_header(encoded(one_column(std::move(values))))->columns.at(0).deviation; };
  CHECK(of(std::vector<double>{21.5}) == 0);
  CHECK(of(std::vector<double>(1000, 0.1)) < 1e-24);
  CHECK(std::isnan(of(std::vector<double>{1, kNan, 2})));
  CHECK(std::isnan(of(std::vector<double>{1, kInf, 2})));
  CHECK(std::isnan(of(std::vector<double>{1e308, 1e308, 1e308})));
  CHECK(of(std::vector<double>{-1e200, 1e200}) == kInf);
  CHECK(of(std::vector<int64_t>{INT64_MAX - 2, INT64_MAX - 1, INT64_MAX}) == 2);
  CHECK(of(std::vector<int64_t>{INT64_MIN, INT64_MAX}) == Approx(0x1p127));
  Batch batch = one_column(std::vector<double>{1, 100, 3});
  batch.columns[0].present = {1, 0, 1};
  CHECK(read_chunk_header(encoded(batch))->columns.at(0).deviation == 2);
}

TEST_CASE("chunk: only wanted fields are decoded, and only they are checked") {
  const Batch batch = every_type();
  std::string bytes = encoded(batch);
  auto some = decode_chunk(bytes, {}, std::vector<std::string>{"s", "i", "gone"});
  REQUIRE(some.ok());
  REQUIRE(some->columns.size() == 2);
  CHECK(some->columns[0] == batch.columns[1]);
  CHECK(some->columns[1] == batch.columns[3]);
  auto times = decode_chunk(bytes, {}, std::vector<std::string>{});
  REQUIRE(times.ok());
  CHECK(times->times == batch.times);

  auto reversed = decode_chunk(bytes, {}, std::vector<std::string>{"none", "s", "i", "s"});  // as the chunk has them, whatever is asked
  REQUIRE(reversed.ok());
  REQUIRE(reversed->columns.size() == 3);
  CHECK(reversed->columns[0] == batch.columns[1]);
  CHECK(reversed->columns[1] == batch.columns[3]);
  CHECK(reversed->columns[2] == batch.columns[4]);

  bytes.back() = static_cast<char>(bytes.back() ^ 1);  // in "s", as "none" takes no bytes
  CHECK(decode_chunk(bytes, {}, std::vector<std::string>{"i", "none", "f"}).ok());
  CHECK(decode_chunk(bytes, {}, std::vector<std::string>{"s"}).error().code == Code::corrupt);
  CHECK(read_chunk_header(bytes).ok());
  CHECK(decode_chunk(bytes).error().code == Code::corrupt);
}

TEST_CASE("chunk: what is not wanted takes nothing of what may be decoded") {
  Batch batch;
  batch.times = regular_times(1000);
  for (char name = 'a'; name < 'k'; ++name) batch.columns.push_back({std::string(1, name), std::vector<double>(1000, 1.5), {}});
  const std::string bytes = encoded(batch);
  const ChunkLimits two{.bytes_max = 2 * 8 * 1000};  // times and a column
  CHECK(decode_chunk(bytes, two).error().code == Code::corrupt);
  auto one = decode_chunk(bytes, two, std::vector<std::string>{"j"});
  REQUIRE(one.ok());
  CHECK(one->columns[0] == batch.columns[9]);
  CHECK(decode_chunk(bytes, {.bytes_max = 8 * 1000}, std::vector<std::string>{}).ok());
}

TEST_CASE("chunk: every truncation and every flipped bit is corrupt") {
  for (int level : {0, 3}) {
    Batch batch = every_type();
    batch.columns.push_back({"long", std::vector<std::string>(5, std::string(300, 'x')), {}});
    const std::string bytes = encoded(batch, {.zstd_level = level});
    for (size_t n = 0; n < bytes.size(); ++n) {
      const auto cut = std::string_view(bytes).substr(0, n);
      auto read = decode_chunk(cut);
      REQUIRE(!read.ok());
      REQUIRE(read.error().code == Code::corrupt);
      REQUIRE(!read_chunk_header(cut).ok());
    }
    for (size_t i = 0; i < bytes.size() * 8; ++i) {
      std::string flipped = bytes;
      flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
      auto read = decode_chunk(flipped);
      REQUIRE(!read.ok());
      REQUIRE(read.error().code == Code::corrupt);
    }
    CHECK(!decode_chunk(bytes + "x").ok());
  }
}

TEST_CASE("chunk: bytes that hold their checksums but not together are refused, never read past") {
  Random random(Catch::rngSeed());
  size_t decoded = 0;
  for (int round = 0; round < 20'000; ++round) {
    storage::test::ForgedColumn column;
    column.type = static_cast<FieldType>(1 + random.below(4));
    column.flags = random.chance(0.2) ? 1 : 0;
    column.rows = 1 + random.below(300);
    column.count = column.flags == 0 ? column.rows : random.below(column.rows);
    for (uint64_t n = random.below(60); n-- > 0;) {
      column.bytes += static_cast<char>(random.chance(0.6) ? random.below(5) : random.below(256));
    }
    auto read = decode_chunk(forge_chunk(column), {.rows_max = 300, .bytes_max = 1 << 16});
    if (read.ok()) ++decoded;
    else REQUIRE(read.error().code == Code::corrupt);
  }
  CHECK(decoded > 0);  // else the forger does not reach the streams
}

TEST_CASE("chunk: a small chunk cannot make the reader allocate more than the limits") {
  const std::string line("\x01\x00\x00", 3);
  CHECK(decode_chunk(forge_chunk({.type = FieldType::int64, .rows = 1000, .count = 1000, .bytes = line})).ok());
  auto refused = [](const std::string& bytes, const ChunkLimits& limits = {}) {
    auto read = decode_chunk(bytes, limits);
    return !read.ok() && read.error().code == Code::corrupt;
  };
  const std::string million = forge_chunk({.type = FieldType::int64, .rows = 1 << 20, .count = 1 << 20, .bytes = line});
  CHECK(decode_chunk(million).ok());
  CHECK(refused(million, {.rows_max = 1 << 19}));
  CHECK(refused(million, {.bytes_max = 12 << 20}));
  CHECK(refused(forge_chunk({.type = FieldType::int64, .rows = uint64_t{1} << 40, .count = 1, .bytes = line})));
  // One text of 1 MB, a million times.
  std::string texts("\x01\x01\x80\x80\x80\x01\x00", 7);
  texts += std::string(1 << 20, 'x') + line;
  CHECK(refused(forge_chunk({.type = FieldType::string, .rows = 1 << 20, .count = 1 << 20, .bytes = texts})));
  // A frame that says it unpacks to 4 TB.
  CHECK(refused(forge_chunk({.flags = 2, .plain_bytes = uint64_t{1} << 42, .bytes = "x"})));
  // Runs within runs within runs.
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += "\x03\x01";
  CHECK(refused(forge_chunk({.type = FieldType::int64, .bytes = nested})));
  CHECK(refused(forge_chunk({.type = FieldType::float64, .bytes = nested})));
}

TEST_CASE("chunk: what cannot be a chunk is invalid") {
  auto code = [](const Batch& batch) {
    auto bytes = encode_chunk(batch);
    REQUIRE(!bytes.ok());
    return bytes.error().code;
  };
  CHECK(code(Batch{}) == Code::invalid);
  Batch batch = every_type();
  batch.times[2] = batch.times[1];
  CHECK(code(batch) == Code::invalid);
  batch = every_type();
  batch.columns[1].name = "f";
  CHECK(code(batch) == Code::invalid);
  batch = every_type();
  std::get<1>(batch.columns[1].values).pop_back();
  CHECK(code(batch) == Code::invalid);
  batch = every_type();
  batch.columns[0].present.pop_back();
  CHECK(code(batch) == Code::invalid);
}

TEST_CASE("chunk: a newer format asks for an update") {
  std::string bytes = encoded(every_type());
  bytes[1] = 3;
  CHECK(decode_chunk(bytes).error().message.find("update") != std::string::npos);
}

TEST_CASE("chunk: real sensor data comes back, in less than zstd -19 makes of its floats") {
  auto compare = [](const std::string& name, const std::vector<Batch>& batches) {
    if (batches.empty()) return;  // real_data() has said so
    size_t bytes = 0, values = 0;
    for (const Batch& batch : batches) {
      bytes += check_round_trip(batch);
      values += batch.rows() * batch.columns.size();
    }
    const double ratio = static_cast<double>(bytes) / static_cast<double>(skerry::test::zstd_bytes_apart(batches, 19));
    std::cout << name << ": " << static_cast<double>(bytes) / static_cast<double>(values) << " bytes/value, " << ratio
              << " of zstd -19\n";
    CHECK(ratio < 1);
  };
  compare("MotionSense, 12 recordings", skerry::test::motionsense_batches(12));
  compare("NAB", skerry::test::nab_batches());
  compare("Occupancy", skerry::test::occupancy_batches());
}
