#include "storage/internal/rolled.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "storage/internal/columns.h"

namespace skerry::storage::internal {
namespace {

constexpr std::string_view kRowsPrefix = "\x01rows@";
constexpr const char* kParts[] = {"n", "sum", "m2", "min", "max", "first", "last"};

std::string part_name(const std::string& field, const char* part) { return field + '\x01' + part; }

Result<int64_t> resolution_in(std::string_view name) {
  if (!name.starts_with('\x01')) return int64_t{0};
  int64_t ns = 0;
  const std::string_view digits = name.substr(std::min(name.size(), kRowsPrefix.size()));
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), ns);
  const bool known = name.starts_with(kRowsPrefix) && code == std::errc() && end == digits.data() + digits.size() && ns > 0 &&
                     std::find(kResolutions.begin(), kResolutions.end(), ns) != kResolutions.end();
  if (known) return ns;
  return fail(Code::corrupt, "a chunk is rolled up in a way that this program does not know: update it");
}

void append_number(Column& out, const Tally& tally, FieldType type, double of_float, int64_t of_integer) {
  out.present.push_back(tally.count() > 0 ? 1 : 0);
  switch (type) {
    case FieldType::float64: std::get<0>(out.values).push_back(tally.count() > 0 ? of_float : 0); return;
    case FieldType::int64: std::get<1>(out.values).push_back(tally.count() > 0 ? of_integer : 0); return;
    case FieldType::boolean: std::get<2>(out.values).push_back(tally.count() > 0 && of_integer != 0 ? 1 : 0); return;
    case FieldType::string: return;
  }
}

void append_end(Column& out, const Tally& tally, FieldType type, const Tally::Value& value) {
  if (type == FieldType::string) {
    const auto* text = std::get_if<std::string>(&value);
    out.present.push_back(text != nullptr ? 1 : 0);
    std::get<3>(out.values).push_back(text != nullptr ? *text : std::string());
    return;
  }
  const auto* number = std::get_if<double>(&value);
  const auto* integer = std::get_if<int64_t>(&value);
  append_number(out, tally, type, number != nullptr ? *number : 0, integer != nullptr ? *integer : 0);
}

void append_double(Column& out, const Tally& tally, double value) {
  out.present.push_back(tally.count() > 0 ? 1 : 0);
  std::get<0>(out.values).push_back(tally.count() > 0 ? value : 0);
}

// Eight digits of a deviation are enough, and half the bytes.
double as_float(double value) {
  const auto narrow = static_cast<float>(value);
  return std::isfinite(narrow) ? static_cast<double>(narrow) : value;
}

template <typename T>
T value_at(const Batch& rows, size_t place, size_t row) {
  return place == SIZE_MAX ? T() : static_cast<T>(std::get<std::vector<T>>(rows.columns[place].values)[row]);
}

template <typename T, typename Stored = T>
Extent<T> extent_at(const Batch& rows, const std::array<size_t, 4>& places, size_t row) {
  return {static_cast<T>(value_at<Stored>(rows, places[0], row)), static_cast<T>(value_at<Stored>(rows, places[1], row)),
          static_cast<T>(value_at<Stored>(rows, places[2], row)), static_cast<T>(value_at<Stored>(rows, places[3], row))};
}

}  // namespace

Result<int64_t> resolution_of(const ChunkHeader& header) {
  return header.columns.empty() ? Result<int64_t>(int64_t{0}) : resolution_in(header.columns.front().name);
}

Result<int64_t> resolution_of(const Batch& rows) {
  return rows.columns.empty() ? Result<int64_t>(int64_t{0}) : resolution_in(rows.columns.front().name);
}

size_t level_of(int64_t resolution_ns) {
  return static_cast<size_t>(std::find(kResolutions.begin(), kResolutions.end(), resolution_ns) - kResolutions.begin());
}

