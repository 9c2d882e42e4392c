#include "storage/internal/sealer.h"

#include <algorithm>
#include <string>

#include "storage/chunk.h"
#include "storage/internal/block_codec.h"
#include "storage/internal/block_scan.h"
#include "storage/internal/columns.h"
#include "storage/internal/sealed_row.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kSpans[] = {kSecondNs,         10 * kSecondNs,       60 * kSecondNs,    600 * kSecondNs, 3'600 * kSecondNs,
                              21'600 * kSecondNs, 86'400 * kSecondNs, kWeekNs};
constexpr size_t kBlocksPerPass = 1 << 16;  // of a series; the rest next time
constexpr int kChainsPerPass = 16;

struct HeadBlock {
  std::string key;
  uint64_t number = 0;
  int64_t first_ns = 0, last_ns = 0;
  uint32_t rows = 0;
  size_t bytes = 0;
  bool sealed = false;
};

uint32_t rows_max(size_t columns) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(kChunkValuesMax / std::max<size_t>(columns, 1), kChunkRowsMin, kChunkRowsMax));
}

// How long the blocks took, pauses left out: what a rate of records is a rate of.
int64_t busy_ns(const std::vector<HeadBlock*>& blocks) {
  std::vector<int64_t> gaps;
  for (size_t i = 1; i < blocks.size(); ++i) gaps.push_back(blocks[i]->first_ns - blocks[i - 1]->first_ns);
  if (gaps.empty()) return blocks.front()->last_ns - blocks.front()->first_ns;
  std::vector<int64_t> sorted = gaps;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2), sorted.end());
  const int64_t pause = std::min(sorted[sorted.size() / 2], kWeekNs) * 8;
  int64_t sum = 0;
  for (int64_t gap : gaps) sum += gap <= pause ? gap : 0;
  return sum;
}

// Gathers slices of blocks of one chain, in the order of time, and writes them out as a chunk.
class ChunkBuilder {
 public:
  ChunkBuilder(const SeriesState& series, uint64_t generation, const Database& db, rocksdb::WriteBatch& batch, Sealed& sealed)
      : series_(series), generation_(generation), db_(db), out_(batch), sealed_(sealed) {}

  size_t rows() const { return batch_.rows(); }

  void add(const Batch& block, uint64_t number, size_t from, size_t to) {
    batch_.times.insert(batch_.times.end(), block.times.begin() + static_cast<ptrdiff_t>(from),
                        block.times.begin() + static_cast<ptrdiff_t>(to));
    append_columns(batch_.columns, block.columns, from, to, batch_.rows());
    row_.blocks.push_back({number, static_cast<uint32_t>(batch_.rows())});
  }

  Status finish() {
    if (batch_.rows() == 0) return {};
    for (Column& column : batch_.columns) drop_full_presence(column);
    SKERRY_ASSIGN(const std::string bytes, encode_chunk(batch_));
    row_.generation = generation_;
    row_.chunk_bytes = bytes.size();
    row_.header = chunk_header_bytes(bytes);
    const std::string key = key::run(series_.id, batch_.times.front(), row_.blocks.front().number);
    const std::string row = encode_row(row_);
    out_.Put(db_.family(kIndex), key, row);
    out_.Put(db_.family(kChunks), key::chunk(generation_, key), bytes);
    sealed_.rows += batch_.rows();
    sealed_.chunks += 1;
    sealed_.first_ns = std::min(sealed_.first_ns, batch_.times.front());
    sealed_.chunk_bytes += bytes.size() + row.size();
    sealed_.span_max_ns = std::max(sealed_.span_max_ns, static_cast<uint64_t>(batch_.times.back() - batch_.times.front()));
    batch_ = {};
    row_ = {};
    return {};
  }

 private:
  const SeriesState& series_;
  const uint64_t generation_;
  const Database& db_;
  rocksdb::WriteBatch& out_;
  Sealed& sealed_;
  Batch batch_;
  SealedRow row_;
};

// Seals one chain: blocks in the order of time that do not overlap.
class Chain {
 public:
  Chain(const SeriesState& series, const Database& db, Damage& damage, SealWhat what) : series_(series), db_(db), damage_(damage), what_(what) {}

  bool accepts(const HeadBlock& block) const { return blocks_.empty() || block.first_ns > blocks_.back()->last_ns; }
  void add(HeadBlock& block) {
    blocks_.push_back(&block);
    rows_ += block.rows;
  }

  Status seal(ChunkBuilder& builder, rocksdb::WriteBatch& batch, Sealed& sealed) {
    span_ = chunk_span(rows_, busy_ns(blocks_), series_.fields.size());
    // Records from here on may still be joined by others.
    const int64_t open_ns = what_ == SealWhat::complete ? span_start(series_.last_ns, span_) : INT64_MAX;
    for (size_t i = 0; i < blocks_.size();) {
      const size_t to = end_of_group(i);
      const bool whole = blocks_[to - 1]->last_ns < open_ns;
      if (whole && (what_ == SealWhat::everything || rows_of(i, to) >= kChunkRowsMin)) {
        for (; i < to; ++i) SKERRY_TRY(take(*blocks_[i], builder, batch, sealed));
        SKERRY_TRY(builder.finish());
      }
      i = to;
    }
    return {};
  }

