// Sealed chunks read back by their row in `index`.
// Threads: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "storage/internal/database.h"
#include "storage/internal/sealed_row.h"

namespace skerry::storage::internal {

// The chunk's records, of the fields in `wanted` or of all. Error: corrupt; not_found when it is not there (any more).
Result<Batch> load_chunk(const Database& db, std::string_view index_key, const SealedRow& row,
                         const std::optional<std::vector<std::string>>& wanted, const rocksdb::Snapshot* snapshot = nullptr);

}  // namespace skerry::storage::internal
