// Record time as a function of wall time: real time, N times, or as fast as possible.
// A wall clock that is set back only re-anchors the playback; it neither repeats nor stalls.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>

#include "base/clock.h"

namespace skerry::plugins {

inline constexpr size_t kRowsPerPollMax = 65536;   // a source that is far behind catches up in several polls
inline constexpr size_t kRowsPerFastBatch = 4096;  // batch size when playing as fast as possible

class Playback {
 public:
  explicit Playback(double speed) : speed_(speed) {}

  bool unpaced() const { return speed_ == 0; }
  // Record time since the first record that is due at `now`. The first call is the beginning.
  int64_t due_ns(WallTime now) {
    if (!last_) begin_ = now;
    if (last_ && now < *last_) begin_ -= *last_ - now;
    last_ = now;
    if (unpaced()) return std::numeric_limits<int64_t>::max();
    double due = static_cast<double>((now - begin_).count()) * speed_;
    return due >= 9.2e18 ? std::numeric_limits<int64_t>::max() : static_cast<int64_t>(due);
  }
  // Wall time until `position_ns` is due; at most a second, so that a corrected clock is noticed.
  Duration until(int64_t position_ns, int64_t due_ns) const {
    if (unpaced() || position_ns <= due_ns) return Duration::zero();
    double wall = static_cast<double>(position_ns - due_ns) / speed_;
    return Duration(static_cast<int64_t>(std::clamp(wall + 1, 1.0, 1e9)));
  }

 private:
  double speed_;
  WallTime begin_{};
  std::optional<WallTime> last_;
};

}  // namespace skerry::plugins
