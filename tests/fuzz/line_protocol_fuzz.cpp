// Any bytes: refused or read into batches that are valid, and that are read back equal after being written. Lines read the short way
// (see Parser::usual_line) are read as the long way reads them, which a space before each line asks for.
#include "base/check.h"
#include "node/line_protocol.h"

namespace {

void check_both_ways(std::string_view body, const skerry::node::LineProtocolOptions& options) {
  if (body.find('"') != std::string_view::npos) return;  // a string may hold a line break, and then the space
  std::string indented = " ";
  for (char c : body) {
    indented += c;
    if (c == '\n') indented += ' ';
  }
  auto usual = skerry::node::parse_line_protocol(body, options), other = skerry::node::parse_line_protocol(indented, options);
  SKERRY_CHECK(usual.ok() == other.ok(), "read one way only: {}", body);
  SKERRY_CHECK(!usual.ok() || *usual == *other, "read in two ways: {}", body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry;
  std::string_view body(reinterpret_cast<const char*>(data), size);
  node::LineProtocolOptions options{.now_ns = 1, .series_max = 64, .cells_max = 1 << 16};
  check_both_ways(body, options);
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
