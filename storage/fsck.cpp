#include "storage/fsck.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <optional>

#include "base/clock.h"
#include "base/file.h"
#include "storage/internal/columns.h"
#include "storage/internal/install.h"
#include "storage/internal/quarantine.h"
#include "storage/internal/rebuild.h"
#include "storage/internal/row_check.h"
#include "storage/internal/salvage.h"
#include "storage/store.h"

namespace skerry::storage {
namespace {

using namespace internal;
namespace fs = std::filesystem;

// Only looks.
class NoSink final : public RowSink {
 public:
  Status keep(Family, std::string_view, std::string_view) override { return {}; }
  Status drop(Family, std::string_view, std::string_view, const std::string&) override { return {}; }
  Status put(Family, std::string_view, std::string_view) override { return {}; }
};

// The store's own lock, so that no daemon starts meanwhile.
class Lock {
 public:
  static Result<std::unique_ptr<Lock>> take(const Options& options) {
    std::unique_ptr<Lock> out(new Lock);
    out->env_ = rocksdb::NewCompositeEnv(options.file_system ? options.file_system : rocksdb::FileSystem::Default());
    std::error_code ignored;
    if (!fs::is_directory(options.path, ignored)) {
      return fail(Code::not_found, "{} is no folder: name the one that storage.path of the node names", options.path.string());
    }
    const rocksdb::Status status = out->env_->LockFile((options.path / "LOCK").string(), &out->lock_);
    if (status.ok()) return out;
    const std::string text = status.ToString();
    if (text.find("ermission") != std::string::npos || text.find("Read-only") != std::string::npos) {
      return fail(Code::unavailable, "cannot write in {}: run this as the user of the node ({})", options.path.string(), text);
    }
    return fail(Code::unavailable, "the store {} is in use: stop the node (systemctl stop skerryd) and start again ({})",
                options.path.string(), text);
  }
  ~Lock() {
    if (lock_) env_->UnlockFile(lock_);
  }

 private:
  std::unique_ptr<rocksdb::Env> env_;
  rocksdb::FileLock* lock_ = nullptr;
};

class Exporter final : public RecordVisitor {
 public:
  explicit Exporter(const FsckRequest& request) : request_(request) {}
  Status rows(const Batch& batch, size_t from, size_t to) override {
    if (from == 0 && to == batch.rows()) return request_.export_to(batch);
    Batch part;
    part.series = batch.series;
    part.times.assign(batch.times.begin() + static_cast<ptrdiff_t>(from), batch.times.begin() + static_cast<ptrdiff_t>(to));
    append_columns(part.columns, batch.columns, from, to, part.rows());
    return request_.export_to(part);
  }

