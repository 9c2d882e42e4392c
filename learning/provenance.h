// Which labelled predictions a version was made and judged with, so that those can be named that a withdrawn label went into. Kept in notes of
// the store, of the newest kProvenanceKept versions of a model.
// Threads: any.
// On failure: a note that can't be read names no label; it is logged.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/store.h"

namespace skerry::learning {

inline constexpr uint32_t kProvenanceKept = 50;

// Ascending numbers as gaps, a few bits each (LEB128, as in the DWARF standard). Error: corrupt.
std::string encode_ids(std::vector<uint64_t> ids);
Result<std::vector<uint64_t>> decode_ids(std::string_view bytes);

void keep_provenance(storage::Effect& effect, const std::string& model, uint32_t version, std::vector<uint64_t> predictions);
// The predictions whose labels a version was made or judged with, ascending; empty when that is not known any more. Error: corrupt, as the store.
Result<std::vector<uint64_t>> used_by(const storage::Store& store, const std::string& model, uint32_t version);
// Versions that are not rejected and used any of these, ascending. Error: as the store.
Result<std::vector<storage::ModelVersion>> versions_that_used(const storage::Store& store, const std::string& model, std::vector<uint64_t> predictions);

}  // namespace skerry::learning
