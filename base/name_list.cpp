#include "base/name_list.h"

#include <algorithm>

#include "base/file.h"

namespace skerry {
namespace {

constexpr uint64_t kBytesMax = 4 << 20;
constexpr size_t kDigits = 64;
constexpr const char* kGap = " \t\r";

}  // namespace

bool valid_digits(std::string_view text) { return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos; }

Result<std::vector<NamedDigits>> read_name_list(const std::filesystem::path& path, bool (*valid_name)(std::string_view), std::string_view made_by) {
  SKERRY_ASSIGN(const std::string text, read_file(path, kBytesMax));
  std::vector<NamedDigits> list;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    line = line.substr(0, line.find('#'));
    const size_t begin = line.find_first_not_of(kGap);
    if (begin == line.npos) continue;
    line = line.substr(begin, line.find_last_not_of(kGap) + 1 - begin);
    const std::string_view name = line.substr(0, line.find_first_of(kGap));
    const std::string_view rest = line.substr(name.size()), digits = rest.substr(std::min(rest.find_first_not_of(kGap), rest.size()));
    if (!valid_name(name) || !valid_digits(digits)) {
      return fail(Code::invalid, "{}, line {}: a name and 64 lower-case hex digits are expected, as {} prints them", path.string(), number, made_by);
    }
    list.push_back({std::string(name), std::string(digits), number});
  }
  return list;
}

}  // namespace skerry
