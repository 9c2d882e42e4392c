// Format 2, and 1, which has no derived columns:
//   tag 'C' | version u8 | bytes of the header u32 | header | CRC-32C of all before it u32 | times | column... and nothing after
//   header   rows varint | columns varint | first time i64 | last time i64 | bytes of the times varint | their CRC-32C u32
//            per column: type u8 | flags u8 | name | values that are there varint
//                        [min, max, first, last, 8 bytes each | sum f64 | deviation f64]   not of strings, nor when no value is there
//                        bytes varint | [bytes when unpacked varint, if flags & 2] | CRC-32C u32
//   times    an integer stream
//   column   as column_codec.cpp has it; not every row has a value if flags & 1; packed by zstd as a whole if flags & 2;
//            as derived_column.cpp has it if flags & 4, of columns that have neither that flag nor gaps
// The header's checksum covers the checksums of the rest, so any part can be read alone and trusted.
#include "storage/chunk.h"

#include <zstd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <set>

#include "storage/internal/coding.h"
#include "storage/internal/column_codec.h"
#include "storage/internal/derived_column.h"
#include "storage/internal/integer_stream.h"

namespace skerry::storage {
namespace {

using internal::Budget;
using internal::Reader;
using internal::Writer;

constexpr uint8_t kTag = 'C', kVersion = 1, kVersionDerived = 2;
constexpr size_t kHeaderAt = 6;  // tag, version and the header's size
constexpr uint8_t kSparse = 1, kZstd = 2, kDerived = 4;
constexpr size_t kZstdFrom = 64;  // bytes; below it a frame's own header eats what it saves

Error damaged(const char* what) { return fail(Code::corrupt, "a chunk has {}", what); }

// M2 = sum d^2 - (sum d)^2 / n of deviations from a rounded mean, the corrected two-pass algorithm: the second term takes back what
// rounding the mean has added (Chan, Golub & LeVeque, "Algorithms for computing the sample variance", The American Statistician 1983).
// `deviation_of` gives a value's; lanes, so that no sum waits for the one before it.
template <typename T, typename DeviationOf>
double squared_deviation(const std::vector<T>& values, DeviationOf deviation_of) {
  constexpr size_t kLanes = 4;
  double squares[kLanes] = {}, sums[kLanes] = {};
  auto add = [&](size_t lane, double d) {
    squares[lane] += d * d;
    sums[lane] += d;
  };
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) add(lane, deviation_of(values[i + lane]));
  }
  for (; i < values.size(); ++i) add(0, deviation_of(values[i]));
  const double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  const double excess = (squares[0] + squares[1]) + (squares[2] + squares[3]) - sum * sum / static_cast<double>(values.size());
  return excess < 0 ? 0 : excess;  // NaN stays
}

void summarize(const std::vector<double>& values, ChunkColumn& summary) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  if (values.empty()) return;
  Extent<double> extent{inf, -inf, values.front(), values.back()};
  for (double value : values) {
    extent.min = value < extent.min ? value : extent.min;
    extent.max = value > extent.max ? value : extent.max;
    summary.sum += value;
  }
  if (extent.min > extent.max) extent.min = extent.max = std::numeric_limits<double>::quiet_NaN();  // nothing but NaN
  summary.extent = extent;
  const double mean = summary.sum / static_cast<double>(values.size());
  summary.deviation = squared_deviation(values, [=](double value) { return value - mean; });
}

void summarize(const std::vector<int64_t>& values, ChunkColumn& summary) {
  if (values.empty()) return;
  Extent<int64_t> extent{values.front(), values.front(), values.front(), values.back()};
  __extension__ __int128 sum = 0;
  for (int64_t value : values) {
    extent.min = std::min(extent.min, value);
    extent.max = std::max(extent.max, value);
    sum += value;
  }
  summary.extent = extent;
  summary.sum = static_cast<double>(sum);
  // Differences of integers are exact, as long as they are integers: those of large values too.
  const auto low = static_cast<uint64_t>(extent.min), high = static_cast<uint64_t>(extent.max);
  const auto mean = static_cast<int64_t>(sum / static_cast<int64_t>(values.size()));
  if (high - low <= static_cast<uint64_t>(INT64_MAX)) {
    summary.deviation = squared_deviation(values, [=](int64_t value) { return static_cast<double>(value - mean); });
  } else {
    summary.deviation = squared_deviation(values, [=](int64_t value) { return static_cast<double>(value) - static_cast<double>(mean); });
  }
}

