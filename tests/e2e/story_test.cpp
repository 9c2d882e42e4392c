// The story with the real programs. Base models are kept beside the programs, so that a second run is fast.
#include "tests/e2e/story.h"

#include <catch2/catch.hpp>

#include "tests/support/real_data.h"
#include "tests/support/temp_dir.h"

using namespace skerry;

namespace {

void tell(const std::filesystem::path& data) {
  test::TempDir work;
  e2e::StoryOptions options;
  options.data = data;
  options.work = work.path();
  options.cache = std::filesystem::path(SKERRY_BIN_DIR) / "../cache";
  auto outcome = e2e::tell_story(options);
  INFO((outcome.ok() ? "told to its end" : outcome.error().message));
  REQUIRE(outcome.ok());
  CHECK(outcome.value().checks.size() >= 20);
  for (const e2e::StoryCheck& check : outcome.value().checks) {
    INFO(check.what);
    CHECK(check.ok);
  }
}

}  // namespace

TEST_CASE("story: on the simulated pump, every acknowledged record comes home once, and the node has learned") { tell({}); }

TEST_CASE("story: on MotionSense, with a person that the base has never seen") {
  std::filesystem::path data = test::real_data("motionsense");
  if (!data.empty()) tell(std::filesystem::absolute(data));
}
