// Turns the head of a series - the small blocks as they were written - into chunks: sorted runs of a few thousand records, cut at round
// times, so that a bucket of a minute or an hour takes a chunk whole.
//
// A chunk is made of blocks whose times do not overlap. What came late goes into chunks of its own, so every chunk still knows which
// block each record came from.
// Threads: one at a time; blocks may be added meanwhile, nobody else removes any.
// On failure: a damaged block is counted and stays where it is.
#pragma once

#include <rocksdb/write_batch.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "storage/internal/damage.h"
#include "storage/internal/database.h"
#include "storage/internal/state.h"

namespace skerry::storage::internal {

inline constexpr uint32_t kChunkRowsMax = 8192;       // enough for the encodings to settle, little enough to decode for one record
inline constexpr uint32_t kChunkRowsMin = 64;         // below it a chunk's header outweighs what sealing saves
inline constexpr uint64_t kChunkValuesMax = 1 << 18;  // of many columns: 2 MB in memory
inline constexpr uint64_t kChunkHeadBytesMax = 2 << 20;

// The round stretch of time that holds no more than a chunk takes when `rows` records come in `busy_ns`: 1 s, 10 s, 1 min, 10 min, 1 h,
// 6 h, 1 day or 1 week.
int64_t chunk_span(uint64_t rows, int64_t busy_ns, size_t columns);

struct Sealed {
  uint64_t rows = 0;
  uint64_t blocks = 0, head_bytes = 0;  // of the head, that were freed
  uint64_t chunks = 0;
  uint64_t chunk_bytes = 0;
  uint64_t span_max_ns = 0;
  int64_t first_ns = INT64_MAX;
  int64_t head_first_ns = INT64_MAX;  // of what stays in the head
};

enum class SealWhat : uint8_t {
  complete,    // stretches that nothing in order will be added to any more
  worthwhile,  // whatever makes a chunk of kChunkRowsMin records: memory is short
  everything
};

class Sealer {
 public:
  Sealer(const Database& db, Damage& damage) : db_(db), damage_(damage) {}
  // Adds to `batch` the new chunks and the removal of the blocks that are in them. Error: unavailable.
  Result<Sealed> seal(const SeriesState& series, uint64_t generation, SealWhat what, rocksdb::WriteBatch& batch);

 private:
  const Database& db_;
  Damage& damage_;
};

}  // namespace skerry::storage::internal
