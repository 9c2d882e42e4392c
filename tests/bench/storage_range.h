// The figure of a long range: a day of a nine-axis sensor at 100 Hz, its means by the minute, beside InfluxDB's same query.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

// storage.range_24h: GET /v1/query of skerryd against /query of influxd, both as JSON over HTTP; storage.range_24h_store: the same through
// the store in process. Rounds alternate with influxd's, medians; the answers are compared. Loading is not timed.
Result<std::vector<Figure>> range_24h(Size size, const Places& places);

}  // namespace skerry::bench
