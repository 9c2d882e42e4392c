#include "tests/support/fault_fs.h"

#include <pthread.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace skerry::test {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class FaultFs::Impl final : public rocksdb::FileSystemWrapper {
 public:
  Impl() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultFs"; }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override;
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override;
  IOStatus ReuseWritableFile(const std::string&, const std::string&, const FileOptions&,
                             std::unique_ptr<rocksdb::FSWritableFile>*, IODebugContext*) override {
    return IOStatus::NotSupported("FaultFs does not recycle files");
  }
  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* file, IODebugContext* debug) override;
  IOStatus NewSequentialFile(const std::string& path, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* file, IODebugContext* debug) override;
  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* folder, IODebugContext* debug) override;
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override;
  IOStatus DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) override;

  // For the files:
  bool has_power();
  size_t take_space(size_t bytes);  // how much of it may be written
  void appended(const std::string& path, size_t bytes);
  uint64_t size(const std::string& path);
  IOStatus take_sync_fault(const std::string& path);
  void fault_delay();
  void synced(const std::string& path, uint64_t size);
  void folder_synced(const std::string& folder);
  void count_read(size_t bytes);

  void lose_power();
  void drop_unsynced();

  struct File {
    uint64_t size = 0, synced = 0;
    uint64_t room = 0;  // when the power went: the size it had been given ahead of what was written to it, if any
    bool entry_synced = false;
    bool broken = false;  // a sync failed: what is not on the disk now never gets there
  };
  std::mutex mutex;
  std::map<std::string, File> files;
  bool powered = true;
  uint32_t sync_faults = 0;
  SyncFault fault = SyncFault::retryable;
  std::optional<std::chrono::milliseconds> merge_fault;
  std::chrono::milliseconds fault_late{};
  std::optional<uint64_t> space_left;
  Counts counts;
};

namespace {

IOStatus no_space() {
  IOStatus status = IOStatus::NoSpace("No space left on device");
  status.SetRetryable(true);  // as RocksDB's own POSIX file system answers ENOSPC
  return status;
}

template <typename Fs>
class WritableFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WritableFile(std::unique_ptr<rocksdb::FSWritableFile> target, std::string path, Fs& fs)
      : FSWritableFileOwnerWrapper(std::move(target)), path_(std::move(path)), fs_(fs) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const size_t allowed = fs_.take_space(data.size());
    IOStatus status = target()->Append(Slice(data.data(), allowed), options, debug);
    if (!status.ok()) return status;
    fs_.appended(path_, allowed);
    if (allowed == data.size()) return status;
    fs_.fault_delay();
    return no_space();
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  // The test's own disk need not be waited for.
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return sync(); }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return sync(); }

 private:
  IOStatus sync() {
    if (!fs_.has_power()) return IOStatus::OK();
    const uint64_t size = fs_.size(path_);
    if (IOStatus status = fs_.take_sync_fault(path_); !status.ok()) {
      fs_.fault_delay();
      return status;
    }
    fs_.synced(path_, size);
    return IOStatus::OK();
  }
  const std::string path_;
  Fs& fs_;
};

template <typename Fs>
class RandomAccessFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  RandomAccessFile(std::unique_ptr<rocksdb::FSRandomAccessFile> target, Fs& fs)
      : FSRandomAccessFileOwnerWrapper(std::move(target)), fs_(fs) {}
  IOStatus Read(uint64_t offset, size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) const override {
    fs_.count_read(n);
    return target()->Read(offset, n, options, result, scratch, debug);
  }

 private:
  Fs& fs_;
};

template <typename Fs>
class SequentialFile final : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  SequentialFile(std::unique_ptr<rocksdb::FSSequentialFile> target, Fs& fs)
      : FSSequentialFileOwnerWrapper(std::move(target)), fs_(fs) {}
  IOStatus Read(size_t n, const IOOptions& options, Slice* result, char* scratch, IODebugContext* debug) override {
    IOStatus status = target()->Read(n, options, result, scratch, debug);
    fs_.count_read(result->size());
    return status;
  }

 private:
  Fs& fs_;
};

