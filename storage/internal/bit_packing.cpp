#include "storage/internal/bit_packing.h"

#include <algorithm>

namespace skerry::storage::internal {
namespace {

// 16 bytes as a row of words: an extension that g++ and clang lower to whatever vectors the machine has.
template <typename Word>
struct RowOf {
  typedef Word Type __attribute__((vector_size(16)));
};
constexpr size_t kRowBytes = 16;

template <typename Row>
Row load(const void* from) {
  Row row;
  std::memcpy(&row, from, sizeof row);
  return row;
}

template <typename Word, typename From>
void pack_block(const From* in, unsigned width, char* out) {
  using Row = typename RowOf<Word>::Type;
  constexpr unsigned bits = 8 * sizeof(Word);
  const Word mask = static_cast<Word>(~uint64_t{0} >> (64 - width));
  Word words[kPackedBlock];
  for (size_t i = 0; i < kPackedBlock; ++i) words[i] = static_cast<Word>(in[i]) & mask;
  Row pending{};
  unsigned used = 0;
  for (unsigned r = 0; r < bits; ++r) {  // as many rows as a word has bits: each lane ends with a whole word
    const Row row = load<Row>(words + r * kRowBytes / sizeof(Word));
    pending |= row << static_cast<Word>(used);
    used += width;
    if (used < bits) continue;
    std::memcpy(out, &pending, sizeof pending);
    out += sizeof pending;
    used -= bits;
    pending = used > 0 ? row >> static_cast<Word>(width - used) : Row{};
  }
}

template <typename Word>
void unpack_block(const char* in, unsigned width, uint64_t* out) {
  using Row = typename RowOf<Word>::Type;
  constexpr unsigned bits = 8 * sizeof(Word);
  const Word ones = static_cast<Word>(~uint64_t{0} >> (64 - width));
  const Row mask = Row{} + ones;
  Word words[kPackedBlock];
  for (unsigned r = 0; r < bits; ++r) {
    const unsigned at = r * width, shift = at % bits;
    const char* from = in + at / bits * kRowBytes;
    Row row = load<Row>(from) >> static_cast<Word>(shift);
    if (shift + width > bits) row |= load<Row>(from + kRowBytes) << static_cast<Word>(bits - shift);
    row &= mask;
    std::memcpy(words + r * kRowBytes / sizeof(Word), &row, sizeof row);
  }
  for (size_t i = 0; i < kPackedBlock; ++i) out[i] = words[i];
}

// One number after the other, the lowest bit first.
template <typename From>
void pack_tail(const From* in, size_t count, unsigned width, char* out) {
  const uint64_t mask = ~uint64_t{0} >> (64 - width);
  uint64_t pending = 0;
  unsigned used = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t value = in[i] & mask;
    pending |= value << used;
    used += width;
    if (used < 64) continue;
    std::memcpy(out, &pending, sizeof pending);
    out += sizeof pending;
    used -= 64;
    pending = used > 0 ? value >> (width - used) : 0;
  }
  std::memcpy(out, &pending, (used + 7) / 8);
}

void unpack_tail(std::string_view bytes, size_t count, unsigned width, uint64_t* out) {
  const uint64_t mask = ~uint64_t{0} >> (64 - width);
  uint64_t pending = 0;
  unsigned left = 0;  // bits of `pending` that are still to be taken
  for (size_t i = 0; i < count; ++i) {
    uint64_t value = pending;
    if (left >= width) {
      pending = width < 64 ? pending >> width : 0;
      left -= width;
    } else {
      const unsigned had = left, more = width - left;
      const size_t n = std::min(bytes.size(), sizeof pending);
      pending = 0;
      std::memcpy(&pending, bytes.data(), n);
      bytes.remove_prefix(n);
      value |= pending << had;
      pending = more < 64 ? pending >> more : 0;
      left = static_cast<unsigned>(8 * n) - more;
    }
    out[i] = value & mask;
  }
}

template <typename From>
void pack_any(const From* in, size_t count, unsigned width, Writer& out) {
  if (width == 0) return;
  std::string& bytes = out.bytes();
  const size_t had = bytes.size();
  bytes.resize(had + packed_bytes(count, width));
  char* to = bytes.data() + had;
  if (count < kPackedBlock) return pack_tail(in, count, width, to);
  if (width <= 16) return pack_block<uint16_t>(in, width, to);
  if (width <= 32) return pack_block<uint32_t>(in, width, to);
  pack_block<uint64_t>(in, width, to);
}

}  // namespace

void pack(const uint64_t* in, size_t count, unsigned width, Writer& out) { pack_any(in, count, width, out); }
void pack(const uint32_t* in, size_t count, unsigned width, Writer& out) { pack_any(in, count, width, out); }

void unpack(std::string_view bytes, size_t count, unsigned width, uint64_t* out) {
  if (width == 0) {
    std::fill_n(out, count, 0);
    return;
  }
  if (count < kPackedBlock) return unpack_tail(bytes, count, width, out);
  if (width <= 16) return unpack_block<uint16_t>(bytes.data(), width, out);
  if (width <= 32) return unpack_block<uint32_t>(bytes.data(), width, out);
  unpack_block<uint64_t>(bytes.data(), width, out);
}

}  // namespace skerry::storage::internal
