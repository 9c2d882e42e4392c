// model.toml and the manifest of a package: hostile bytes give an error of a sane size; what is accepted
// survives the way back.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "inference/internal/manifest.h"
#include "inference/package.h"

using namespace skerry::inference;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  auto info = parse_package_info(text, "model.toml");
  if (!info.ok() && info.error().message.size() > 64 << 10) std::abort();
  if (info.ok()) {
    auto again = parse_package_info(to_toml(*info), "model.toml");
    if (!again.ok() || to_toml(*again) != to_toml(*info)) std::abort();
  }
  auto manifest = parse_manifest(text, "manifest");
  if (manifest.ok() && to_text(*manifest) != text) std::abort();
  return 0;
}