 private:
  // Blocks from `i` on that belong together: until one begins a new span. A block that reaches over a border carries the group on.
  size_t end_of_group(size_t i) const {
    const int64_t open_ns = what_ == SealWhat::complete ? span_start(series_.last_ns, span_) : INT64_MAX;
    size_t to = i + 1;
    while (to < blocks_.size() && blocks_[to]->last_ns < open_ns &&
           span_start(blocks_[to]->first_ns, span_) == span_start(blocks_[to - 1]->last_ns, span_)) {
      ++to;
    }
    return to;
  }

  uint64_t rows_of(size_t from, size_t to) const {
    uint64_t sum = 0;
    for (size_t i = from; i < to; ++i) sum += blocks_[i]->rows;
    return sum;
  }

  // A block's records into chunks, cut where a span or a chunk's room ends; the block itself goes.
  Status take(HeadBlock& block, ChunkBuilder& builder, rocksdb::WriteBatch& batch, Sealed& sealed) {
    auto decoded = decode(block);
    if (!decoded.ok()) {
      damage_.found(block.key, decoded.error().message);
      return decoded.error().code == Code::corrupt ? Status() : decoded.error();
    }
    const auto& times = decoded->times;
    for (size_t from = 0; from < times.size();) {
      const int64_t start = span_start(times[from], span_);
      if (builder.rows() > 0 && (start != span_now_ || builder.rows() >= rows_max(series_.fields.size()) || bytes_ >= kChunkHeadBytesMax)) {
        SKERRY_TRY(builder.finish());
      }
      if (builder.rows() == 0) bytes_ = 0;
      span_now_ = start;
      size_t to = static_cast<size_t>(std::lower_bound(times.begin() + static_cast<ptrdiff_t>(from), times.end(), start + span_) - times.begin());
      to = std::min(to, from + rows_max(series_.fields.size()) - builder.rows());
      builder.add(*decoded, block.number, from, to);
      bytes_ += block.bytes * (to - from) / times.size();
      from = to;
    }
    batch.SingleDelete(db_.family(kHead), block.key);
    sealed.blocks += 1;
    sealed.head_bytes += block.bytes;
    block.sealed = true;
    return {};
  }

  Result<Batch> decode(const HeadBlock& block) const {
    SKERRY_ASSIGN(const std::string bytes, db_.get(kHead, block.key));
    return decode_block(series_.series, bytes);
  }

  const SeriesState& series_;
  const Database& db_;
  Damage& damage_;
  const SealWhat what_;
  std::vector<HeadBlock*> blocks_;
  uint64_t rows_ = 0;
  int64_t span_ = 0, span_now_ = 0;
  size_t bytes_ = 0;  // of the head, that went into the chunk being built
};

}  // namespace

int64_t chunk_span(uint64_t rows, int64_t busy_ns, size_t columns) {
  const double width = std::max<double>(static_cast<double>(busy_ns), 1);
  int64_t best = kSpans[0];
  for (int64_t span : kSpans) {
    if (static_cast<double>(span) / width * static_cast<double>(rows) <= rows_max(columns)) best = span;
  }
  return best;
}

Result<Sealed> Sealer::seal(const SeriesState& series, uint64_t generation, SealWhat what, rocksdb::WriteBatch& batch) {
  Sealed sealed;
  std::vector<HeadBlock> head;
  BlockScan scan(db_, damage_, kHead, series.id, INT64_MIN, INT64_MAX);
  for (; scan.valid() && head.size() < kBlocksPerPass; scan.next()) {
    auto header = peek_block(scan.bytes());
    if (!header.ok()) continue;  // reading counts it
    head.push_back({std::string(scan.key()), scan.number(), header->first_ns, header->last_ns, header->rows, scan.bytes().size()});
  }
  SKERRY_TRY(Status(scan.status()));
  ChunkBuilder builder(series, generation, db_, batch, sealed);
  std::vector<HeadBlock*> left;
  for (HeadBlock& block : head) left.push_back(&block);
  for (int chains = 0; !left.empty() && chains < kChainsPerPass; ++chains) {
    Chain chain(series, db_, damage_, what);
    std::vector<HeadBlock*> late;
    for (HeadBlock* block : left) {
      if (chain.accepts(*block)) {
        chain.add(*block);
      } else {
        late.push_back(block);
      }
    }
    SKERRY_TRY(chain.seal(builder, batch, sealed));
    left = std::move(late);
  }
  for (const HeadBlock& block : head) {
    if (!block.sealed) sealed.head_first_ns = std::min(sealed.head_first_ns, block.first_ns);
  }
  return sealed;
}

}  // namespace skerry::storage::internal
