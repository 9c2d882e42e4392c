// The RocksDB database under the store: its options, its column families, and its errors as ours.
// Threads: any.
// Owns: the handles; closes them in the order that RocksDB needs.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/internal/log_files.h"
#include "storage/internal/store_format.h"
#include "storage/internal/waking_env.h"
#include "storage/options.h"

namespace skerry::storage::internal {

class Database {
 public:
  // Error: unavailable (in use by another process, permissions), corrupt, exhausted.
  static Result<std::unique_ptr<Database>> open(const Options& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  enum class Compaction : uint8_t { on, off };  // off: a table is damaged, merging it would stop all writing
  // Closes and opens again: what was in memory comes back from the log. Nobody may use the database meanwhile. Error: as open(); what
  // is there can be read then, and nothing written.
  Status reopen(Compaction compaction);
  // Whether the disk takes a file. Error: exhausted, unavailable.
  Status probe() const;

  rocksdb::DB* operator->() const { return db_.get(); }
  rocksdb::DB& rocks() const { return *db_; }
  rocksdb::ColumnFamilyHandle* family(Family f) const { return families_[f]; }
  const std::vector<rocksdb::ColumnFamilyHandle*>& families() const { return families_; }

  // Error: not_found, corrupt, unavailable.
  Result<std::string> get(Family f, const std::string& key) const;
  std::unique_ptr<rocksdb::Iterator> iterate(Family f, const rocksdb::ReadOptions& options = {}) const;
  // Our error for RocksDB's; `doing` completes "cannot ...".
  Error error(const rocksdb::Status& status, const char* doing) const;
  // The last failure of a flush or compaction, which no caller of ours has seen.
  std::optional<rocksdb::Status> background_error() const { return listener_->error(); }
  // The first failure of the log since it was opened: it is not trusted any more.
  std::optional<rocksdb::Status> log_failure() const { return logs_->failure(); }
  // Everything that was written is on the disk then.
  rocksdb::Status sync_log() const { return logs_->sync(); }
  uint64_t disk_bytes() const;
  uint64_t written_bytes() const { return *written_bytes_; }  // to files, since this object was made

 private:
  class Listener final : public rocksdb::EventListener {
   public:
    void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
      std::lock_guard lock(mutex_);
      error_ = *status;
    }
    // Its own thread would retry every five seconds and keep us from doing so.
    void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* automatic) override {
      *automatic = false;
    }
    std::optional<rocksdb::Status> error() const {
      std::lock_guard lock(mutex_);
      return error_;
    }
    void forget() {
      std::lock_guard lock(mutex_);
      error_.reset();
    }

   private:
    mutable std::mutex mutex_;
    std::optional<rocksdb::Status> error_;
  };

  Database() = default;
  rocksdb::Status open_rocks(Compaction compaction);
  void open_for_reading();
  void close();

  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
  const std::shared_ptr<std::atomic<uint64_t>> written_bytes_ = std::make_shared<std::atomic<uint64_t>>(0);
  const std::shared_ptr<LogFiles> logs_ = std::make_shared<LogFiles>();
  Options options_;
  std::filesystem::path path_;
  std::unique_ptr<WakingEnv> env_;
  std::unique_ptr<rocksdb::Env> nothing_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
};

// How the store opens its database and its families, in the order of Family: for what works on its files beside it.
rocksdb::DBOptions database_options(const Options& options, rocksdb::Env* env);
std::vector<rocksdb::ColumnFamilyDescriptor> family_descriptors(const Options& options);

inline rocksdb::Slice slice(std::string_view v) { return {v.data(), v.size()}; }
inline std::string_view view(const rocksdb::Slice& v) { return {v.data(), v.size()}; }

}  // namespace skerry::storage::internal
