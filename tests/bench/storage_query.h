// The figure of aggregates (storage/aggregate.h) over records that are decoded already: what a query costs besides reading.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

// A day at 100 Hz with 9 fields (78 M values), count, min, max and mean by minutes; and the same by headers of chunks.
Result<std::vector<Figure>> aggregate_speed(Size size, const Places& places);

}  // namespace skerry::bench
