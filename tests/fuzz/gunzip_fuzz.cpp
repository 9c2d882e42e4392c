// Any bytes as a packed body: refused, or unpacked to no more than was allowed.
#include "base/check.h"
#include "node/internal/content_coding.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry;
  constexpr uint64_t kMax = 4096;
  auto out = node::gunzip({reinterpret_cast<const char*>(data), size}, kMax);
  SKERRY_CHECK(!out.ok() || out->size() <= kMax, "unpacked to {} bytes", out.ok() ? out->size() : 0);
  return 0;
}
