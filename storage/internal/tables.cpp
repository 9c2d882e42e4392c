#include "storage/internal/tables.h"

#include <fstream>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {
namespace {

namespace fs = std::filesystem;

// Footer of a block-based table since format 1: checksum type | metaindex block | index block | zeros | format | magic number.
constexpr size_t kFooterBytes = 53, kFooterHandlesBytes = 41;
constexpr uint64_t kTableMagic = 0x88e241b785f4cff7;
constexpr uint64_t kBlockTrailerBytes = 5;
constexpr uint32_t kFormatMax = 5;
constexpr uint8_t kChecksumMax = 4;
constexpr size_t kKeyBytesMax = 1024;  // more than any key of ours has
constexpr size_t kGapsMax = 4096;     // of a table; beyond it the rest counts as lost

bool inside(Reader& in, uint64_t file_bytes) {  // a block's place: offset and size
  const uint64_t offset = in.varint(), size = in.varint();
  const uint64_t end = file_bytes - kFooterBytes;
  return in.ok() && size <= end && offset <= end && offset + size + kBlockTrailerBytes <= end;
}

}  // namespace

Status check_footer(const fs::path& table) {
  std::error_code failed;
  const uint64_t bytes = fs::file_size(table, failed);
  if (failed == std::errc::no_such_file_or_directory) return fail(Code::not_found, "{} is not there", table.filename().string());
  if (failed) return fail(Code::unavailable, "cannot read {}: {}", table.string(), failed.message());
  if (bytes < kFooterBytes) return fail(Code::corrupt, "{} is cut to {} bytes", table.filename().string(), bytes);
  std::string footer(kFooterBytes, '\0');
  std::ifstream file(table, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(bytes - kFooterBytes));
  if (!file.read(footer.data(), static_cast<std::streamsize>(footer.size()))) {
    return fail(Code::unavailable, "cannot read {}: check the disk", table.string());
  }
  Reader end(std::string_view(footer).substr(kFooterHandlesBytes));
  const uint32_t format = end.fixed32();
  Reader in(footer);
  const uint8_t checksum = in.u8();
  if (end.fixed64() != kTableMagic || format == 0 || format > kFormatMax || checksum > kChecksumMax || !inside(in, bytes) ||
      !inside(in, bytes)) {
    return fail(Code::corrupt, "the end of {} is damaged or cut off", table.filename().string());
  }
  return {};
}

Result<std::shared_ptr<rocksdb::SstFileReader>> open_table(const fs::path& path, const rocksdb::Options& options) {
  SKERRY_TRY(check_footer(path));
  auto table = std::make_shared<rocksdb::SstFileReader>(options);
  const rocksdb::Status status = table->Open(path.string());
  if (status.ok()) return table;
  return fail(status.IsIOError() ? Code::unavailable : Code::corrupt, "{}", status.ToString());
}

TableRows::TableRows(std::shared_ptr<rocksdb::SstFileReader> table) : table_(std::move(table)) {
  if (seek({})) {
    valid_ = it_->Valid();
  } else {
    step_over({});
  }
}

// With a new iterator: one that met damage goes on answering with it (RocksDB 7.8).
bool TableRows::seek(std::string_view key) {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  it_.reset(table_->NewIterator(options));
  it_->Seek({key.data(), key.size()});
  valid_ = it_->Valid();
  return it_->Valid() || it_->status().ok();
}

void TableRows::next() {
  std::string after(key());
  it_->Next();
  valid_ = it_->Valid();
  if (!valid_ && !it_->status().ok()) step_over(std::move(after));
}

// The largest key that cannot be sought, found byte by byte; everything above it, up to the next damage, can.
void TableRows::step_over(std::string after) {
  const std::string from = after + '\0';  // the smallest key behind it
  Gap gap{std::move(after), {}, true, it_->status().ToString()};
  if (gaps_.size() < kGapsMax && seek(std::string(kKeyBytesMax, '\xff'))) {
    const auto lost = [&](const std::string& key) { return key <= from || !seek(key); };
    std::string last;
    while (last.size() < kKeyBytesMax && lost(last + '\0')) {
      int low = 0, high = 256;
      while (high - low > 1) {
        const int middle = (low + high) / 2;
        (lost(last + static_cast<char>(middle)) ? low : high) = middle;
      }
      last.push_back(static_cast<char>(low));
    }
    seek(last + '\0');
    gap.to_end = !it_->Valid();
    if (it_->Valid()) gap.before = std::string(key());
  } else {
    it_.reset(rocksdb::NewEmptyIterator());
  }
  valid_ = it_->Valid();
  gaps_.push_back(std::move(gap));
}

}  // namespace skerry::storage::internal
