#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/name_list.h"
#include "tests/support/temp_dir.h"

using namespace skerry;

namespace {

bool short_name(std::string_view name) { return !name.empty() && name.size() <= 8; }

Result<std::vector<NamedDigits>> read(const test::TempDir& dir, std::string_view text) {
  REQUIRE(write_file_atomic(dir / "list", text).ok());
  return read_name_list(dir / "list", short_name, "`skerry-hub --new-token NAME`");
}

const std::string kOne(64, '1'), kTwo(64, 'f');

}  // namespace

TEST_CASE("name list: names and digits with gaps, remarks, empty lines and the line ends of other systems") {
  test::TempDir dir;
  auto list = read(dir, "# who may\r\n\n  pump-1 \t" + kOne + "  # since May\r\npump-1 " + kTwo + "\n\t\npump-2 " + kTwo);
  REQUIRE(list.ok());
  REQUIRE(list->size() == 3);
  CHECK((*list)[0].name == "pump-1");
  CHECK((*list)[0].digits == kOne);
  CHECK((*list)[0].line == 3);
  CHECK((*list)[2].name == "pump-2");
  CHECK((*list)[2].line == 6);
  CHECK(read(dir, "")->empty());
  CHECK(read(dir, "# nobody")->empty());
}

TEST_CASE("name list: what is not a name and 64 digits is refused with its line and the remedy") {
  test::TempDir dir;
  for (const std::string& line : {std::string("pump-1"), "pump-1 " + kOne + "1", "pump-1 " + kOne.substr(1), "pump-1 " + std::string(64, 'F'),
                                  "a-long-name " + kOne, "pump-1 " + kOne + " " + kOne, kOne, std::string("pump-1 ") + std::string(1, '\0') + kOne.substr(1)}) {
    INFO(line);
    auto list = read(dir, "pump-0 " + kOne + "\n" + line + "\n");
    REQUIRE(!list.ok());
    CHECK(list.error().code == Code::invalid);
    CHECK(list.error().message.find("line 2") != std::string::npos);
    CHECK(list.error().message.find("--new-token") != std::string::npos);
  }
  CHECK(read_name_list(dir / "none", short_name, "").error().code == Code::not_found);
  CHECK(read(dir, std::string((4 << 20) + 1, '#')).error().code == Code::exhausted);
}
