#include "storage/internal/salvage.h"

#include <rocksdb/file_system.h>
#include <rocksdb/table_properties.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <set>

#include "storage/internal/state.h"

namespace skerry::storage::internal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadersMax = 32;         // tables that are kept open
constexpr size_t kRepairAttempts = 256;
constexpr size_t kMessagesMax = 16;
constexpr size_t kUnlistedRowsAsked = 1000;  // of a table that the manifest does not know

// Takes RocksDB's messages, of which none is written, and keeps those about logs that it cannot read to their end.
class Messages final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char line[512];
    std::vsnprintf(line, sizeof line, format, arguments);
    const std::string text = line;
    if (text.find(": dropping ") == std::string::npos) return;
    std::lock_guard lock(mutex_);
    if (kept_.size() < kMessagesMax) kept_.push_back(text);
  }
  std::vector<std::string> kept() const {
    std::lock_guard lock(mutex_);
    return kept_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> kept_;
};

bool is_table(const fs::path& path) { return path.extension() == ".sst" || path.extension() == ".ldb"; }
uint64_t number_of(const fs::path& table) { return std::strtoull(table.stem().c_str(), nullptr, 10); }

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code failed;
  for (auto it = fs::directory_iterator(folder, failed); !failed && it != fs::directory_iterator(); it.increment(failed)) {
    if (it->is_regular_file(failed)) out.push_back(it->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<Family> family_of(const std::string& name) {
  for (int f = 0; f < kFamilyCount; ++f) {
    if (name == kFamilyNames[f]) return static_cast<Family>(f);
  }
  return std::nullopt;
}

}  // namespace

rocksdb::DBOptions tool_options(const Options& options, rocksdb::Env* env) {
  rocksdb::DBOptions db = database_options(options, env);
  db.info_log = std::make_shared<Messages>();
  db.paranoid_checks = false;  // a missing table is met when it is read
  db.max_background_jobs = 1;
  return db;
}

std::vector<rocksdb::ColumnFamilyDescriptor> tool_families(const Options& options) {
  auto families = family_descriptors(options);
  for (auto& family : families) {
    family.options.disable_auto_compactions = true;
    family.options.level0_slowdown_writes_trigger = family.options.level0_stop_writes_trigger = 1 << 20;
    // Tables of a lost manifest all lie in level 0, where those that came of merging overlap in their sequence numbers.
    family.options.force_consistency_checks = false;
  }
  return families;
}

Result<std::unique_ptr<Salvage>> Salvage::open(const Options& options, const Progress& progress) {
  std::unique_ptr<Salvage> out(new Salvage);
  out->options_ = options;
  out->progress_ = progress;
  out->env_ = rocksdb::NewCompositeEnv(options.file_system ? options.file_system : rocksdb::FileSystem::Default());
  out->families_ = tool_families(options);
  SKERRY_TRY(out->start());
  return out;
}

Salvage::~Salvage() {
  close_database();
  std::error_code ignored;
  fs::remove_all(scratch(), ignored);
}

Error Salvage::error(const rocksdb::Status& status) const {
  const std::string text = status.ToString();
  if (status.IsNoSpace() || text.find("No space left") != std::string::npos) {
    return fail(Code::exhausted, "disk full at {}: checking needs room for the log, repairing for all rows but chunks", options_.path.string());
  }
  return fail(Code::unavailable, "cannot read the store {}: {}", options_.path.string(), text);
}

Status Salvage::start() {
  const auto files = files_of(options_.path);
  const bool store = std::any_of(files.begin(), files.end(), [](const fs::path& p) {
    return is_table(p) || p.filename() == "CURRENT" || p.filename().string().starts_with("MANIFEST-");
  });
  if (!store) return fail(Code::not_found, "{} is no store: name the folder that storage.path of the node names", options_.path.string());

  // First without writing anything: a manifest that was cut would have its file numbers given out a second time.
  const auto sound = [](const fs::path& p) { return !is_table(p) || check_footer(p).ok(); };
  SKERRY_TRY(link_files(sound));
  rocksdb::Status opened = open_database(/*read_only=*/true);
  std::optional<std::string> cut;
  if (opened.ok()) {
    SKERRY_TRY(list_tables(Verify::no));
    cut = cut_manifest();
  } else if (opened.IsNoSpace()) {
    return error(opened);
  }
  close_database();
  if (!opened.ok() || cut) return rebuild_manifest(opened.ok() ? *cut : opened.ToString());

  std::set<std::string> live;
  for (const SalvageTable& table : tables_) live.insert(table.name);
  SKERRY_TRY(link_files([&](const fs::path& p) { return !is_table(p) || (live.contains(p.filename()) && sound(p)); }));
  opened = open_database(/*read_only=*/false);
  if (!opened.ok()) {
    close_database();
    return rebuild_manifest(opened.ToString());
  }
  return list_tables(Verify::yes);
}

Status Salvage::link_files(const std::function<bool(const fs::path&)>& wanted) {
  std::error_code failed;
  fs::remove_all(scratch(), failed);
  fs::create_directories(scratch() / "db", failed);
  if (failed) return fail(Code::unavailable, "cannot make {}: {}", scratch().string(), failed.message());
  for (const fs::path& file : files_of(options_.path)) {
    const std::string name = file.filename();
    const fs::path to = scratch() / "db" / name;
    if (is_table(file)) {
      if (wanted(file)) SKERRY_TRY(link_or_copy(file, to));
    } else if (name == "CURRENT" || name == "IDENTITY" || name.starts_with("MANIFEST-") || name.ends_with(".log")) {
      if (!wanted(file)) continue;
      fs::copy_file(file, to, failed);  // not linked: RocksDB may go on writing to them
      if (failed == std::errc::no_space_on_device) return error(rocksdb::Status::NoSpace());
      if (failed) return fail(Code::unavailable, "cannot copy {}: {}", file.string(), failed.message());
    }
  }
  return {};
}

rocksdb::Status Salvage::open_database(bool read_only) {
  rocksdb::DBOptions how = tool_options(options_, env_.get());
  how.create_if_missing = false;
  const std::string path = (scratch() / "db").string();
  if (!env_->FileExists(path + "/CURRENT").ok()) return rocksdb::Status::Corruption("the file CURRENT is lost");
  rocksdb::DB* db = nullptr;
  rocksdb::Status status = read_only ? rocksdb::DB::OpenForReadOnly(how, path, families_, &handles_, &db)
                                     : rocksdb::DB::Open(how, path, families_, &handles_, &db);
  if (status.ok()) db_.reset(db);
  log_damage_ = static_cast<const Messages&>(*how.info_log).kept();
  return status;
}

void Salvage::close_database() {
  readers_.clear();
  if (!db_) return;
  for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  handles_.clear();
  db_->Close();
  db_.reset();
}

std::vector<fs::path> Salvage::unlisted() const {
  std::set<std::string> listed;
  for (const SalvageTable& table : tables_) listed.insert(table.name);
  std::vector<fs::path> out = files_of(options_.path);
  std::erase_if(out, [&](const fs::path& file) { return !is_table(file) || listed.contains(file.filename()); });
  return out;
}

fs::path Salvage::release() {
  close_database();
  return scratch() / "db";
}

// A manifest that lost its end looks like an older one: it lists tables that were merged and are gone, or does not list those that hold what
// nobody else has. What an interrupted flush or merge left behind is known: it is in the log, or in the tables that were merged.
std::optional<std::string> Salvage::cut_manifest() const {
  uint64_t newest = 0, unlisted = 0, news = 0, missing = 0;
  std::set<std::string> live;
  std::error_code ignored;
  for (const SalvageTable& table : tables_) {
    live.insert(table.name);
    newest = std::max(newest, number_of(table.name));
    missing += !fs::exists(options_.path / table.name, ignored);
  }
  for (const fs::path& file : files_of(options_.path)) {
    if (!is_table(file) || live.contains(file.filename())) continue;
    auto table = open_table(file, table_options(kMeta));
    if (!table.ok() || !(*table)->GetTableProperties()) continue;
    const auto family = family_of((*table)->GetTableProperties()->column_family_name);
    if (!family) continue;
    ++unlisted;
    // The counters only rise; other rows are looked for in younger tables alone, because those of old ones may have been deleted since.
    news += (*family == kMeta || number_of(file) > newest) && has_news(*family, *table);
  }
  if (missing > 0 && unlisted > 0) return fmt::format("it lists {} tables that are not there, and not {} that are", missing, unlisted);
  if (news == 0) return std::nullopt;
  return fmt::format("it does not list {} tables that hold what is nowhere else", news);
}

// Chunks and their rows are never in the log, so those of an interrupted flush look new; their blocks are still there.
bool Salvage::has_news(Family f, const std::shared_ptr<rocksdb::SstFileReader>& table) const {
  if (f == kChunks || f == kIndex) return false;
  TableRows row(table);
  std::string value;
  if (f == kMeta) {  // every commit writes the counters
    if (!row.seek(key::counters()) || !row.valid() || row.key() != key::counters()) return false;
    StateLoader theirs, ours;
    if (!theirs.add(row.key(), row.value()).ok()) return false;
    const rocksdb::Status known = db_->Get({}, handles_[kMeta], key::counters(), &value);
    if (known.ok() && !ours.add(key::counters(), value).ok()) return false;
    return theirs.finish().counters.block > ours.finish().counters.block;
  }
  uint64_t rows = 0, unknown = 0;
  for (; row.valid() && rows < kUnlistedRowsAsked; row.next(), ++rows) {
    unknown += db_->Get({}, handles_[f], slice(row.key()), &value).IsNotFound();
  }
  return unknown * 2 > rows;
}

// RepairDB knows a family by its tables alone, and drops every write in the log that also concerns one without - the head most of all, whose
// blocks seldom reach a table. So such a family gets a table, with nothing but the deletion of a key that no row has.
Status Salvage::add_families(const std::set<Family>& present) {
  const std::string path = (scratch() / "families").string();
  rocksdb::DBOptions how = tool_options(options_, env_.get());
  how.create_if_missing = how.create_missing_column_families = true;
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::Status status = rocksdb::DB::Open(how, path, families_, &handles, &opened);
  if (!status.ok()) return error(status);
  std::unique_ptr<rocksdb::DB> db(opened);
  for (int f = 0; f < kFamilyCount && status.ok(); ++f) {
    if (!present.contains(static_cast<Family>(f))) status = db->Delete({}, handles[f], std::string(8, '\xff') + "no row");
  }
  if (status.ok()) status = db->Flush({}, handles);
  std::vector<rocksdb::LiveFileMetaData> tables;
  db->GetLiveFilesMetaData(&tables);
  for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
  db.reset();
  if (!status.ok()) return error(status);
  uint64_t number = 0;
  for (const fs::path& file : files_of(options_.path)) {
    const std::string name = file.filename();
    const size_t digits = name.find_first_of("0123456789");
    if (digits != std::string::npos) number = std::max<uint64_t>(number, std::strtoull(name.c_str() + digits, nullptr, 10));
  }
  for (const auto& table : tables) {
    SKERRY_TRY(link_or_copy(fs::path(path) / table.relative_filename, scratch() / "db" / fmt::format("{:06}.sst", ++number)));
  }
  return {};
}

Status Salvage::rebuild_manifest(const std::string& why) {
  manifest_damage_ = why;
  tell("building the list of tables anew", 0, 0);
  tables_.clear();
  std::set<Family> present;
  for (const fs::path& file : files_of(options_.path)) {  // RocksDB's repair would give up on a damaged one: it is read beside
    if (!is_table(file)) continue;
    SalvageTable table;
    table.path = file;
    table.name = file.filename();
    table.newest = number_of(file);
    std::error_code ignored;
    table.bytes = fs::file_size(file, ignored);
    table.in_database = false;
    auto opened = open_table(file, table_options(kMeta));
    const auto known = opened.ok() && (*opened)->GetTableProperties()
                           ? family_of((*opened)->GetTableProperties()->column_family_name) : std::nullopt;
    table.family = known.value_or(kMeta);
    table.family_known = known.has_value();
    verify(table);
    if (table.damage.empty() && known) present.insert(*known);
    if (!table.damage.empty()) left_out_.push_back(std::move(table));
  }
  std::set<std::string> damaged;
  for (const SalvageTable& table : left_out_) damaged.insert(table.name);
  SKERRY_TRY(link_files([&](const fs::path& p) {
    return is_table(p) ? !damaged.contains(p.filename()) : p.extension() == ".log" || p.filename() == "IDENTITY";
  }));
  SKERRY_TRY(add_families(present));
  auto families = families_;
  rocksdb::DBOptions how = tool_options(options_, env_.get());
  how.create_if_missing = how.create_missing_column_families = true;
  rocksdb::Status status;
  for (size_t attempt = 0; attempt < kRepairAttempts; ++attempt) {
    status = rocksdb::RepairDB((scratch() / "db").string(), how, families);
    if (status.ok()) status = open_database(/*read_only=*/false);
    if (status.ok() || !leave_out(status)) break;
    tell("building the list of tables anew", attempt + 1, 0);
  }
  log_damage_ = static_cast<const Messages&>(*how.info_log).kept();  // the logs are tables now
  if (!status.ok()) {
    if (status.IsNoSpace()) return error(status);
    return fail(Code::corrupt, "the store {} cannot be put together again: {}", options_.path.string(), status.ToString());
  }
  return list_tables(Verify::yes);
}

// RepairDB puts all tables into level 0, where RocksDB with assertions refuses two whose sequence numbers overlap, as those have that came of
// one merge. The older of the two is read beside the database then.
bool Salvage::leave_out(const rocksdb::Status& refused) {
  const std::string text = refused.ToString();
  const size_t at = text.find("L0 file #");
  unsigned long long first = 0, second = 0;
  if (at == std::string::npos || std::sscanf(text.c_str() + at, "L0 file #%llu with seqno %*u %*u vs. file #%llu", &first, &second) != 2) return false;
  SalvageTable table;
  table.newest = std::min(first, second);
  table.name = fmt::format("{:06}.sst", table.newest);
  table.path = scratch() / table.name;
  table.in_database = false;
  std::error_code failed;
  fs::rename(scratch() / "db" / table.name, table.path, failed);
  if (failed) return false;
  table.bytes = fs::file_size(table.path, failed);
  auto opened = open_table(table.path, table_options(kMeta));
  const auto known = opened.ok() && (*opened)->GetTableProperties() ? family_of((*opened)->GetTableProperties()->column_family_name) : std::nullopt;
  if (!known) return false;
  table.family = *known;
  left_out_.push_back(std::move(table));
  return true;
}

Status Salvage::list_tables(Verify verifying) {
  std::vector<rocksdb::LiveFileMetaData> files;
  db_->GetLiveFilesMetaData(&files);
  tables_.clear();
  // Tables from before and after a merge hold the same versions of rows; RocksDB's iterators abort on that, its point reads do not.
  damaged_.fill(manifest_damage_.has_value());
  uint64_t done = 0;
  for (const auto& file : files) {
    SalvageTable table;
    table.name = file.relative_filename;
    // What recovery wrote from the log lies in the scratch folder alone.
    std::error_code ignored;
    table.path = options_.path / table.name;
    if (!fs::exists(table.path, ignored)) table.path = scratch() / "db" / table.name;
    table.family = family_of(file.column_family_name).value_or(kMeta);
    table.bytes = file.size;
    table.newest = file.largest_seqno;
    table.smallest = file.smallestkey;
    table.largest = file.largestkey;
    table.live = file;
    if (verifying == Verify::yes) {
      verify(table);
      tell("checking tables", ++done, files.size());
    }
    tables_.push_back(std::move(table));
  }
  for (const SalvageTable& table : left_out_) tables_.push_back(table);
  for (SalvageTable& table : tables_) {
    if ((!table.damage.empty() || !table.in_database) && table.family_known) damaged_[table.family] = true;
  }
  return {};
}

void Salvage::verify(SalvageTable& table) {
  auto opened = open_table(table.path, table_options(table.family));
  if (!opened.ok()) {
    table.damage = opened.error().message;
    table.readable = false;
    table.gaps = {{table.smallest, {}, true, table.damage}};
    return;
  }
  const rocksdb::Status status = (*opened)->VerifyChecksum();
  if (status.ok()) return;
  table.damage = status.ToString();
  find_gaps(table);
}

void Salvage::find_gaps(SalvageTable& table) {
  auto opened = open_table(table.path, table_options(table.family));
  if (!opened.ok()) return;
  TableRows rows(*opened);
  while (rows.valid()) rows.next();
  table.gaps = rows.gaps();
}

rocksdb::Options Salvage::table_options(Family f) const {
  rocksdb::Options out(tool_options(options_, env_.get()), families_[f].options);
  return out;
}

Result<std::shared_ptr<rocksdb::SstFileReader>> Salvage::reader(const SalvageTable& table) const {
  auto known = readers_.find(table.name);
  if (known != readers_.end()) return known->second;
  SKERRY_ASSIGN(auto opened, open_table(table.path, table_options(table.family)));
  if (readers_.size() >= kReadersMax) readers_.clear();
  readers_[table.name] = opened;
  return opened;
}

Status Salvage::each(Family f, const Row& row) const {
  if (damaged_[f]) return each_of_damaged(f, row);
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, handles_[f]));
  for (it->SeekToFirst(); it->Valid(); it->Next()) SKERRY_TRY(row(view(it->key()), view(it->value())));
  return it->status().ok() ? Status() : Status(error(it->status()));
}

