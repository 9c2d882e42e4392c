#include "storage/internal/install.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

namespace skerry::storage::internal {
namespace {

namespace fs = std::filesystem;

Error cannot(const char* doing, const fs::path& path, const std::error_code& why) {
  if (why == std::errc::no_space_on_device) return fail(Code::exhausted, "disk full at {}: free space and start again", path.string());
  return fail(Code::unavailable, "cannot {} {}: {}", doing, path.string(), why.message());
}

Status move_to(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::rename(from, to, failed);
  return failed ? Status(cannot("rename", from, failed)) : Status();
}

// LOCK is not among them, because it is held; whatever else somebody put into the folder stays.
bool of_database(const std::string& name) {
  for (const char* ending : {".sst", ".ldb", ".log", ".dbtmp"}) {
    if (name.ends_with(ending)) return true;
  }
  for (const char* beginning : {"MANIFEST-", "OPTIONS-", "LOG.old."}) {
    if (name.starts_with(beginning)) return true;
  }
  return name == "CURRENT" || name == "IDENTITY" || name == "LOG";
}

Result<std::vector<fs::path>> files_of(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code failed;
  for (auto it = fs::directory_iterator(folder, failed); !failed && it != fs::directory_iterator(); it.increment(failed)) {
    if (it->is_regular_file(failed) && of_database(it->path().filename())) out.push_back(it->path());
  }
  if (failed) return cannot("list", folder, failed);
  return out;
}

enum class CurrentGoes { first, last };

Status move_files(const fs::path& from, const fs::path& to, CurrentGoes current) {
  SKERRY_ASSIGN(std::vector<fs::path> files, files_of(from));
  std::stable_partition(files.begin(), files.end(),
                        [&](const fs::path& p) { return (p.filename() == "CURRENT") == (current == CurrentGoes::first); });
  for (const fs::path& file : files) {
    if (file.filename() == "CURRENT" && current == CurrentGoes::last) SKERRY_TRY(sync_folder(to));
    SKERRY_TRY(move_to(file, to / file.filename()));
    if (file.filename() == "CURRENT" && current == CurrentGoes::first) SKERRY_TRY(sync_folder(from));
  }
  SKERRY_TRY(sync_folder(from));
  return sync_folder(to);
}

Status remove_folder(const fs::path& folder) {
  std::error_code failed;
  fs::remove_all(folder, failed);
  return failed ? Status(cannot("remove", folder, failed)) : Status();
}

Status move_out(const fs::path& store) {
  std::error_code failed;
  fs::create_directories(store / kOldFolder, failed);
  if (failed) return cannot("make", store / kOldFolder, failed);
  SKERRY_TRY(move_files(store, store / kOldFolder, CurrentGoes::first));
  SKERRY_TRY(move_to(store / kReadyFolder, store / kInstallFolder));
  return sync_folder(store);
}

Status move_in(const fs::path& store) {
  SKERRY_TRY(move_files(store / kInstallFolder, store, CurrentGoes::last));
  SKERRY_TRY(remove_folder(store / kInstallFolder));
  return remove_folder(store / kOldFolder);
}

}  // namespace

Status sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return cannot("open", folder, {errno, std::generic_category()});
  const int failed = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return failed ? Status(cannot("sync", folder, {failed, std::generic_category()})) : Status();
}

Status link_or_copy(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::create_hard_link(from, to, failed);
  if (!failed) return {};
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, failed);
  return failed ? Status(cannot("copy", from, failed)) : Status();
}

Status install(const fs::path& store, const fs::path& fresh) {
  SKERRY_TRY(sync_folder(fresh));
  SKERRY_TRY(move_to(fresh, store / kReadyFolder));
  SKERRY_TRY(sync_folder(store));
  SKERRY_TRY(move_out(store));
  return move_in(store);
}

Result<bool> resume_install(const fs::path& store) {
  std::error_code ignored;
  const bool ready = fs::exists(store / kReadyFolder, ignored), moving_in = fs::exists(store / kInstallFolder, ignored);
  if (ready && fs::exists(store / "CURRENT", ignored)) {  // the old database may have been written since
    SKERRY_TRY(remove_folder(store / kReadyFolder));
    return false;
  }
  if (ready) SKERRY_TRY(move_out(store));
  if (ready || moving_in) {
    SKERRY_TRY(move_in(store));
    return true;
  }
  if (fs::exists(store / "CURRENT", ignored)) SKERRY_TRY(remove_folder(store / kOldFolder));  // what was left to tidy up
  return false;
}

}  // namespace skerry::storage::internal
