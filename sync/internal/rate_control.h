// What the exchanges themselves say of a bearer, and how much may be on its way at once, the window: starts small, grows by what the answers
// show while they come in time, then by steps, halves when an answer takes much longer than it should or none comes (AIMD on the time to the
// answer). It grows or shrinks once per window, however many batches it is sent in.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <deque>

#include "base/clock.h"

namespace skerry::sync::internal {

// An exchange that was answered. Of one that was alone, delivered and window are its own bytes.
struct Answered {
  SteadyTime begun{}, now{};
  uint64_t payload = 0;                                // bytes before compression
  uint64_t delivered_body = 0, delivered_payload = 0;  // that arrived meanwhile, itself included: on the wire, and before compression
  uint64_t window = 0;                                 // payload on its way when it began, itself included
};

class RateControl {
 public:
  void began(SteadyTime now, uint64_t window);   // payload on its way now
  void answered(const Answered& exchange, Duration goal);
  void failed();                     // no answer came
  void link_changed();               // what was learnt is of another link: start low again
  uint64_t window() const { return goal_; }
  double goodput() const { return goodput_; }       // bytes of bodies per second; 0: not known
  double payload_rate_low() const;                  // the lowest quarter, of payload before compression; 0: not known
  Duration rtt() const { return rtt_; }
  Duration rtt_min() const { return rtt_min_; }

 private:
  void grow(const Answered& exchange, Duration took, Duration goal);

  uint64_t goal_ = 64 << 10;         // payload bytes
  bool ramping_ = true;
  SteadyTime grown_at_{}, halved_at_{};
  SteadyTime full_at_{};             // the window was last used
  double goodput_ = 0;
  std::deque<double> samples_;       // payload bytes per second of the last batches that were large enough to tell
  Duration rtt_{0}, rtt_min_{0};
};

}  // namespace skerry::sync::internal
