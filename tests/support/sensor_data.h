// The real data sets as batches of float64 columns, a batch per recording, series or file: MotionSense (nine columns, 50 Hz), NAB (one
// column) and Occupancy (six). Empty, having said so, when a set is not there (real_data.h).
#pragma once

#include <string>
#include <vector>

#include "base/records.h"

namespace skerry::test {

// At most `recordings` of them.
std::vector<Batch> motionsense_batches(size_t recordings = SIZE_MAX);
std::vector<Batch> nab_batches();
std::vector<Batch> occupancy_batches();

// Size of the columns, all of one name strung together as raw float64, by zstd at `level`.
size_t zstd_bytes(const std::vector<Batch>& batches, int level);
// The same with each batch's columns on their own.
size_t zstd_bytes_apart(const std::vector<Batch>& batches, int level);

}  // namespace skerry::test
