#include "storage/internal/chunks.h"

#include "storage/chunk.h"

namespace skerry::storage::internal {

Result<Batch> load_chunk(const Database& db, std::string_view index_key, const SealedRow& row,
                         const std::optional<std::vector<std::string>>& wanted, const rocksdb::Snapshot* snapshot) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  options.fill_cache = false;  // one scan would push everything else out; the kernel's page cache keeps what is read again
  rocksdb::PinnableSlice bytes;
  rocksdb::Status status = db.rocks().Get(options, db.family(kChunks), key::chunk(row.generation, index_key), &bytes);
  if (!status.ok()) return db.error(status, "read a chunk");
  SKERRY_ASSIGN(Batch batch, decode_chunk(view(bytes), {}, wanted));
  if (row.blocks.back().end_row != batch.rows()) return fail(Code::corrupt, "a chunk and the row about it do not belong together");
  return batch;
}

}  // namespace skerry::storage::internal
