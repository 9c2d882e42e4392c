// Seeded schedules of bad luck over the real programs: outages, half-sent requests, swallowed acknowledgements, kill -9 of node and hub in the
// middle of anything. At the end the hub must hold what the node acknowledged, each record once.
// The two meet through a chaos proxy, which cuts connections, or live in network namespaces of their own, where packets get lost.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace skerry::e2e {

enum class Between : uint8_t { proxy, namespaces };

struct ScheduleOptions {
  uint64_t seed = 1;
  uint32_t steps = 30;
  Between between = Between::proxy;
};

struct ScheduleOutcome {
  uint64_t seed = 0;
  uint64_t acknowledged = 0, unknown = 0, at_hub = 0;  // records
  uint64_t missing = 0, twice = 0, foreign = 0;
  uint32_t outages = 0, swallowed = 0,  // lost answers and cuts; of namespaces: packets
            node_kills = 0, hub_kills = 0;
  uint64_t repeated_entries = 0;                       // that the hub recognised
  bool passed = false;
  std::string detail;                                  // what went wrong
  std::string text() const;
};

// In an empty folder. Error: the programs could not be started at all; unavailable: or there are no namespaces here.
Result<ScheduleOutcome> run_schedule(const ScheduleOptions& options, const std::filesystem::path& folder);

}  // namespace skerry::e2e
