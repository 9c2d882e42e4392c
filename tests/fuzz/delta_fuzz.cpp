// Model deltas: hostile bytes are refused; what is accepted is in order, survives the way back and can be applied. Each input is tried as it is and
// with a right checksum.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/file.h"
#include "learning/delta.h"

using namespace skerry;
using namespace skerry::learning;

namespace {

void try_one(const std::string& bytes) {
  auto delta = decode_delta(bytes);
  if (!delta.ok()) return;
  auto again = decode_delta(encode_delta(*delta));
  if (!again.ok() || encode_delta(*again) != encode_delta(*delta)) std::abort();
  for (const TensorDelta& tensor : delta->tensors) {
    if (tensor.elements > 1 << 16) continue;
    std::vector<float> values(tensor.elements);
    if (!apply_delta(tensor, values).ok()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  try_one(bytes);
  uint32_t crc = crc32c(bytes);
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  try_one(bytes);
  return 0;
}
