// What measurements of several rounds share: the median, the clock, and a folder on a disk.
#pragma once

#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "base/result.h"
#include "tests/e2e/support/process.h"

namespace skerry::bench {

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// An empty folder beside our programs, removed at the end: /tmp may be memory, where a sync costs nothing. Error: unavailable when this
// one is memory too.
class DiskFolder {
 public:
  static Result<DiskFolder> make(const std::string& name) {
    DiskFolder folder;
    folder.path_ = (e2e::program_folder() / ".." / fmt::format("bench-{}-{}", name, ::getpid())).lexically_normal();
    std::error_code failed;
    std::filesystem::remove_all(folder.path_, failed);
    std::filesystem::create_directories(folder.path_, failed);
    constexpr long kTmpfs = 0x01021994, kRamfs = 0x858458f6;  // linux/magic.h
    struct statfs disk {};
    if (failed || ::statfs(folder.path_.c_str(), &disk) != 0) {
      return fail(Code::unavailable, "can't make the folder {}", folder.path_.string());
    }
    if (disk.f_type == kTmpfs || disk.f_type == kRamfs) {
      return fail(Code::unavailable, "{} lies in memory: build on a disk, where a sync costs what it costs", folder.path_.string());
    }
    return folder;
  }
  DiskFolder(DiskFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  ~DiskFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  DiskFolder() = default;
  std::filesystem::path path_;
};

}  // namespace skerry::bench