// The keys of all tables, each once; what is true of a key, get() says.
Status Salvage::each_of_damaged(Family f, const Row& row) const {
  std::vector<const SalvageTable*> waiting;
  for (const SalvageTable& table : tables_) {
    if (table.family == f && table.family_known && table.readable) waiting.push_back(&table);
  }
  std::sort(waiting.begin(), waiting.end(), [](const auto* a, const auto* b) { return a->smallest > b->smallest; });
  std::vector<std::unique_ptr<TableRows>> open;
  while (true) {
    const TableRows* first = nullptr;
    for (const auto& rows : open) {
      if (!first || rows->key() < first->key()) first = rows.get();
    }
    if (!waiting.empty() && (!first || waiting.back()->smallest <= first->key())) {
      auto table = open_table(waiting.back()->path, table_options(f));
      waiting.pop_back();
      if (!table.ok()) continue;
      auto rows = std::make_unique<TableRows>(*table);
      if (rows->valid()) open.push_back(std::move(rows));
      continue;
    }
    if (!first) return {};
    const std::string key(first->key());
    SKERRY_ASSIGN(auto value, get(f, key));
    for (const auto& rows : open) {
      if (rows->key() == key) rows->next();
    }
    std::erase_if(open, [](const auto& rows) { return !rows->valid(); });
    if (value) SKERRY_TRY(row(key, *value));
  }
}

