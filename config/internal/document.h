// TOML as a tree of plain values with positions, so that toml++ stays in one file and the table of keys compiles
// fast. On failure: one Diagnostic with the position, for a syntax error or a file over the limits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace skerry::config {

inline constexpr size_t kFileBytesMax = 1 << 20;
inline constexpr size_t kDepthMax = 16;

struct Place {
  uint32_t line = 0, column = 0;
};

struct Value;
struct Member {
  std::string key;
  Place at;                  // of the key
  std::vector<Value> value;  // exactly one; a vector because Value is incomplete here
};
using Table = std::vector<Member>;
using Array = std::vector<Value>;
struct Other {};  // dates and times: no key takes one

struct Value {
  std::variant<Table, Array, std::string, int64_t, double, bool, Other> is;
  Place at;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&is);
  }
  const char* kind() const;  // "a table", "a text": for messages
};

struct SyntaxError {
  Place at;
  std::string message;
};

// The root is always a Table.
std::variant<Value, SyntaxError> read_document(std::string_view toml);

}  // namespace skerry::config
