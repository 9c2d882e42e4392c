// Takes the oldest blocks and chunks of series away: what has outlived its retention, or is too much for a quota. What the hub does not
// have yet stays, unless the rule of the stream says otherwise.
// Threads: one at a time; blocks may be added meanwhile, nobody else removes any.
#pragma once

#include <rocksdb/write_batch.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
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

struct Evicted {  // of one series
  std::string series;
  Extents head, sealed;                // what was removed
  TimeRange range;                     // of its records
  std::array<uint64_t, 3> rolled_bytes{};  // of sealed: of what was rolled up, by level from 1 on
  uint64_t records = 0;                // that they held; of what was rolled up, that it stood for
  uint64_t unsent = 0;                 // records that the hub does not have
  std::optional<int64_t> next_first_ns;  // of what is left; none: nothing is
  uint64_t generation_min = UINT64_MAX, generation_max = 0;  // of removed chunks

  uint64_t bytes() const { return head.bytes + sealed.bytes; }
};

class Eviction {
 public:
  struct Candidate {
    const SeriesState* state = nullptr;
    const StreamRule* rule = nullptr;
  };
  // Blocks from number `unsent_from` on are not acknowledged.
  Eviction(const Database& db, Damage& damage, uint64_t unsent_from) : db_(db), damage_(damage), unsent_from_(unsent_from) {}

  // The oldest of all candidates, until `bytes` are free or only records from `before_ns` on are left. Adds the removals to `batch`. A pass
  // takes a bounded number; the rest next time. Error: unavailable.
  Result<std::vector<Evicted>> evict(const std::vector<Candidate>& candidates, uint64_t bytes, int64_t before_ns, rocksdb::WriteBatch& batch);

 private:
  struct Run {  // a block or a chunk
    Family family = kHead;
    std::string key;
    int64_t first_ns = 0, last_ns = 0;
    uint64_t rows = 0, bytes = 0, generation = 0;
    std::vector<BlockPart> blocks;
    size_t level = 0;      // above 0: it was rolled up, which the hub does not get
    uint64_t records = 0;
  };
  class Series;
  bool may_go(const Run& run, const StreamRule& rule) const;
  uint64_t unsent_records(const Run& run) const;

  const Database& db_;
  Damage& damage_;
  const uint64_t unsent_from_;
};

}  // namespace skerry::storage::internal
