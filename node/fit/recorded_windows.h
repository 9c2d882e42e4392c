// Labelled recordings as windows for jobs: a folder of recordings (MotionSense) or simulated pumps. Windows never mix recordings.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/package.h"
#include "learning/job.h"
#include "plugins/source.h"

namespace skerry::node {

struct PumpFleet {
  uint32_t machines = 12;
  uint64_t seed = 1;
  double rate_hz = 400;
  Duration state_length = std::chrono::seconds(20);  // of each condition, once per machine
};

// Error: as plugins::read_recordings; not_found when nothing was selected.
Result<std::vector<plugins::Recording>> read_labelled(const plugins::ReplayOptions& options);
// Index: machine = "1" and so on.
Result<std::vector<plugins::Recording>> simulate_fleet(const PumpFleet& fleet);

// Stream, fields and period as the recordings have them. Error: invalid when they differ among themselves.
Result<inference::WindowSpec> window_spec_of(const std::vector<plugins::Recording>& recordings, uint32_t rows, uint32_t stride);
// Class names in alphabetical order.
std::vector<std::string> labels_of(const std::vector<plugins::Recording>& recordings);

using Chooses = std::function<bool(const std::map<std::string, std::string>& index)>;
Result<learning::ExampleSet> windows_of(const std::vector<plugins::Recording>& recordings, const inference::WindowSpec& spec,
                                        const std::vector<std::string>& labels, const Chooses& chosen);

}  // namespace skerry::node
