#include "storage/internal/database.h"

#include <rocksdb/convenience.h>
#include <rocksdb/file_system.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include <algorithm>

#include "storage/internal/counting_files.h"
#include "storage/internal/final_errors.h"
#include "storage/internal/install.h"

namespace skerry::storage::internal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kProbeBytes = 256 << 10;  // that a disk has to take before the database is opened anew

rocksdb::CompressionType first_supported(std::initializer_list<rocksdb::CompressionType> wanted) {
  const auto supported = rocksdb::GetSupportedCompressions();
  for (rocksdb::CompressionType type : wanted) {
    if (std::find(supported.begin(), supported.end(), type) != supported.end()) return type;
  }
  return rocksdb::kNoCompression;
}

// How many bytes of a key say where its next neighbour goes: rows of one series, or of one outbox class, come in order, and the place of the
// last one saves the search for the next.
size_t neighbour_bytes(std::string_view family) {
  if (family == "head") return sizeof(uint32_t);
  return family == "outbox" ? 1 : 1 + sizeof(uint32_t);
}

}  // namespace

rocksdb::DBOptions database_options(const Options& o, rocksdb::Env* env) {
  rocksdb::DBOptions db;
  db.env = env;
  db.create_if_missing = true;
  db.create_missing_column_families = true;
  // All families reach their tables together: after a lost sync no table is ahead of what the log still tells of the
  // others.
  db.atomic_flush = true;
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;  // a torn tail is a power cut, not damage
  db.avoid_flush_during_shutdown = true;  // the log has everything; what is not in it is only sealed anew
  db.max_bgerror_resume_count = 0;  // step() and commit() resume; no thread of RocksDB's retries behind our back
  db.db_write_buffer_size = o.write_buffer_bytes;
  db.max_total_wal_size = o.wal_bytes_max;
  db.max_open_files = static_cast<int>(std::min<uint32_t>(o.open_files_max, 1 << 20));
  db.max_background_jobs = 2;
  db.max_file_opening_threads = 1;
  // Its own log files are bounded too.
  db.info_log_level = rocksdb::WARN_LEVEL;
  db.keep_log_file_num = 3;
  db.max_log_file_size = 1 << 20;
  db.max_manifest_file_size = 4 << 20;
  db.recycle_log_file_num = 0;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.skip_stats_update_on_db_open = true;  // start-up does not open every table
  db.skip_checking_sst_file_sizes_on_db_open = true;
  return db;
}

std::vector<rocksdb::ColumnFamilyDescriptor> family_descriptors(const Options& o) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(o.block_cache_bytes, 2);
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;

  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = std::max<uint64_t>(o.write_buffer_bytes, 64 << 10);
  family.max_write_buffer_number = 2;
  family.arena_block_size =
      std::clamp<uint64_t>(o.write_buffer_bytes / 128, 4 << 10, 64 << 10);  // the families share it
  family.level_compaction_dynamic_level_bytes = true;
  family.target_file_size_base = 16 << 20;
  family.max_bytes_for_level_base = 64 << 20;

  const rocksdb::CompressionType compression = first_supported({rocksdb::kLZ4Compression, rocksdb::kZSTD});
  std::vector<rocksdb::ColumnFamilyDescriptor> out;
  for (const char* name : kFamilyNames) {
    const std::string_view family_name = name;
    table.block_size = family_name == "head" || family_name == "index" ? 16 << 10 : 4 << 10;
    family.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewCappedPrefixTransform(neighbour_bytes(family_name)));
    family.compression = family_name == "chunks" ? rocksdb::kNoCompression : compression;  // they are packed already
    family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    out.emplace_back(name, family);
  }
  return out;
}

