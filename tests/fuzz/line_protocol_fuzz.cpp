// Any bytes: refused or read into batches that are valid, and that are read back equal after being written.
#include "base/check.h"
#include "node/line_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry;
  std::string_view body(reinterpret_cast<const char*>(data), size);
  node::LineProtocolOptions options{.now_ns = 1, .series_max = 64, .cells_max = 1 << 16};
  auto batches = node::parse_line_protocol(body, options);
  if (!batches.ok()) return 0;
  for (const Batch& batch : *batches) {
    auto valid = batch.validate();
    SKERRY_CHECK(valid.ok(), "{}", valid.error().message);
    std::string out;
    if (!node::append_line_protocol(batch, out).ok()) continue;
    auto again = node::parse_line_protocol(out, options);
    SKERRY_CHECK(again.ok() && again->size() == 1, "{}", out);
    SKERRY_CHECK((*again)[0].times == batch.times && (*again)[0].series == batch.series, "{}", out);
  }
  return 0;
}