template <typename Fs>
class Directory final : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(std::unique_ptr<rocksdb::FSDirectory> target, std::string path, Fs& fs)
      : FSDirectoryWrapper(std::move(target)), path_(std::move(path)), fs_(fs) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return sync(); }
  IOStatus FsyncWithDirOptions(const IOOptions&, IODebugContext*, const rocksdb::DirFsyncOptions&) override {
    return sync();
  }

 private:
  IOStatus sync() {
    if (!fs_.has_power()) return IOStatus::OK();
    fs_.folder_synced(path_);
    return IOStatus::OK();
  }
  const std::string path_;
  Fs& fs_;
};

// RocksDB merges tables in its threads of low priority.
bool merging() {
  char name[16] = "";
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return std::string_view(name).starts_with("rocksdb:low");
}

std::string normal(const std::string& path) {
  std::string out = std::filesystem::path(path).lexically_normal().string();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}
std::string folder_of(const std::string& path) { return std::filesystem::path(path).parent_path().string(); }

}  // namespace

IOStatus FaultFs::Impl::NewWritableFile(const std::string& path, const FileOptions& options,
                                        std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSWritableFile> target;
  IOStatus status = FileSystemWrapper::NewWritableFile(path, options, &target, debug);
  if (!status.ok()) return status;
  std::lock_guard lock(mutex);
  files[normal(path)] = {};
  *file = std::make_unique<WritableFile<FaultFs::Impl>>(std::move(target), normal(path), *this);
  return status;
}

IOStatus FaultFs::Impl::ReopenWritableFile(const std::string& path, const FileOptions& options,
                                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSWritableFile> target;
  IOStatus status = FileSystemWrapper::ReopenWritableFile(path, options, &target, debug);
  if (!status.ok()) return status;
  uint64_t size = 0;
  GetFileSize(path, {}, &size, nullptr);
  std::lock_guard lock(mutex);
  files.try_emplace(normal(path), File{size, size, true, false});
  *file = std::make_unique<WritableFile<FaultFs::Impl>>(std::move(target), normal(path), *this);
  return status;
}

IOStatus FaultFs::Impl::NewRandomAccessFile(const std::string& path, const FileOptions& options,
                                            std::unique_ptr<rocksdb::FSRandomAccessFile>* file, IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSRandomAccessFile> target;
  IOStatus status = FileSystemWrapper::NewRandomAccessFile(path, options, &target, debug);
  if (status.ok()) *file = std::make_unique<RandomAccessFile<FaultFs::Impl>>(std::move(target), *this);
  return status;
}

IOStatus FaultFs::Impl::NewSequentialFile(const std::string& path, const FileOptions& options,
                                          std::unique_ptr<rocksdb::FSSequentialFile>* file, IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSSequentialFile> target;
  IOStatus status = FileSystemWrapper::NewSequentialFile(path, options, &target, debug);
  if (status.ok()) *file = std::make_unique<SequentialFile<FaultFs::Impl>>(std::move(target), *this);
  return status;
}

IOStatus FaultFs::Impl::NewDirectory(const std::string& path, const IOOptions& options,
                                     std::unique_ptr<rocksdb::FSDirectory>* folder, IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> target;
  IOStatus status = FileSystemWrapper::NewDirectory(path, options, &target, debug);
  if (status.ok()) *folder = std::make_unique<Directory<FaultFs::Impl>>(std::move(target), normal(path), *this);
  return status;
}

IOStatus FaultFs::Impl::RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                                   IODebugContext* debug) {
  if (!has_power()) return IOStatus::OK();
  IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
  std::lock_guard lock(mutex);
  auto node = files.extract(normal(from));
  if (status.ok() && !node.empty()) {
    node.key() = normal(to);
    node.mapped().entry_synced = true;
    files.erase(normal(to));
    files.insert(std::move(node));
  }
  return status;
}

IOStatus FaultFs::Impl::DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) {
  if (!has_power()) return IOStatus::OK();
  IOStatus status = FileSystemWrapper::DeleteFile(path, options, debug);
  std::lock_guard lock(mutex);
  if (status.ok()) files.erase(normal(path));
  return status;
}

bool FaultFs::Impl::has_power() {
  std::lock_guard lock(mutex);
  return powered;
}

size_t FaultFs::Impl::take_space(size_t bytes) {
  std::lock_guard lock(mutex);
  if (!space_left) return bytes;
  const size_t allowed = std::min<uint64_t>(bytes, *space_left);
  *space_left -= allowed;
  return allowed;
}

