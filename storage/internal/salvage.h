// What can be read of a store that may be damaged, without changing it. The database is opened in a scratch folder, on second names of its
// tables and copies of the rest; where a table of a family is damaged, the family's tables are read one by one and asked from the newest.
// Threads: one.
// Owns: the scratch folder; removes it at the end.
// On failure: a damaged, missing or cut table is listed, with the keys that are lost. A lost manifest is built anew from the tables.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/metadata.h>

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/fsck.h"
#include "storage/internal/database.h"
#include "storage/internal/install.h"
#include "storage/internal/tables.h"
#include "storage/options.h"

namespace skerry::storage::internal {

struct SalvageTable {
  std::string name;         // "000012.sst"
  std::filesystem::path path;
  Family family = kMeta;
  bool family_known = true;
  uint64_t bytes = 0;
  uint64_t newest = 0;      // sequence number; decides which of two tables is asked first
  std::string smallest, largest;
  rocksdb::LiveFileMetaData live;
  bool in_database = true;  // else it was left out when the manifest was built anew
  std::string damage;       // empty: whole
  bool readable = true;     // at least in part
  std::vector<Gap> gaps;
};


class Salvage {
 public:
  // Error: not_found (no store there), exhausted, unavailable, corrupt (nothing helps).
  static Result<std::unique_ptr<Salvage>> open(const Options& options, const Progress& progress);
  ~Salvage();

  const std::vector<SalvageTable>& tables() const { return tables_; }
  const std::optional<std::string>& manifest_damage() const { return manifest_damage_; }
  // Tables of the family have to be read one by one.
  bool damaged(Family f) const { return damaged_[f]; }
  // Tables that the manifest does not list, as an interrupted flush leaves them.
  std::vector<std::filesystem::path> unlisted() const;
  // Logs with bytes in the middle that cannot be read; what is behind them is not there.
  const std::vector<std::string>& log_damage() const { return log_damage_; }

  using Row = std::function<Status(std::string_view key, std::string_view value)>;
  // Every row that can be read, in the order of the keys. Error: of `row`, unavailable.
  Status each(Family f, const Row& row) const;
  Result<std::optional<std::string>> get(Family f, std::string_view key) const;

  // Closes the database in the scratch folder and answers its path, for a store that was found whole; nothing else may be asked afterwards.
  std::filesystem::path release();

  std::filesystem::path scratch() const { return options_.path / kScratchFolder; }
  rocksdb::Env* env() const { return env_.get(); }
  const Options& options() const { return options_; }

 private:
  Salvage() = default;
  Status start();
  Status rebuild_manifest(const std::string& why);
  Status add_families(const std::set<Family>& present);
  bool leave_out(const rocksdb::Status& refused);
  Status link_files(const std::function<bool(const std::filesystem::path&)>& wanted);
  rocksdb::Status open_database(bool read_only);
  void close_database();
  std::optional<std::string> cut_manifest() const;  // why it looks cut
  bool has_news(Family f, const std::shared_ptr<rocksdb::SstFileReader>& table) const;
  enum class Verify : uint8_t { no, yes };
  Status list_tables(Verify verifying);
  void verify(SalvageTable& table);
  void find_gaps(SalvageTable& table);
  rocksdb::Options table_options(Family f) const;
  Status each_of_damaged(Family f, const Row& row) const;
  enum class Among : uint8_t { all, left_out };
  std::optional<std::string> newest_readable(Family f, std::string_view key, Among among) const;
  Result<std::shared_ptr<rocksdb::SstFileReader>> reader(const SalvageTable& table) const;
  Error error(const rocksdb::Status& status) const;
  void tell(const std::string& stage, uint64_t done, uint64_t total) const {
    if (progress_) progress_(stage, done, total);
  }

  Options options_;
  Progress progress_;
  std::unique_ptr<rocksdb::Env> env_;
  std::vector<rocksdb::ColumnFamilyDescriptor> families_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::vector<SalvageTable> tables_, left_out_;
  std::array<bool, kFamilyCount> damaged_{};
  std::optional<std::string> manifest_damage_;
  std::vector<std::string> log_damage_;
  mutable std::map<std::string, std::shared_ptr<rocksdb::SstFileReader>> readers_;
};

// Options for a database that only this tool uses: no merging, nothing checked at opening.
rocksdb::DBOptions tool_options(const Options& options, rocksdb::Env* env);
std::vector<rocksdb::ColumnFamilyDescriptor> tool_families(const Options& options);

}  // namespace skerry::storage::internal
