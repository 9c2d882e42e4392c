#include "storage/internal/counting_files.h"

namespace skerry::storage::internal {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using Counter = std::shared_ptr<std::atomic<uint64_t>>;

class File final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(std::unique_ptr<rocksdb::FSWritableFile> target, Counter counter) : FSWritableFileOwnerWrapper(std::move(target)), counter_(std::move(counter)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    counter_->fetch_add(data.size(), std::memory_order_relaxed);
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    counter_->fetch_add(data.size(), std::memory_order_relaxed);
    return FSWritableFileOwnerWrapper::Append(data, options, info, debug);
  }

 private:
  const Counter counter_;
};

class FileSystem final : public rocksdb::FileSystemWrapper {
 public:
  FileSystem(std::shared_ptr<rocksdb::FileSystem> target, Counter counter) : FileSystemWrapper(std::move(target)), counter_(std::move(counter)) {}
  static const char* kClassName() { return "CountingFiles"; }
  const char* Name() const override { return kClassName(); }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options, std::unique_ptr<rocksdb::FSWritableFile>* file,
                           IODebugContext* debug) override {
    return counted(FileSystemWrapper::NewWritableFile(path, options, file, debug), file);
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options, std::unique_ptr<rocksdb::FSWritableFile>* file,
                              IODebugContext* debug) override {
    return counted(FileSystemWrapper::ReopenWritableFile(path, options, file, debug), file);
  }

 private:
  IOStatus counted(IOStatus status, std::unique_ptr<rocksdb::FSWritableFile>* file) const {
    if (status.ok()) *file = std::make_unique<File>(std::move(*file), counter_);
    return status;
  }
  const Counter counter_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> with_counter(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<std::atomic<uint64_t>> written_bytes) {
  return std::make_shared<FileSystem>(std::move(target), std::move(written_bytes));
}

}  // namespace skerry::storage::internal
