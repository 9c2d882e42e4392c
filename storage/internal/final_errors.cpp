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

bool is_manifest(std::string_view path) { return path.substr(path.rfind('/') + 1).starts_with("MANIFEST-"); }

class FileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit FileSystem(std::shared_ptr<rocksdb::FileSystem> target) : FileSystemWrapper(std::move(target)) {}
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
    if (!is_manifest(path)) return status;
    if (status.ok()) *file = std::make_unique<Manifest>(std::move(*file));
    return made_final(status);
  }
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> with_final_errors(std::shared_ptr<rocksdb::FileSystem> target) {
  return std::make_shared<FileSystem>(std::move(target));
}

}  // namespace skerry::storage::internal
