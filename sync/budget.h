// What went over each bearer: in this month, on this day, and by purpose. A byte counts for the period in which the wall clock said it was sent;
// a clock that goes back does not give a budget out twice.
// Kept by its owner as a small JSON note. lease() says when it must be written: what is on the disk is never less than what was sent, so
// that a crash can forget bytes that were not sent but none that were.
// Threads: one at a time.
// On failure: decode answers corrupt.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace skerry::sync {

struct Period {
  int64_t from_ns = 0, to_ns = 0;
  bool operator==(const Period&) const = default;
};
Period month_of(int64_t wall_ns, uint32_t reset_day);  // a day that a month lacks is its last one
Period day_of(int64_t wall_ns);

// What a body of so many bytes costs on the wire with HTTP, TCP and IP headers, over the established connection.
uint64_t wire_bytes(uint64_t body);

struct PurposeBytes {
  uint64_t sent = 0, received = 0, exchanges = 0;
};

struct BearerUse {
  int64_t month_from_ns = 0, day_from_ns = 0;
  uint64_t month_bytes = 0, day_bytes = 0;
  int64_t last_month_from_ns = 0;
  uint64_t last_month_bytes = 0;                // of the month before
  std::map<std::string, PurposeBytes> purposes; // "telemetry", "control"; since the store was made
  double cost = 0;                              // since the store was made, at the prices of then
};

class Ledger {
 public:
  // Begins new periods as the clock says. Called before use() and charge().
  void roll(const std::string& bearer, int64_t wall_ns, uint32_t reset_day) { roll(uses_[bearer], wall_ns, reset_day); }
  static void roll(BearerUse& use, int64_t wall_ns, uint32_t reset_day);
  void charge(const std::string& bearer, const std::string& purpose, uint64_t sent, uint64_t received, double price_per_mb);
  BearerUse use(const std::string& bearer) const;
  const std::map<std::string, BearerUse>& all() const { return uses_; }

  // Before `bytes` more go: true when the note must be written first. The note then has `lease` bytes more than were sent.
  bool must_write(const std::string& bearer, uint64_t bytes) const;
  std::string encode_with_lease(uint64_t lease);  // of each bearer; after it was written, must_write() holds off
  std::string encode() const;                     // exactly
  static Result<Ledger> decode(std::string_view note);

 private:
  std::map<std::string, BearerUse> uses_;
  std::map<std::string, uint64_t> leases_;        // left of what the note has more
};

}  // namespace skerry::sync
