// Model packages that the hub offers, fetched in pieces into a folder each, and handed over when every byte is there and verified. What is there is kept
// over failures, restarts and kill -9: the size of a file says where it goes on. The manifest ("SHA256  bytes  name", a line per file) is held against
// the digest of the offer, each file against its line.
// Threads: one, that of Syncer::step().
// Owns: its folder, and nothing else in it than unfinished packages of what is offered now.
// On failure: a file with the wrong digest is fetched again, a few times; a package that the node refuses is not fetched again until a restart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sync/wire.h"

namespace skerry::sync {

struct PackageFile {
  std::string name, sha256;
  uint64_t bytes = 0;
};
inline constexpr size_t kManifestBytesMax = 64 << 10, kPackageFilesMax = 64;
// Error: invalid, naming the line.
Result<std::vector<PackageFile>> parse_package_files(std::string_view manifest);

struct DownloadOptions {
  std::filesystem::path folder;                                    // of unfinished packages
  uint64_t package_bytes_max = uint64_t{2} << 30;
  std::function<bool(const Offer&)> wanted;                        // asked at every HELLO
  std::function<Status(const std::filesystem::path&)> install;     // takes a copy. Error unavailable or exhausted: later again
};

struct DownloadStatus {
  std::string package;              // "har/7" that is being fetched; empty: none
  uint64_t bytes = 0, bytes_total = 0;
  uint64_t installed = 0, refused = 0;  // since start
  std::string last_error;
};

class Downloads {
 public:
  explicit Downloads(DownloadOptions options);
  // What the hub has now: what is no longer offered or wanted is forgotten, its pieces removed.
  void offered(const std::vector<Offer>& offers);
  // The next piece, at most so many bytes; nothing: everything wanted is here. Verifies and installs what is complete.
  std::optional<ChunkAsk> next(const std::string& node, uint32_t bytes_max);
  uint64_t bytes_left() const;      // of the package that is being fetched, as far as it is known; 0: nothing to fetch
  // What came of it. Error: exhausted (disk full), unavailable; invalid of an answer that cannot be.
  Status came(const ChunkAsk& ask, const ChunkReply& reply);
  // The hub has no such piece: the package is left until it is offered anew.
  void gone(const ChunkAsk& ask, const Error& why);
  DownloadStatus status() const;

 private:
  struct Fetching {
    Offer offer;
    std::filesystem::path folder;
    std::vector<PackageFile> files;  // empty: the manifest is not here yet
    size_t at = 0;                   // all before it are complete and verified
    std::map<std::string, int> tries;
  };
  void begin(const Offer& offer);
  Status read_manifest();
  Status verify(const PackageFile& file);
  void finish();
  void refuse(const std::string& why);
  uint64_t size_of(const std::string& name) const;

  const DownloadOptions options_;
  std::vector<Offer> queue_;
  std::optional<Fetching> now_;
  std::set<std::string> refused_;   // digests
  DownloadStatus status_;
};

}  // namespace skerry::sync
