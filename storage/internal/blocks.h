// A batch as it came - in any order, with repeated timestamps - becomes blocks: sorted, one record per timestamp, none
// across a week of record time, none much larger than a megabyte. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/records.h"
#include "storage/internal/block_codec.h"

namespace skerry::storage::internal {

struct Block {
  int64_t first_ns = 0, last_ns = 0;
  uint32_t rows = 0;
  std::string bytes;
};

inline constexpr size_t kBlockRowsMax = 16384;
inline constexpr size_t kBlockBytesMax = 1 << 20;  // about, in memory; a single record may be larger

std::vector<Block> make_blocks(const Batch& batch);

}  // namespace skerry::storage::internal
