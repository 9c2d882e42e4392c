#include "storage/sample_block.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/file.h"
#include "base/random.h"
#include "storage/internal/block_codec.h"
#include "storage/internal/blocks.h"
#include "storage/internal/store_format.h"
#include "storage/internal/coding.h"

using namespace skerry;
using namespace skerry::storage;

namespace {

// Values of absent records are zero, as decoding gives them.
Batch random_batch(Random& random, size_t rows) {
  Batch batch;
  batch.series = {"imu", {{"device", "a"}}};
  int64_t time = static_cast<int64_t>(random());
  for (size_t i = 0; i < rows; ++i) {
    batch.times.push_back(time);
    const int64_t step = static_cast<int64_t>(random.below(random.chance(0.1) ? 1'000'000'000'000 : 20'000));
    time = time > INT64_MAX - step ? INT64_MAX : time + step;
  }
  for (uint64_t c = random.below(6); c-- > 0;) {
    Column column;
    column.name = "field" + std::to_string(c);
    const bool sparse = rows > 0 && random.chance(0.5);
    if (sparse) {
      column.present.resize(rows);
      for (uint8_t& p : column.present) p = random.chance(0.6);
      column.present[random.below(rows)] = 0;
    }
    auto fill = [&](auto values, auto make) {
      values.resize(rows);
      for (size_t i = 0; i < rows; ++i) {
        if (column.has(i)) values[i] = make();
      }
      column.values = std::move(values);
    };
    switch (random.below(4)) {
      case 0:
        fill(std::vector<double>(), [&] { return random.normal() * 1e6; });
        break;
      case 1:
        fill(std::vector<int64_t>(), [&] { return static_cast<int64_t>(random() >> random.below(64)); });
        break;
      case 2:
        fill(std::vector<uint8_t>(), [&] { return static_cast<uint8_t>(random.below(2)); });
        break;
      default:
        fill(std::vector<std::string>(),
             [&] { return std::string(random.below(40), 'a' + static_cast<char>(random.below(26))); });
    }
    batch.columns.push_back(std::move(column));
  }
  return batch;
}

}  // namespace

TEST_CASE("sample block: what is encoded is decoded, whatever the types and gaps") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 300; ++round) {
    const Batch batch = random_batch(random, random.below(200));
    auto back = decode_block(batch.series, encode_block(batch));
    INFO((back.ok() ? "" : back.error().message));
    REQUIRE(back.ok());
    REQUIRE(*back == batch);
  }
}

TEST_CASE("sample block: extreme times and numbers survive") {
  Batch batch;
  batch.series = {"m", {}};
  batch.times = {INT64_MIN, INT64_MIN, -1, 0, INT64_MAX};
  batch.columns = {{"i", std::vector<int64_t>{INT64_MAX, INT64_MIN, 0, -1, INT64_MIN}, {}},
                   {"d", std::vector<double>{std::numeric_limits<double>::max(), -0.0, 5e-324, 0, -1}, {}}};
  auto back = decode_block(batch.series, encode_block(batch));
  REQUIRE(back.ok());
  CHECK(*back == batch);
  CHECK(std::signbit(std::get<0>(back->columns[1].values)[1]));
}

TEST_CASE("sample block: no records, records without fields and fields that no record has come back") {
  Batch batch;
  batch.series = {"m", {}};
  CHECK(encode_block(batch).size() < 20);
  CHECK(*decode_block(batch.series, encode_block(batch)) == batch);
  batch.columns = {{"f", std::vector<double>{}, {}}, {"s", std::vector<std::string>{}, {}}};
  CHECK(*decode_block(batch.series, encode_block(batch)) == batch);
  batch.columns.clear();
  batch.times = {1, 2, 2, 5};
  CHECK(*decode_block(batch.series, encode_block(batch)) == batch);
  batch.columns = {{"f", std::vector<double>(4), {0, 0, 0, 0}},
                   {"i", std::vector<int64_t>(4), {0, 0, 0, 0}},
                   {"b", std::vector<uint8_t>(4), {0, 0, 0, 0}},
                   {"s", std::vector<std::string>(4), {0, 0, 0, 0}}};
  CHECK(*decode_block(batch.series, encode_block(batch)) == batch);
}

