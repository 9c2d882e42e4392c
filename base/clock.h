// The clock seam: wall time for records, steady time for intervals. Modules take a Clock& and never ask the system,
// so a test can let 48 hours pass in a microsecond (tests/support/sim_clock.h).
// Threads: every Clock is safe to read from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace skerry {

using Duration = std::chrono::nanoseconds;
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;                                 // UTC
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;  // monotonic

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime now() const = 0;
  virtual SteadyTime steady() const = 0;
  int64_t now_ns() const { return now().time_since_epoch().count(); }  // as records carry it
};

Clock& system_clock();

// "2026-11-23T08:04:16.123456789Z" (RFC 3339); the fraction is left out when zero.
std::string format_time(int64_t ns);
// RFC 3339 with Z or an offset, "YYYY-MM-DD HH:MM:SS[.fff]" (read as UTC), or an integer of nanoseconds.
Result<int64_t> parse_time(const std::string& text);

}  // namespace skerry