namespace {

// RocksDB would make a fresh database when CURRENT is lost, and then delete the tables it does not know.
Status refuse_lost_manifest(const fs::path& path, rocksdb::Env* env) {
  if (env->FileExists((path / "CURRENT").string()).ok()) return {};
  std::vector<std::string> children;
  env->GetChildren(path.string(), &children);
  for (const std::string& name : children) {
    if (name.ends_with(".sst") || name.ends_with(".ldb") || name == kReadyFolder || name == kInstallFolder) {
      return fail(Code::corrupt,
                  "the store {} has data but its CURRENT file is lost: run `skerry fsck --repair {}`, restore the folder from a copy, or "
                  "move it away to start with an empty store",
                  path.string(), path.string());
    }
  }
  return {};
}

Error open_error(const fs::path& path, const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (status.IsNoSpace()) {
    return fail(Code::exhausted, "disk full at {}: free space and start again", path.string());
  }
  if (text.find("ermission denied") != std::string::npos || text.find("Read-only") != std::string::npos) {
    return fail(Code::unavailable, "cannot open the store {}: give this user write access to it ({})", path.string(),
                text);
  }
  if (text.find("lock") != std::string::npos || text.find("LOCK") != std::string::npos) {
    return fail(Code::unavailable,
                "the store {} is in use by another process: stop it, or set another storage.path ({})", path.string(),
                text);
  }
  if (text.find("families not opened") != std::string::npos) {
    return fail(Code::invalid, "the store {} was written by a later version of this program ({}): use that one, or another storage.path", path.string(), text);
  }
  if (status.IsCorruption() || status.IsPathNotFound() || status.IsInvalidArgument() || status.IsNotFound()) {
    return fail(Code::corrupt,
                "the store {} is damaged ({}): run `skerry fsck --repair {}`, restore the folder from a copy, or move it away to start "
                "with an empty store",
                path.string(), text, path.string());
  }
  return fail(Code::unavailable, "cannot open the store {}: {}", path.string(), text);
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const Options& options) {
  std::unique_ptr<Database> out(new Database);
  out->path_ = options.path;
  std::error_code made;
  fs::create_directories(options.path, made);
  if (made) {
    const Code code = made == std::errc::no_space_on_device ? Code::exhausted : Code::unavailable;
    return fail(code, "cannot make the folder of the store {}: {}", options.path.string(), made.message());
  }
  out->options_ = options;
  auto files = with_counter(options.file_system ? options.file_system : rocksdb::FileSystem::Default(), out->written_bytes_);
  out->env_ = std::make_unique<WakingEnv>(with_final_errors(with_log_files(std::move(files), out->logs_)));
  SKERRY_TRY(refuse_lost_manifest(options.path, out->env_.get()));
  const rocksdb::Status status = out->open_rocks(Compaction::on);
  if (!status.ok()) return open_error(options.path, status);
  return out;
}

rocksdb::Status Database::open_rocks(Compaction compaction) {
  rocksdb::DB* db = nullptr;
  rocksdb::DBOptions how = database_options(options_, env_.get());
  how.listeners.push_back(listener_);
  auto families = family_descriptors(options_);
  if (compaction == Compaction::off) {
    for (auto& family : families) {
      family.options.disable_auto_compactions = true;
      family.options.level0_slowdown_writes_trigger = family.options.level0_stop_writes_trigger = 1 << 20;
    }
  }
  rocksdb::Status status = rocksdb::DB::Open(how, path_.string(), families, &families_, &db);
  if (status.ok()) db_.reset(db);
  return status;
}

// Reads go on; without this an unreadable folder would leave callers without a database at all.
void Database::open_for_reading() {
  rocksdb::DB* db = nullptr;
  rocksdb::DBOptions how = database_options(options_, env_.get());
  if (!rocksdb::DB::OpenForReadOnly(how, path_.string(), family_descriptors(options_), &families_, &db).ok()) {
    nothing_.reset(rocksdb::NewMemEnv(rocksdb::Env::Default()));
    how.env = nothing_.get();
    rocksdb::Status status = rocksdb::DB::Open(how, "/nothing", family_descriptors(options_), &families_, &db);
    SKERRY_CHECK(status.ok(), "an empty database in memory: {}", status.ToString());
  }
  db_.reset(db);
}

Status Database::probe() const {
  const std::string path = (path_ / "probe").string();
  rocksdb::Status status = rocksdb::WriteStringToFile(env_.get(), std::string(kProbeBytes, 'p'), path, /*should_sync=*/true);
  env_->DeleteFile(path);
  if (status.ok()) return {};
  return error(status, "write");
}

Status Database::reopen(Compaction compaction) {
  close();
  listener_->forget();
  logs_->forget();
  const rocksdb::Status status = open_rocks(compaction);
  if (status.ok()) return {};
  open_for_reading();
  return open_error(path_, status);
}

void Database::close() {
  if (!db_) return;
  for (rocksdb::ColumnFamilyHandle* handle : families_) db_->DestroyColumnFamilyHandle(handle);
  families_.clear();
  env_->wake();
  rocksdb::CancelAllBackgroundWork(db_.get(), true);
  db_->Close();
  db_.reset();
  env_->sleep();
  nothing_.reset();
}

Database::~Database() { close(); }

Result<std::string> Database::get(Family f, const std::string& key) const {
  std::string value;
  rocksdb::Status status = db_->Get({}, family(f), key, &value);
  if (!status.ok()) return error(status, "read");
  return value;
}

std::unique_ptr<rocksdb::Iterator> Database::iterate(Family f, const rocksdb::ReadOptions& options) const {
  return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(options, family(f)));
}

Error Database::error(const rocksdb::Status& status, const char* doing) const {
  const std::string text = status.ToString();
  if (status.IsNotFound()) return fail(Code::not_found, "no such row in the store {}", path_.string());
  if (status.IsNoSpace() || text.find("No space left") != std::string::npos) {
    return fail(Code::exhausted, "disk full at {}: free space; ingest resumes by itself", path_.string());
  }
  if (status.IsCorruption()) {
    return fail(Code::corrupt, "cannot {} in the store {}: {}; stop the node and run `skerry fsck --repair {}`", doing, path_.string(), text,
                path_.string());
  }
  return fail(Code::unavailable, "cannot {} in the store {}: {}; check the disk", doing, path_.string(), text);
}

uint64_t Database::disk_bytes() const {
  std::vector<rocksdb::Env::FileAttributes> files;
  db_->GetEnv()->GetChildrenFileAttributes(path_.string(), &files);
  uint64_t sum = 0;
  for (const auto& file : files) sum += file.size_bytes;
  return sum;
}

}  // namespace skerry::storage::internal
