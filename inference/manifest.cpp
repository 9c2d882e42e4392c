#include "inference/internal/manifest.h"

#include <algorithm>
#include <charconv>

#include "inference/package.h"

namespace skerry::inference {
namespace {

constexpr size_t kDigestDigits = 64;

bool is_digest(std::string_view text) {
  return text.size() == kDigestDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// "SHA256  bytes  name", two spaces between, a number without leading zeros.
bool parse_line(std::string_view line, ManifestEntry& out) {
  if (line.size() < kDigestDigits + 2 || line.substr(kDigestDigits, 2) != "  ") return false;
  std::string_view digest = line.substr(0, kDigestDigits), rest = line.substr(kDigestDigits + 2);
  size_t gap = rest.find("  ");
  if (gap == std::string_view::npos || gap == 0 || (rest[0] == '0' && gap > 1)) return false;
  auto [end, code] = std::from_chars(rest.data(), rest.data() + gap, out.bytes);
  if (code != std::errc() || end != rest.data() + gap || !is_digest(digest)) return false;
  out.sha256 = digest;
  out.name = rest.substr(gap + 2);
  return true;
}

}  // namespace

bool is_package_file_name(std::string_view name) {
  if (name.empty() || name.size() > 100 || name.front() == '.' || name == kManifestFile) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '-';
  });
}

std::string to_text(const std::vector<ManifestEntry>& entries) {
  std::string text;
  for (const ManifestEntry& e : entries) text += fmt::format("{}  {}  {}\n", e.sha256, e.bytes, e.name);
  return text;
}

Result<std::vector<ManifestEntry>> parse_manifest(std::string_view text, const std::string& file_name) {
  std::vector<ManifestEntry> entries;
  if (text.empty() || text.back() != '\n') {
    return fail(Code::corrupt, "{} is empty or cut off: copy the package again", file_name);
  }
  for (size_t line_number = 1; !text.empty(); ++line_number) {
    size_t end = text.find('\n');
    ManifestEntry entry;
    if (!parse_line(text.substr(0, end), entry)) {
      return fail(Code::corrupt, "{}:{}: not a line \"SHA256  bytes  name\": copy the package again",
                  file_name, line_number);
    }
    text.remove_prefix(end + 1);
    if (!is_package_file_name(entry.name)) {
      return fail(
          Code::corrupt,
          "{}:{}: a file name must be plain: letters, digits, '_', '-' and '.', not starting with '.'",
          file_name, line_number);
    }
    if (!entries.empty() && entries.back().name >= entry.name) {
      return fail(Code::corrupt, "{}:{}: '{}' is listed twice or out of order", file_name, line_number,
                  entry.name);
    }
    if (entries.size() == kPackageFilesMax) {
      return fail(Code::corrupt, "{}:{}: more than {} files in one package", file_name, line_number,
                  kPackageFilesMax);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace skerry::inference
