// The figures of the door to the models: HTTP (JSON and raw bytes) and ZeroMQ beside fastify + onnxruntime-node, memory, start, swaps.
// Error: the programs could not be started or stopped answering.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

// HAR, one window a request: JSON over 1 and 8 connections, raw bytes, ZeroMQ on ipc, in turns with the peer.
Result<std::vector<Figure>> serving_requests(Size size, const Places& places);
// Memory of skerryd while it serves HAR; from its start to the first answer.
Result<std::vector<Figure>> serving_footprint(Size size, const Places& places);
// 1,000 swaps under load: each loads, warms up, switches, drains and frees.
Result<std::vector<Figure>> serving_swaps(Size size, const Places& places);

}  // namespace skerry::bench
