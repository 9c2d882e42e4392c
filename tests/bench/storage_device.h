// Figures of the store on a small device: what it costs to start with a lot in it, and how much is written for what is kept.
#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "tests/bench/figure.h"
#include "tests/bench/loop.h"

namespace skerry::bench {

// storage.open_ms, storage.open_rss_mb: Store::open in a fresh process, on 100 M sealed values and an outbox with all of them and 100,000
// predictions, none acknowledged.
Result<std::vector<Figure>> open_large(Size size, const Places& places);
// What that process does: opens the store and prints "opened MILLISECONDS RESIDENT_GROWTH_BYTES". Its exit code.
int open_store_and_report(const std::filesystem::path& store);

// storage.device_bytes_per_sealed_byte: bytes handed to the file system (Store::wear) for a day of a nine-axis sensor at 100 Hz that comes
// in batches of a second by the rule `interval`, on a simulated clock, beside the chunks and index it becomes. Not counted: the rest of the
// page that a sync writes when its tail of the log fills it only in part.
Result<std::vector<Figure>> device_bytes(Size size, const Places& places);

}  // namespace skerry::bench
