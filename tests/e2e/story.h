// The story that must be true, told with the real programs and checked at each step: a base model meets a machine it has never seen, the
// link goes down, the node learns from labels, is killed, and brings everything home exactly once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace skerry::e2e {

struct StoryOptions {
  std::filesystem::path data;   // the MotionSense folder; empty: the simulated pump
  std::filesystem::path work;   // an empty folder for everything that the programs write
  std::filesystem::path cache;  // where base models are kept between runs
  bool quiet = false;           // only failed checks and the summary
  uint64_t seed = 1;            // of the pump
  int user = 21;                // of MotionSense: whom the base has never seen
};

struct StoryCheck {
  std::string what;
  bool ok = false;
};

struct StoryOutcome {
  std::vector<StoryCheck> checks;
  double seconds = 0;
  bool passed() const;
};

// Error: the story could not be told to its end (a program did not start, stopped answering); checks made so far were printed.
Result<StoryOutcome> tell_story(const StoryOptions& options);

}  // namespace skerry::e2e
