// Puts a rebuilt database in the place of the old one, so that a power cut at any moment leaves either of them, or what resume_install()
// finishes. The store refuses to open in between, because CURRENT leaves first and comes last.
// Threads: one, with the store's LOCK held.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace skerry::storage::internal {

inline constexpr const char* kScratchFolder = "fsck.tmp";     // may be removed at any time
inline constexpr const char* kReadyFolder = "fsck.ready";     // the new database, complete; the old one is on its way out
inline constexpr const char* kInstallFolder = "fsck.install";  // the old one is gone; this one is on its way in
inline constexpr const char* kOldFolder = "fsck.old";
inline constexpr const char* kQuarantineFolder = "quarantine";

// A second name for a file, or a copy where the file system has no hard links. Error: exhausted, unavailable.
Status link_or_copy(const std::filesystem::path& from, const std::filesystem::path& to);
Status sync_folder(const std::filesystem::path& folder);

// `fresh` is a closed database in a folder on the same file system. Error: exhausted, unavailable; the next resume_install() goes on.
Status install(const std::filesystem::path& store, const std::filesystem::path& fresh);
// Finishes what a power cut interrupted; true when there was something.
Result<bool> resume_install(const std::filesystem::path& store);

}  // namespace skerry::storage::internal