Result<std::optional<std::string>> Salvage::get(Family f, std::string_view key) const {
  std::string value;
  const rocksdb::Status status = db_->Get({}, handles_[f], slice(key), &value);
  if (status.ok()) return std::optional<std::string>(std::move(value));
  // What the database does not know may lie in a table that it was put together without.
  if (status.IsNotFound()) return damaged_[f] ? newest_readable(f, key, Among::left_out) : std::nullopt;
  if (!damaged_[f]) return error(status);
  return newest_readable(f, key, Among::all);
}

std::optional<std::string> Salvage::newest_readable(Family f, std::string_view key, Among among) const {
  std::vector<const SalvageTable*> by_age;
  for (const SalvageTable& table : tables_) {
    if (table.family != f || !table.family_known || !table.readable) continue;
    if (among == Among::left_out && table.in_database) continue;
    if (table.in_database && (key < table.smallest || key > table.largest)) continue;
    by_age.push_back(&table);
  }
  std::sort(by_age.begin(), by_age.end(), [](const auto* a, const auto* b) { return a->newest > b->newest; });
  for (const SalvageTable* table : by_age) {
    auto opened = reader(*table);
    if (!opened.ok()) continue;
    std::unique_ptr<rocksdb::Iterator> it((*opened)->NewIterator({}));
    it->Seek(slice(key));
    if (it->Valid() && view(it->key()) == key) return it->value().ToString();
  }
  return std::nullopt;
}

}  // namespace skerry::storage::internal
