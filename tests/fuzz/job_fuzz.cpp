// job.toml and report.json in a job folder: hostile bytes give an error, never a crash.
#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "learning/job.h"

using namespace skerry;
using namespace skerry::learning;

namespace {

const std::filesystem::path& folder() {
  static const std::filesystem::path made = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "skerry-fuzz-XXXXXX").string();
    std::filesystem::path path = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(path / "result");
    return path;
  }();
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const char* name : {"job.toml", "target.toml", "result/report.json"}) {
    std::ofstream(folder() / name, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  }
  auto spec = read_job(folder());
  if (!spec.ok() && spec.error().message.size() > 64 << 10) std::abort();
  if (read_result(folder(), 1 << 20).ok()) std::abort();  // there is no package
  return 0;
}
