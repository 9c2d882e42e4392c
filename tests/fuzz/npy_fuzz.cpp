// Any bytes as the start of an .npy file: what is accepted accounts for every byte of the file.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "plugins/internal/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry::plugins;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  skerry::Result<NpyHeader> header = parse_npy_header(bytes.substr(0, kNpyHeaderBytesMax), size);
  if (!header) return 0;
  const size_t item = header->type == NpyType::int16 ? 2 : header->type == NpyType::float64 ? 8 : 4;
  SKERRY_CHECK(header->data_offset + header->rows * header->columns * item == size,
               "a shape that lies was accepted");
  return 0;
}
