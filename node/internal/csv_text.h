// Records as CSV (RFC 4180), a value at a time.
// Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/records.h"

namespace skerry::node {

void append_csv_text(std::string& out, std::string_view text);
void append_csv_value(std::string& out, const Column& column, size_t row);  // nothing when absent

}  // namespace skerry::node
