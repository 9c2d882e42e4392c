#include "node/internal/csv_text.h"

#include <fmt/format.h>

#include <iterator>

namespace skerry::node {

void append_csv_text(std::string& out, std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += text;
    return;
  }
  out += '"';
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

void append_csv_value(std::string& out, const Column& column, size_t row) {
  if (!column.has(row)) return;
  switch (column.type()) {
    case FieldType::float64: fmt::format_to(std::back_inserter(out), "{}", std::get<0>(column.values)[row]); return;
    case FieldType::int64: fmt::format_to(std::back_inserter(out), "{}", std::get<1>(column.values)[row]); return;
    case FieldType::boolean: out += std::get<2>(column.values)[row] ? "true" : "false"; return;
    case FieldType::string: append_csv_text(out, std::get<3>(column.values)[row]); return;
  }
}

}  // namespace skerry::node
