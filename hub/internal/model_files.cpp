#include "hub/internal/model_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace skerry::hub::internal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPackagesMax = 10'000, kFilesMax = 100;

bool plain_name(std::string_view name) {
  auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 128 && name.front() != '.' && std::all_of(name.begin(), name.end(), allowed);
}

std::optional<uint64_t> whole_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The subfolders of a folder whose names are plain; links are not followed.
std::vector<std::string> subfolders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end && names.size() < kPackagesMax; it.increment(error)) {
    std::error_code ignored;
    const std::string name = it->path().filename().string();
    if (plain_name(name) && fs::is_directory(it->symlink_status(ignored))) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::pair<std::string, uint64_t>> files_of(const fs::path& folder) {
  std::vector<std::pair<std::string, uint64_t>> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end && files.size() < kFilesMax; it.increment(error)) {
    std::error_code ignored;
    const std::string name = it->path().filename().string();
    if (plain_name(name) && fs::is_regular_file(it->symlink_status(ignored))) files.emplace_back(name, it->file_size(ignored));
  }
  std::sort(files.begin(), files.end());
  return files;
}

class File {
 public:
  explicit File(const fs::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool regular(struct stat& info) const { return fd_ >= 0 && ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode); }
  bool read(uint64_t from, std::string& out) const {
    for (size_t at = 0; at < out.size();) {
      const ssize_t n = ::pread(fd_, out.data() + at, out.size() - at, static_cast<off_t>(from + at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += static_cast<size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
};

}  // namespace

Result<std::vector<PackageFiles>> list_packages(const fs::path& folder) {
  std::vector<PackageFiles> packages;
  if (folder.empty()) return packages;
  for (const std::string& model : subfolders(folder)) {
    for (const std::string& version : subfolders(folder / model)) {
      const auto number = whole_number(version);
      if (!number || *number > UINT32_MAX || packages.size() >= kPackagesMax) continue;
      PackageFiles package{model, static_cast<uint32_t>(*number), files_of(folder / model / version)};
      const bool complete = std::any_of(package.files.begin(), package.files.end(), [](const auto& f) { return f.first == "manifest"; });
      if (complete) packages.push_back(std::move(package));
    }
  }
  std::sort(packages.begin(), packages.end(),
            [](const auto& a, const auto& b) { return std::tie(a.model, a.version) < std::tie(b.model, b.version); });
  return packages;
}

Result<std::optional<ByteRange>> parse_range(const std::string& header, uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  const std::string_view text(header);
  if (!text.starts_with(kUnit) || text.find(',') != std::string_view::npos) return std::optional<ByteRange>{};
  const std::string_view range = text.substr(kUnit.size());
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos) return std::optional<ByteRange>{};
  const auto first = whole_number(range.substr(0, dash)), last = whole_number(range.substr(dash + 1));
  const Error outside = fail(Code::invalid, "the range '{}' has nothing of a file of {} bytes", text.substr(0, 64), size);
  if (dash == 0) {  // the last N bytes
    if (!last) return std::optional<ByteRange>{};
    if (*last == 0 || size == 0) return outside;
    const uint64_t n = std::min(*last, size);
    return std::optional<ByteRange>(ByteRange{size - n, n});
  }
  const bool open_end = dash + 1 == range.size();
  if (!first || (!last && !open_end) || (last && *last < *first)) return std::optional<ByteRange>{};
  if (*first >= size) return outside;
  const uint64_t end = open_end ? size : std::min(size, *last == UINT64_MAX ? size : *last + 1);
  return std::optional<ByteRange>(ByteRange{*first, end - *first});
}

Result<FilePiece> read_piece(const fs::path& folder, const std::string& model, uint32_t version, const std::string& name, uint64_t from, uint64_t bytes_max) {
  const Error none = fail(Code::not_found, "no such file is offered: see /v1/models");
  if (folder.empty() || !plain_name(model) || !plain_name(name)) return none;
  // A link in the place of a folder would lead out of it: each step must be real.
  std::error_code ignored;
  const fs::path package = folder / model / std::to_string(version);
  if (!fs::is_directory(fs::symlink_status(folder / model, ignored)) || !fs::is_directory(fs::symlink_status(package, ignored))) return none;
  File file(package / name);
  struct stat info {};
  if (!file.regular(info)) return none;
  FilePiece piece{.file_bytes = static_cast<uint64_t>(info.st_size), .data = {}};
  if (from > piece.file_bytes) return fail(Code::not_found, "{} has {} bytes: there are none from {} on", name, piece.file_bytes, from);
  piece.data.resize(std::min(bytes_max, piece.file_bytes - from));
  if (!file.read(from, piece.data)) return fail(Code::unavailable, "the file changed while it was read: try again");
  return piece;
}

http::Response download(const fs::path& folder, const http::Request& request) {
  const std::string& model = request.path_parameters.at("model");
  const std::string& version = request.path_parameters.at("version");
  const std::string& name = request.path_parameters.at("file");
  const auto number = whole_number(version);
  if (folder.empty() || !plain_name(model) || !number || !plain_name(name)) {
    return http::error_response(404, "no such file is offered: see /v1/models");
  }
  // A link in the place of a folder would lead out of it: each step must be real.
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(folder / model, ignored)) || !fs::is_directory(fs::symlink_status(folder / model / version, ignored))) {
    return http::error_response(404, "no such file is offered: see /v1/models");
  }
  File file(folder / model / version / name);
  struct stat info {};
  if (!file.regular(info)) return http::error_response(404, "no such file is offered: see /v1/models");

  const auto size = static_cast<uint64_t>(info.st_size);
  const std::string etag = fmt::format("\"{:x}-{:x}\"", size, info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec);
  http::Response response;
  response.content_type = "application/octet-stream";
  response.headers = {{"Accept-Ranges", "bytes"}, {"ETag", etag}};

  std::optional<ByteRange> range;
  const std::string if_range = request.header("if-range");
  if (if_range.empty() || if_range == etag) {
    auto parsed = parse_range(request.header("range"), size);
    if (!parsed.ok()) {
      response = http::error_response(416, parsed.error().message);
      response.headers.emplace_back("Content-Range", fmt::format("bytes */{}", size));
      return response;
    }
    range = *parsed;
  }
  if (!range && size > kDownloadBytesMax) {
    return http::error_response(400, fmt::format("{} has {} bytes: ask for it in ranges of at most {}", name, size, kDownloadBytesMax));
  }
  ByteRange part = range.value_or(ByteRange{0, size});
  part.size = std::min(part.size, kDownloadBytesMax);
  response.body.resize(part.size);
  if (!file.read(part.from, response.body)) return http::error_response(503, "the file changed while it was read: try again");
  if (range) {
    response.status = 206;
    response.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", part.from, part.from + part.size - 1, size));
  }
  return response;
}

}  // namespace skerry::hub::internal