TEST_CASE("sample block: a slice of a batch is what its rows are") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 100; ++round) {
    const Batch batch = random_batch(random, 1 + random.below(200));
    const size_t from = random.below(batch.rows()), to = from + 1 + random.below(batch.rows() - from);
    auto slice = decode_block(batch.series, storage::internal::encode_rows(batch, from, to));
    REQUIRE(slice.ok());
    REQUIRE(slice->rows() == to - from);
    for (size_t c = 0; c < batch.columns.size(); ++c) {
      const Column &all = batch.columns[c], &some = slice->columns[c];
      for (size_t i = from; i < to; ++i) REQUIRE(all.has(i) == some.has(i - from));
      std::visit(
          [&](const auto& values) {
            const auto& got = std::get<std::decay_t<decltype(values)>>(some.values);
            for (size_t i = from; i < to; ++i) REQUIRE(got[i - from] == values[i]);
          },
          all.values);
    }
  }
}

TEST_CASE("sample block: floats of any bits come back") {
  Random random(Catch::rngSeed());
  Batch batch;
  batch.series = {"m", {}};
  std::vector<double> values(300);
  for (size_t i = 0; i < values.size(); ++i) {
    batch.times.push_back(static_cast<int64_t>(i));
    values[i] = i < 150 ? std::bit_cast<double>(random()) : static_cast<double>(i) / 100;
  }
  batch.columns = {{"v", values, {}}};
  auto back = decode_block(batch.series, encode_block(batch));
  REQUIRE(back.ok());
  CHECK(std::memcmp(std::get<0>(back->columns[0].values).data(), values.data(), values.size() * sizeof(double)) == 0);
}

TEST_CASE("sample block: regular records of few values take almost nothing, one record little more than its numbers") {
  Batch batch;
  batch.series = {"m", {}};
  std::vector<double> values(1000, 1.5);
  for (int64_t i = 0; i < 1000; ++i) batch.times.push_back(1'764'000'000'000'000'000 + i * 20'000'000);
  batch.columns = {{"v", values, {}}};
  CHECK(encode_block(batch).size() < 80);
  Batch one;
  one.times = {1'764'000'000'000'000'000};
  for (char name = 'a'; name < 'j'; ++name) one.columns.push_back({std::string(1, name), std::vector<double>{std::acos(-1) / name}, {}});
  CHECK(encode_block(one).size() <= 20 + 9 * 12);
}

TEST_CASE("sample block: every truncation and every flipped bit is corrupt") {
  Random random(5);
  const std::string bytes = encode_block(random_batch(random, 20));
  for (size_t n = 0; n < bytes.size(); ++n) {
    auto cut = decode_block({"m", {}}, std::string_view(bytes).substr(0, n));
    REQUIRE(!cut.ok());
    REQUIRE(cut.error().code == Code::corrupt);
  }
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    std::string flipped = bytes;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    auto read = decode_block({"m", {}}, flipped);
    REQUIRE(!read.ok());
    REQUIRE(read.error().code == Code::corrupt);
  }
  CHECK(!decode_block({"m", {}}, bytes + "x").ok());
}

