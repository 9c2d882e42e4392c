// Format 1:
//   version u8 | CRC-32C of what follows u32 | first time i64 | last less first varint | rows varint | columns varint
//   times    less the first, an integer stream; nothing when there are fewer than two
//   column   type u8, | 8 when not every row has a value | name | [values that are there varint, if | 8] | as column_codec.cpp has it
#include "storage/sample_block.h"

#include <algorithm>

#include "storage/internal/block_codec.h"
#include "storage/internal/coding.h"
#include "storage/internal/column_codec.h"
#include "storage/internal/integer_stream.h"

namespace skerry::storage {
namespace internal {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kCrcAt = 1, kCrcEnd = 5;  // the checksum covers what follows it
constexpr uint8_t kSparse = 8;

// A column of equal values takes a few bytes, whatever the rows. Blocks are cut (internal/blocks.h) to less than this once decoded, the
// widest record there may be included; what asks for more is hostile.
constexpr uint64_t kDecodedFree = 32 << 20, kDecodedPerByte = 16;

// Differences wrap around as unsigned numbers do, so that all times have one.
void put_times(const std::vector<int64_t>& times, size_t from, size_t to, Writer& out) {
  if (to - from < 2) return;
  std::vector<int64_t> since(to - from);
  const uint64_t first = static_cast<uint64_t>(times[from]);
  for (size_t i = 0; i < since.size(); ++i) since[i] = static_cast<int64_t>(static_cast<uint64_t>(times[from + i]) - first);
  encode_integers(since, out);
}

bool take_times(Reader& in, const BlockHeader& header, std::vector<int64_t>& times) {
  times.resize(header.rows);
  if (header.rows >= 2 && !decode_integers(in, times)) return false;
  const uint64_t first = static_cast<uint64_t>(header.first_ns);
  for (int64_t& time : times) time = static_cast<int64_t>(static_cast<uint64_t>(time) + first);
  if (times.empty()) return true;
  return std::is_sorted(times.begin(), times.end()) && times.front() == header.first_ns && times.back() == header.last_ns;
}

void put_column(const Column& column, size_t from, size_t to, Writer& out) {
  const size_t count = count_present(column, from, to);
  const bool sparse = count < to - from;
  out.u8(static_cast<uint8_t>(static_cast<uint8_t>(column.type()) | (sparse ? kSparse : 0)));
  out.text(column.name);
  if (sparse) out.varint(count);
  encode_column(column, from, to, count, out);
}

bool take_column(Reader& in, size_t rows, Budget& budget, Column& column) {
  const uint8_t head = in.u8(), type = head & 7;
  column.name = in.text();
  const bool sparse = (head & kSparse) != 0;
  const uint64_t count = sparse ? in.varint() : rows;
  if (!in.ok() || head > (kSparse | 7) || type < 1 || type > 4 || (sparse && count >= rows)) return false;
  return decode_column(in, static_cast<FieldType>(type), rows, count, budget, column) && in.ok();
}

BlockHeader take_header(Reader& in) {
  BlockHeader header;
  header.first_ns = in.signed64();
  header.last_ns = static_cast<int64_t>(static_cast<uint64_t>(header.first_ns) + in.varint());
  const uint64_t rows = in.varint(), columns = in.varint();
  header.rows = static_cast<uint32_t>(std::min<uint64_t>(rows, UINT32_MAX));
  header.columns = static_cast<uint16_t>(std::min<uint64_t>(columns, UINT16_MAX));
  return header;
}

}  // namespace

std::string encode_rows(const Batch& batch, size_t from, size_t to) {
  Writer out;
  out.reserve(batch.columns.size() * (to - from) * 2 + 256);
  const int64_t first = from < to ? batch.times[from] : 0, last = from < to ? batch.times[to - 1] : 0;
  out.u8(kVersion);
  out.fixed32(0);
  out.signed64(first);
  out.varint(static_cast<uint64_t>(last) - static_cast<uint64_t>(first));
  out.varint(to - from);
  out.varint(batch.columns.size());
  put_times(batch.times, from, to, out);
  for (const Column& column : batch.columns) put_column(column, from, to, out);
  std::string bytes = out.take();
  const uint32_t crc = crc32c(std::string_view(bytes).substr(kCrcEnd));
  std::memcpy(bytes.data() + kCrcAt, &crc, sizeof crc);
  return bytes;
}

Result<BlockHeader> peek_block(std::string_view bytes) {
  Reader in(bytes);
  const uint8_t version = in.u8();
  in.fixed32();
  BlockHeader header = take_header(in);
  if (!in.ok() || version != kVersion)
    return fail(Code::corrupt, "a sample block is cut short or of an unknown format");
  return header;
}

}  // namespace internal

std::string encode_block(const Batch& batch) {
  SKERRY_CHECK(std::is_sorted(batch.times.begin(), batch.times.end()), "encode_block needs records sorted by time");
  return internal::encode_rows(batch, 0, batch.rows());
}

Result<Batch> decode_block(const Series& series, std::string_view bytes) {
  internal::Reader in(bytes);
  const uint8_t version = in.u8();
  const uint32_t crc = in.fixed32();
  if (!in.ok()) return fail(Code::corrupt, "a sample block of {} is cut short", series.text());
  if (version != internal::kVersion) {
    return fail(Code::corrupt, "a sample block of {} has format {}: this program reads {}, update it", series.text(),
                version, internal::kVersion);
  }
  if (crc32c(bytes.substr(internal::kCrcEnd)) != crc) {
    return fail(Code::corrupt, "the checksum of a sample block of {} does not hold", series.text());
  }
  auto wrong = [&](const char* what) {
    return fail(Code::corrupt, "a sample block of {} has {}", series.text(), what);
  };
  const internal::BlockHeader header = internal::take_header(in);
  if (!in.ok()) return wrong("no whole header");
  internal::Budget budget(internal::kDecodedFree + internal::kDecodedPerByte * bytes.size());
  if (header.rows > kBatchRowsMax || !budget.take(header.rows * sizeof(int64_t))) return wrong("too many rows");
  if (header.columns > kBatchColumnsMax) return wrong("too many columns");
  Batch batch;
  batch.series = series;
  if (!internal::take_times(in, header, batch.times)) return wrong("times that decrease or are cut short");
  batch.columns.resize(header.columns);
  for (Column& column : batch.columns) {
    if (!internal::take_column(in, header.rows, budget, column)) return wrong("a damaged column");
  }
  if (!in.done()) return wrong("bytes after its end");
  return batch;
}

}  // namespace skerry::storage
