// Small made-up files for replays: a text, an .npy array, a folder of recordings.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace skerry::test {

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string npy_bytes(const std::string& dictionary, const std::string& data, int version = 1) {
  std::string header = dictionary;
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  const auto n = static_cast<uint32_t>(header.size());
  out += static_cast<char>(n & 255);
  out += static_cast<char>(n >> 8 & 255);
  if (version >= 2) out += std::string(2, '\0');
  return out + header + data;
}

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

// Two subjects, three recordings of 100, 50 and 60 rows at 50 Hz, two columns: a = row / 2, b = -row.
inline void write_recordings(const std::filesystem::path& folder) {
  std::vector<int16_t> values;
  for (int16_t row = 0; row < 210; ++row) {
    values.push_back(row);
    values.push_back(static_cast<int16_t>(-row));
  }
  write_text(folder / "meta.json",
             R"({"columns": ["a", "b"], "scale": [0.5, 1], "rate_hz": 50, "labels": ["walk", "sit"]})");
  write_text(folder / "index.csv",
             "subject,activity,label,trial,offset,length\n1,walk,0,1,0,100\n1,sit,1,2,100,50\n2,walk,0,1,150,60\n");
  write_text(folder / "data.npy",
             npy_bytes("{'descr': '<i2', 'fortran_order': False, 'shape': (210, 2), }", bytes_of(values)));
}

}  // namespace skerry::test
