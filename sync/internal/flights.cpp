#include "sync/internal/flights.h"

#include <algorithm>

namespace skerry::sync::internal {

std::optional<Flight> Flights::take(uint64_t ticket) {
  auto found = std::find_if(all_.begin(), all_.end(), [&](const Flight& f) { return f.ticket == ticket; });
  if (found == all_.end()) return {};
  std::optional<Flight> flight = std::move(*found);
  all_.erase(found);
  return flight;
}

void Flights::make_stale(storage::OutboxClass outbox_class) {
  for (Flight& f : all_) f.stale = f.stale || f.batch.outbox_class == outbox_class;
}

OnTheWay Flights::of(storage::OutboxClass outbox_class) const {
  OnTheWay sum;
  for (const Flight& f : all_) {
    if (f.batch.outbox_class != outbox_class || f.stale || f.repair) continue;
    sum.last_seq = f.last();
    sum.bytes += f.payload;
    sum.entries += f.batch.entries.size();
    sum.queued_ns = f.batch.entries.back().queued_ns;
  }
  return sum;
}

bool Flights::any_stale(storage::OutboxClass outbox_class) const {
  return std::any_of(all_.begin(), all_.end(), [&](const Flight& f) { return f.stale && f.batch.outbox_class == outbox_class; });
}

const std::string* Flights::bearer_of(storage::OutboxClass outbox_class) const {
  auto found = std::find_if(all_.begin(), all_.end(), [&](const Flight& f) { return f.batch.outbox_class == outbox_class; });
  return found == all_.end() ? nullptr : &found->bearer;
}

uint64_t Flights::reserved(const std::string& bearer) const {
  uint64_t bytes = 0;
  for (const Flight& f : all_) bytes += f.bearer == bearer ? f.reserved : 0;
  return bytes;
}

uint64_t Flights::payload(const std::string& bearer) const {
  uint64_t bytes = 0;
  for (const Flight& f : all_) bytes += f.bearer == bearer ? f.payload : 0;
  return bytes;
}

uint32_t Flights::count(const std::string& bearer, bool urgent) const {
  return static_cast<uint32_t>(std::count_if(all_.begin(), all_.end(), [&](const Flight& f) {
    return f.bearer == bearer && (lane_of(f.batch.outbox_class) == Lane::urgent) == urgent;
  }));
}

}  // namespace skerry::sync::internal
