// A chunk of one column with any bytes as that column, and checksums that hold: what an attacker would send, and what a fuzzer should reach.
#pragma once

#include <cstring>
#include <string>

#include "base/file.h"
#include "base/records.h"

namespace skerry::storage::test {

struct ForgedColumn {
  FieldType type = FieldType::float64;
  uint8_t flags = 0;         // 1: has gaps, 2: zstd
  uint64_t rows = 1;         // times 1, 2, 3...
  uint64_t count = 1;        // values that are there
  uint64_t plain_bytes = 0;  // with zstd
  std::string bytes;
};

inline std::string forge_chunk(const ForgedColumn& column) {
  std::string header;
  auto varint = [&](uint64_t v) {
    for (; v >= 0x80; v >>= 7) header += static_cast<char>(v | 0x80);
    header += static_cast<char>(v);
  };
  auto fixed = [&](std::string& to, auto v) { to.append(reinterpret_cast<const char*>(&v), sizeof v); };
  const std::string times("\x01\x02\x02", 3);  // a line from 1 by 1
  varint(column.rows);
  varint(1);
  fixed(header, int64_t{1});
  fixed(header, static_cast<int64_t>(column.rows));
  varint(times.size());
  fixed(header, crc32c(times));
  header += static_cast<char>(column.type);
  header += static_cast<char>(column.flags);
  header += std::string("\x01v", 2);
  varint(column.count);
  if (column.type != FieldType::string && column.count > 0) header += std::string(48, '\0');
  varint(column.bytes.size());
  if (column.flags & 2) varint(column.plain_bytes);
  fixed(header, crc32c(column.bytes));

  std::string chunk("C\x01", 2);
  fixed(chunk, static_cast<uint32_t>(header.size()));
  chunk += header;
  fixed(chunk, crc32c(chunk));
  return chunk + times + column.bytes;
}

}  // namespace skerry::storage::test
