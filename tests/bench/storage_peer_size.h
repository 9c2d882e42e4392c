// Bytes per value of the columnar chunks beside InfluxDB's, of the same records: sent as line protocol, one series per recording, file or
// set, and compacted until each shard is one TSM file. Everything goes into one shard, which suits the peer best: a shard per week, its
// default, costs it an index and shorter blocks each time.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

Result<std::vector<Figure>> peer_sizes(Size size, const Places& places);

}  // namespace skerry::bench
