// Seeded schedules of bad luck over the real programs: outages, half-sent requests, swallowed acknowledgements, kill -9 of node and hub in the
// middle of anything. At the end the hub must hold what the node acknowledged, each record once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace skerry::e2e {

struct ScheduleOptions {
  uint64_t seed = 1;
  uint32_t steps = 30;
};

struct ScheduleOutcome {
  uint64_t seed = 0;
  uint64_t acknowledged = 0, unknown = 0, at_hub = 0;  // records
  uint64_t missing = 0, twice = 0, foreign = 0;
  uint32_t outages = 0, swallowed = 0, node_kills = 0, hub_kills = 0;
  uint64_t repeated_entries = 0;                       // that the hub recognised
  bool passed = false;
  std::string detail;                                  // what went wrong
  std::string text() const;
};

// In an empty folder. Error: the programs could not be started at all.
Result<ScheduleOutcome> run_schedule(const ScheduleOptions& options, const std::filesystem::path& folder);

}  // namespace skerry::e2e
