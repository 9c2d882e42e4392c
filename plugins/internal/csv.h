// Comma-separated values after RFC 4180, row by row: quoted fields, doubled quotes, line breaks inside quotes, LF
// or CRLF, a byte order mark. Blank lines are skipped. Memory is bounded by one row. On failure: invalid for a row
// or a field over the limits or a quote that never ends, naming the line.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace skerry::plugins {

inline constexpr size_t kCsvRowBytesMax = 1 << 20;
inline constexpr size_t kCsvFieldsMax = 1024;

class CsvReader {
 public:
  // Fills up to `bytes` bytes of `out`; 0 at the end.
  using Read = std::function<Result<size_t>(char* out, size_t bytes)>;
  explicit CsvReader(Read read) : read_(std::move(read)) {}

  // False at the end.
  Result<bool> next(std::vector<std::string>& fields);
  uint64_t line() const { return row_line_; }  // where the row read last began, counted from 1

 private:
  Result<int> get();  // next byte, or -1
  Result<int> peek();

  Read read_;
  std::string buffer_;
  size_t at_ = 0;
  bool started_ = false;
  uint64_t line_ = 1, row_line_ = 1;
};

}  // namespace skerry::plugins
