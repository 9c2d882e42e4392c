// A CSV file as a table of records: a time column and typed fields. Opening reads the file once for the types of
// its columns (every number is a float64, so that the next file of the same stream fits too); then rows come one by
// one. Two layouts are understood: names for every column, and R's write.table, whose rows begin with a row number
// that has no name. On failure: invalid, naming file and line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "plugins/internal/csv.h"

namespace skerry::plugins {

struct CsvColumn {
  std::string name;
  size_t index = 0;  // of its cell in a row
  FieldType type = FieldType::float64;
};

struct CsvRow {
  int64_t time_ns = 0;
  std::vector<std::string> cells;
};

class CsvTable {
 public:
  // `source` is called twice, each time for a reader from the file's beginning. `name` is for messages.
  using Source = std::function<Result<CsvReader::Read>()>;
  static Result<CsvTable> open(Source source, std::string name);
  static Result<CsvTable> open(const std::filesystem::path& path);

  uint64_t rows() const { return rows_; }
  int64_t first_ns() const { return first_ns_; }  // of the first row
  int64_t last_ns() const { return last_ns_; }    // the greatest
  const std::vector<CsvColumn>& columns() const { return columns_; }

  Result<bool> next(CsvRow& row);  // false at the end
  std::vector<Column> empty_columns() const;
  void append(const CsvRow& row, std::vector<Column>& columns) const;

 private:
  Status scan();
  Status start();
  Status read_header();
  Result<bool> next_cells(std::vector<std::string>& cells);
  Result<int64_t> time_of(const std::string& cell) const;

  Source source_;
  std::string name_;
  std::unique_ptr<CsvReader> reader_;
  std::vector<std::string> header_;
  size_t fields_ = 0, time_index_ = 0;
  bool numeric_time_ = false;
  double time_unit_ns_ = 1;
  std::vector<CsvColumn> columns_;
  uint64_t rows_ = 0;
  int64_t first_ns_ = 0, last_ns_ = 0;
};

}  // namespace skerry::plugins
