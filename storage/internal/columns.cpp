#include "storage/internal/columns.h"

#include <algorithm>

#include "base/check.h"

namespace skerry::storage::internal {

Column::Values empty_values(FieldType type) {
  switch (type) {
    case FieldType::float64:
      return std::vector<double>();
    case FieldType::int64:
      return std::vector<int64_t>();
    case FieldType::boolean:
      return std::vector<uint8_t>();
    case FieldType::string:
      return std::vector<std::string>();
  }
  SKERRY_CHECK(false, "field type {}", static_cast<int>(type));
}

void append_rows(Column& out, const Column& source, size_t from, size_t to) {
  const auto begin = static_cast<ptrdiff_t>(from), end = static_cast<ptrdiff_t>(to);
  if (source.present.empty()) {
    out.present.insert(out.present.end(), to - from, 1);
  } else {
    out.present.insert(out.present.end(), source.present.begin() + begin, source.present.begin() + end);
  }
  std::visit(
      [&](auto& values) {
        const auto& other = std::get<std::decay_t<decltype(values)>>(source.values);
        values.insert(values.end(), other.begin() + begin, other.begin() + end);
      },
      out.values);
}

void append_absent(Column& out, size_t rows) {
  out.present.insert(out.present.end(), rows, 0);
  std::visit([&](auto& values) { values.resize(values.size() + rows); }, out.values);
}

void append_columns(std::vector<Column>& out, const std::vector<Column>& source, size_t from, size_t to, size_t rows_after) {
  for (size_t i = 0; i < source.size(); ++i) {
    // Blocks of a series mostly have the same fields in the same order.
    auto known = i < out.size() && out[i].name == source[i].name
                     ? out.begin() + static_cast<ptrdiff_t>(i)
                     : std::find_if(out.begin(), out.end(), [&](const Column& c) { return c.name == source[i].name; });
    if (known == out.end()) {
      out.push_back({source[i].name, empty_values(source[i].type()), {}});
      known = out.end() - 1;
      append_absent(*known, rows_after - (to - from));
    }
    if (known->type() == source[i].type()) append_rows(*known, source[i], from, to);
  }
  for (Column& column : out) append_absent(column, rows_after - column.size());
}

void drop_full_presence(Column& column) {
  if (std::find(column.present.begin(), column.present.end(), 0) == column.present.end()) column.present.clear();
}

}  // namespace skerry::storage::internal
