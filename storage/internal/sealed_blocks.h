// Blocks that were sealed into chunks, put together again: the outbox still owes them to the hub, one by one as they were written.
// Threads: any. Owns: a few decoded chunks, because a backlog is read in order.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/records.h"
#include "base/result.h"
#include "storage/internal/damage.h"
#include "storage/internal/database.h"
#include "storage/internal/sealed_row.h"

namespace skerry::storage::internal {

class SealedBlocks {
 public:
  SealedBlocks(const Database& db, Damage& damage) : db_(db), damage_(damage) {}

  struct Wanted {
    const Series& series;
    std::string_view head_key;  // where the block lay
    uint64_t span_ns = 0;       // from its first record to its last
    uint32_t records = 0;
    uint64_t look_back_ns = 0;  // of the longest chunk of the series
  };
  // The block's bytes as encode_block() gives them. Error: not_found when not all of its records are there any more, corrupt.
  Result<std::string> find(const Wanted& wanted);
  void forget();  // the database was opened anew: a chunk that was not on the disk yet may have come out otherwise

 private:
  struct Chunk {
    std::string key;
    SealedRow row;
    Batch batch;
  };
  Result<std::shared_ptr<const Chunk>> load(std::string_view key, SealedRow row);

  const Database& db_;
  Damage& damage_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<const Chunk>> recent_;  // newest first
};

}  // namespace skerry::storage::internal
