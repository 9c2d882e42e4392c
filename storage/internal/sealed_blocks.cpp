#include "storage/internal/sealed_blocks.h"

#include <algorithm>

#include "storage/internal/block_scan.h"
#include "storage/internal/chunks.h"
#include "storage/internal/columns.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

constexpr size_t kRecent = 8;  // chunks: a drain alternates between the series that wrote at the same time

}  // namespace

Result<std::shared_ptr<const SealedBlocks::Chunk>> SealedBlocks::load(std::string_view key, SealedRow row) {
  std::lock_guard lock(mutex_);
  auto known = std::find_if(recent_.begin(), recent_.end(), [&](const auto& chunk) { return chunk->key == key; });
  if (known != recent_.end()) {
    std::rotate(recent_.begin(), known, known + 1);
    return recent_.front();
  }
  auto chunk = std::make_shared<Chunk>();
  SKERRY_ASSIGN(chunk->batch, load_chunk(db_, key, row, std::nullopt));
  chunk->key = key;
  chunk->row = std::move(row);
  recent_.push_front(std::move(chunk));
  if (recent_.size() > kRecent) recent_.pop_back();
  return recent_.front();
}

void SealedBlocks::forget() {
  std::lock_guard lock(mutex_);
  recent_.clear();
}

Result<std::string> SealedBlocks::find(const Wanted& wanted) {
  Reader key(wanted.head_key);
  const uint32_t series = __builtin_bswap32(key.fixed32());
  const int64_t first_ns = key.key_time();
  const uint64_t number = key.key64();
  if (!key.done()) return fail(Code::corrupt, "an outbox entry refers to a block by a key of {} bytes", wanted.head_key.size());
  const int64_t last_ns = first_ns + static_cast<int64_t>(wanted.span_ns);
  const uint64_t room = static_cast<uint64_t>(first_ns) - static_cast<uint64_t>(span_start(first_ns, kWeekNs));

  Batch out;
  out.series = wanted.series;
  BlockScan scan(db_, damage_, kIndex, series, first_ns - static_cast<int64_t>(std::min(room, wanted.look_back_ns)), last_ns + 1);
  for (; scan.valid() && out.rows() < wanted.records; scan.next()) {
    SKERRY_ASSIGN(SealedRow row, decode_sealed_row(scan.bytes()));
    const bool has = std::any_of(row.blocks.begin(), row.blocks.end(), [&](const BlockPart& part) { return part.number == number; });
    if (!has) continue;
    SKERRY_ASSIGN(const auto chunk, load(scan.key(), std::move(row)));
    const auto& times = chunk->batch.times;
    const auto from = std::lower_bound(times.begin(), times.end(), first_ns), to = std::upper_bound(from, times.end(), last_ns);
    out.times.insert(out.times.end(), from, to);
    append_columns(out.columns, chunk->batch.columns, static_cast<size_t>(from - times.begin()), static_cast<size_t>(to - times.begin()),
                   out.rows());
  }
  SKERRY_TRY(Status(scan.status()));
  if (out.rows() != wanted.records) {
    return fail(Code::not_found, "{} of the {} records of a block of {} are left", out.rows(), wanted.records, wanted.series.text());
  }
  std::erase_if(out.columns, [](const Column& c) { return std::find(c.present.begin(), c.present.end(), 1) == c.present.end(); });
  for (Column& column : out.columns) drop_full_presence(column);
  return encode_block(out);
}

}  // namespace skerry::storage::internal
