// NumPy's .npy format, versions 1 and 2: two-dimensional little-endian int16, int32, float32, float64, in C or
// Fortran order. Source: numpy.lib.format (NEP 1). The data is read in stretches of rows, never whole. On failure:
// invalid, naming what the header says and what to write instead; a shape must account for every byte of the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plugins/internal/input_file.h"

namespace skerry::plugins {

enum class NpyType : uint8_t { int16, int32, float32, float64 };

struct NpyHeader {
  NpyType type = NpyType::int16;
  bool fortran_order = false;
  uint64_t rows = 0, columns = 0;
  uint64_t data_offset = 0;
};

inline constexpr size_t kNpyHeaderBytesMax = 64 << 10;

// `start`: the file's first bytes, up to kNpyHeaderBytesMax of them. file_bytes: its whole length.
Result<NpyHeader> parse_npy_header(std::string_view start, uint64_t file_bytes);

class NpyFile {
 public:
  static Result<NpyFile> open(const std::filesystem::path& path);
  const NpyHeader& header() const { return header_; }
  // Rows [first, first + count) of one column each: out[column][row]. Error: invalid outside the array, corrupt
  // when the file has become shorter.
  Result<std::vector<std::vector<double>>> read(uint64_t first, uint64_t count) const;

 private:
  NpyFile(InputFile file, NpyHeader header) : file_(std::move(file)), header_(header) {}
  InputFile file_;
  NpyHeader header_;
};

}  // namespace skerry::plugins
