// The RocksDB database under the store: its options, its column families, and its errors as ours.
// Threads: any.
// Owns: the handles; closes them in the order that RocksDB needs.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/internal/store_format.h"
#include "storage/options.h"

namespace skerry::storage::internal {

class Database {
 public:
  // Error: unavailable (in use by another process, permissions), corrupt, exhausted.
  static Result<std::unique_ptr<Database>> open(const Options& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

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
  void forget_background_error() { listener_->forget(); }
  uint64_t disk_bytes() const;

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
  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
  std::filesystem::path path_;
  std::unique_ptr<rocksdb::Env> env_;  // null: RocksDB's own
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
};

inline rocksdb::Slice slice(std::string_view v) { return {v.data(), v.size()}; }
inline std::string_view view(const rocksdb::Slice& v) { return {v.data(), v.size()}; }

}  // namespace skerry::storage::internal
