// Records as JSON, a piece at a time, for answers of any size.
// Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/records.h"

namespace skerry::node {

void append_json_number(std::string& out, double value);            // null where JSON has no such number
void append_json_value(std::string& out, const Column& column, size_t row);  // null when absent

}  // namespace skerry::node
