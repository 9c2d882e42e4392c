// Seeded schedules of everything that goes wrong between a node and its hub, in simulated time: cut, swallowed answers, duplicates, any order, damaged
// bytes, kill -9 and power cuts of either side, jumps of the clock, disks that come back from the past. Store, syncer and hub are real. At
// the end the hub holds what the node acknowledged, but for what its own rules took, each record once.
// Threads: one per schedule. Owns: a folder below `scratch`, removed at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace skerry::test {

struct ScheduleOutcome {
  std::string wrong;          // empty: all is as it must be
  uint64_t acknowledged = 0, at_hub = 0, dropped = 0;  // records and events
  uint64_t lost = 0;          // entries that a hub which lied is known to lack
  uint32_t reordered = 0, power_cuts = 0, kills = 0, images = 0, lies = 0, jumps = 0, most_on_the_way = 0;
};

ScheduleOutcome run_sync_schedule(uint64_t seed, const std::filesystem::path& scratch);

// In memory where the system has such a place: no disk is measured here.
std::filesystem::path schedule_scratch();

}  // namespace skerry::test
