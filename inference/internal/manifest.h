// The text of `manifest`: a line "SHA256  bytes  name" per file of a package, ascending by name, no line for
// itself. Names are plain file names, so a manifest can't point out of its folder. On failure: parse answers
// corrupt with the line; it reads any bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace skerry::inference {

struct ManifestEntry {
  std::string sha256;
  uint64_t bytes = 0;
  std::string name;
  bool operator==(const ManifestEntry&) const = default;
};

inline constexpr const char* kManifestFile = "manifest";
inline constexpr const char* kModelFile = "model.toml";
inline constexpr size_t kManifestBytesMax = 16 << 10;

// [A-Za-z0-9_.-]{1,100}, not starting with a dot, and not the manifest itself.
bool is_package_file_name(std::string_view name);

std::string to_text(const std::vector<ManifestEntry>& entries);
Result<std::vector<ManifestEntry>> parse_manifest(std::string_view text, const std::string& file_name);

}  // namespace skerry::inference
