// Any bytes as each of the four records: decoded or refused. The checksum is put right first, so that what lies behind
// it is reached.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/file.h"
#include "storage/record_format.h"

using namespace skerry;

namespace {

template <typename T>
void check(const Result<T>& read) {
  if (!read.ok()) {
    if (read.error().code != Code::corrupt) std::abort();
    return;
  }
  const std::string bytes = storage::encode(*read);
  (void)bytes;
}

void decode_all(std::string_view bytes) {
  check(storage::decode_prediction(bytes));
  check(storage::decode_label(bytes));
  check(storage::decode_example(bytes));
  check(storage::decode_model_version(bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  decode_all(bytes);
  if (size < 6) return 0;
  for (char tag : {'P', 'L', 'E', 'M'}) {  // internal/coding.h: tag, version, checksum, body
    bytes[0] = tag;
    bytes[1] = 1;
    const uint32_t crc = crc32c(std::string_view(bytes).substr(6)) ^ (1u << 8 | static_cast<uint8_t>(tag));
    std::memcpy(bytes.data() + 2, &crc, sizeof crc);
    decode_all(bytes);
  }
  return 0;
}
