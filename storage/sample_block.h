// The bytes of one batch of records of one series, as stored and as sent, each column in the smallest of several encodings.
// Versioned, checksummed (CRC-32C), self-describing: the hub decodes it without the node's schema. Floats come back to the last bit.
// On failure: decode answers `corrupt` for any damaged or hostile input, also for what would decode to more than 32 MB and 16 times
// the input's size; the store cuts batches to 1 MB (or one record) before it encodes them.
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