TEST_CASE("sample block: a forged block cannot make the reader allocate what its size does not justify") {
  using storage::internal::Writer;
  auto forge = [](uint64_t rows, uint64_t columns, const std::string& rest) {
    Writer body;
    body.signed64(0);
    body.varint(0);
    body.varint(rows);
    body.varint(columns);
    body.raw(rest.data(), rest.size());
    Writer out;
    out.u8(1);
    out.fixed32(crc32c(body.bytes()));
    out.raw(body.bytes().data(), body.bytes().size());
    return out.take();
  };
  auto refused = [](const std::string& bytes) {
    auto read = decode_block({"m", {}}, bytes);
    return !read.ok() && read.error().code == Code::corrupt;
  };
  const std::string line("\x01\x00\x00", 3);  // zeros
  CHECK(decode_block({"m", {}}, forge(0, 0, "")).ok());
  CHECK(decode_block({"m", {}}, forge(1000, 1, line + std::string("\x02\x01v", 3) + line)).ok());
  CHECK(refused(forge(UINT32_MAX, 0, line)));
  CHECK(refused(forge(uint64_t{1} << 40, 0, line)));
  CHECK(refused(forge(kBatchRowsMax + 1, 0, line)));
  CHECK(refused(forge(1, 65535, "")));
  CHECK(refused(forge(1, uint64_t{1} << 40, "")));
  CHECK(refused(forge(1, 1, std::string("\x10\x00", 2) + line)));       // no such type
  CHECK(refused(forge(2, 1, line + std::string("\x0a\x00\x02", 3))));   // gaps, but every row there
  CHECK(refused(forge(2, 1, line + std::string("\x0a\x00\x03", 3))));   // more values than rows
  Writer text;  // of 4 GB
  text.raw("\x04\x00\x01\x01", 4);
  text.varint(uint64_t{1} << 33);
  text.raw("\x00", 1);
  CHECK(refused(forge(1, 1, text.take())));
  // 500,000 rows of 200 columns, all absent or all the same: 1 KB that would become 800 MB.
  for (const std::string& column : {std::string("\x09\x01v\x00", 4), std::string("\x02\x01v", 3) + line}) {
    std::string columns = line;
    for (int c = 0; c < 200; ++c) columns += column;
    CHECK(refused(forge(500'000, 200, columns)));
  }
  // One text of 64 KB, 100,000 times.
  Writer texts;
  texts.raw("\x04\x01v\x01\x01", 5);
  texts.varint(uint64_t{2} << 16);
  texts.raw("\x00", 1);
  texts.bytes().append(1 << 16, 'x');
  CHECK(refused(forge(100'000, 1, line + texts.take() + line)));
}

TEST_CASE("sample block: bytes whose checksum holds but nothing else are refused, never read past") {
  Random random(Catch::rngSeed());
  size_t decoded = 0;
  for (int round = 0; round < 20'000; ++round) {
    storage::internal::Writer body;
    const uint64_t rows = random.below(300);
    body.signed64(0);
    body.varint(0);
    body.varint(rows);
    body.varint(1);
    if (rows > 1) body.raw("\x01\x00\x00", 3);
    body.u8(static_cast<uint8_t>(1 + random.below(4)));
    body.text("v");
    for (uint64_t n = random.below(60); n-- > 0;) body.u8(static_cast<uint8_t>(random.chance(0.6) ? random.below(5) : random.below(256)));
    storage::internal::Writer out;
    out.u8(1);
    out.fixed32(crc32c(body.bytes()));
    out.raw(body.bytes().data(), body.bytes().size());
    auto read = decode_block({"m", {}}, out.bytes());
    if (read.ok()) ++decoded;
    else REQUIRE(read.error().code == Code::corrupt);
  }
  CHECK(decoded > 0);  // else nothing reaches the streams
}

TEST_CASE("blocks: a batch is split by week and size, sorted, with one record per time") {
  using storage::internal::make_blocks;
  constexpr int64_t week = storage::internal::kWeekNs;
  Batch batch;
  batch.series = {"m", {}};
  std::vector<double> values;
  for (int i = 0; i < 40'000; ++i) {
    batch.times.push_back(10 * week + (i % 20'000) * (week / 10'000));  // two weeks, every time twice
    values.push_back(i);
  }
  batch.columns = {{"v", values, {}}};
  auto blocks = make_blocks(batch);
  uint32_t rows = 0;
  int64_t before = INT64_MIN;
  for (const auto& block : blocks) {
    CHECK(block.first_ns > before);
    CHECK(block.first_ns / week == block.last_ns / week);
    CHECK(block.rows <= storage::internal::kBlockRowsMax);
    auto back = decode_block(batch.series, block.bytes);
    REQUIRE(back.ok());
    CHECK(back->times.front() == block.first_ns);
    CHECK(back->times.back() == block.last_ns);
    CHECK(std::get<0>(back->columns[0].values)[0] == 20'000 + rows);  // the later write of the time
    rows += block.rows;
    before = block.last_ns;
    auto header = storage::internal::peek_block(block.bytes);
    REQUIRE(header.ok());
    CHECK(header->last_ns == block.last_ns);
  }
  CHECK(rows == 20'000);
}

TEST_CASE("blocks: large strings make small blocks, and a batch that has to be split is not quadratic") {
  Batch batch;
  batch.series = {"m", {}};
  std::vector<std::string> strings(300, std::string(65'536, 's'));
  for (int i = 0; i < 300; ++i) batch.times.push_back(i);
  batch.columns = {{"s", strings, {}}};
  auto blocks = storage::internal::make_blocks(batch);
  CHECK(blocks.size() >= 300 * 65'536 / storage::internal::kBlockBytesMax);
  for (const auto& block : blocks) CHECK(block.bytes.size() < storage::internal::kBlockBytesMax + 65'536);
}
