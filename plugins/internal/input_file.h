// A regular file read at offsets: bounded memory whatever its size. pread rather than mmap, because a file that is
// cut short while we play it must become an Error, not a SIGBUS. Threads: one at a time.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace skerry::plugins {

class InputFile {
 public:
  // Error: not_found, invalid (a folder or a device), unavailable.
  static Result<InputFile> open(const std::filesystem::path& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  uint64_t size() const { return size_; }  // at open
  // Up to `bytes` bytes from `offset`; fewer only at the end of the file.
  Result<size_t> read_at(uint64_t offset, char* out, size_t bytes) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  InputFile(int fd, uint64_t size, std::filesystem::path path) : fd_(fd), size_(size), path_(std::move(path)) {}
  int fd_ = -1;
  uint64_t size_ = 0;
  std::filesystem::path path_;
};

}  // namespace skerry::plugins
