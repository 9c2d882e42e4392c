#include "storage/internal/wal_sync.h"

namespace skerry::storage::internal {

uint64_t WalSync::wrote() {
  std::lock_guard lock(mutex_);
  return ++written_;
}

Status WalSync::ensure(uint64_t ticket) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (synced_ >= ticket) return {};
    if (failure_) return *failure_;
    if (!syncing_) break;
    changed_.wait(lock);
  }
  syncing_ = true;
  const uint64_t reached = written_;  // a sync that starts now covers every write so far
  lock.unlock();
  const rocksdb::Status status = db_.sync_log();
  lock.lock();
  syncing_ = false;
  changed_.notify_all();
  if (status.ok()) {
    synced_ = std::max(synced_, reached);
    return {};
  }
  // A repair may have happened meanwhile; it is the newer truth.
  if (synced_ >= reached) return {};
  failure_ = db_.error(status, "sync the log");
  return *failure_;
}

void WalSync::repaired() {
  std::lock_guard lock(mutex_);
  synced_ = written_;
  failure_.reset();
  changed_.notify_all();
}

uint64_t WalSync::written() const {
  std::lock_guard lock(mutex_);
  return written_;
}

bool WalSync::pending() const {
  std::lock_guard lock(mutex_);
  return synced_ < written_;
}

std::optional<Error> WalSync::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace skerry::storage::internal