template <typename T, typename Stored>
void summarize_present(const Column& column, const std::vector<Stored>& values, ChunkColumn& summary) {
  if constexpr (std::is_same_v<T, Stored>) {
    if (summary.count == values.size()) return summarize(values, summary);
  }
  std::vector<T> dense;
  dense.reserve(summary.count);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!column.has(i)) continue;
    if constexpr (std::is_same_v<Stored, uint8_t>) dense.push_back(values[i] != 0 ? 1 : 0);
    else dense.push_back(values[i]);
  }
  summarize(dense, summary);
}

ChunkColumn summary_of(const Column& column, size_t rows) {
  ChunkColumn summary;
  summary.name = column.name;
  summary.type = column.type();
  summary.count = static_cast<uint32_t>(internal::count_present(column, 0, rows));
  if (const auto* doubles = std::get_if<0>(&column.values)) summarize_present<double>(column, *doubles, summary);
  if (const auto* integers = std::get_if<1>(&column.values)) summarize_present<int64_t>(column, *integers, summary);
  if (const auto* booleans = std::get_if<2>(&column.values)) summarize_present<int64_t>(column, *booleans, summary);
  return summary;
}

// ---- writing

std::string zstd_packed(std::string_view plain, int level) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  const size_t n = ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), level);
  SKERRY_CHECK(!ZSTD_isError(n), "zstd cannot pack {} bytes: {}", plain.size(), ZSTD_getErrorName(n));
  out.resize(n);
  return out;
}

void put_summary(const ChunkColumn& column, uint8_t flags, size_t plain_bytes, std::string_view bytes, Writer& out) {
  out.u8(static_cast<uint8_t>(column.type));
  out.u8(flags);
  out.text(column.name);
  out.varint(column.count);
  if (const auto* floats = std::get_if<Extent<double>>(&column.extent)) {
    for (double v : {floats->min, floats->max, floats->first, floats->last, column.sum, column.deviation}) out.f64(v);
  } else if (const auto* integers = std::get_if<Extent<int64_t>>(&column.extent)) {
    for (int64_t v : {integers->min, integers->max, integers->first, integers->last}) out.signed64(v);
    out.f64(column.sum);
    out.f64(column.deviation);
  }
  out.varint(bytes.size());
  if (flags & kZstd) out.varint(plain_bytes);
  out.fixed32(crc32c(bytes));
}

Status check(const Batch& batch) {
  if (batch.rows() == 0 || batch.rows() > kBatchRowsMax || batch.columns.size() > kChunkColumnsMax) {
    return fail(Code::invalid, "a chunk of {} records and {} fields: 1 to {} and at most {} are allowed", batch.rows(),
                batch.columns.size(), kBatchRowsMax, kChunkColumnsMax);
  }
  for (size_t i = 1; i < batch.rows(); ++i) {
    if (batch.times[i] <= batch.times[i - 1]) {
      return fail(Code::invalid, "times of a chunk must increase: record {} does not come after the one before it", i);
    }
  }
  std::set<std::string_view> names;
  for (const Column& column : batch.columns) {
    if (column.size() != batch.rows() || (!column.present.empty() && column.present.size() != batch.rows())) {
      return fail(Code::invalid, "field '{}' has {} values for {} records", column.name, column.size(), batch.rows());
    }
    if (column.name.size() > kNameBytesMax || !names.insert(column.name).second) {
      return fail(Code::invalid, "the name of field '{}' is given twice or too long", column.name.substr(0, 32));
    }
  }
  return {};
}

// ---- reading

