// Bytes on the wire for MotionSense at 50 Hz in batches of ten seconds, headers included, beside line protocol packed with gzip over HTTP and JSON
// over MQTT. Headers are counted as sync::wire_bytes does: HTTP, TCP and IP over a connection that stays open.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

Result<std::vector<Figure>> sync_wire(Size size, const Places& places);

}  // namespace skerry::bench
