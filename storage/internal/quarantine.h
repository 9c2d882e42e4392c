// The folder in which a repair leaves what it could not keep: QUARANTINE/TIME/ has the damaged files, each with NAME.txt; FAMILY.rows, the
// rows that do not decode, as key size | key | value size | value (sizes little-endian, 32 bits); FAMILY.rows.txt, a line for each.
// Threads: one. Made with the first thing that goes in.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace skerry::storage::internal {

class Quarantine {
 public:
  explicit Quarantine(std::filesystem::path store) : store_(std::move(store)) {}
  // The file gets a second name; it stays where it is. Error: exhausted, unavailable.
  Status add_file(const std::filesystem::path& file, const std::string& what);
  Status add_row(const std::string& family, std::string_view key, std::string_view value, const std::string& what);
  Status finish();  // on the disk
  const std::filesystem::path& folder() const { return folder_; }  // empty: nothing was added

 private:
  Status make();
  Status append(const std::string& name, std::string_view bytes);

  const std::filesystem::path store_;
  std::filesystem::path folder_;
};

}  // namespace skerry::storage::internal
