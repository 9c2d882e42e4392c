// A fresh database for what was salvaged. Whole tables of chunks are taken over as they are, under a second name; everything else is written.
// Threads: one.
// Owns: the folder scratch/new until install() takes it.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/internal/quarantine.h"
#include "storage/internal/row_check.h"
#include "storage/internal/salvage.h"

namespace skerry::storage::internal {

class Rebuild final : public RowSink {
 public:
  // Rows that are dropped go to `quarantine`, if there is one. Error: exhausted, unavailable.
  static Result<std::unique_ptr<Rebuild>> open(const Salvage& from, Quarantine* quarantine);
  ~Rebuild() override;

  Status keep(Family f, std::string_view key, std::string_view value) override;
  Status drop(Family f, std::string_view key, std::string_view value, const std::string& why) override;
  Status put(Family f, std::string_view key, std::string_view value) override;
  // Everything on the disk, the database closed and found to open. Error: as open(); internal.
  Status finish();
  std::filesystem::path folder() const { return from_.scratch() / "new"; }

 private:
  Rebuild(const Salvage& from, Quarantine* quarantine) : from_(from), quarantine_(quarantine) {}
  Status create();
  Status import_chunks(const rocksdb::ColumnFamilyOptions& options);
  bool taken_over(std::string_view chunk_key) const;
  Status drop_deleted_chunks();
  Status remove(Family f, std::string_view key);
  Status write_if_full(size_t bytes_max);
  Status checked(const rocksdb::Status& status) const;
  void close();

  const Salvage& from_;
  Quarantine* const quarantine_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  rocksdb::WriteBatch batch_;
};

}  // namespace skerry::storage::internal
