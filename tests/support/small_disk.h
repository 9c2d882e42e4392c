// A file system of a few hundred kilobytes at a folder, for tests of what happens when it is full. It takes the right to mount: without it
// make() answers nothing, and the test says that it skips.
#pragma once

#include <sys/mount.h>

#include <filesystem>
#include <memory>
#include <string>

namespace skerry::test {

class SmallDisk {
 public:
  static std::unique_ptr<SmallDisk> make(const std::filesystem::path& folder, size_t kilobytes) {
    std::filesystem::create_directories(folder);
    const std::string size = "size=" + std::to_string(kilobytes) + "k";
    if (::mount("none", folder.c_str(), "tmpfs", 0, size.c_str()) != 0) return nullptr;
    return std::unique_ptr<SmallDisk>(new SmallDisk(folder));
  }
  ~SmallDisk() { ::umount2(folder_.c_str(), MNT_DETACH); }
  bool resize(size_t kilobytes) {
    const std::string size = "size=" + std::to_string(kilobytes) + "k";
    return ::mount("none", folder_.c_str(), "tmpfs", MS_REMOUNT, size.c_str()) == 0;
  }

 private:
  explicit SmallDisk(std::filesystem::path folder) : folder_(std::move(folder)) {}
  const std::filesystem::path folder_;
};

}  // namespace skerry::test
