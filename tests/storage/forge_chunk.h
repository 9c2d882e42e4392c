// A chunk with any bytes as its columns, and checksums that hold: what an attacker would send, and what a fuzzer should reach.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/records.h"

namespace skerry::storage::test {

struct ForgedColumn {
  FieldType type = FieldType::float64;
  uint8_t flags = 0;         // 1: has gaps, 2: zstd, 4: derived from others
  uint64_t rows = 1;         // times 1, 2, 3...
  uint64_t count = 1;        // values that are there
  uint64_t plain_bytes = 0;  // with zstd
  std::string bytes;
};

// All have as many rows as the first; they are named v, w, x...
inline std::string forge_chunk(const std::vector<ForgedColumn>& columns) {
  std::string header, body;
  auto varint = [&](uint64_t v) {
    for (; v >= 0x80; v >>= 7) header += static_cast<char>(v | 0x80);
    header += static_cast<char>(v);
  };
  auto fixed = [&](std::string& to, auto v) { to.append(reinterpret_cast<const char*>(&v), sizeof v); };
  const std::string times("\x01\x02\x02", 3);  // a line from 1 by 1
  const uint64_t rows = columns.front().rows;
  bool derived = false;
  varint(rows);
  varint(columns.size());
  fixed(header, int64_t{1});
  fixed(header, static_cast<int64_t>(rows));
  varint(times.size());
  fixed(header, crc32c(times));
  char name = 'v';
  for (const ForgedColumn& column : columns) {
    header += static_cast<char>(column.type);
    header += static_cast<char>(column.flags);
    header += '\x01';
    header += name++;
    varint(column.count);
    if (column.type != FieldType::string && column.count > 0) header += std::string(48, '\0');
    varint(column.bytes.size());
    if (column.flags & 2) varint(column.plain_bytes);
    fixed(header, crc32c(column.bytes));
    body += column.bytes;
    derived = derived || (column.flags & 4) != 0;
  }
  std::string chunk("C");
  chunk += derived ? '\x02' : '\x01';
  fixed(chunk, static_cast<uint32_t>(header.size()));
  chunk += header;
  fixed(chunk, crc32c(chunk));
  return chunk + times + body;
}

inline std::string forge_chunk(const ForgedColumn& column) { return forge_chunk(std::vector<ForgedColumn>{column}); }

// With the bytes as a column that is derived from v and w, which are sound.
inline std::string forge_derived(uint64_t rows, const std::string& bytes) {
  constexpr char kRaw = 6;
  std::vector<ForgedColumn> columns(3);
  for (ForgedColumn& column : columns) column.rows = column.count = rows;
  for (uint64_t i = 0; i < rows; ++i) {
    const double v = static_cast<double>(i) / 2, w = static_cast<double>(i * 7 % 13) / 4;
    columns[0].bytes.append(reinterpret_cast<const char*>(&v), sizeof v);
    columns[1].bytes.append(reinterpret_cast<const char*>(&w), sizeof w);
  }
  columns[0].bytes.insert(0, 1, kRaw);
  columns[1].bytes.insert(0, 1, kRaw);
  columns[2].flags = 4;
  columns[2].bytes = bytes;
  return forge_chunk(columns);
}

}  // namespace skerry::storage::test
