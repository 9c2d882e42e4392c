// Any bytes as a chunk, and as the one column of a chunk whose checksums hold, or one derived from two sound ones: decoded within the limits or refused. What is decoded
// comes back the same.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "storage/chunk.h"
#include "tests/storage/forge_chunk.h"

using namespace skerry;

namespace {

constexpr storage::ChunkLimits kLimits{.rows_max = 4096, .bytes_max = 1 << 20};

// Bits, not numbers: NaN is equal to itself here.
bool same(const Batch& a, const Batch& b) {
  if (a.times != b.times || a.columns.size() != b.columns.size()) return false;
  for (size_t c = 0; c < a.columns.size(); ++c) {
    const Column &x = a.columns[c], &y = b.columns[c];
    if (x.name != y.name || x.present != y.present || x.values.index() != y.values.index()) return false;
    const auto* floats = std::get_if<0>(&x.values);
    if (floats == nullptr ? x.values != y.values
                          : std::memcmp(floats->data(), std::get<0>(y.values).data(), floats->size() * sizeof(double)) != 0) {
      return false;
    }
  }
  return true;
}

void check(std::string_view bytes) {
  auto header = storage::read_chunk_header(bytes);
  auto batch = storage::decode_chunk(bytes, kLimits);
  if (!batch.ok()) {
    if (batch.error().code != Code::corrupt) std::abort();
    return;
  }
  if (!header.ok() || header->rows != batch->rows() || header->columns.size() != batch->columns.size()) std::abort();
  if (batch->rows() > kLimits.rows_max || batch->bytes() > kLimits.bytes_max) std::abort();
  auto again = storage::encode_chunk(*batch);
  if (!again.ok()) std::abort();
  auto twice = storage::decode_chunk(*again);
  if (!twice.ok() || !same(*batch, *twice)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  check(bytes);
  if (size < 4) return 0;
  storage::test::ForgedColumn column;
  column.type = static_cast<FieldType>(1 + data[0] % 4);
  column.flags = (data[0] >> 2) & 3;
  column.rows = 1 + data[1] + 256 * (data[2] % 16);
  column.count = (column.flags & 1) != 0 ? data[3] % column.rows : column.rows;
  column.plain_bytes = 16 * data[3];
  column.bytes = bytes.substr(4);
  check(storage::test::forge_chunk(column));
  check(storage::test::forge_derived(column.rows, column.bytes));
  return 0;
}
