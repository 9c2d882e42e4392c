// Any bytes as a configuration: a config or complaints with positions, never a crash.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skerry::config::Parsed parsed = skerry::config::parse({reinterpret_cast<const char*>(data), size}, "fuzz.toml");
  for (const auto& d : parsed.diagnostics)
    SKERRY_CHECK(d.line >= 1 && !d.message.empty(), "a complaint without a place");
  return 0;
}
