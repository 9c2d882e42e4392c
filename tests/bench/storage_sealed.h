// Figures of a real store after sealing, where storage_codec.h has those of the codec alone.
#pragma once

#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

// Bytes of all tables per value when the records of a set came a thousand at a time and were sealed, beside zstd -19 of the raw columns:
// chunks, their index with its headers, RocksDB's blocks, filters and footers, the state of the series.
Result<std::vector<Figure>> sealed_sizes(Size size, const Places& places);
// Values per second that one thread rolls up, from reading the chunks to the log, beside packing the same values into chunks.
Result<std::vector<Figure>> roll_up_speed(Size size, const Places& places);

}  // namespace skerry::bench
