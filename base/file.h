// Small files whole: bounded reads, atomic durable writes, digests. For packages, job folders and keys; the store
// has its own file system seam.
// On failure: an Error that names the path and the system's reason; a failed write leaves the old file as it was.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace skerry {

// Error: not_found, exhausted when larger than bytes_max, unavailable otherwise.
Result<std::string> read_file(const std::filesystem::path& path, uint64_t bytes_max);

// Writes a temporary sibling, fsyncs it, renames it over path and fsyncs the folder. Error: exhausted (disk full), unavailable.
Status write_file_atomic(const std::filesystem::path& path, std::string_view content);

// Makes a finished folder appear under its final name in one step: fsyncs its files and itself, then renames.
// Error: invalid when `to` exists already.
Status publish_folder(const std::filesystem::path& from, const std::filesystem::path& to);

std::string sha256_hex(std::string_view bytes);                                        // FIPS 180-4, 64 lower-case digits
Result<std::string> sha256_file(const std::filesystem::path& path, uint64_t bytes_max);

uint32_t crc32c(std::string_view bytes);  // Castagnoli polynomial (RFC 3720, appendix B.4)

}  // namespace skerry
