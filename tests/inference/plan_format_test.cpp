#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>

#include "base/file.h"
#include "tests/inference/make_plan.h"
#include "tests/support/temp_dir.h"

namespace skerry::inference::plan {
namespace {

// With the checksums set right again: what a damaged writer would write.
std::string sealed(std::string bytes) {
  uint64_t tables_bytes = 0, data_at = 0;
  std::memcpy(&tables_bytes, bytes.data() + 32, 8);
  std::memcpy(&data_at, bytes.data() + 40, 8);
  if (tables_bytes > bytes.size() - kHeaderBytes || data_at > bytes.size()) return bytes;
  const uint32_t tables = crc32c(std::string_view(bytes).substr(kHeaderBytes, tables_bytes)), data = crc32c(std::string_view(bytes).substr(data_at));
  std::memcpy(bytes.data() + 56, &tables, 4);
  std::memcpy(bytes.data() + 60, &data, 4);
  return bytes;
}

}  // namespace

TEST_CASE("plan: what is written is read back, mapped or copied") {
  const Plan plan = small_plan(1);
  const std::string bytes = encode(plan);
  Result<Plan> copied = decode(bytes);
  REQUIRE(copied.ok());
  CHECK(encode(*copied) == bytes);
  test::TempDir dir;
  REQUIRE(write_file_atomic(dir / "plan.bin", bytes).ok());
  Result<Plan> mapped = open(dir / "plan.bin");
  REQUIRE(mapped.ok());
  CHECK(encode(*mapped) == bytes);
  CHECK(reinterpret_cast<uintptr_t>(mapped->constant<std::byte>(mapped->steps[1].inputs[1])) % kDataAlignment == 0);
}

TEST_CASE("plan: every cut and every flipped bit of a file is refused") {
  const std::string bytes = encode(small_plan(2));
  for (size_t size = 0; size < bytes.size(); ++size) REQUIRE_FALSE(decode(std::string_view(bytes).substr(0, size)).ok());
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    const Result<Plan> read = decode(damaged);
    // Between the tables and the data lie zeros that nobody reads.
    if (read.ok()) REQUIRE(encode(*read) == bytes);
  }
}

TEST_CASE("plan: damage whose checksum holds gives an error or a plan that contradicts itself nowhere") {
  const std::string bytes = encode(small_plan(3));
  Random random(Catch::rngSeed());
  size_t refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = bytes;
    uint64_t tables_bytes = 0;
    std::memcpy(&tables_bytes, bytes.data() + 32, 8);
    for (uint64_t k = random.below(3) + 1; k > 0; --k) damaged[kHeaderBytes + random.below(tables_bytes)] = static_cast<char>(random.below(256));
    const Result<Plan> read = decode(sealed(std::move(damaged)));
    refused += read.ok() ? 0 : 1;
    if (read.ok()) {
      for (int64_t batch : {1, 3}) CHECK(check(*read, batch).ok());
    } else {
      CHECK(read.error().message.size() < 1000);
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("plan: a missing file, a folder, an older version are told apart") {
  test::TempDir dir;
  CHECK(open(dir / "none").error().code == Code::not_found);
  CHECK_FALSE(open(dir.path()).ok());
  std::string bytes = encode(small_plan(4));
  bytes[8] = 9;
  Result<Plan> newer = decode(bytes);
  REQUIRE_FALSE(newer.ok());
  CHECK(newer.error().code == Code::invalid);
  CHECK(newer.error().message.find("compile the model again") != std::string::npos);
}

}  // namespace skerry::inference::plan
