// The parts of the sample block that only this room needs: encoding a slice without copying it, and reading times off
// a block without decoding it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/records.h"
#include "base/result.h"

namespace skerry::storage::internal {

struct BlockHeader {
  int64_t first_ns = 0, last_ns = 0;
  uint32_t rows = 0;
  uint16_t columns = 0;
};

// Rows [from, to) of `batch`, whose times do not decrease.
std::string encode_rows(const Batch& batch, size_t from, size_t to);
// Without checking the checksum. Error: corrupt.
Result<BlockHeader> peek_block(std::string_view bytes);

}  // namespace skerry::storage::internal
