// Bundles and receipts as a stranger's stick may hold them: the signature keeps such a file out, so what stands behind it is tried without one.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sync/bundle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry::sync;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  (void)unpack_outbox(file);
  (void)unpack_receipt(file);
  if (auto bundle = unpack_outbox_unsigned(file); bundle.ok()) {
    if (bundle->batches.size() >= kBundleMessagesMax) std::abort();
  }
  if (auto receipt = unpack_receipt_unsigned(file); receipt.ok()) {
    if (receipt->models.size() > kBundleOffersMax) std::abort();
    for (const auto& c : receipt->classes) {
      if (c.verified > c.watermark) std::abort();
    }
  }
  return 0;
}
