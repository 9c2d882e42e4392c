#include "base/file.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace skerry {
namespace {

namespace fs = std::filesystem;

Error system_error(const char* what, const fs::path& path, int number) {
  Code code = number == ENOENT ? Code::not_found
              : number == ENOSPC || number == EDQUOT ? Code::exhausted
                                                     : Code::unavailable;
  return fail(code, "cannot {} {}: {}", what, path.string(), std::strerror(number));
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Status sync_path(const fs::path& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd.get() < 0) return system_error("open", path, errno);
  if (::fsync(fd.get()) != 0) return system_error("sync", path, errno);
  return {};
}

std::string hex(const unsigned char* bytes, size_t n) {
  static const char* digits = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < n; ++i) {
    out += digits[bytes[i] >> 4];
    out += digits[bytes[i] & 15];
  }
  return out;
}

}  // namespace

Result<std::string> read_file(const fs::path& path, uint64_t bytes_max) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("stat", path, errno);
  if (S_ISDIR(info.st_mode)) return fail(Code::invalid, "{} is a folder, not a file", path.string());
  std::string content;
  std::array<char, 65536> buffer;
  while (true) {
    ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", path, errno);
    if (n == 0) return content;
    if (content.size() + static_cast<size_t>(n) > bytes_max) {
      return fail(Code::exhausted, "{} is larger than {} bytes", path.string(), bytes_max);
    }
    content.append(buffer.data(), static_cast<size_t>(n));
  }
}

Status write_file_atomic(const fs::path& path, std::string_view content) {
  fs::path temporary = path;
  temporary += ".tmp";
  {
    Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (fd.get() < 0) return system_error("create", temporary, errno);
    while (!content.empty()) {
      ssize_t n = ::write(fd.get(), content.data(), content.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        int number = errno;
        ::unlink(temporary.c_str());
        return system_error("write", temporary, number);
      }
      content.remove_prefix(static_cast<size_t>(n));
    }
    if (::fsync(fd.get()) != 0) {
      int number = errno;
      ::unlink(temporary.c_str());
      return system_error("sync", temporary, number);
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return system_error("rename to", path, errno);
  fs::path folder = path.parent_path();
  return sync_path(folder.empty() ? fs::path(".") : folder, O_RDONLY | O_DIRECTORY);
}

Status publish_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (fs::exists(to, error)) return fail(Code::invalid, "{} exists already", to.string());
  for (fs::recursive_directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    SKERRY_TRY(sync_path(it->path(), it->is_directory() ? O_RDONLY | O_DIRECTORY : O_RDONLY));
  }
  if (error) return fail(Code::unavailable, "cannot read {}: {}", from.string(), error.message());
  SKERRY_TRY(sync_path(from, O_RDONLY | O_DIRECTORY));
  if (::rename(from.c_str(), to.c_str()) != 0) return system_error("rename to", to, errno);
  fs::path folder = to.parent_path();
  return sync_path(folder.empty() ? fs::path(".") : folder, O_RDONLY | O_DIRECTORY);
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return hex(digest.data(), digest.size());
}

Result<std::string> sha256_file(const fs::path& path, uint64_t bytes_max) {
  SKERRY_ASSIGN(std::string content, read_file(path, bytes_max));
  return sha256_hex(content);
}

uint32_t crc32c(std::string_view bytes) {
  static const auto table = [] {
    std::array<std::array<uint32_t, 256>, 8> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c & 1) ? (c >> 1) ^ 0x82f63b78u : c >> 1;
      t[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; ++i) {
      for (size_t k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 255];
    }
    return t;
  }();
  uint32_t crc = ~0u;
  const char* p = bytes.data();
  size_t n = bytes.size();
  for (; n >= 8; n -= 8, p += 8) {  // slicing by eight
    uint32_t lo, hi;
    std::memcpy(&lo, p, 4);
    std::memcpy(&hi, p + 4, 4);
    lo ^= crc;
    crc = table[7][lo & 255] ^ table[6][(lo >> 8) & 255] ^ table[5][(lo >> 16) & 255] ^ table[4][lo >> 24] ^
          table[3][hi & 255] ^ table[2][(hi >> 8) & 255] ^ table[1][(hi >> 16) & 255] ^ table[0][hi >> 24];
  }
  for (; n > 0; --n, ++p) crc = (crc >> 8) ^ table[0][(crc ^ static_cast<unsigned char>(*p)) & 255];
  return ~crc;
}

}  // namespace skerry
