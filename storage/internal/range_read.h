// Records of a series in time order out of its blocks, which may overlap within an hour: the last write of a timestamp
// wins, and what that write left out is kept from the one before.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "storage/internal/damage.h"
#include "storage/internal/database.h"
#include "storage/internal/state.h"
#include "storage/store.h"

namespace skerry::storage::internal {

// Every record of the range to the visitor. All fields when `fields` is empty. Error: not_found for an unknown field, the visitor's.
Status scan_range(const Database& db, Damage& damage, const SeriesState& series, TimeRange range,
                  const std::vector<std::string>& fields, RecordVisitor& visitor);

// The same of sealed records of this resolution alone, all fields; 0: those that were not rolled up.
Status scan_sealed(const Database& db, Damage& damage, const SeriesState& series, TimeRange range, int64_t resolution_ns, RecordVisitor& visitor);

// Where records of the range were rolled up, by the index alone. Error: unavailable.
Result<std::vector<RolledUp>> rolled_stretches(const Database& db, Damage& damage, const SeriesState& series, TimeRange range);

// At most rows_max records, the oldest first. All fields when `fields` is empty. Error: not_found for an unknown field.
Result<Batch> read_range(const Database& db, Damage& damage, const SeriesState& series, TimeRange range,
                         size_t rows_max, const std::vector<std::string>& fields);

}  // namespace skerry::storage::internal
