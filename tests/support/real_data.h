// Where real data lies for tests: $SKERRY_TEST_DATA, by default ../shared/data beside the source tree. Empty when it is not there; the caller
// then says plainly what it skips (Catch2 v2 has no SKIP).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

namespace skerry::test {

inline std::filesystem::path real_data(const std::string& set) {
  const char* given = std::getenv("SKERRY_TEST_DATA");
  std::filesystem::path folder = (given ? std::filesystem::path(given) : std::filesystem::path("../shared/data")) / set;
  std::error_code ignored;
  if (std::filesystem::exists(folder, ignored)) return folder;
  std::cout << "SKIPPED: needs the data set '" << set << "' at " << folder << " (set SKERRY_TEST_DATA)\n";
  return {};
}

}  // namespace skerry::test
