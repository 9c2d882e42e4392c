// Format 1:
//   version u8 | CRC-32C of what follows u32 | first time i64 | last time i64 | rows u32 | columns u16
//   times    rows - 1 varints: zigzag of the difference of successive differences
//   column   type u8 | flags u8 | name | presence bits, if flags & 1 | the values that are present:
//            float64: raw; int64: varint zigzag differences; boolean: bits; string: length and bytes
#include "storage/sample_block.h"

#include <algorithm>

#include "storage/internal/block_codec.h"
#include "storage/internal/coding.h"

namespace skerry::storage {
namespace internal {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kCrcEnd = 5;   // version and checksum; the checksum covers the rest
constexpr uint8_t kSparse = 1;  // column flag: presence bits follow

// A column may say in one bit that a value is absent, which takes 8 to 32 bytes once decoded. No writer of ours needs
// more than this; what does is hostile.
constexpr uint64_t kDecodedPerByte = 16, kDecodedFree = 16 << 20;

class Bits {
 public:
  explicit Bits(size_t n) : bytes_((n + 7) / 8, 0) {}
  void set(size_t i) { bytes_[i / 8] = static_cast<char>(bytes_[i / 8] | 1 << (i % 8)); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};
bool bit(std::string_view bytes, size_t i) { return (static_cast<uint8_t>(bytes[i / 8]) >> (i % 8) & 1) != 0; }

void put_times(Writer& out, const std::vector<int64_t>& times, size_t from, size_t to) {
  uint64_t before = 0;
  for (size_t i = from + 1; i < to; ++i) {
    const uint64_t delta = static_cast<uint64_t>(times[i]) - static_cast<uint64_t>(times[i - 1]);
    out.varint(zigzag(static_cast<int64_t>(delta - before)));
    before = delta;
  }
}

void put_values(Writer& out, const Column& column, size_t from, size_t to) {
  if (const auto* doubles = std::get_if<0>(&column.values)) {
    if (column.present.empty()) {
      out.raw(doubles->data() + from, (to - from) * sizeof(double));
      return;
    }
    for (size_t i = from; i < to; ++i) {
      if (column.has(i)) out.f64((*doubles)[i]);
    }
  } else if (const auto* integers = std::get_if<1>(&column.values)) {
    uint64_t before = 0;
    for (size_t i = from; i < to; ++i) {
      if (!column.has(i)) continue;
      const uint64_t value = static_cast<uint64_t>((*integers)[i]);
      out.varint(zigzag(static_cast<int64_t>(value - before)));
      before = value;
    }
  } else if (const auto* booleans = std::get_if<2>(&column.values)) {
    Bits bits(to - from);
    for (size_t i = from; i < to; ++i) {
      if (column.has(i) && (*booleans)[i] != 0) bits.set(i - from);
    }
    out.raw(bits.bytes().data(), bits.bytes().size());
  } else {
    const auto& strings = std::get<3>(column.values);
    for (size_t i = from; i < to; ++i) {
      if (column.has(i)) out.text(strings[i]);
    }
  }
}

void put_column(Writer& out, const Column& column, size_t from, size_t to) {
  const bool sparse = !column.present.empty() && std::any_of(column.present.begin() + from, column.present.begin() + to,
                                                             [](uint8_t p) { return p == 0; });
  out.u8(static_cast<uint8_t>(column.type()));
  out.u8(sparse ? kSparse : 0);
  out.text(column.name);
  if (sparse) {
    Bits bits(to - from);
    for (size_t i = from; i < to; ++i) {
      if (column.has(i)) bits.set(i - from);
    }
    out.raw(bits.bytes().data(), bits.bytes().size());
  }
  put_values(out, column, from, to);
}

bool take_times(Reader& in, const BlockHeader& header, std::vector<int64_t>& times) {
  times.reserve(header.rows);
  if (header.rows == 0) return true;
  times.push_back(header.first_ns);
  uint64_t delta = 0;
  for (uint32_t i = 1; i < header.rows; ++i) {
    delta += static_cast<uint64_t>(unzigzag(in.varint()));
    const int64_t next = static_cast<int64_t>(static_cast<uint64_t>(times.back()) + delta);
    if (!in.ok() || next < times.back()) return false;
    times.push_back(next);
  }
  return times.back() == header.last_ns;
}

// Calls `take(i)` for each present row; stops when the reader failed.
template <typename Take>
void each_present(Reader& in, const std::vector<uint8_t>& present, size_t rows, Take take) {
  for (size_t i = 0; i < rows && in.ok(); ++i) {
    if (present.empty() || present[i] != 0) take(i);
  }
}

bool take_values(Reader& in, FieldType type, size_t rows, Column& column) {
  switch (type) {
    case FieldType::float64: {
      auto& values = column.values.emplace<0>(rows);
      if (column.present.empty()) {
        std::string_view bytes = in.raw(rows * sizeof(double));
        if (in.ok() && rows > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
      } else {
        each_present(in, column.present, rows, [&](size_t i) { values[i] = in.f64(); });
      }
      break;
    }
    case FieldType::int64: {
      auto& values = column.values.emplace<1>(rows);
      uint64_t value = 0;
      each_present(in, column.present, rows, [&](size_t i) {
        value += static_cast<uint64_t>(unzigzag(in.varint()));
        values[i] = static_cast<int64_t>(value);
      });
      break;
    }
    case FieldType::boolean: {
      auto& values = column.values.emplace<2>(rows);
      std::string_view bits = in.raw((rows + 7) / 8);
      each_present(in, column.present, rows, [&](size_t i) { values[i] = bit(bits, i) ? 1 : 0; });
      break;
    }
    case FieldType::string: {
      auto& values = column.values.emplace<3>(rows);
      each_present(in, column.present, rows, [&](size_t i) { values[i] = in.text(); });
      break;
    }
  }
  return in.ok();
}

bool take_column(Reader& in, size_t rows, uint64_t& decoded_left, Column& column) {
  const uint8_t type = in.u8(), flags = in.u8();
  column.name = in.text();
  if (!in.ok() || type < 1 || type > 4 || flags > kSparse) return false;
  const uint64_t decoded = rows * (type == 4 ? sizeof(std::string) : sizeof(double));
  if (decoded > decoded_left) return false;
  decoded_left -= decoded;
  if (flags & kSparse) {
    std::string_view bits = in.raw((rows + 7) / 8);
    if (!in.ok()) return false;
    column.present.resize(rows);
    for (size_t i = 0; i < rows; ++i) column.present[i] = bit(bits, i) ? 1 : 0;
  }
  return take_values(in, static_cast<FieldType>(type), rows, column);
}

BlockHeader take_header(Reader& in) {
  BlockHeader header;
  header.first_ns = in.signed64();
  header.last_ns = in.signed64();
  header.rows = in.fixed32();
  header.columns = in.fixed16();
  return header;
}

}  // namespace

std::string encode_rows(const Batch& batch, size_t from, size_t to) {
  Writer body;
  body.reserve(batch.columns.size() * (to - from) * 8 + (to - from) * 2 + 64);
  body.signed64(from < to ? batch.times[from] : 0);
  body.signed64(from < to ? batch.times[to - 1] : 0);
  body.fixed32(static_cast<uint32_t>(to - from));
  body.fixed16(static_cast<uint16_t>(batch.columns.size()));
  put_times(body, batch.times, from, to);
  for (const Column& column : batch.columns) put_column(body, column, from, to);
  Writer out;
  out.reserve(body.bytes().size() + kCrcEnd);
  out.u8(kVersion);
  out.fixed32(crc32c(body.bytes()));
  out.raw(body.bytes().data(), body.bytes().size());
  return out.take();
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
  // Every time but the first takes a byte at least, so this bounds what a hostile row count can allocate.
  if (header.rows > kBatchRowsMax || header.rows > bytes.size()) return wrong("more rows than bytes");
  if (header.columns > kBatchColumnsMax) return wrong("too many columns");
  Batch batch;
  batch.series = series;
  if (!internal::take_times(in, header, batch.times)) return wrong("times that decrease or are cut short");
  uint64_t decoded_left = internal::kDecodedFree + internal::kDecodedPerByte * bytes.size();
  batch.columns.resize(header.columns);
  for (Column& column : batch.columns) {
    if (!internal::take_column(in, header.rows, decoded_left, column)) return wrong("a damaged column");
  }
  if (!in.done()) return wrong("bytes after its end");
  return batch;
}

}  // namespace skerry::storage
