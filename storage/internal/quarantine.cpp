#include "storage/internal/quarantine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/clock.h"
#include "storage/internal/coding.h"
#include "storage/internal/install.h"

namespace skerry::storage::internal {

namespace fs = std::filesystem;

Status Quarantine::make() {
  if (!folder_.empty()) return {};
  std::string name = format_time(system_clock().now_ns() / 1'000'000'000 * 1'000'000'000);
  std::replace(name.begin(), name.end(), ':', '-');
  std::error_code failed;
  const fs::path parent = store_ / kQuarantineFolder;
  fs::create_directories(parent, failed);
  for (int i = 1; !failed && folder_.empty(); ++i) {  // two repairs in a second
    const fs::path folder = parent / (i == 1 ? name : fmt::format("{}-{}", name, i));
    if (fs::create_directory(folder, failed)) folder_ = folder;
  }
  if (failed) return fail(Code::unavailable, "cannot make a folder in {}: {}", parent.string(), failed.message());
  return {};
}

Status Quarantine::append(const std::string& name, std::string_view bytes) {
  SKERRY_TRY(make());
  std::ofstream out(folder_ / name, std::ios::binary | std::ios::app);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) return fail(Code::exhausted, "cannot write {}: free space and start again", (folder_ / name).string());
  return {};
}

Status Quarantine::add_file(const fs::path& file, const std::string& what) {
  SKERRY_TRY(append(file.filename().string() + ".txt", what + "\n"));
  return link_or_copy(file, folder_ / file.filename());
}

Status Quarantine::add_row(const std::string& family, std::string_view key, std::string_view value, const std::string& what) {
  Writer out;
  out.fixed32(static_cast<uint32_t>(key.size()));
  out.raw(key.data(), key.size());
  out.fixed32(static_cast<uint32_t>(value.size()));
  out.raw(value.data(), value.size());
  SKERRY_TRY(append(family + ".rows", out.bytes()));
  return append(family + ".rows.txt", what + "\n");
}

Status Quarantine::finish() {
  if (folder_.empty()) return {};
  std::error_code failed;
  for (auto it = fs::directory_iterator(folder_, failed); !failed && it != fs::directory_iterator(); it.increment(failed)) {
    const int fd = ::open(it->path().c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = fd >= 0 && ::fsync(fd) == 0;
    if (fd >= 0) ::close(fd);
    if (!synced) return fail(Code::unavailable, "cannot write {} to the disk: check it", it->path().string());
  }
  if (failed) return fail(Code::unavailable, "cannot list {}: {}", folder_.string(), failed.message());
  SKERRY_TRY(sync_folder(folder_));
  return sync_folder(folder_.parent_path());
}

}  // namespace skerry::storage::internal
