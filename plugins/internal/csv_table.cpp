#include "plugins/internal/csv_table.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "base/clock.h"
#include "plugins/internal/input_file.h"

namespace skerry::plugins {
namespace {

// Years 1824 to 2116: differences of two times fit into 64 bits.
constexpr double kTimeNsMax = 4.6e18;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool absent(std::string_view cell) {
  cell = trim(cell);
  if (cell.empty()) return true;
  if (cell.size() > 4) return false;
  const std::string low = lower(cell);
  return low == "na" || low == "nan" || low == "null" || low == "none" || low == "inf" || low == "-inf";
}

std::optional<double> number(std::string_view cell) {
  cell = trim(cell);
  if (cell.starts_with('+')) cell.remove_prefix(1);
  double value = 0;
  auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (code != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<bool> boolean(std::string_view cell) {
  const std::string low = lower(trim(cell).substr(0, 6));
  if (low == "true") return true;
  if (low == "false") return false;
  return std::nullopt;
}

// A number of a time column has no unit: it is the one in which the greatest of them lies before the year 5138.
double unit_of(double greatest) {
  if (greatest < 1e11) return 1e9;
  if (greatest < 1e14) return 1e6;
  if (greatest < 1e17) return 1e3;
  return 1;
}

struct Seen {
  bool number = false, boolean = false, string = false;

  void note(std::string_view cell) {
    if (absent(cell)) return;
    if (plugins::boolean(cell))
      boolean = true;
    else if (plugins::number(cell))
      number = true;
    else
      string = true;
  }
  bool any() const { return number || boolean || string; }
  FieldType type() const {
    if (string || (number && boolean)) return FieldType::string;
    return boolean ? FieldType::boolean : FieldType::float64;
  }
};

}  // namespace

Result<CsvTable> CsvTable::open(Source source, std::string name) {
  CsvTable table;
  table.source_ = std::move(source);
  table.name_ = std::move(name);
  SKERRY_TRY(table.scan());
  SKERRY_TRY(table.start());
  return table;
}

Result<CsvTable> CsvTable::open(const std::filesystem::path& path) {
  Source source = [path]() -> Result<CsvReader::Read> {
    SKERRY_ASSIGN(InputFile opened, InputFile::open(path));
    auto file = std::make_shared<InputFile>(std::move(opened));
    return CsvReader::Read([file, at = uint64_t{0}](char* out, size_t bytes) mutable -> Result<size_t> {
      SKERRY_ASSIGN(size_t got, file->read_at(at, out, bytes));
      at += got;
      return got;
    });
  };
  return open(std::move(source), path.string());
}

Status CsvTable::start() {
  SKERRY_ASSIGN(CsvReader::Read read, source_());
  reader_ = std::make_unique<CsvReader>(std::move(read));
  Result<bool> header = reader_->next(header_);
  if (!header) return fail(header.error().code, "{}: {}", name_, header.error().message);
  if (!*header) return fail(Code::invalid, "{} is empty: a header line with column names is needed", name_);
  return {};
}

Status CsvTable::read_header() {
  std::set<std::string> used;
  time_index_ = 0;
  bool found = false;
  const size_t unnamed = fields_ - header_.size();  // 1 when rows begin with a row number
  for (size_t i = 0; i < header_.size(); ++i) {
    std::string name(trim(header_[i]));
    if (name.size() > kNameBytesMax) {
      return fail(Code::invalid, "{}: the name of column {} has {} bytes: at most {} are allowed", name_, i + 1,
                  name.size(), kNameBytesMax);
    }
    if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20; })) {
      return fail(Code::invalid, "{}: a control character in the name of column {}: is this a CSV file?", name_,
                  i + 1);
    }
    if (name.empty()) name = fmt::format("column{}", i + 1);
    if (!used.insert(name).second) {
      return fail(Code::invalid, "{}: two columns are named '{}': rename one", name_, name);
    }
    const std::string low = lower(name);
    if (!found && (low == "time" || low == "timestamp" || low == "date" || low == "datetime")) {
      time_index_ = i + unnamed;
      found = true;
    }
    columns_.push_back({std::move(name), i + unnamed});
  }
  if (!found) time_index_ = unnamed;
  std::erase_if(columns_, [&](const CsvColumn& c) { return c.index == time_index_; });
  return {};
}

Result<bool> CsvTable::next_cells(std::vector<std::string>& cells) {
  Result<bool> more = reader_->next(cells);
  if (!more) return fail(more.error().code, "{}: {}", name_, more.error().message);
  if (!*more) return false;
  if (fields_ == 0) {
    if (cells.size() != header_.size() && cells.size() != header_.size() + 1) {
      return fail(Code::invalid, "{}:{}: {} fields, but the header names {}", name_, reader_->line(), cells.size(),
                  header_.size());
    }
    fields_ = cells.size();
  }
  if (cells.size() != fields_) {
    return fail(Code::invalid, "{}:{}: {} fields where the other rows have {}: complete or remove the row", name_,
                reader_->line(), cells.size(), fields_);
  }
  return true;
}

