// MotionSense as the learning figures use it: a base model of 18 people, or of only 6, and six that it has never seen, who label what they
// do. Of each, the long trials (1-9) are learned from and the short ones (11-16) judged: recordings are never split at random.
// On failure: not_found when the data set is not there; the worker's reason when the base can't be fitted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/package.h"
#include "learning/job.h"
#include "plugins/source.h"
#include "tests/bench/loop.h"
#include "tests/e2e/feed.h"

namespace skerry::bench {

inline const std::vector<std::string> kUnseenPeople = {"4", "9", "11", "20", "21", "24"};

// What changes of how somebody carries the device: turned about its z axis, and all channels louder.
struct Drift {
  double turn_degrees = 0, gain = 1;
};

enum class BaseOf { eighteen, six };  // six: much is left to learn

class People {
 public:
  // The base, with the default thresholds and training, is fitted once and kept in places.cache. Smoke: in one epoch.
  static Result<People> open(Size size, const Places& places, BaseOf base_of);

  const inference::Package& base() const { return base_; }
  // The long trials of somebody, one after the other from `at_ns` on, a few seconds between them; `part` of `parts` of each.
  std::vector<e2e::Piece> long_trials(const std::string& person, int64_t at_ns, size_t part = 0, size_t parts = 1, Drift drift = {}) const;
  std::vector<e2e::Piece> short_trials(const std::string& person, int64_t at_ns) const;
  Result<learning::ExampleSet> short_windows(const std::string& person, Drift drift = {}) const;
  Result<learning::ExampleSet> all_windows(const std::string& person) const;  // with what is true of them

 private:
  std::vector<e2e::Piece> trials(const std::string& person, bool long_ones, int64_t at_ns, size_t part, size_t parts, const Drift& drift) const;

  inference::Package base_;
  std::vector<plugins::Recording> recordings_;
};

// Prints a line that is no figure.
void note(const std::string& line);

}  // namespace skerry::bench
