// How a link goes through time: steps of technology, rate and round trip. From a CSV, or made up like a drive through a country.
// On failure: invalid, naming file and line.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "node/simulate/scenario.h"

namespace skerry::simulate {

struct TraceStep {
  Duration at{0};
  bool up = true;
  LinkShape link;
};

// Lines "seconds,technology,kbit_per_second,rtt_ms[,roaming]" in order; technology "none", or a rate of 0, is no link; "#" begins a remark, a first
// line without digits is a heading. The trace begins anew when it ends.
Result<std::vector<TraceStep>> parse_trace(std::string_view csv, const std::string& name);
Result<std::vector<TraceStep>> read_trace(const std::filesystem::path& file);

// Outage, LTE, NSA and SA by turns: 0.63 changes a minute, an eighth of the time without a link, uplink rates between those of "Beyond Throughput, The Next
// Generation" (Raca et al., MMSys 2020) and "A Variegated Look at 5G in the Wild" (Narayanan et al., SIGCOMM 2021).
std::vector<TraceStep> driving_trace(Random& random, Duration length);

}  // namespace skerry::simulate
