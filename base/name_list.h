// Files that say who is known: lines of a name and 64 lower-case hex digits (a digest or a public key), with spaces or tabs between them;
// '#' begins a remark. A name and digits may come more than once: whether that is right is for those who read the list.
// On failure: not_found, unavailable, exhausted (over 4 MiB), invalid with file and line, and where such lines come from.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace skerry {

struct NamedDigits {
  std::string name, digits;
  size_t line = 0;  // from 1
};

bool valid_digits(std::string_view text);  // 64 lower-case hex digits

// made_by: the command that writes such lines, for the error.
Result<std::vector<NamedDigits>> read_name_list(const std::filesystem::path& path, bool (*valid_name)(std::string_view), std::string_view made_by);

}  // namespace skerry
