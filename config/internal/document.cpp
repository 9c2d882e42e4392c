#include "config/internal/document.h"

#include <fmt/core.h>

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>

namespace skerry::config {
namespace {

Place place(const toml::source_region& region) { return {region.begin.line, region.begin.column}; }

Value convert(const toml::node& node, size_t depth, const toml::node** too_deep) {
  Value out;
  out.at = place(node.source());
  if (depth > kDepthMax) {
    if (*too_deep == nullptr) *too_deep = &node;
    out.is = Other{};
  } else if (const auto* table = node.as_table()) {
    Table members;
    for (const auto& [key, value] : *table) {
      members.push_back({std::string(key.str()), place(key.source()), {convert(value, depth + 1, too_deep)}});
    }
    // In the order of the file, which is how people read the complaints.
    std::stable_sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
      return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
    });
    out.is = std::move(members);
  } else if (const auto* array = node.as_array()) {
    Array items;
    for (const auto& item : *array) items.push_back(convert(item, depth + 1, too_deep));
    out.is = std::move(items);
  } else if (const auto* text = node.as_string()) {
    out.is = text->get();
  } else if (const auto* integer = node.as_integer()) {
    out.is = integer->get();
  } else if (const auto* real = node.as_floating_point()) {
    out.is = real->get();
  } else if (const auto* boolean = node.as_boolean()) {
    out.is = boolean->get();
  } else {
    out.is = Other{};
  }
  return out;
}

}  // namespace

const char* Value::kind() const {
  static const char* const kKinds[] = {"a table", "a list", "a text", "a whole number", "a number", "a yes/no value", "a date"};
  return kKinds[is.index()];
}

std::variant<Value, SyntaxError> read_document(std::string_view toml) {
  if (toml.size() > kFileBytesMax) {
    return SyntaxError{{1, 1}, fmt::format("the file has {} bytes: at most {} are read, remove what is not needed", toml.size(), kFileBytesMax)};
  }
  toml::parse_result result = toml::parse(toml);
  if (!result) {
    return SyntaxError{place(result.error().source()), fmt::format("not valid TOML: {}", result.error().description())};
  }
  const toml::node* too_deep = nullptr;
  Value root = convert(result.table(), 0, &too_deep);
  if (too_deep != nullptr) {
    return SyntaxError{place(too_deep->source()), fmt::format("nested more than {} levels deep: no setting needs that", kDepthMax)};
  }
  return root;
}

}  // namespace skerry::config
