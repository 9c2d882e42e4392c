// What the exchanges themselves say of a bearer, and how large the next batch should be: starts small, doubles while answers come in time, then
// grows by steps, halves when an answer takes much longer than it should or none comes (AIMD on the time to the answer).
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <deque>

#include "base/clock.h"

namespace skerry::sync::internal {

class RateControl {
 public:
  void answered(uint64_t body_bytes, uint64_t payload_bytes, Duration took, Duration goal);
  void failed();                     // no answer came
  void link_changed();               // what was learnt is of another link: start low again
  uint64_t batch_goal() const { return goal_; }
  double goodput() const { return goodput_; }       // bytes of bodies per second; 0: not known
  double payload_rate_low() const;                  // the lowest quarter, of payload before compression; 0: not known
  Duration rtt() const { return rtt_; }
  Duration rtt_min() const { return rtt_min_; }

 private:
  uint64_t goal_ = 64 << 10;         // payload bytes
  bool ramping_ = true;
  double goodput_ = 0;
  std::deque<double> samples_;       // payload bytes per second of the last batches that were large enough to tell
  Duration rtt_{0}, rtt_min_{0};
};

}  // namespace skerry::sync::internal
