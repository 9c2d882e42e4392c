// The bytes of one batch of records of one series, as stored and as sent. Versioned, checksummed (CRC-32C), self-describing: the
// hub decodes it without the node's schema.
// On failure: decode answers `corrupt` for any damaged or hostile input, allocating no more than about the input's size
// times a small constant.
#pragma once

#include <string>
#include <string_view>

#include "base/records.h"
#include "base/result.h"

namespace skerry::storage {

// `batch` sorted by time. The series itself is not part of the block.
std::string encode_block(const Batch& batch);
Result<Batch> decode_block(const Series& series, std::string_view bytes);

}  // namespace skerry::storage
