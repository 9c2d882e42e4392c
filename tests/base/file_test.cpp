#include <catch2/catch.hpp>
#include <fstream>

#include "base/file.h"
#include "tests/support/temp_dir.h"

using namespace skerry;

TEST_CASE("file: digests match their published vectors") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-4
  CHECK(crc32c("123456789") == 0xe3069283u);                                                        // RFC 3720, B.4
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
}

TEST_CASE("file: a bounded read refuses what is larger, and names what is missing") {
  test::TempDir dir;
  REQUIRE(write_file_atomic(dir / "a", "hello").ok());
  CHECK(*read_file(dir / "a", 5) == "hello");
  CHECK(read_file(dir / "a", 4).error().code == Code::exhausted);
  CHECK(read_file(dir / "b", 4).error().code == Code::not_found);
}

TEST_CASE("file: a folder is published in one step and never over another") {
  test::TempDir dir;
  std::filesystem::create_directories(dir / "new/sub");
  REQUIRE(write_file_atomic(dir / "new/sub/x", "1").ok());
  REQUIRE(publish_folder(dir / "new", dir / "done").ok());
  CHECK(*read_file(dir / "done/sub/x", 10) == "1");
  std::filesystem::create_directories(dir / "new2");
  CHECK(publish_folder(dir / "new2", dir / "done").error().code == Code::invalid);
}
