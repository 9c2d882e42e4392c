// Our int8 plans beside the runtimes that people would pick, in one run, one thread, on the MLPerf Tiny networks and our HAR network: p50 of an
// inference at batch 1 and 32; and what int8 costs in accuracy.
#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

Result<std::vector<Figure>> inference_latency(Size size, const Places& places);   // prints where each stands to the machine's int8 peak
Result<std::vector<Figure>> inference_accuracy(Size size, const Places& places);  // relative L2 and top class, int8 to fp32

}  // namespace skerry::bench
