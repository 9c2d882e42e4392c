// The data model's nouns, shared by sources, the store and the wire: a series (name plus tags), its typed fields, and
// a columnar batch of records. InfluxDB's measurement, tags and fields map one to one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace skerry {

enum class FieldType : uint8_t { float64 = 1, int64 = 2, boolean = 3, string = 4 };  // persistent: never renumber
const char* to_string(FieldType type);

// One stream of records: `imu{device=pump-3,site=north}`. Tags are sorted by key, so equal series have equal texts.
struct Series {
  std::string name;
  std::map<std::string, std::string> tags;

  std::string text() const;                               // canonical; \ , = { } are escaped by a backslash
  static Result<Series> parse(std::string_view text);     // inverse of text(). Error: invalid
  bool operator==(const Series&) const = default;
};

// Values of one field, a value per record. `present` is empty when every record has the field.
struct Column {
  using Values = std::variant<std::vector<double>, std::vector<int64_t>, std::vector<uint8_t>, std::vector<std::string>>;

  std::string name;
  Values values;
  std::vector<uint8_t> present;  // 1 per record that has the value; values[i] is ignored where 0

  FieldType type() const { return static_cast<FieldType>(values.index() + 1); }
  size_t size() const;
  bool has(size_t row) const { return present.empty() || present[row] != 0; }
  double number(size_t row) const;  // any numeric or boolean type as double; NaN for strings and absent values
  bool operator==(const Column&) const = default;
};

// Records of one series, column by column. times are nanoseconds since 1970 UTC, in any order.
struct Batch {
  Series series;
  std::vector<int64_t> times;
  std::vector<Column> columns;

  size_t rows() const { return times.size(); }
  const Column* column(std::string_view name) const;
  size_t bytes() const;  // approximate memory of the payload
  // Shape, names, sizes and finite numbers, against the limits below. Error: invalid, naming the column and the row.
  Status validate() const;
  bool operator==(const Batch&) const = default;
};

inline constexpr size_t kBatchRowsMax = 1 << 20;
inline constexpr size_t kBatchColumnsMax = 256;
inline constexpr size_t kTagsMax = 32;
inline constexpr size_t kNameBytesMax = 256;           // of a series name, tag key or value, field name
inline constexpr size_t kStringValueBytesMax = 65536;  // of one string value

}  // namespace skerry
