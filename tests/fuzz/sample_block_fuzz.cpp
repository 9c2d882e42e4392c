// Any bytes as a block, also with the checksum put right: decoded or refused. What is decoded comes back the same.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/file.h"
#include "storage/sample_block.h"

using namespace skerry;

namespace {

void check(std::string_view bytes) {
  const Series series{"fuzz", {}};
  auto batch = storage::decode_block(series, bytes);
  if (!batch.ok()) {
    if (batch.error().code != Code::corrupt) std::abort();
    return;
  }
  for (const Column& column : batch->columns) {
    if (column.size() != batch->rows() || (!column.present.empty() && column.present.size() != batch->rows()))
      std::abort();
  }
  const std::string again = storage::encode_block(*batch);
  auto twice = storage::decode_block(series, again);
  if (!twice.ok() || storage::encode_block(*twice) != again) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  check(bytes);
  if (size < 5) return 0;
  bytes[0] = 1;  // format; then the checksum of the rest
  const uint32_t crc = crc32c(std::string_view(bytes).substr(5));
  std::memcpy(bytes.data() + 1, &crc, sizeof crc);
  check(bytes);
  return 0;
}
