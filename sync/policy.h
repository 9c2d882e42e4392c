// The policy: what may go now, per class, and why not for the rest. A pure function of link snapshot, backlog and time.
// First form: online or offline, one rate cap, priority of classes. Its shape is the one that the 5G-aware policy will fill.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/types.h"
#include "sync/options.h"

namespace skerry::sync {

struct LinkSnapshot {
  bool online = false;              // the last exchange with the hub succeeded
  bool held = false;                // somebody said "do not send" (skerry sync hold)
  SteadyTime retry_at{};            // while offline: the next probe
  double budget_bytes = 0;          // tokens left under the rate cap; infinity without a cap
};

struct ClassDecision {
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  bool send = false;
  uint64_t bytes_max = 0;
  std::string reason;
};

// In sending order. Classes with nothing waiting say so.
std::vector<ClassDecision> decide(const Options& options, const LinkSnapshot& link,
                                  const std::vector<storage::OutboxStatus>& backlog, SteadyTime now);

}  // namespace skerry::sync
