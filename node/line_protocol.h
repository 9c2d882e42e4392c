// InfluxDB line protocol, as its clients write it: measurement,tag=value field=value timestamp. Read into columnar batches, one per series
// in the order of first appearance, and written from them.
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
// Threads: pure functions.
// On failure: nothing of the body is taken; the error names line and column, what was found there and what to write instead.
// Memory is bounded by the limits below, whatever the body claims.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/records.h"
#include "base/result.h"

namespace skerry::node {

struct LineProtocolOptions {
  int64_t unit_ns = 1;               // nanoseconds per unit of a timestamp, see parse_precision
  int64_t now_ns = 0;                // for lines without a timestamp
  int64_t time_min_ns = INT64_MIN;   // an earlier or later time is refused: most often the precision is wrong
  int64_t time_max_ns = INT64_MAX;
  size_t series_max = 65'536;        // in one body
  size_t cells_max = 8 << 20;        // rows times fields over all series; a string counts as four
};

// "ns" and "n", "us", "u" and "µ", "ms", "s", "m", "h" (the names of versions 1 and 2); empty: ns. Error: invalid.
Result<int64_t> parse_precision(std::string_view name);

// `i` makes an int64, `u` an int64 that is not negative; a field that a line leaves out is absent (Column::present).
// Error: invalid.
Result<std::vector<Batch>> parse_line_protocol(std::string_view body, const LineProtocolOptions& options);

// Appends one line per record, times in nanoseconds. Error: invalid for what line protocol can't say: a record without any
// field, a name that ends in a backslash.
Status append_line_protocol(const Batch& batch, std::string& out);
Status append_line_protocol(const Batch& batch, size_t from, size_t to, std::string& out);  // records [from, to)

}  // namespace skerry::node
