#include "storage/internal/log_files.h"

#include <algorithm>
#include <atomic>
#include <string_view>
#include <utility>

namespace skerry::storage::internal {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

// Lives until RocksDB has closed it and nobody syncs it any more.
class LogFile {
 public:
  explicit LogFile(std::unique_ptr<rocksdb::FSWritableFile> file) : file_(std::move(file)) {}

  rocksdb::FSWritableFile& file() { return *file_; }
  void appended() { appended_.fetch_add(1, std::memory_order_release); }

  IOStatus sync() {
    const uint64_t reached = appended_.load(std::memory_order_acquire);
    std::lock_guard lock(mutex_);
    if (closed_ || synced_ >= reached) return IOStatus::OK();
    IOStatus status = file_->Sync(IOOptions(), nullptr);
    if (status.ok()) synced_ = reached;
    return status;
  }
  IOStatus close(const IOOptions& options, IODebugContext* debug) {
    std::lock_guard lock(mutex_);
    return std::exchange(closed_, true) ? IOStatus::OK() : file_->Close(options, debug);
  }

 private:
  const std::unique_ptr<rocksdb::FSWritableFile> file_;
  std::atomic<uint64_t> appended_ = 1;  // how often; a new file has its name and size to sync
  std::mutex mutex_;  // guards all below; held while syncing
  uint64_t synced_ = 0;
  bool closed_ = false;
};

namespace {

// By how much a log file grows ahead of what is written to it. RocksDB would take a whole write buffer, which a start after a crash reads.
constexpr size_t kAheadBytes = 1 << 20;

// What RocksDB holds of it.
class Handle final : public rocksdb::FSWritableFileWrapper {
 public:
  Handle(std::shared_ptr<LogFile> log, std::shared_ptr<LogFiles> logs)
      : FSWritableFileWrapper(&log->file()), log_(std::move(log)), logs_(std::move(logs)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return appended(FSWritableFileWrapper::Append(data, options, debug));
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info, IODebugContext* debug) override {
    return appended(FSWritableFileWrapper::Append(data, options, info, debug));
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return sync(); }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return sync(); }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override { return log_->close(options, debug); }
  void SetPreallocationBlockSize(size_t size) override { FSWritableFileWrapper::SetPreallocationBlockSize(std::min(size, kAheadBytes)); }

 private:
  IOStatus appended(IOStatus status) {
    if (status.ok()) {
      log_->appended();
    } else {
      logs_->note(status);
    }
    return status;
  }
  IOStatus sync() {
    if (IOStatus status = log_->sync(); !status.ok()) logs_->note(status);
    return IOStatus::OK();
  }
  const std::shared_ptr<LogFile> log_;
  const std::shared_ptr<LogFiles> logs_;
};

class FileSystem final : public rocksdb::FileSystemWrapper {
 public:
  FileSystem(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<LogFiles> logs)
      : FileSystemWrapper(std::move(target)), logs_(std::move(logs)) {}
  static const char* kClassName() { return "LogFiles"; }
  const char* Name() const override { return kClassName(); }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options, std::unique_ptr<rocksdb::FSWritableFile>* file,
                           IODebugContext* debug) override {
    if (!std::string_view(path).ends_with(".log")) return FileSystemWrapper::NewWritableFile(path, options, file, debug);
    rocksdb::FileOptions ahead = options;
    ahead.fallocate_with_keep_size = false;  // a sync that finds the size as it was need not write the inode
    IOStatus status = FileSystemWrapper::NewWritableFile(path, ahead, file, debug);
    if (!status.ok()) return status;
    const auto log = std::make_shared<LogFile>(std::move(*file));
    *file = std::make_unique<Handle>(log, logs_);
    logs_->opened(log, path);
    return status;
  }

 private:
  const std::shared_ptr<LogFiles> logs_;
};

}  // namespace

rocksdb::Status LogFiles::sync() {
  std::vector<std::shared_ptr<LogFile>> files;
  std::string folder;
  {
    std::lock_guard lock(mutex_);
    if (failure_) return *failure_;
    std::erase_if(live_, [](const auto& file) { return file.expired(); });
    for (const auto& file : live_) {
      if (auto log = file.lock()) files.push_back(std::move(log));
    }
    folder = std::exchange(folder_, {});
  }
  rocksdb::Status status;
  for (size_t i = 0; i < files.size() && status.ok(); ++i) status = files[i]->sync();
  if (status.ok() && !folder.empty()) status = sync_folder(folder);
  if (!status.ok()) note(status);
  return failure().value_or(rocksdb::Status::OK());  // also what RocksDB met meanwhile in one that it has closed
}

rocksdb::Status LogFiles::sync_folder(const std::string& folder) const {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  IOStatus status = files_->NewDirectory(folder, {}, &directory, nullptr);
  if (status.ok()) status = directory->FsyncWithDirOptions({}, nullptr, rocksdb::DirFsyncOptions(rocksdb::DirFsyncOptions::FsyncReason::kNewFileSynced));
  return status;
}

std::optional<rocksdb::Status> LogFiles::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void LogFiles::forget() {
  std::lock_guard lock(mutex_);
  live_.clear();
  folder_.clear();
  failure_.reset();
}

void LogFiles::note(const rocksdb::Status& failure) {
  std::lock_guard lock(mutex_);
  if (!failure_) failure_ = failure;
}

void LogFiles::opened(const std::shared_ptr<LogFile>& file, const std::string& path) {
  std::lock_guard lock(mutex_);
  live_.push_back(file);
  folder_ = path.substr(0, path.rfind('/'));
}

std::shared_ptr<rocksdb::FileSystem> with_log_files(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<LogFiles> logs) {
  logs->set_file_system(target);
  return std::make_shared<FileSystem>(std::move(target), std::move(logs));
}

}  // namespace skerry::storage::internal
