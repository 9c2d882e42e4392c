// Figures of sync with the real programs: fault schedules between network namespaces, and a start with a large backlog.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

Result<std::vector<Figure>> sync_real(Size size, const Places& places);
Result<std::vector<Figure>> sync_backlog(Size size, const Places& places);

}  // namespace skerry::bench
