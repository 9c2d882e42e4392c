// Batches that are on their way and not yet answered. Of a class they go in sequence; when one of them makes the sender go back, the others of
// its class are stale: their good news counts, their bad news is old.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/clock.h"
#include "sync/policy.h"
#include "sync/uplink.h"
#include "sync/wire.h"

namespace skerry::sync::internal {

struct Flight {
  uint64_t ticket = 0;
  Batch batch;                       // payloads left out: the uplink has them, and the store
  uint64_t payload = 0;              // bytes before compression
  uint64_t body = 0;                 // bytes of its body
  uint64_t reserved = 0;             // on the wire, with its answer
  std::string bearer;
  bool rides = false;
  bool stale = false;
  bool repair = false;               // the hub asked for it again: its answer moves nothing
  SteadyTime begun{};
  uint64_t window = 0;               // payload on its way over the bearer when it began, itself included
  uint64_t delivered_body = 0, delivered_payload = 0;  // of the bearer, when it began
  uint64_t first() const { return batch.entries.front().seq; }
  uint64_t last() const { return batch.entries.back().end_seq(); }
};

class Flights {
 public:
  void add(Flight flight) { all_.push_back(std::move(flight)); }
  std::optional<Flight> take(uint64_t ticket);
  void make_stale(storage::OutboxClass outbox_class);
  bool empty() const { return all_.empty(); }
  const std::deque<Flight>& all() const { return all_; }

  // Of a class: what the policy is told.
  OnTheWay of(storage::OutboxClass outbox_class) const;
  bool any_stale(storage::OutboxClass outbox_class) const;
  // The bearer over which the class goes now; null: none of it is on its way.
  const std::string* bearer_of(storage::OutboxClass outbox_class) const;
  // Of a bearer.
  uint64_t reserved(const std::string& bearer) const;
  uint64_t payload(const std::string& bearer) const;
  uint32_t count(const std::string& bearer, bool urgent) const;

 private:
  std::deque<Flight> all_;           // the oldest first
};

inline Lane lane_of(storage::OutboxClass outbox_class) { return outbox_class == storage::OutboxClass::alarm ? Lane::urgent : Lane::bulk; }

}  // namespace skerry::sync::internal
