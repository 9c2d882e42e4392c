// Row 'S' version 1: generation varint | bytes of the chunk varint | blocks varint | their numbers, an integer stream |
// their records, an integer stream | header
#include "storage/internal/sealed_row.h"

#include <algorithm>

#include "base/records.h"
#include "storage/internal/coding.h"
#include "storage/internal/integer_stream.h"

namespace skerry::storage::internal {

std::string encode_row(const SealedRow& row) {
  std::vector<int64_t> numbers, rows;
  uint32_t before = 0;
  for (const BlockPart& part : row.blocks) {
    numbers.push_back(static_cast<int64_t>(part.number));
    rows.push_back(part.end_row - before);
    before = part.end_row;
  }
  Writer out;
  out.varint(row.generation);
  out.varint(row.chunk_bytes);
  out.varint(row.blocks.size());
  encode_integers(numbers, out);
  encode_integers(rows, out);
  out.text(row.header);
  return seal('S', 1, out.bytes());
}

Result<SealedRow> decode_sealed_row(std::string_view bytes) {
  const auto broken = [] { return fail(Code::corrupt, "a row about a chunk has bytes that do not add up"); };
  SKERRY_ASSIGN(std::string_view body, unseal('S', 1, bytes, "row about a chunk"));
  Reader in(body);
  SealedRow row;
  row.generation = in.varint();
  row.chunk_bytes = in.varint();
  const uint64_t blocks = in.varint();
  if (!in.ok() || blocks == 0 || blocks > kBatchRowsMax) return broken();
  std::vector<int64_t> numbers(blocks), rows(blocks);
  if (!decode_integers(in, numbers) || !decode_integers(in, rows)) return broken();
  int64_t end = 0;
  for (size_t i = 0; i < blocks; ++i) {
    if (rows[i] <= 0 || rows[i] > static_cast<int64_t>(kBatchRowsMax) - end) return broken();
    end += rows[i];
    row.blocks.push_back({static_cast<uint64_t>(numbers[i]), static_cast<uint32_t>(end)});
  }
  row.header = in.text();
  if (!in.done()) return broken();
  return row;
}

uint64_t number_at(const std::vector<BlockPart>& blocks, size_t row) {
  return std::upper_bound(blocks.begin(), blocks.end(), row, [](size_t at, const BlockPart& part) { return at < part.end_row; })->number;
}

}  // namespace skerry::storage::internal
