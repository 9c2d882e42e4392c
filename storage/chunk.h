// A columnar chunk: the records of one series between two times, sorted, each column in the smallest of several encodings. What an
// aggregate over a bucket needs is in the header, so that a chunk that lies wholly in a bucket is never decoded. Every value comes back
// to the last bit: also NaN with its payload, -0.0, infinities and denormals. The series itself is not part of the chunk.
// Threads: any; nothing is shared.
// On failure: reading answers `corrupt` for any damaged or hostile input and allocates no more than a small multiple of
// ChunkLimits::bytes_max.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/records.h"
#include "base/result.h"

namespace skerry::storage {

struct ChunkOptions {
  int zstd_level = 0;  // of a last pass over each column, kept where it saves something; 0: none. 1 to 19: smaller, slower to write
};

// What a reader is ready to hold.
struct ChunkLimits {
  size_t rows_max = kBatchRowsMax;
  size_t bytes_max = 256 << 20;  // of the decoded records
};

template <typename T>
struct Extent {
  T min{}, max{}, first{}, last{};
  bool operator==(const Extent&) const = default;
};

struct ChunkColumn {
  std::string name;
  FieldType type = FieldType::float64;
  uint32_t count = 0;  // of the records that have the value
  size_t bytes = 0;    // as stored
  // Of the values that are there. double for float64, int64 for int64 and boolean, nothing for strings and when count is 0.
  // min and max pass over NaN, and are NaN when there is nothing else.
  // Strings have first and last only in what Store::scan says of records that were rolled up.
  std::variant<std::monostate, Extent<double>, Extent<int64_t>, Extent<std::string>> extent;
  double sum = 0;  // float64: added up in the order of time; else exact, rounded once
  // M2, the sum of squared deviations from the mean, to rounding; two parts a and b make Ma + Mb + d^2 * na * nb / (na + nb) where d is
  // the difference of their means (Chan, Golub & LeVeque 1983). float64: sum and deviation are NaN or infinite where plain arithmetic
  // makes them so: deviation is NaN as soon as a value is, or is infinite, or the sum overflows.
  double deviation = 0;
};

struct ChunkHeader {
  uint32_t rows = 0;
  int64_t first_ns = 0, last_ns = 0;
  std::vector<ChunkColumn> columns;
};

inline constexpr size_t kChunkColumnsMax = 8192;  // also where many fields of a series were rolled up

// `batch` holds 1 to kBatchRowsMax records, times strictly increasing. Error: invalid.
Result<std::string> encode_chunk(const Batch& batch, const ChunkOptions& options = {});

// The beginning of a chunk that holds its header, to be kept elsewhere too.
std::string_view chunk_header_bytes(std::string_view chunk);

// `bytes`: of a chunk of `chunk_bytes` bytes, the whole or its chunk_header_bytes(). Checks the header's checksum and that the sizes
// add up to the whole, not the columns' checksums. Error: corrupt.
Result<ChunkHeader> read_chunk_header(std::string_view bytes, size_t chunk_bytes);
inline Result<ChunkHeader> read_chunk_header(std::string_view chunk) { return read_chunk_header(chunk, chunk.size()); }

// The records, with an empty series. With `wanted`, the fields of these names that there are, in the order of the chunk; the others are
// neither read nor checked, nor do they count against the limits. Values of absent records are zero or empty. Error: corrupt.
Result<Batch> decode_chunk(std::string_view bytes, const ChunkLimits& limits = {},
                           const std::optional<std::vector<std::string>>& wanted = std::nullopt);

}  // namespace skerry::storage
