// The rate cap of the whole uplink. Tokens are bytes of bodies. A batch may be larger than what is left; the debt is paid before the next one.
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <limits>

#include "base/clock.h"
#include "sync/options.h"

namespace skerry::sync::internal {

class TokenBucket {
 public:
  TokenBucket(const Options& options, SteadyTime now)
      : rate_(static_cast<double>(options.rate_bytes_per_second)), burst_(static_cast<double>(options.burst_bytes)), tokens_(burst_), at_(now) {}
  double at(SteadyTime now) const {
    if (rate_ == 0) return std::numeric_limits<double>::infinity();
    return std::min(burst_, tokens_ + rate_ * std::chrono::duration<double>(now - at_).count());
  }
  void charge(SteadyTime now, uint64_t bytes) { add(now, -static_cast<double>(bytes)); }
  void give_back(SteadyTime now, uint64_t bytes) { add(now, static_cast<double>(bytes)); }

 private:
  void add(SteadyTime now, double bytes) {
    tokens_ = rate_ == 0 ? 0 : std::min(burst_, at(now) + bytes);
    at_ = now;
  }

  double rate_, burst_, tokens_;
  SteadyTime at_;
};

}  // namespace skerry::sync::internal
