// Records as JSON, CSV and line protocol, a piece at a time, for answers of any size.
// Threads: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/records.h"

namespace skerry::node {

void append_json_number(std::string& out, double value);            // null where JSON has no such number
void append_csv_text(std::string& out, std::string_view text);      // RFC 4180
void append_json_value(std::string& out, const Column& column, size_t row);  // null when absent
void append_csv_value(std::string& out, const Column& column, size_t row);   // nothing when absent

}  // namespace skerry::node