struct Part {
  size_t at = 0, bytes = 0;
  uint32_t crc = 0;
};

struct StoredColumn {
  ChunkColumn summary;
  uint8_t flags = 0;
  uint64_t plain_bytes = 0;  // when packed by zstd
  Part part;
};

struct Stored {
  uint32_t rows = 0;
  int64_t first_ns = 0, last_ns = 0;
  Part times;
  std::vector<StoredColumn> columns;
};

// Where a part of the size that follows lies. False: beyond the end.
bool take_size(Reader& in, size_t end, size_t& at, Part& part) {
  const uint64_t bytes = in.varint();
  if (!in.ok() || bytes > end - at) return false;
  part.at = at;
  part.bytes = bytes;
  at += bytes;
  return true;
}

bool take_extent(Reader& in, ChunkColumn& column) {
  if (column.type == FieldType::string || column.count == 0) return true;
  if (column.type == FieldType::float64) {
    Extent<double> extent;
    for (double* v : {&extent.min, &extent.max, &extent.first, &extent.last}) *v = in.f64();
    column.extent = extent;
  } else {
    Extent<int64_t> extent;
    for (int64_t* v : {&extent.min, &extent.max, &extent.first, &extent.last}) *v = in.signed64();
    column.extent = extent;
  }
  column.sum = in.f64();
  column.deviation = in.f64();
  return in.ok();
}

bool take_stored_column(Reader& in, uint32_t rows, size_t end, size_t& at, StoredColumn& column) {
  const uint8_t type = in.u8();
  column.flags = in.u8();
  const std::string_view name = in.text();
  const uint64_t count = in.varint();
  if (!in.ok() || type < 1 || type > 4 || column.flags > (kSparse | kZstd | kDerived) || name.size() > kNameBytesMax) return false;
  const bool sparse = (column.flags & kSparse) != 0, derived = (column.flags & kDerived) != 0;
  if (derived && (sparse || static_cast<FieldType>(type) != FieldType::float64)) return false;
  if (count > rows || sparse != (count < rows)) return false;
  column.summary.name = name;
  column.summary.type = static_cast<FieldType>(type);
  column.summary.count = static_cast<uint32_t>(count);
  if (!take_extent(in, column.summary) || !take_size(in, end, at, column.part)) return false;
  column.summary.bytes = column.part.bytes;
  if (column.flags & kZstd) column.plain_bytes = in.varint();
  column.part.crc = in.fixed32();
  return in.ok();
}

// `bytes`: the whole chunk of `whole` bytes, or the beginning of it that holds the header.
Result<Stored> read_stored(std::string_view bytes, size_t whole) {
  Reader start(bytes);
  const uint8_t tag = start.u8(), version = start.u8();
  const uint32_t header_bytes = start.fixed32();
  if (!start.ok() || tag != kTag) return fail(Code::corrupt, "these bytes are not a chunk");
  if (version != kVersion && version != kVersionDerived) {
    return fail(Code::corrupt, "a chunk of format {}: this program reads up to {}, update it", version, kVersionDerived);
  }
  const std::string_view header = start.raw(header_bytes);
  const uint32_t crc = start.fixed32();
  if (!start.ok() || bytes.size() > whole) return damaged("no whole header");
  if (crc32c(bytes.substr(0, kHeaderAt + header_bytes)) != crc) return damaged("a header whose checksum does not hold");

  Reader in(header);
  Stored stored;
  const uint64_t rows = in.varint(), columns = in.varint();
  stored.first_ns = in.signed64();
  stored.last_ns = in.signed64();
  size_t at = kHeaderAt + header.size() + sizeof(uint32_t);
  if (!in.ok() || rows == 0 || rows > kBatchRowsMax || columns > kChunkColumnsMax) return damaged("too many rows or columns");
  stored.rows = static_cast<uint32_t>(rows);
  if (!take_size(in, whole, at, stored.times)) return damaged("times beyond its end");
  stored.times.crc = in.fixed32();
  stored.columns.resize(columns);
  std::set<std::string_view> names;
  for (StoredColumn& column : stored.columns) {
    if (!take_stored_column(in, stored.rows, whole, at, column)) return damaged("a column that does not add up");
    if (!names.insert(column.summary.name).second) return damaged("two columns of one name");
  }
  if (!in.done() || at != whole) return damaged("bytes that belong to no column");
  return stored;
}

