// Numbers as gaps, of notes and job folders: what is accepted ascends and survives the way back.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "learning/provenance.h"

using namespace skerry;
using namespace skerry::learning;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto ids = decode_ids({reinterpret_cast<const char*>(data), size});
  if (!ids.ok()) return 0;
  if (ids->size() > size || !std::is_sorted(ids->begin(), ids->end())) std::abort();
  std::vector<uint64_t> once = *ids;  // a number is written once, even when hostile bytes repeat it
  once.erase(std::unique(once.begin(), once.end()), once.end());
  const auto again = decode_ids(encode_ids(*ids));
  if (!again.ok() || *again != once) std::abort();
  return 0;
}
