#include "sync/downloads.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/units.h"

namespace skerry::sync {
namespace {

namespace fs = std::filesystem;

constexpr int kTriesMax = 3;  // of a file whose digest is wrong
constexpr const char* kManifest = "manifest";

std::string name_of(const Offer& offer) { return fmt::format("{}/{}", offer.model, offer.version); }

// The digest is in the name: pieces of another package of the same version are no beginning of this one.
std::string folder_of(const Offer& offer) { return fmt::format("{}-{}-{}", offer.model, offer.version, offer.digest.substr(0, 16)); }

bool is_digest(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Status append(const fs::path& path, uint64_t at, const std::string& data) {
  std::error_code error;
  if (fs::file_size(path, error) != at && !(error && at == 0)) return fail(Code::invalid, "{} does not end where the piece begins", path.string());
  std::ofstream out(path, std::ios::binary | std::ios::app);
  out.write(data.data(), static_cast<std::streamsize>(data.size()));
  out.close();
  if (out) return {};
  fs::resize_file(path, at, error);
  return fail(Code::exhausted, "{} cannot be written: make space on its disk", path.string());
}

}  // namespace

Result<std::vector<PackageFile>> parse_package_files(std::string_view manifest) {
  std::vector<PackageFile> files;
  for (int line = 1; !manifest.empty(); ++line) {
    const size_t end = manifest.find('\n');
    if (end == std::string_view::npos) return fail(Code::invalid, "line {} of a manifest does not end", line);
    const std::string_view text = manifest.substr(0, end);
    manifest.remove_prefix(end + 1);
    const size_t gap = text.size() > 66 ? text.find("  ", 66) : std::string_view::npos;
    if (gap == std::string_view::npos || !is_digest(text.substr(0, 64)) || text.substr(64, 2) != "  ") {
      return fail(Code::invalid, "line {} of a manifest is not 'SHA256  bytes  name'", line);
    }
    PackageFile file{.name = std::string(text.substr(gap + 2)), .sha256 = std::string(text.substr(0, 64))};
    const std::string_view bytes = text.substr(66, gap - 66);
    const auto [at, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), file.bytes);
    if (error != std::errc{} || at != bytes.data() + bytes.size() || file.bytes > kFileBytesMax) return fail(Code::invalid, "line {} of a manifest has no size", line);
    const bool twice = std::any_of(files.begin(), files.end(), [&](const PackageFile& f) { return f.name == file.name; });
    if (!valid_file_name(file.name) || file.name == kManifest || twice) return fail(Code::invalid, "line {} of a manifest names no file of a package", line);
    if (files.size() == kPackageFilesMax) return fail(Code::invalid, "a manifest of more than {} files", kPackageFilesMax);
    files.push_back(std::move(file));
  }
  if (files.empty()) return fail(Code::invalid, "a manifest without files");
  return files;
}

Downloads::Downloads(DownloadOptions options) : options_(std::move(options)) {}

void Downloads::offered(const std::vector<Offer>& offers) {
  queue_.clear();
  for (const Offer& offer : offers) {
    if (!refused_.contains(offer.digest) && options_.wanted(offer)) queue_.push_back(offer);
  }
  if (now_ && std::find(queue_.begin(), queue_.end(), now_->offer) == queue_.end()) now_.reset();
  std::set<std::string> keep;
  for (const Offer& offer : queue_) keep.insert(folder_of(offer));
  std::error_code error;
  for (fs::directory_iterator it(options_.folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (!keep.contains(it->path().filename().string())) fs::remove_all(it->path(), ignored);
  }
}

void Downloads::begin(const Offer& offer) {
  now_ = Fetching{.offer = offer, .folder = options_.folder / folder_of(offer), .files = {}, .at = 0, .tries = {}};
  std::error_code error;
  fs::create_directories(now_->folder, error);
  if (error) status_.last_error = fmt::format("{} cannot be made: {}", now_->folder.string(), error.message());
  if (!read_manifest().ok()) now_->files.clear();  // there already when it was begun before
}

uint64_t Downloads::size_of(const std::string& name) const {
  std::error_code error;
  const uint64_t bytes = fs::file_size(now_->folder / name, error);
  return error ? 0 : bytes;
}

Status Downloads::read_manifest() {
  const fs::path path = now_->folder / kManifest;
  SKERRY_ASSIGN(const std::string text, read_file(path, kManifestBytesMax));
  if (sha256_hex(text) != now_->offer.digest) return fail(Code::corrupt, "its manifest is not the one that was offered");
  SKERRY_ASSIGN(now_->files, parse_package_files(text));
  uint64_t bytes = 0;
  for (const PackageFile& file : now_->files) bytes += file.bytes;
  if (bytes > options_.package_bytes_max) {
    return fail(Code::invalid, "it has {}: at most {} are taken", format_bytes(bytes), format_bytes(options_.package_bytes_max));
  }
  return {};
}

Status Downloads::verify(const PackageFile& file) {
  if (file.bytes == 0) SKERRY_TRY(append(now_->folder / file.name, 0, ""));
  SKERRY_ASSIGN(const std::string digest, sha256_file(now_->folder / file.name, options_.package_bytes_max));
  if (digest == file.sha256) return {};
  std::error_code ignored;
  fs::remove(now_->folder / file.name, ignored);
  return fail(Code::corrupt, "{} does not have the checksum of the manifest", file.name);
}

std::optional<ChunkAsk> Downloads::next(const std::string& node, uint32_t bytes_max) {
  while (now_ || !queue_.empty()) {
    if (!now_) begin(queue_.front());
    if (now_->files.empty()) return ChunkAsk{node, now_->offer, kManifest, size_of(kManifest), std::min<uint32_t>(bytes_max, kManifestBytesMax)};
    while (now_ && now_->at < now_->files.size()) {
      const PackageFile& file = now_->files[now_->at];
      const uint64_t have = size_of(file.name);
      if (have < file.bytes) return ChunkAsk{node, now_->offer, file.name, have, static_cast<uint32_t>(std::min<uint64_t>(bytes_max, file.bytes - have))};
      if (auto whole = verify(file); whole.ok()) {
        ++now_->at;
      } else if (++now_->tries[file.name] >= kTriesMax) {
        refuse(whole.error().message);
      }
    }
    if (!now_) continue;
    const size_t before = queue_.size();
    finish();
    if (queue_.size() == before) return {};  // it cannot be installed just now
  }
  return {};
}

uint64_t Downloads::bytes_left() const {
  if (!now_ || now_->files.empty()) return now_ || !queue_.empty() ? kManifestBytesMax : 0;
  uint64_t left = 0;
  for (size_t i = now_->at; i < now_->files.size(); ++i) left += now_->files[i].bytes - std::min(now_->files[i].bytes, size_of(now_->files[i].name));
  return std::max<uint64_t>(left, 1);
}

Status Downloads::came(const ChunkAsk& ask, const ChunkReply& reply) {
  if (!now_ || now_->offer != ask.package) return {};
  const bool manifest = ask.file == kManifest;
  const auto file = std::find_if(now_->files.begin(), now_->files.end(), [&](const PackageFile& f) { return f.name == ask.file; });
  const uint64_t bytes = manifest ? reply.file_bytes : file == now_->files.end() ? 0 : file->bytes;
  const uint64_t due = std::min<uint64_t>(ask.bytes_max, bytes - std::min(bytes, ask.offset));
  if (reply.file_bytes != bytes || reply.data.size() != due || (manifest && (bytes == 0 || bytes > kManifestBytesMax))) {
    return fail(Code::invalid, "the hub answers {} bytes of {} of {}, {} of {} were due", reply.data.size(), reply.file_bytes, ask.file, due, bytes);
  }
  SKERRY_TRY(append(now_->folder / ask.file, ask.offset, reply.data));
  status_.last_error.clear();
  if (!manifest || ask.offset + due < bytes) return {};
  if (auto read = read_manifest(); !read.ok()) {
    std::error_code ignored;
    fs::remove(now_->folder / kManifest, ignored);
    if (++now_->tries[kManifest] >= kTriesMax || read.error().code == Code::invalid) refuse(read.error().message);
  }
  return {};
}

void Downloads::gone(const ChunkAsk& ask, const Error& why) {
  if (!now_ || now_->offer != ask.package) return;
  status_.last_error = fmt::format("the hub no longer gives {}: {}", name_of(ask.package), why.message);
  std::erase(queue_, now_->offer);
  now_.reset();
}

void Downloads::finish() {
  const Offer offer = now_->offer;
  const Status installed = options_.install(now_->folder);
  if (!installed.ok() && (installed.error().code == Code::unavailable || installed.error().code == Code::exhausted)) {
    status_.last_error = installed.error().message;
    return;
  }
  if (!installed.ok()) return refuse(installed.error().message);
  log::info("sync", "{} came from the hub, whole and verified", name_of(offer));
  ++status_.installed;
  std::erase(queue_, offer);
  std::error_code ignored;
  fs::remove_all(now_->folder, ignored);
  now_.reset();
}

void Downloads::refuse(const std::string& why) {
  status_.last_error = fmt::format("{} of the hub is not taken: {}", name_of(now_->offer), why);
  log::error("sync", "{}", status_.last_error);
  ++status_.refused;
  refused_.insert(now_->offer.digest);
  std::erase(queue_, now_->offer);
  std::error_code ignored;
  fs::remove_all(now_->folder, ignored);
  now_.reset();
}

DownloadStatus Downloads::status() const {
  DownloadStatus status = status_;
  if (!now_) return status;
  status.package = name_of(now_->offer);
  for (const PackageFile& file : now_->files) status.bytes_total += file.bytes;
  status.bytes = status.bytes_total - std::min(status.bytes_total, now_->files.empty() ? 0 : bytes_left());
  return status;
}

}  // namespace skerry::sync