Result<std::string_view> take_part(std::string_view bytes, const Part& part) {
  const std::string_view found = bytes.substr(part.at, part.bytes);
  if (crc32c(found) != part.crc) return damaged("a part whose checksum does not hold");
  return found;
}

Result<std::string> zstd_unpacked(std::string_view bytes, uint64_t plain_bytes, Budget& budget) {
  if (!budget.take(plain_bytes)) return damaged("a column larger than is allowed");
  std::string plain(plain_bytes, '\0');
  const size_t n = ZSTD_decompress(plain.data(), plain.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(n) || n != plain_bytes) return damaged("a column that zstd cannot unpack");
  return plain;
}

bool take_times(std::string_view bytes, const Stored& stored, std::vector<int64_t>& times) {
  Reader in(bytes);
  times.resize(stored.rows);
  if (!internal::decode_integers(in, times) || !in.done()) return false;
  bool increase = true;
  for (size_t i = 1; i < times.size(); ++i) increase &= times[i] > times[i - 1];
  return increase && times.front() == stored.first_ns && times.back() == stored.last_ns;
}

// The columns of a chunk, each asked for once, and decoded once where others are derived from it.
class Columns {
 public:
  Columns(std::string_view bytes, const Stored& stored, Budget& budget)
      : bytes_(bytes), stored_(stored), budget_(budget), decoded_(stored.columns.size()) {
    for (const StoredColumn& column : stored.columns) any_derived_ = any_derived_ || (column.flags & kDerived) != 0;
  }

  Result<Column> take(size_t place) {
    SKERRY_TRY(decode(place));
    if (!any_derived_) return *std::move(decoded_[place]);
    return *decoded_[place];
  }

 private:
  Status decode(size_t place) {
    if (decoded_[place]) return {};
    const StoredColumn& from = stored_.columns[place];
    SKERRY_ASSIGN(std::string_view part, take_part(bytes_, from.part));
    std::string plain;
    if (from.flags & kZstd) {
      SKERRY_ASSIGN(plain, zstd_unpacked(part, from.plain_bytes, budget_));
      part = plain;
    }
    Reader in(part);
    Column column;
    column.name = from.summary.name;
    if (from.flags & kDerived) SKERRY_TRY(derive(in, column));
    else if (!internal::decode_column(in, from.summary.type, stored_.rows, from.summary.count, budget_, column)) return undecodable();
    if (!in.done()) return undecodable();
    decoded_[place] = std::move(column);
    return {};
  }

  Status derive(Reader& in, Column& column) {
    const auto sources = internal::take_sources(in, decoded_.size());
    if (!sources || !may_be_source(sources->x) || !may_be_source(sources->y)) return damaged("a column derived from what is none");
    SKERRY_TRY(decode(sources->x));
    SKERRY_TRY(decode(sources->y));
    if (!budget_.take(uint64_t{8} * stored_.rows)) return undecodable();
    std::vector<double> values;
    if (!internal::decode_derived(in, std::get<0>(decoded_[sources->x]->values), std::get<0>(decoded_[sources->y]->values), values)) {
      return undecodable();
    }
    column.values = std::move(values);
    return {};
  }
  bool may_be_source(size_t place) const {
    const StoredColumn& column = stored_.columns[place];
    return column.summary.type == FieldType::float64 && (column.flags & (kSparse | kDerived)) == 0;
  }
  static Error undecodable() { return damaged("a column that cannot be decoded within what is allowed"); }

  const std::string_view bytes_;
  const Stored& stored_;
  Budget& budget_;
  std::vector<std::optional<Column>> decoded_;
  bool any_derived_ = false;
};

}  // namespace

