// Figures of sync in simulated time (simulate/): the policy against simpler ones on a drive, how fast a month is played, draining a backlog beside
// a plain upload of the same bytes, and fault schedules.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

Result<std::vector<Figure>> sync_policy(Size size, const Places& places);
Result<std::vector<Figure>> sync_month(Size size, const Places& places);
Result<std::vector<Figure>> sync_drain(Size size, const Places& places);
Result<std::vector<Figure>> sync_schedules(Size size, const Places& places);

}  // namespace skerry::bench
