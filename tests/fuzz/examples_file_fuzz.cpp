// Examples files: hostile bytes are refused; what is accepted survives the way back. Each input is tried as it is and with a right checksum.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/file.h"
#include "learning/job.h"

using namespace skerry;
using namespace skerry::learning;

namespace {

void try_one(const std::string& bytes) {
  auto set = decode_examples(bytes);
  if (set.ok() && encode_examples(*set) != bytes) std::abort();
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
