// RocksDB's table files read one at a time, without the database around them: whether they are whole, and what can still be read of
// those that are not.
// Threads: one per object.
// On failure: damage is a gap between two keys, never an abort; a footer is checked here before RocksDB sees the file, because it is the
// one part of a table that has no checksum.
#pragma once

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace skerry::storage::internal {

// Error: corrupt, not_found, unavailable.
Status check_footer(const std::filesystem::path& table);

struct Gap {               // rows that cannot be read
  std::string after;       // the last key before them; empty: from the beginning
  std::string before;      // the first key behind them
  bool to_end = false;     // nothing behind them can be read; `before` is empty
  std::string reason;
};

// Rows of a table in the order of their keys, stepping over damaged blocks: no more is passed over than cannot be read. What the table
// itself deletes is not shown.
class TableRows {
 public:
  explicit TableRows(std::shared_ptr<rocksdb::SstFileReader> table);
  bool valid() const { return valid_; }
  void next();
  bool seek(std::string_view key);  // false when what lies there can't be read
  std::string_view key() const { return {it_->key().data(), it_->key().size()}; }
  std::string_view value() const { return {it_->value().data(), it_->value().size()}; }
  const std::vector<Gap>& gaps() const { return gaps_; }

 private:
  void step_over(std::string after);

  std::shared_ptr<rocksdb::SstFileReader> table_;
  std::unique_ptr<rocksdb::Iterator> it_;
  bool valid_ = false;
  std::vector<Gap> gaps_;
};

// Error: corrupt, not_found, unavailable.
Result<std::shared_ptr<rocksdb::SstFileReader>> open_table(const std::filesystem::path& path, const rocksdb::Options& options);

}  // namespace skerry::storage::internal
