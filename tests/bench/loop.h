// The figures of the running programs: exactly-once under bad luck, time to ready, swaps under load, inference while training.
// Each needs the programs beside this one. Error: they could not be started or stopped answering.
#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"

namespace skerry::bench {

enum class Size { full, smoke };

struct Places {
  std::filesystem::path work;   // an empty folder
  std::filesystem::path cache;  // of base models
};

Result<std::vector<Figure>> exactly_once(Size size, const Places& places);       // seeded schedules, each printed when it fails
Result<std::vector<Figure>> time_to_ready(Size size, const Places& places);      // from exec to health 200, with LibTorch loaded
Result<std::vector<Figure>> swaps_under_load(Size size, const Places& places);   // failed requests during consecutive promotions

struct TrainingLoad {
  double p99_quiet_ms = 0, p99_busy_ms = 0;
  uint64_t failures = 0;
  double ratio() const { return p99_busy_ms / p99_quiet_ms; }
};
// A daemon that answers `per_second` requests about windows of the simulated pump, in alternating phases with a training beside it and without.
Result<TrainingLoad> serve_while_training(Size size, const Places& places, double per_second);
// p99 while the worker trains over p99 while it does not, in alternating phases of the same run, at a fixed request rate.
Result<std::vector<Figure>> latency_while_training(Size size, const Places& places);

}  // namespace skerry::bench
