// Model packages offered for download: what there is, and bytes of a file with HTTP ranges (RFC 9110, section 14), so that a node resumes
// where its link broke. Names come from outside: each is one plain path segment, and nothing but a regular file below the folder is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/http_server.h"
#include "base/result.h"

namespace skerry::hub::internal {

struct PackageFiles {
  std::string model;
  uint32_t version = 0;
  std::vector<std::pair<std::string, uint64_t>> files;  // name, bytes
};

inline constexpr uint64_t kDownloadBytesMax = 16 << 20;  // of one answer; larger files come in ranges

// Complete packages, those with a manifest, by name and version. Empty when the folder is missing.
Result<std::vector<PackageFiles>> list_packages(const std::filesystem::path& folder);

// A piece of a file of a package. Error: not_found, unavailable.
struct FilePiece {
  uint64_t file_bytes = 0;
  std::string data;
};
Result<FilePiece> read_piece(const std::filesystem::path& folder, const std::string& model, uint32_t version, const std::string& file, uint64_t from,
                             uint64_t bytes_max);

http::Response download(const std::filesystem::path& folder, const http::Request& request);  // path parameters model, version, file

struct ByteRange {
  uint64_t from = 0, size = 0;
};
// "bytes=2-5", "bytes=2-", "bytes=-3" of a file of `size` bytes. nullopt: not a range that is understood, so the whole file is meant.
// Error: invalid when nothing of it lies in the file (416).
Result<std::optional<ByteRange>> parse_range(const std::string& header, uint64_t size);

}  // namespace skerry::hub::internal
