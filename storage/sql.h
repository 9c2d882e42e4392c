// One SELECT over the store, through SQLite virtual tables: a table per name of a series, over all series of that name. Columns: `time`
// (integer, nanoseconds), one per tag, one per field. Bounds on time and equality of tags are pushed down, and only the fields that a
// statement names are read. Besides SQLite's own functions: time_text(ns), time_ns('2026-11-23T08:00:00Z'), bucket(ns, '1m').
// Names are SQLite's: "quoted" where odd, no difference between upper and lower case; one that is taken gets a number ("x#2").
// Read only, bounded in time, memory, rows and in how many run at once.
// Threads: a statement belongs to one thread at a time; any number of statements side by side.
// On failure: invalid says what is wrong with the statement, exhausted which limit it met and what to do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "storage/store.h"

namespace skerry::storage {

struct SqlLimits {
  Duration time_max = std::chrono::seconds(10);  // of work; a pause between rows does not count
  uint64_t rows_max = 10'000;
  size_t statement_bytes_max = 64 << 10;
};
inline constexpr uint64_t kSqlMemoryMax = 48 << 20;   // SQLite's, of all statements together
inline constexpr uint32_t kSqlStatementsMax = 4;      // at the same time

using SqlValue = std::variant<std::monostate, int64_t, double, std::string>;  // blobs as hexadecimal text

struct SqlCounters {
  uint64_t scans = 0;         // of a series
  uint64_t rows_visited = 0;  // records that were read
  uint64_t fields_read = 0;   // columns of them that were read, over all scans
};

class SqlStatement {
 public:
  // `store` and `clock` must outlive it. Error: invalid, unavailable (too many at once).
  static Result<std::unique_ptr<SqlStatement>> open(const Store& store, const Clock& clock, std::string_view statement,
                                                    const SqlLimits& limits = {});
  virtual ~SqlStatement() = default;

  virtual const std::vector<std::string>& columns() const = 0;
  // False: there is no further row, or rows_max were given. Error: invalid, exhausted, or the store's.
  virtual Result<bool> next(std::vector<SqlValue>& row) = 0;
  virtual bool truncated() const = 0;  // once next() said false: there were more than rows_max
  virtual SqlCounters counters() const = 0;
};

}  // namespace skerry::storage