Result<std::string> encode_chunk(const Batch& batch, const ChunkOptions& options) {
  SKERRY_TRY(check(batch));
  Writer times;
  internal::encode_integers(batch.times, times);
  Writer header, body;
  header.varint(batch.rows());
  header.varint(batch.columns.size());
  header.signed64(batch.times.front());
  header.signed64(batch.times.back());
  header.varint(times.bytes().size());
  header.fixed32(crc32c(times.bytes()));
  std::vector<ChunkColumn> summaries;
  std::vector<internal::EncodedColumn> columns;
  for (const Column& column : batch.columns) {
    summaries.push_back(summary_of(column, batch.rows()));
    Writer plain;
    internal::encode_column(column, 0, batch.rows(), summaries.back().count, plain);
    columns.push_back({plain.take(), false});
  }
  internal::derive_columns(batch, columns);
  bool any_derived = false;
  for (size_t c = 0; c < columns.size(); ++c) {
    std::string bytes = std::move(columns[c].bytes);
    uint8_t flags = summaries[c].count < batch.rows() ? kSparse : 0;
    if (columns[c].derived) flags |= kDerived;
    any_derived = any_derived || columns[c].derived;
    const size_t plain_bytes = bytes.size();
    if (options.zstd_level > 0 && plain_bytes >= kZstdFrom) {
      std::string packed = zstd_packed(bytes, options.zstd_level);
      if (packed.size() < plain_bytes - plain_bytes / 32) {
        bytes = std::move(packed);
        flags |= kZstd;
      }
    }
    put_summary(summaries[c], flags, plain_bytes, bytes, header);
    body.raw(bytes.data(), bytes.size());
  }
  Writer out;
  out.reserve(kHeaderAt + header.bytes().size() + 4 + times.bytes().size() + body.bytes().size());
  out.u8(kTag);
  out.u8(any_derived ? kVersionDerived : kVersion);  // so that older programs go on reading what they can
  out.fixed32(static_cast<uint32_t>(header.bytes().size()));
  out.raw(header.bytes().data(), header.bytes().size());
  out.fixed32(crc32c(out.bytes()));
  out.raw(times.bytes().data(), times.bytes().size());
  out.raw(body.bytes().data(), body.bytes().size());
  return out.take();
}

std::string_view chunk_header_bytes(std::string_view chunk) {
  Reader in(chunk);
  in.u8();
  in.u8();
  const uint64_t end = uint64_t{kHeaderAt} + in.fixed32() + sizeof(uint32_t);
  return chunk.substr(0, end);
}

Result<ChunkHeader> read_chunk_header(std::string_view bytes, size_t chunk_bytes) {
  SKERRY_ASSIGN(Stored stored, read_stored(bytes, chunk_bytes));
  ChunkHeader header{stored.rows, stored.first_ns, stored.last_ns, {}};
  for (StoredColumn& column : stored.columns) header.columns.push_back(std::move(column.summary));
  return header;
}

Result<Batch> decode_chunk(std::string_view bytes, const ChunkLimits& limits, const std::optional<std::vector<std::string>>& wanted) {
  SKERRY_ASSIGN(const Stored stored, read_stored(bytes, bytes.size()));
  Budget budget(limits.bytes_max);
  if (stored.rows > limits.rows_max || !budget.take(uint64_t{8} * stored.rows)) return damaged("more rows than are allowed");
  Batch batch;
  SKERRY_ASSIGN(const std::string_view times, take_part(bytes, stored.times));
  if (!take_times(times, stored, batch.times)) return damaged("times that do not increase or do not add up");
  Columns columns(bytes, stored, budget);
  for (size_t c = 0; c < stored.columns.size(); ++c) {
    if (wanted && std::find(wanted->begin(), wanted->end(), stored.columns[c].summary.name) == wanted->end()) continue;
    SKERRY_ASSIGN(Column decoded, columns.take(c));
    batch.columns.push_back(std::move(decoded));
  }
  return batch;
}

}  // namespace skerry::storage
