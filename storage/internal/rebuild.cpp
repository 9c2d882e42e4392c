#include "storage/internal/rebuild.h"

#include <algorithm>

#include "storage/internal/sealed_row.h"
#include "storage/internal/state.h"

namespace skerry::storage::internal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatchBytes = 1 << 20;
constexpr int kLevelWithoutOverlap = 6;

// Tables of chunks that can be taken over. Without a manifest their levels are not known, nor which was merged into which: then those
// that do not overlap; the rows of the others are written.
std::vector<const SalvageTable*> whole_tables(const Salvage& from) {
  std::vector<const SalvageTable*> out;
  for (const SalvageTable& table : from.tables()) {
    if (table.family == kChunks && table.family_known && table.damage.empty() && table.in_database) out.push_back(&table);
  }
  if (!from.manifest_damage()) return out;
  std::sort(out.begin(), out.end(), [](const auto* a, const auto* b) { return a->smallest < b->smallest; });
  std::vector<const SalvageTable*> apart;
  for (const SalvageTable* table : out) {
    if (apart.empty() || table->smallest > apart.back()->largest) apart.push_back(table);
  }
  return apart;
}

}  // namespace

Result<std::unique_ptr<Rebuild>> Rebuild::open(const Salvage& from, Quarantine* quarantine) {
  std::unique_ptr<Rebuild> out(new Rebuild(from, quarantine));
  SKERRY_TRY(out->create());
  return out;
}

Rebuild::~Rebuild() { close(); }

void Rebuild::close() {
  if (!db_) return;
  for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  handles_.clear();
  db_->Close();
  db_.reset();
}

Status Rebuild::checked(const rocksdb::Status& status) const {
  if (status.ok()) return {};
  const std::string text = status.ToString();
  if (status.IsNoSpace() || text.find("No space left") != std::string::npos) {
    return fail(Code::exhausted, "disk full at {}: a repair needs room for all rows but the chunks; the store is as it was",
                from_.options().path.string());
  }
  return fail(Code::unavailable, "cannot write in {}: {}; the store is as it was", folder().string(), text);
}

// The families one after the other, so that they have the numbers that the store gives them: the tables of the chunks carry theirs.
Status Rebuild::create() {
  rocksdb::DBOptions how = tool_options(from_.options(), from_.env());
  how.error_if_exists = true;
  how.paranoid_checks = true;
  const auto families = tool_families(from_.options());
  rocksdb::DB* db = nullptr;
  SKERRY_TRY(checked(rocksdb::DB::Open(how, folder().string(), {families[kMeta]}, &handles_, &db)));
  db_.reset(db);
  for (int f = kMeta + 1; f < kFamilyCount; ++f) {
    if (f == kChunks) {
      SKERRY_TRY(import_chunks(families[f].options));
      continue;
    }
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    SKERRY_TRY(checked(db_->CreateColumnFamily(families[f].options, families[f].name, &handle)));
    handles_.push_back(handle);
  }
  return {};
}

Status Rebuild::import_chunks(const rocksdb::ColumnFamilyOptions& options) {
  const fs::path links = from_.scratch() / "import";
  std::error_code failed;
  fs::create_directories(links, failed);
  if (failed) return fail(Code::unavailable, "cannot make {}: {}", links.string(), failed.message());
  rocksdb::ExportImportFilesMetaData tables;
  tables.db_comparator_name = rocksdb::BytewiseComparator()->Name();
  for (const SalvageTable* table : whole_tables(from_)) {
    SKERRY_TRY(link_or_copy(table->path, links / table->name));
    tables.files.push_back(table->live);
    tables.files.back().db_path = tables.files.back().directory = links.string();
    if (from_.manifest_damage()) tables.files.back().level = kLevelWithoutOverlap;
  }
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  rocksdb::ImportColumnFamilyOptions how;
  how.move_files = true;
  if (tables.files.empty()) {
    SKERRY_TRY(checked(db_->CreateColumnFamily(options, kFamilyNames[kChunks], &handle)));
  } else {
    SKERRY_TRY(checked(db_->CreateColumnFamilyWithImport(options, kFamilyNames[kChunks], how, tables, &handle)));
  }
  handles_.push_back(handle);
  return {};
}

bool Rebuild::taken_over(std::string_view chunk_key) const {
  if (!from_.damaged(kChunks)) return true;
  rocksdb::PinnableSlice value;
  return db_->Get({}, handles_[kChunks], slice(chunk_key), &value).ok();
}

Status Rebuild::keep(Family f, std::string_view key, std::string_view value) {
  if (f == kChunks && taken_over(key)) return {};
  return put(f, key, value);
}

Status Rebuild::put(Family f, std::string_view key, std::string_view value) {
  SKERRY_TRY(checked(batch_.Put(handles_[f], slice(key), slice(value))));
  return write_if_full(kBatchBytes);
}

Status Rebuild::remove(Family f, std::string_view key) {
  SKERRY_TRY(checked(batch_.Delete(handles_[f], slice(key))));
  return write_if_full(kBatchBytes);
}

Status Rebuild::drop(Family f, std::string_view key, std::string_view value, const std::string& why) {
  if (quarantine_) SKERRY_TRY(quarantine_->add_row(kFamilyNames[f], key, value, why));
  return f == kChunks ? remove(f, key) : Status();
}

Status Rebuild::write_if_full(size_t bytes_max) {
  if (batch_.GetDataSize() < bytes_max || batch_.Count() == 0) return {};
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  SKERRY_TRY(checked(db_->Write(options, &batch_)));
  batch_.Clear();
  return {};
}

// What a damaged table deleted from the ones that are taken over would be there again.
Status Rebuild::drop_deleted_chunks() {
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, handles_[kChunks]));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const std::string_view index_key = view(it->key()).substr(std::min<size_t>(it->key().size(), sizeof(uint64_t)));
    std::string row;
    if (db_->Get({}, handles_[kIndex], slice(index_key), &row).ok()) {
      auto sealed = decode_sealed_row(row);
      if (sealed.ok() && key::chunk(sealed->generation, index_key) == view(it->key())) continue;
    }
    SKERRY_TRY(remove(kChunks, view(it->key())));
  }
  return checked(it->status());
}

Status Rebuild::finish() {
  SKERRY_TRY(write_if_full(0));
  if (from_.damaged(kChunks)) SKERRY_TRY(drop_deleted_chunks());
  SKERRY_TRY(write_if_full(0));
  rocksdb::FlushOptions flush;
  flush.allow_write_stall = true;
  SKERRY_TRY(checked(db_->Flush(flush, handles_)));
  close();
  Options options = from_.options();
  options.path = folder();
  SKERRY_ASSIGN(auto db, Database::open(options));
  auto state = load_state(*db);
  return state.ok() ? Status() : Status(state.error());
}

}  // namespace skerry::storage::internal