 private:
  const FsckRequest& request_;
};

// From a store that is whole, in a scratch folder.
Status export_records(Options options, const fs::path& folder, const FsckRequest& request) {
  options.path = folder;
  SKERRY_ASSIGN(auto store, Store::open(options, system_clock()));
  SKERRY_ASSIGN(auto streams, store->streams());
  if (!request.export_series.empty()) {
    std::erase_if(streams, [&](const StreamInfo& stream) { return stream.series.text() != request.export_series; });
    if (streams.empty()) return fail(Code::not_found, "no series {} in the store: leave the name away to export all", request.export_series);
  }
  if (request.export_begin) SKERRY_TRY(request.export_begin(streams));
  Exporter exporter(request);
  uint64_t done = 0;
  for (const StreamInfo& stream : streams) {
    if (request.progress) request.progress("exporting", ++done, streams.size());
    SKERRY_TRY(store->scan(stream.series, {}, {}, exporter));
  }
  return {};
}

Status quarantine_files(const Salvage& store, Quarantine& quarantine) {
  for (const SalvageTable& table : store.tables()) {
    std::error_code ignored;
    if (table.damage.empty() || !fs::exists(table.path, ignored)) continue;
    const std::string what = fmt::format("A table file of the family {} of the store, {} bytes. {}. What could be read of it is in the store.",
                                         table.family_known ? kFamilyNames[table.family] : "(not known)", table.bytes, table.damage);
    SKERRY_TRY(quarantine.add_file(table.path, what));
  }
  for (const fs::path& table : store.unlisted()) {
    SKERRY_TRY(quarantine.add_file(table, "A table file that the store's list of tables does not name, as an interrupted flush leaves it."));
  }
  if (!store.manifest_damage() && store.log_damage().empty()) return {};
  std::error_code failed;
  for (auto it = fs::directory_iterator(store.options().path, failed); !failed && it != fs::directory_iterator(); it.increment(failed)) {
    const std::string name = it->path().filename();
    if (!it->is_regular_file(failed)) continue;
    const bool list = store.manifest_damage() && (name == "CURRENT" || name.starts_with("MANIFEST-"));
    const bool log = !store.log_damage().empty() && name.ends_with(".log");
    if (list) SKERRY_TRY(quarantine.add_file(it->path(), "The list of tables of the store, or what names it: " + *store.manifest_damage()));
    if (log) SKERRY_TRY(quarantine.add_file(it->path(), "A log of the store that cannot be read to its end: " + store.log_damage().front()));
  }
  return {};
}

Status write_report(const FsckReport& report, const fs::path& folder) {
  if (folder.empty()) return {};
  std::string text = fmt::format("{} damaged things, found by skerry fsck --repair\n", report.damage_count);
  for (const FsckDamage& d : report.damage) {
    text += fmt::format("{} {} {} {}: {}\n", to_string(d.kind), d.family, d.place, d.series, d.reason);
  }
  return write_file_atomic(folder / "report.txt", text);
}

Result<FsckReport> check_only(const Salvage& store, const FsckRequest& request) {
  FsckReport report;
  NoSink sink;
  SKERRY_TRY(RowCheck(store, request, report, sink).run());
  return report;
}

}  // namespace

const char* to_string(DamageKind kind) {
  switch (kind) {
    case DamageKind::manifest: return "manifest";
    case DamageKind::table: return "table";
    case DamageKind::row: return "row";
    case DamageKind::chunk_lost: return "chunk lost";
    case DamageKind::index_lost: return "index lost";
    case DamageKind::outbox_hole: return "outbox hole";
    case DamageKind::reference: return "reference";
    case DamageKind::state: return "state";
  }
  return "?";
}

Result<FsckReport> fsck(const Options& options, const FsckRequest& request) {
  SKERRY_ASSIGN(const auto lock, Lock::take(options));
  SKERRY_ASSIGN(const bool resumed, resume_install(options.path));
  SKERRY_ASSIGN(const auto store, Salvage::open(options, request.progress));
  SKERRY_ASSIGN(FsckReport report, check_only(*store, request));
  for (const std::string& dropped : store->log_damage()) {
    report.notes.push_back(fmt::format("a log cannot be read to its end, as after a power cut; what was written behind it is not there ({})", dropped));
  }
  if (resumed) report.notes.push_back("a repair that was interrupted earlier is finished now");
  if (report.clean() || (!request.repair && !request.export_to)) {
    if (!report.clean() || !request.export_to) return report;
    const fs::path whole = store->release();
    SKERRY_TRY(export_records(options, whole, request));
    return report;
  }

  // The same check once more: this time what is sound goes into a new database.
  Quarantine quarantine(options.path);
  SKERRY_ASSIGN(auto rebuild, Rebuild::open(*store, request.repair ? &quarantine : nullptr));
  FsckReport again;
  SKERRY_TRY(RowCheck(*store, request, again, *rebuild).run());
  SKERRY_TRY(rebuild->finish());
  if (request.export_to) SKERRY_TRY(export_records(options, rebuild->folder(), request));
  if (!request.repair) return report;
  SKERRY_TRY(quarantine_files(*store, quarantine));
  SKERRY_TRY(write_report(report, quarantine.folder()));
  SKERRY_TRY(quarantine.finish());
  SKERRY_TRY(install(options.path, rebuild->folder()));
  report.repaired = true;
  report.quarantine = quarantine.folder();
  return report;
}

}  // namespace skerry::storage
