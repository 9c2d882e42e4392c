// Figures of ingest. Each alternates its rounds with those of what it is compared with, in one run and on the same disk, and gives medians.
// What is promised when a write is answered: skerryd by default (`interval`) survives the end of its process at once and a power cut
// after at most 200 ms; influxd by default, and skerryd by the rule `batch`, have synced their logs.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

// Line protocol over HTTP from two connections to the real skerryd and to influxd: 5,000 lines a request, ten series, one float field.
// Once by default and once by the rule `batch`, which promises what influxd does (its wal-fsync-delay makes each write wait: it is slower).
Result<std::vector<Figure>> ingest_http(Size size, const Places& places);
// Batches of 1,000 records of MotionSense's nine fields into a Store in process, while another thread steps it as the daemon does.
Result<std::vector<Figure>> ingest_columns(Size size, const Places& places);
// Eight threads that commit ten records each time by the rule `batch`, beside as many appends of the same bytes to a file with an
// fdatasync each.
Result<std::vector<Figure>> durable_batches(Size size, const Places& places);

}  // namespace skerry::bench
