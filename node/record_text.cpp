#include "node/internal/record_text.h"

#include <fmt/format.h>

#include <cmath>

#include "node/internal/rest.h"

namespace skerry::node {

void append_json_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
  } else {
    fmt::format_to(std::back_inserter(out), "{}", value);
  }
}

void append_json_value(std::string& out, const Column& column, size_t row) {
  if (!column.has(row)) {
    out += "null";
    return;
  }
  switch (column.type()) {
    case FieldType::float64: append_json_number(out, std::get<0>(column.values)[row]); return;
    case FieldType::int64: fmt::format_to(std::back_inserter(out), "{}", std::get<1>(column.values)[row]); return;
    case FieldType::boolean: out += std::get<2>(column.values)[row] ? "true" : "false"; return;
    case FieldType::string: append_json_string(out, std::get<3>(column.values)[row]); return;
  }
}

}  // namespace skerry::node
