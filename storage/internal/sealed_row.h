// What `index` keeps of a chunk: where it lies, which blocks its records came from, and the chunk's own header, so that an aggregate
// needs nothing else. The blocks say which write was the later one where chunks overlap, and give the outbox back what it refers to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace skerry::storage::internal {

struct BlockPart {
  uint64_t number = 0;   // of the block
  uint32_t end_row = 0;  // its records in the chunk end before this one, and begin where the part before ends
  bool operator==(const BlockPart&) const = default;
};

struct SealedRow {
  uint64_t generation = 0;
  uint64_t chunk_bytes = 0;
  std::vector<BlockPart> blocks;  // in the order of time
  std::string header;             // chunk_header_bytes()
};

std::string encode_row(const SealedRow& row);
// Error: corrupt.
Result<SealedRow> decode_sealed_row(std::string_view bytes);

// The number of the block that record `row` came from.
uint64_t number_at(const std::vector<BlockPart>& blocks, size_t row);

}  // namespace skerry::storage::internal
