// The sync protocol's messages as a stranger may send them. A checksum keeps random bytes out, so each input is also tried with its
// checksum mended; what decodes must survive being sent again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/file.h"
#include "sync/wire.h"

namespace {

using namespace skerry;

template <typename Decode>
void round(const std::string& bytes, Decode decode) {
  auto message = decode(bytes);
  if (message.ok() && !decode(sync::encode(*message)).ok()) std::abort();
}

void all(const std::string& bytes) {
  round(bytes, sync::decode_hello);
  round(bytes, sync::decode_hello_reply);
  round(bytes, sync::decode_batch);
  round(bytes, sync::decode_batch_reply);
  round(bytes, sync::decode_range_ask);
  round(bytes, sync::decode_range_reply);
  round(bytes, sync::decode_chunk_ask);
  round(bytes, sync::decode_chunk_reply);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  all(bytes);
  if (bytes.size() < 14) return 0;
  const uint32_t crc = crc32c(std::string_view(bytes).substr(8));
  for (int i = 0; i < 4; ++i) bytes[4 + i] = static_cast<char>(crc >> (8 * i));
  all(bytes);
  return 0;
}