Result<int64_t> CsvTable::time_of(const std::string& cell) const {
  const std::string text(trim(cell));
  if (numeric_time_) {
    std::optional<double> value = number(text);
    if (value && std::abs(*value) * time_unit_ns_ < kTimeNsMax)
      return static_cast<int64_t>(std::llround(*value * time_unit_ns_));
  } else {
    Result<int64_t> parsed = parse_time(text.size() == 10 ? text + " 00:00:00" : text);
    if (parsed && std::abs(static_cast<double>(*parsed)) < kTimeNsMax) return parsed;
  }
  return fail(Code::invalid,
              "{}:{}: '{}' is not a time: write 2026-11-23T08:04:16Z, \"2026-11-23 08:04:16\" or a number", name_,
              reader_->line(), text.substr(0, 64));
}

// One pass for the layout and the types. The unit of numeric times depends on the greatest, so first and last
// follow at the end.
Status CsvTable::scan() {
  SKERRY_TRY(start());
  std::vector<std::string> cells;
  SKERRY_ASSIGN(bool more, next_cells(cells));
  if (!more) return fail(Code::invalid, "{} has a header but no rows", name_);
  SKERRY_TRY(read_header());
  numeric_time_ = number(cells[time_index_]).has_value();

  std::vector<Seen> seen(columns_.size());
  double first_number = 0, greatest = -INFINITY, greatest_size = 0;
  while (more) {
    if (numeric_time_) {
      std::optional<double> value = number(cells[time_index_]);
      if (!value) return time_of(cells[time_index_]).error();
      if (rows_ == 0) first_number = *value;
      greatest = std::max(greatest, *value);
      greatest_size = std::max(greatest_size, std::abs(*value));
    } else {
      SKERRY_ASSIGN(int64_t ns, time_of(cells[time_index_]));
      if (rows_ == 0) first_ns_ = last_ns_ = ns;
      last_ns_ = std::max(last_ns_, ns);
    }
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string& cell = cells[columns_[i].index];
      if (cell.size() > kStringValueBytesMax) {
        return fail(Code::invalid, "{}:{}: field '{}' has {} bytes: at most {} are allowed", name_, reader_->line(),
                    columns_[i].name, cell.size(), kStringValueBytesMax);
      }
      seen[i].note(cell);
    }
    ++rows_;
    SKERRY_ASSIGN(more, next_cells(cells));
  }
  if (numeric_time_) {
    time_unit_ns_ = unit_of(greatest_size);
    if (greatest_size * time_unit_ns_ >= kTimeNsMax) {
      return fail(Code::invalid,
                  "{}: {} is not a time: write seconds, milliseconds, microseconds or nanoseconds since 1970",
                  name_, greatest_size);
    }
    first_ns_ = std::llround(first_number * time_unit_ns_);
    last_ns_ = std::llround(greatest * time_unit_ns_);
  }
  std::vector<CsvColumn> used;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (!seen[i].any()) continue;  // a column without any value has no type
    columns_[i].type = seen[i].type();
    used.push_back(columns_[i]);
  }
  columns_ = std::move(used);
  if (columns_.empty()) return fail(Code::invalid, "{} has no column with values besides its time", name_);
  if (columns_.size() > kBatchColumnsMax) {
    return fail(Code::invalid, "{} has {} columns: at most {} are allowed", name_, columns_.size(),
                kBatchColumnsMax);
  }
  return {};
}

Result<bool> CsvTable::next(CsvRow& row) {
  SKERRY_ASSIGN(bool more, next_cells(row.cells));
  if (!more) return false;
  SKERRY_ASSIGN(row.time_ns, time_of(row.cells[time_index_]));
  return true;
}

std::vector<Column> CsvTable::empty_columns() const {
  std::vector<Column> out;
  for (const CsvColumn& c : columns_) {
    Column column{c.name};
    if (c.type == FieldType::boolean) column.values = std::vector<uint8_t>();
    if (c.type == FieldType::string) column.values = std::vector<std::string>();
    out.push_back(std::move(column));
  }
  return out;
}

void CsvTable::append(const CsvRow& row, std::vector<Column>& columns) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    const std::string& cell = row.cells[columns_[i].index];
    Column& column = columns[i];
    bool has = !absent(cell);
    switch (columns_[i].type) {
      case FieldType::boolean: {
        std::optional<bool> value = boolean(cell);
        std::get<std::vector<uint8_t>>(column.values).push_back(value.value_or(false));
        has = value.has_value();
        break;
      }
      case FieldType::string:
        // The file may have changed since it was scanned; the limit holds all the same.
        has = has && cell.size() <= kStringValueBytesMax;
        std::get<std::vector<std::string>>(column.values).push_back(has ? cell : std::string());
        break;
      default: {
        std::optional<double> value = number(cell);
        std::get<std::vector<double>>(column.values).push_back(value.value_or(0));
        has = value.has_value();
      }
    }
    if (!has && column.present.empty()) column.present.assign(column.size() - 1, 1);
    if (!has || !column.present.empty()) column.present.push_back(has);
  }
}

}  // namespace skerry::plugins
