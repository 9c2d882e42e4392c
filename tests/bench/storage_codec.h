// The figures of the columnar chunks (storage/chunk.h): bytes per value on real data beside zstd -19 of the raw floats, and
// values per second on one core, also of blocks of a batch each, which the ingest path encodes. Timestamps, headers and checksums are
// counted in; zstd packs the values alone.
#pragma once

#include <cstdint>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

Result<std::vector<Figure>> chunk_sizes(Size size, const Places& places);
Result<uint64_t> chunk_bytes(const std::vector<Batch>& batches);  // as a store would seal them
Result<std::vector<Figure>> chunk_speed(Size size, const Places& places);  // on MotionSense

}  // namespace skerry::bench
