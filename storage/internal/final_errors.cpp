#include "storage/internal/final_errors.h"

#include <string_view>

namespace skerry::storage::internal {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

IOStatus made_final(IOStatus status) {
  if (!status.ok()) {
    status.SetRetryable(false);
    status.SetDataLoss(true);
  }
  return status;
}

class Directory final : public rocksdb::FSDirectoryWrapper {
 public:
  explicit Directory(std::unique_ptr<rocksdb::FSDirectory> target) : FSDirectoryWrapper(std::move(target)) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return made_final(FSDirectoryWrapper::Fsync(options, debug));
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug, const rocksdb::DirFsyncOptions& how) override {
    return made_final(FSDirectoryWrapper::FsyncWithDirOptions(options, debug, how));
  }
};

class Manifest final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  explicit Manifest(std::unique_ptr<rocksdb::FSWritableFile> target) : FSWritableFileOwnerWrapper(std::move(target)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return made_final(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    return made_final(FSWritableFileOwnerWrapper::Append(data, options, info, debug));
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return made_final(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return made_final(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return made_final(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }
};

class Log final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  Log(std::unique_ptr<rocksdb::FSWritableFile> target, std::shared_ptr<LogFailure> failure)
      : FSWritableFileOwnerWrapper(std::move(target)), failure_(std::move(failure)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return noted(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    return noted(FSWritableFileOwnerWrapper::Append(data, options, info, debug));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    (void)noted(FSWritableFileOwnerWrapper::Sync(options, debug));
    return IOStatus::OK();
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    (void)noted(FSWritableFileOwnerWrapper::Fsync(options, debug));
    return IOStatus::OK();
  }

 private:
  IOStatus noted(IOStatus status) const {
    if (!status.ok()) failure_->note(status);
    return status;
  }
  const std::shared_ptr<LogFailure> failure_;
};

bool is_log(std::string_view path) { return path.ends_with(".log"); }
bool is_manifest(std::string_view path) { return path.substr(path.rfind('/') + 1).starts_with("MANIFEST-"); }

class FileSystem final : public rocksdb::FileSystemWrapper {
 public:
  FileSystem(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<LogFailure> log_failure)
      : FileSystemWrapper(std::move(target)), log_failure_(std::move(log_failure)) {}
  static const char* kClassName() { return "FinalErrors"; }
  const char* Name() const override { return kClassName(); }

  IOStatus NewDirectory(const std::string& path, const IOOptions& options, std::unique_ptr<rocksdb::FSDirectory>* folder,
                        IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSDirectory> target;
    IOStatus status = FileSystemWrapper::NewDirectory(path, options, &target, debug);
    if (status.ok()) *folder = std::make_unique<Directory>(std::move(target));
    return status;
  }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options, std::unique_ptr<rocksdb::FSWritableFile>* file,
                           IODebugContext* debug) override {
    IOStatus status = FileSystemWrapper::NewWritableFile(path, options, file, debug);
    if (status.ok() && is_log(path)) *file = std::make_unique<Log>(std::move(*file), log_failure_);
    if (!is_manifest(path)) return status;
    if (status.ok()) *file = std::make_unique<Manifest>(std::move(*file));
    return made_final(status);
  }

 private:
  const std::shared_ptr<LogFailure> log_failure_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> with_final_errors(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<LogFailure> log_failure) {
  return std::make_shared<FileSystem>(std::move(target), std::move(log_failure));
}

}  // namespace skerry::storage::internal
