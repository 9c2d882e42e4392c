#include "base/records.h"

#include <cmath>
#include <limits>
#include <set>

namespace skerry {
namespace {

void append_escaped(std::string& out, std::string_view text) {
  for (char c : text) {
    if (c == '\\' || c == ',' || c == '=' || c == '{' || c == '}') out += '\\';
    out += c;
  }
}

// Reads up to an unescaped character of `stops`; leaves `text` at it.
std::string take_escaped(std::string_view& text, std::string_view stops) {
  std::string out;
  while (!text.empty() && stops.find(text.front()) == std::string_view::npos) {
    if (text.front() == '\\' && text.size() > 1) text.remove_prefix(1);
    out += text.front();
    text.remove_prefix(1);
  }
  return out;
}

Status check_name(std::string_view what, std::string_view name) {
  if (name.empty()) return fail(Code::invalid, "an empty {}: give it a name", what);
  if (name.size() > kNameBytesMax) {
    return fail(Code::invalid, "the {} '{}...' has {} bytes: at most {} are allowed", what, name.substr(0, 32),
                name.size(), kNameBytesMax);
  }
  for (char c : name) {
    if (static_cast<unsigned char>(c) < 0x20) {
      return fail(Code::invalid, "a control character in the {} '{}'", what, name.substr(0, 32));
    }
  }
  return {};
}

}  // namespace

const char* to_string(FieldType type) {
  switch (type) {
    case FieldType::float64: return "float64";
    case FieldType::int64: return "int64";
    case FieldType::boolean: return "bool";
    case FieldType::string: return "string";
  }
  return "unknown";
}

std::string Series::text() const {
  std::string out;
  append_escaped(out, name);
  if (tags.empty()) return out;
  char separator = '{';
  for (const auto& [key, value] : tags) {
    out += separator;
    append_escaped(out, key);
    out += '=';
    append_escaped(out, value);
    separator = ',';
  }
  return out + "}";
}

Result<Series> Series::parse(std::string_view text) {
  const std::string_view whole = text;
  auto wrong = [&] {
    return fail(Code::invalid, "'{}' is not a series: write name or name{{tag=value,...}}", whole.substr(0, 96));
  };
  Series series;
  series.name = take_escaped(text, "{},=");
  if (series.name.empty()) return wrong();
  if (text.empty()) return series;
  if (text.front() != '{') return wrong();
  do {
    text.remove_prefix(1);
    std::string key = take_escaped(text, "{},=");
    if (key.empty() || text.empty() || text.front() != '=') return wrong();
    text.remove_prefix(1);
    std::string value = take_escaped(text, "{},=");
    if (text.empty() || (text.front() != ',' && text.front() != '}')) return wrong();
    if (!series.tags.emplace(std::move(key), std::move(value)).second || series.tags.size() > kTagsMax) return wrong();
  } while (text.front() == ',');
  if (text != "}") return wrong();
  return series;
}

size_t Column::size() const {
  return std::visit([](const auto& v) { return v.size(); }, values);
}

double Column::number(size_t row) const {
  if (!has(row)) return std::numeric_limits<double>::quiet_NaN();
  switch (type()) {
    case FieldType::float64: return std::get<0>(values)[row];
    case FieldType::int64: return static_cast<double>(std::get<1>(values)[row]);
    case FieldType::boolean: return std::get<2>(values)[row];
    case FieldType::string: break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

const Column* Batch::column(std::string_view name) const {
  for (const Column& c : columns) {
    if (c.name == name) return &c;
  }
  return nullptr;
}

size_t Batch::bytes() const {
  size_t sum = times.size() * sizeof(int64_t);
  for (const Column& c : columns) {
    if (const auto* strings = std::get_if<3>(&c.values)) {
      for (const std::string& s : *strings) sum += s.size() + sizeof(uint32_t);
    } else {
      sum += c.size() * (c.type() == FieldType::boolean ? 1 : 8);
    }
    sum += c.present.size();
  }
  return sum;
}

Status Batch::validate() const {
  SKERRY_TRY(check_name("series name", series.name));
  if (series.tags.size() > kTagsMax) {
    return fail(Code::invalid, "{} has {} tags: at most {} are allowed", series.name, series.tags.size(), kTagsMax);
  }
  for (const auto& [key, value] : series.tags) {
    SKERRY_TRY(check_name("tag key", key));
    SKERRY_TRY(check_name("tag value", value));
  }
  if (rows() == 0) return fail(Code::invalid, "an empty batch for {}: send at least one record", series.text());
  if (rows() > kBatchRowsMax) {
    return fail(Code::invalid, "a batch of {} records for {}: split it, at most {} are allowed", rows(), series.text(),
                kBatchRowsMax);
  }
  if (columns.empty()) return fail(Code::invalid, "a batch without fields for {}", series.text());
  if (columns.size() > kBatchColumnsMax) {
    return fail(Code::invalid, "{} fields for {}: at most {} are allowed", columns.size(), series.text(),
                kBatchColumnsMax);
  }
  std::set<std::string_view> seen;
  for (const Column& c : columns) {
    SKERRY_TRY(check_name("field name", c.name));
    if (!seen.insert(c.name).second) return fail(Code::invalid, "field '{}' is given twice", c.name);
    if (c.size() != rows() || (!c.present.empty() && c.present.size() != rows())) {
      return fail(Code::invalid, "field '{}' has {} values for {} records", c.name, c.size(), rows());
    }
    if (const auto* doubles = std::get_if<0>(&c.values)) {
      for (size_t i = 0; i < doubles->size(); ++i) {
        if (c.has(i) && !std::isfinite((*doubles)[i])) {
          return fail(Code::invalid, "field '{}' of record {} is not a finite number: leave the field out instead",
                      c.name, i);
        }
      }
    } else if (const auto* strings = std::get_if<3>(&c.values)) {
      for (size_t i = 0; i < strings->size(); ++i) {
        if ((*strings)[i].size() > kStringValueBytesMax) {
          return fail(Code::invalid, "field '{}' of record {} has {} bytes: at most {} are allowed", c.name, i,
                      (*strings)[i].size(), kStringValueBytesMax);
        }
      }
    }
  }
  return {};
}

}  // namespace skerry