std::vector<std::string> rolled_names(const FieldList& fields, int64_t resolution_ns) {
  std::vector<std::string> out = {std::string(kRowsPrefix) + std::to_string(resolution_ns)};
  for (const auto& [name, type] : fields) {
    for (const char* part : kParts) out.push_back(part_name(name, part));
  }
  return out;
}

FieldList rolled_fields(const Batch& rows) {
  FieldList out;
  for (const Column& column : rows.columns) {  // `last` has the field's own type
    const size_t at = column.name.rfind('\x01');
    if (at != std::string::npos && at > 0 && std::string_view(column.name).substr(at + 1) == "last") out.emplace_back(column.name.substr(0, at), column.type());
  }
  return out;
}

uint64_t rolled_records(const ChunkHeader& header) {
  return header.columns.empty() ? 0 : static_cast<uint64_t>(std::max(0.0, header.columns.front().sum));
}

RolledRows::RolledRows(Batch rows, const FieldList& fields, int64_t resolution_ns)
    : rows_(std::move(rows)), fields_(fields), resolution_ns_(resolution_ns) {
  records_ = place(rolled_names({}, resolution_ns).front(), FieldType::int64);
  for (const auto& [name, type] : fields_) {
    const bool numbers = type != FieldType::string;
    const auto at = [&, &name = name](const char* part, FieldType of) { return place(part_name(name, part), of); };
    places_.push_back({at("n", FieldType::int64), at("sum", FieldType::float64), at("m2", FieldType::float64), numbers ? at("min", type) : SIZE_MAX,
                       numbers ? at("max", type) : SIZE_MAX, at("first", type), at("last", type)});
    if (places_.back().last == SIZE_MAX) places_.back().n = SIZE_MAX;  // the field came later, or with another type
  }
}

size_t RolledRows::place(const std::string& name, FieldType type) const {
  for (size_t i = 0; i < rows_.columns.size(); ++i) {
    if (rows_.columns[i].name == name && rows_.columns[i].type() == type) return i;
  }
  return SIZE_MAX;
}

void RolledRows::summary(size_t row, ChunkHeader& out) const {
  out.first_ns = out.last_ns = rows_.times[row];
  out.rows = static_cast<uint32_t>(std::clamp<int64_t>(value_at<int64_t>(rows_, records_, row), 0, UINT32_MAX));
  out.columns.resize(fields_.size());
  for (size_t f = 0; f < fields_.size(); ++f) {
    ChunkColumn& column = out.columns[f];
    const Places& at = places_[f];
    column.name = fields_[f].first;
    column.type = fields_[f].second;
    column.count = static_cast<uint32_t>(std::clamp<int64_t>(value_at<int64_t>(rows_, at.n, row), 0, UINT32_MAX));
    column.sum = value_at<double>(rows_, at.sum, row);
    column.deviation = value_at<double>(rows_, at.m2, row);
    column.extent = std::monostate();
    if (column.count == 0) continue;
    const std::array<size_t, 4> ends = {at.min, at.max, at.first, at.last};
    switch (column.type) {
      case FieldType::float64: column.extent = extent_at<double>(rows_, ends, row); break;
      case FieldType::int64: column.extent = extent_at<int64_t>(rows_, ends, row); break;
      case FieldType::boolean: column.extent = extent_at<int64_t, uint8_t>(rows_, ends, row); break;
      case FieldType::string: column.extent = extent_at<std::string>(rows_, ends, row); break;
    }
  }
}

ChunkColumn summary_of(const Tally& tally, const std::string& name, FieldType type) {
  ChunkColumn out;
  out.name = name;
  out.type = type;
  out.count = static_cast<uint32_t>(std::min<uint64_t>(tally.count(), UINT32_MAX));
  if (tally.count() == 0) return out;
  out.deviation = tally.deviation();
  if (type == FieldType::float64) {
    out.sum = tally.float_sum();
    out.extent = Extent<double>{tally.float_min(), tally.float_max(), std::get<double>(tally.first()), std::get<double>(tally.last())};
  } else if (type == FieldType::string) {
    out.extent = Extent<std::string>{"", "", std::get<std::string>(tally.first()), std::get<std::string>(tally.last())};
  } else {
    out.sum = static_cast<double>(tally.int_sum());
    out.extent = Extent<int64_t>{tally.int_min(), tally.int_max(), std::get<int64_t>(tally.first()), std::get<int64_t>(tally.last())};
  }
  return out;
}

