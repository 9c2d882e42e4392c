// toml++ 3.3 does not stand hostile input as it is: it asserts where there is only a mistake, with NDEBUG it
// assumes what it would have asserted, and outside of texts and comments it calls code unreachable that characters
// beyond ASCII reach. So its assertions stay on here and throw, its name is changed so that the linker can't mix
// this copy with one that was compiled otherwise, and refuse_non_ascii() runs before it.
#include <stdexcept>
#ifdef NDEBUG
#undef NDEBUG
#endif
#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ASSERT(condition) ((condition) ? void() : throw std::runtime_error("a malformed value"))
#define toml skerry_config_toml
#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wterminate"  // in accessors that the parser does not use
#endif
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "config/internal/document.h"

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

// TOML allows other characters in texts and comments alone. In texts of several lines toml++ does not stand them
// either; no key needs one.
std::optional<SyntaxError> refuse_non_ascii(std::string_view toml) {
  Place at{1, 1};
  size_t i = toml.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  std::string_view quote;  // that ends the text we are in; "#": a comment, until the line's end
  for (; i < toml.size(); ++i, ++at.column) {
    const char c = toml[i];
    const bool several_lines = quote.size() == 3;
    if (static_cast<unsigned char>(c) >= 0x80 && (quote.empty() || several_lines)) {
      return SyntaxError{
          at, several_lines
                  ? "not valid TOML: a character beyond ASCII in a text of several lines: put it into one line"
                  : "not valid TOML: a character beyond ASCII outside of quotes: put the text in quotes"};
    }
    if (c == '\n') {
      at = {at.line + 1, 0};
      if (!several_lines) quote = {};
    } else if (quote.empty()) {
      if (c == '#') quote = "#";
      for (const std::string_view q : {"\"\"\"", "'''", "\"", "'"}) {
        if (!quote.empty() || !toml.substr(i).starts_with(q)) continue;
        quote = q;
        i += q.size() - 1;
        at.column += static_cast<uint32_t>(q.size() - 1);
      }
    } else if (c == '\\' && quote[0] == '"') {
      if (i + 1 < toml.size() && static_cast<unsigned char>(toml[i + 1]) < 0x80 && toml[i + 1] != '\n')
        ++i, ++at.column;
    } else if (quote != "#" && toml.substr(i).starts_with(quote)) {
      i += quote.size() - 1;
      at.column += static_cast<uint32_t>(quote.size() - 1);
      if (several_lines) {  // up to two more quotes still belong to the text, and end with it
        for (int more = 0; more < 2 && i + 1 < toml.size() && toml[i + 1] == quote[0]; ++more) ++i, ++at.column;
      }
      quote = {};
    }
  }
  return {};
}

SyntaxError invalid_toml(Place at, std::string_view why) {
  return {{std::max(at.line, 1u), std::max(at.column, 1u)}, fmt::format("not valid TOML: {}", why)};
}

}  // namespace

const char* Value::kind() const {
  static const char* const kKinds[] = {"a table",  "a list",         "a text", "a whole number",
                                       "a number", "a yes/no value", "a date"};
  return kKinds[is.index()];
}

std::variant<Value, SyntaxError> read_document(std::string_view toml) {
  if (toml.size() > kFileBytesMax) {
    return SyntaxError{{1, 1},
                       fmt::format("the file has {} bytes: at most {} are read, remove what is not needed",
                                   toml.size(), kFileBytesMax)};
  }
  if (std::optional<SyntaxError> refused = refuse_non_ascii(toml)) return *refused;
  toml::table table;
  try {
    table = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    return invalid_toml(place(error.source()), error.description());
  } catch (const std::exception& error) {
    return invalid_toml({}, error.what());
  }
  const toml::node* too_deep = nullptr;
  Value root = convert(table, 0, &too_deep);
  if (too_deep != nullptr) {
    return SyntaxError{place(too_deep->source()),
                       fmt::format("nested more than {} levels deep: no setting needs that", kDepthMax)};
  }
  return root;
}

}  // namespace skerry::config
