// The manifest of a package as a hub may send it: what is accepted names plain files, each once, within bounds.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

#include "sync/downloads.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto files = skerry::sync::parse_package_files({reinterpret_cast<const char*>(data), size});
  if (!files.ok()) return 0;
  std::set<std::string> names;
  for (const auto& file : *files) {
    if (!skerry::sync::valid_file_name(file.name) || !names.insert(file.name).second || file.bytes > skerry::sync::kFileBytesMax) std::abort();
  }
  return 0;
}
