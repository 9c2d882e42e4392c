// Makes room without losing everything: the oldest chunks of one resolution become rows of a coarser one (internal/rolled.h), the chunks
// themselves go. What the hub does not have yet stays as it is, unless the rule of the stream says otherwise.
// Threads: one at a time; blocks may be added meanwhile, nobody else removes or seals any.
// On failure: chunks of which one cannot be read stay, all that overlap with it.
#pragma once

#include <rocksdb/write_batch.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/internal/block_scan.h"
#include "storage/internal/damage.h"
#include "storage/internal/database.h"
#include "storage/internal/sealed_row.h"
#include "storage/internal/state.h"
#include "storage/options.h"

namespace skerry::storage::internal {

inline constexpr uint64_t kRolledChunksMax = 1024;  // that a pass may write

struct Rolling {  // of one series
  std::string series;
  Extents gone, added;
  std::array<uint64_t, 3> gone_bytes{}, added_bytes{};  // of what was, or is, rolled up, by level from 1 on
  uint64_t span_max_ns = 0;                             // of new chunks
  uint64_t generation_min = UINT64_MAX, generation_max = 0;  // of chunks that go
  std::vector<Loss> losses;                             // without the time at which it happened
};

class RollUp {
 public:
  struct Candidate {
    const SeriesState* state = nullptr;
    const StreamRule* rule = nullptr;
  };
  // Blocks from number `unsent_from` on are not acknowledged. New chunks are of `generation`, and their numbers begin at `number`.
  RollUp(const Database& db, Damage& damage, uint64_t unsent_from, uint64_t generation, uint64_t number)
      : db_(db), damage_(damage), unsent_from_(unsent_from), generation_(generation), number_(number), numbers_end_(number + kRolledChunksMax) {}

  // Chunks of `level`, the oldest of all candidates first, until `bytes` are free. Adds what changes to `batch`. A pass takes a bounded
  // number of values. Error: unavailable.
  Result<std::vector<Rolling>> roll(const std::vector<Candidate>& candidates, size_t level, uint64_t bytes, rocksdb::WriteBatch& batch);

 private:
  struct Run {  // a chunk
    std::string key;
    int64_t first_ns = 0, last_ns = 0;
    uint64_t rows = 0, records = 0, bytes = 0, generation = 0;
    std::vector<BlockPart> blocks;
  };
  struct Chunk {  // a new one
    std::string key, row, bytes;
    uint64_t rows = 0, span_ns = 0;
    int64_t first_ns = 0;
  };
  using Group = std::vector<Run>;
  class Chunks;

  bool may_go(const Run& run, size_t level, const StreamRule& rule) const;
  Result<bool> under_head(const SeriesState& series, const Group& group) const;
  // The group in a coarser resolution; nothing when that saves too little. Error: unavailable.
  Result<std::vector<Chunk>> rolled(const SeriesState& series, const Group& group, size_t level, size_t& to_level);
  Result<std::vector<Chunk>> encode(const SeriesState& series, const Batch& rows);
  void replace(const Candidate& candidate, const Group& group, size_t level, const std::vector<Chunk>& chunks, size_t to_level, Rolling& out,
               rocksdb::WriteBatch& batch) const;

  const Database& db_;
  Damage& damage_;
  const uint64_t unsent_from_, generation_;
  uint64_t number_;
  const uint64_t numbers_end_;
};

}  // namespace skerry::storage::internal