Batch mean_record(const ChunkHeader& summary, const Series& series) {
  Batch out;
  out.series = series;
  out.times = {summary.first_ns};
  for (const ChunkColumn& c : summary.columns) {
    Column column{c.name, empty_values(c.type), {}};
    append_absent(column, 1);
    column.present[0] = c.count > 0 ? 1 : 0;
    const double mean = c.count > 0 ? c.sum / c.count : 0;
    switch (c.type) {
      case FieldType::float64: std::get<0>(column.values)[0] = mean; break;
      case FieldType::int64: {
        const auto* extent = std::get_if<Extent<int64_t>>(&c.extent);  // rounding must not leave it, nor what 64 bits hold
        if (extent == nullptr) break;
        const bool below = mean <= static_cast<double>(extent->min), above = mean >= static_cast<double>(extent->max);
        std::get<1>(column.values)[0] = below ? extent->min : above ? extent->max : std::llround(mean);
        break;
      }
      case FieldType::boolean: std::get<2>(column.values)[0] = mean >= 0.5 ? 1 : 0; break;
      case FieldType::string:
        if (const auto* extent = std::get_if<Extent<std::string>>(&c.extent)) std::get<3>(column.values)[0] = extent->last;
        break;
    }
    out.columns.push_back(std::move(column));
  }
  return out;
}

RolledBuilder::RolledBuilder(FieldList fields, int64_t resolution_ns) : fields_(std::move(fields)), resolution_ns_(resolution_ns) { begin(); }

void RolledBuilder::begin() {
  batch_ = {};
  batch_.columns.push_back({rolled_names({}, resolution_ns_).front(), std::vector<int64_t>(), {}});
  for (const auto& [name, type] : fields_) {
    const bool numbers = type != FieldType::string;
    batch_.columns.push_back({part_name(name, "n"), std::vector<int64_t>(), {}});
    if (numbers) batch_.columns.push_back({part_name(name, "sum"), std::vector<double>(), {}});
    if (numbers) batch_.columns.push_back({part_name(name, "m2"), std::vector<double>(), {}});
    if (numbers) batch_.columns.push_back({part_name(name, "min"), empty_values(type), {}});
    if (numbers) batch_.columns.push_back({part_name(name, "max"), empty_values(type), {}});
    batch_.columns.push_back({part_name(name, "first"), empty_values(type), {}});
    batch_.columns.push_back({part_name(name, "last"), empty_values(type), {}});
  }
}

void RolledBuilder::add(int64_t time_ns, uint64_t records, const std::vector<Tally>& tallies) {
  batch_.times.push_back(time_ns);
  size_t at = 0;
  const auto next = [&]() -> Column& { return batch_.columns[at++]; };
  std::get<1>(next().values).push_back(static_cast<int64_t>(records));
  for (size_t f = 0; f < fields_.size(); ++f) {
    const Tally& tally = tallies[f];
    const FieldType type = fields_[f].second;
    std::get<1>(next().values).push_back(static_cast<int64_t>(tally.count()));
    if (type != FieldType::string) {
      append_double(next(), tally, type == FieldType::float64 ? tally.float_sum() : static_cast<double>(tally.int_sum()));
      append_double(next(), tally, as_float(tally.deviation()));
      append_number(next(), tally, type, tally.float_min(), tally.int_min());
      append_number(next(), tally, type, tally.float_max(), tally.int_max());
    }
    append_end(next(), tally, type, tally.first());
    append_end(next(), tally, type, tally.last());
  }
}

Batch RolledBuilder::take() {
  for (Column& column : batch_.columns) drop_full_presence(column);
  Batch out = std::move(batch_);
  begin();
  return out;
}

}  // namespace skerry::storage::internal
