// A column of a chunk that follows from two others of it (surface.h). Where x and y repeat together, and z with them, z is written once.
// Rows with another one, or with values far from all others, are written apart.
// Threads: any; nothing is shared. On failure: decoding answers false for any damaged or hostile input and allocates a small multiple of
// the rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/records.h"
#include "storage/internal/coding.h"

namespace skerry::storage::internal {

struct EncodedColumn {
  std::string bytes;
  bool derived = false;
};

// Replaces the bytes of columns that take many by what derives them from others, where that is smaller. A column that others are
// derived from is not derived itself.
void derive_columns(const Batch& batch, std::vector<EncodedColumn>& columns);

struct Sources {
  size_t x = 0, y = 0;  // places of the columns
};
// What the bytes begin with. Nullopt: damaged.
std::optional<Sources> take_sources(Reader& in, size_t columns);
// The rest of them. `x` and `y` are the sources' values, one for each row.
bool decode_derived(Reader& in, const std::vector<double>& x, const std::vector<double>& y, std::vector<double>& z);

}  // namespace skerry::storage::internal
