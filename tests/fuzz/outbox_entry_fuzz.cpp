// Any bytes as an outbox row, the checksum put right: decoded or refused; what is decoded comes back the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "storage/internal/outbox_row.h"

using namespace skerry;
using namespace skerry::storage;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const std::string& input :
       {std::string(bytes), storage::internal::seal('O', 1, bytes.size() > 6 ? bytes.substr(6) : bytes)}) {
    auto row = storage::internal::decode_row(input);
    if (!row.ok()) {
      if (row.error().code != Code::corrupt) std::abort();
      continue;
    }
    auto again = storage::internal::decode_row(encode_row(*row));
    if (!again.ok() || encode_row(*again) != encode_row(*row)) std::abort();
  }
  return 0;
}