void FaultFs::Impl::appended(const std::string& path, size_t bytes) {
  std::lock_guard lock(mutex);
  files[path].size += bytes;
  counts.write_bytes += bytes;
}

uint64_t FaultFs::Impl::size(const std::string& path) {
  std::lock_guard lock(mutex);
  return files[path].size;
}

void FaultFs::Impl::fault_delay() {
  std::chrono::milliseconds late{};
  {
    std::lock_guard lock(mutex);
    late = fault_late;
  }
  std::this_thread::sleep_for(late);
}

IOStatus FaultFs::Impl::take_sync_fault(const std::string& path) {
  std::unique_lock lock(mutex);
  ++counts.syncs;
  if (merge_fault && merging() && path.find("MANIFEST") != std::string::npos) {
    ++counts.merge_faults;
    const auto late = *std::exchange(merge_fault, std::nullopt);
    files[path].broken = true;
    lock.unlock();
    std::this_thread::sleep_for(late);
    IOStatus status = IOStatus::IOError("the sync of a merge failed");
    status.SetRetryable(true);
    return status;
  }
  if (sync_faults == 0) return IOStatus::OK();
  --sync_faults;
  files[path].broken = true;
  IOStatus status = IOStatus::IOError("the sync failed");
  status.SetRetryable(fault == SyncFault::retryable);
  return status;
}

void FaultFs::Impl::synced(const std::string& path, uint64_t size) {
  std::lock_guard lock(mutex);
  File& file = files[path];
  if (!file.broken) file.synced = std::max(file.synced, size);
}

void FaultFs::Impl::folder_synced(const std::string& folder) {
  std::lock_guard lock(mutex);
  for (auto& [path, file] : files) {
    if (folder_of(path) == folder) file.entry_synced = true;
  }
}

void FaultFs::Impl::count_read(size_t bytes) {
  std::lock_guard lock(mutex);
  ++counts.reads;
  counts.read_bytes += bytes;
}

void FaultFs::Impl::lose_power() {
  std::lock_guard lock(mutex);
  powered = false;
  for (auto& [path, file] : files) {
    std::error_code unknown;
    const uint64_t size = std::filesystem::file_size(path, unknown);
    if (!unknown && size > file.size) file.room = size;
  }
}

void FaultFs::Impl::drop_unsynced() {
  std::lock_guard lock(mutex);
  for (auto& [path, file] : files) {
    std::error_code ignored;
    if (!file.entry_synced) {
      std::filesystem::remove(path, ignored);
    } else if (std::filesystem::exists(path, ignored)) {
      std::filesystem::resize_file(path, file.synced, ignored);
      if (file.synced > 0 && file.room > file.synced) std::filesystem::resize_file(path, file.room, ignored);
    }
  }
  files.clear();  // what is left is on the disk
}

FaultFs::FaultFs() : impl_(std::make_shared<Impl>()) {}
FaultFs::~FaultFs() = default;
std::shared_ptr<rocksdb::FileSystem> FaultFs::file_system() const { return impl_; }

void FaultFs::cut_power() { impl_->lose_power(); }

void FaultFs::restore_power() {
  impl_->drop_unsynced();
  std::lock_guard lock(impl_->mutex);
  impl_->powered = true;
}

void FaultFs::fail_syncs(uint32_t count, SyncFault fault) {
  std::lock_guard lock(impl_->mutex);
  impl_->sync_faults = count;
  impl_->fault = fault;
}

void FaultFs::fail_merge(std::chrono::milliseconds late) {
  std::lock_guard lock(impl_->mutex);
  impl_->merge_fault = late;
}

void FaultFs::delay_faults(std::chrono::milliseconds late) {
  std::lock_guard lock(impl_->mutex);
  impl_->fault_late = late;
}

void FaultFs::set_space_left(uint64_t bytes) {
  std::lock_guard lock(impl_->mutex);
  impl_->space_left = bytes;
}

void FaultFs::lift_space() {
  std::lock_guard lock(impl_->mutex);
  impl_->space_left.reset();
}

FaultFs::Counts FaultFs::counts() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->counts;
}

void flip_bit(const std::filesystem::path& path, uint64_t byte, unsigned bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(byte));
  const int value = file.get();
  file.seekp(static_cast<std::streamoff>(byte));
  file.put(static_cast<char>(value ^ (1 << bit)));
}

}  // namespace skerry::test
