// Columns put together out of slices of others.
// Threads: any; nothing is shared.
#pragma once

#include <vector>

#include "base/records.h"

namespace skerry::storage::internal {

Column::Values empty_values(FieldType type);

// Rows [from, to) of `source` to the end of `out`, whose `present` is always there.
void append_rows(Column& out, const Column& source, size_t from, size_t to);
// As many rows without a value.
void append_absent(Column& out, size_t rows);

// Rows [from, to) of the columns of `source` to those of `out`, by name; what either lacks is absent there. `rows_after`: in `out`, with
// the new ones. A column of another type than the one in `out` counts as lacking.
void append_columns(std::vector<Column>& out, const std::vector<Column>& source, size_t from, size_t to, size_t rows_after);

// Removes `present` when every record has the value.
void drop_full_presence(Column& column);

}  // namespace skerry::storage::internal
