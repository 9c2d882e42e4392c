// Any bytes as a CSV file: refused, or as many rows as its scan counted, each valid as records.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "plugins/internal/csv_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry;
  using namespace skerry::plugins;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Result<CsvTable> table = CsvTable::open(
      [&bytes]() -> Result<CsvReader::Read> {
        return CsvReader::Read([&bytes, at = size_t{0}](char* out, size_t n) mutable -> Result<size_t> {
          n = std::min(n, bytes.size() - at);
          std::copy_n(bytes.data() + at, n, out);
          at += n;
          return n;
        });
      },
      "fuzz.csv");
  if (!table) return 0;
  Batch batch{Series{"fuzz", {}}, {}, table->empty_columns()};
  CsvRow row;
  uint64_t rows = 0;
  for (; batch.rows() < 1000; ++rows) {
    Result<bool> more = table->next(row);
    SKERRY_CHECK(more.ok(), "a row that was scanned can't be read: {}", more.ok() ? "" : more.error().message);
    if (!*more) break;
    SKERRY_CHECK(row.time_ns <= table->last_ns(), "a time beyond the last");
    batch.times.push_back(row.time_ns);
    table->append(row, batch.columns);
  }
  SKERRY_CHECK(rows == std::min<uint64_t>(table->rows(), 1000), "{} rows read, {} scanned", rows, table->rows());
  Status valid = batch.validate();
  SKERRY_CHECK(valid.ok(), "{}", valid.ok() ? "" : valid.error().message);
  return 0;
}
