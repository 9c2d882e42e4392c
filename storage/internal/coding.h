// Bytes in and out of the room's formats: little-endian fixed numbers, LEB128 varints, zigzag, length-prefixed texts,
// and big-endian numbers for keys, which sort as the numbers do. On failure: a Reader that runs out of bytes answers
// zeros from then on and ok() is false; it never reads past the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace skerry::storage::internal {

static_assert(std::endian::native == std::endian::little,
              "the formats are little-endian: add byte swaps for this machine");

inline uint64_t zigzag(int64_t v) { return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63); }
inline int64_t unzigzag(uint64_t v) { return static_cast<int64_t>((v >> 1) ^ (~(v & 1) + 1)); }

class Writer {
 public:
  void u8(uint8_t v) { out_.push_back(static_cast<char>(v)); }
  void fixed16(uint16_t v) { raw(&v, sizeof v); }
  void fixed32(uint32_t v) { raw(&v, sizeof v); }
  void fixed64(uint64_t v) { raw(&v, sizeof v); }
  void signed64(int64_t v) { raw(&v, sizeof v); }
  void signed32(int32_t v) { raw(&v, sizeof v); }
  void f64(double v) { raw(&v, sizeof v); }
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) u8(static_cast<uint8_t>(v | 0x80));
    u8(static_cast<uint8_t>(v));
  }
  void text(std::string_view v) {
    varint(v.size());
    raw(v.data(), v.size());
  }
  void raw(const void* data, size_t n) { out_.append(static_cast<const char*>(data), n); }
  void key32(uint32_t v) { fixed32(__builtin_bswap32(v)); }
  void key64(uint64_t v) { fixed64(__builtin_bswap64(v)); }
  void key_time(int64_t ns) { key64(static_cast<uint64_t>(ns) ^ (uint64_t{1} << 63)); }  // earlier sorts first
  void key_text(std::string_view v) {  // keys of one text never lie among those of another
    fixed16(__builtin_bswap16(static_cast<uint16_t>(v.size())));
    raw(v.data(), v.size());
  }

  void reserve(size_t bytes) { out_.reserve(bytes); }
  std::string& bytes() { return out_; }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  uint8_t u8() { return fixed<uint8_t>(); }
  uint16_t fixed16() { return fixed<uint16_t>(); }
  uint32_t fixed32() { return fixed<uint32_t>(); }
  uint64_t fixed64() { return fixed<uint64_t>(); }
  int64_t signed64() { return fixed<int64_t>(); }
  int32_t signed32() { return fixed<int32_t>(); }
  double f64() { return fixed<double>(); }
  uint64_t varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = u8();
      if (shift == 63 && byte > 1) break;
      v |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return v;
    }
    ok_ = false;
    return 0;
  }
  std::string_view raw(size_t n) {
    if (n > left_.size()) {
      ok_ = false;
      left_ = {};
      return {};
    }
    std::string_view out = left_.substr(0, n);
    left_.remove_prefix(n);
    return out;
  }
  std::string_view text() { return raw(varint()); }
  uint64_t key64() { return __builtin_bswap64(fixed64()); }
  int64_t key_time() { return static_cast<int64_t>(key64() ^ (uint64_t{1} << 63)); }

  bool ok() const { return ok_; }
  bool done() const { return ok_ && left_.empty(); }
  size_t left() const { return left_.size(); }

 private:
  template <typename T>
  T fixed() {
    T v{};
    std::string_view bytes = raw(sizeof(T));
    if (ok_) std::memcpy(&v, bytes.data(), sizeof(T));
    return v;
  }
  std::string_view left_;
  bool ok_ = true;
};

// tag | version | CRC-32C of the body, exclusive-or tag and version | body. Every row but the keys themselves is
// sealed.
inline uint32_t seal_crc(char tag, uint8_t version, std::string_view body) {
  return crc32c(body) ^ (static_cast<uint32_t>(version) << 8 | static_cast<uint8_t>(tag));
}

inline std::string seal(char tag, uint8_t version, std::string_view body) {
  Writer out;
  out.reserve(body.size() + 6);
  out.u8(static_cast<uint8_t>(tag));
  out.u8(version);
  out.fixed32(seal_crc(tag, version, body));
  out.raw(body.data(), body.size());
  return out.take();
}

// The body; `version` is the newest that the caller reads. Error: corrupt.
inline Result<std::string_view> unseal(char tag, uint8_t version, std::string_view bytes, const char* what) {
  Reader in(bytes);
  if (in.u8() != static_cast<uint8_t>(tag)) return fail(Code::corrupt, "these bytes are not a {}", what);
  const uint8_t found = in.u8();
  const uint32_t crc = in.fixed32();
  if (!in.ok()) return fail(Code::corrupt, "a {} is cut short", what);
  if (found == 0 || found > version) {
    return fail(Code::corrupt, "a {} of format {}: this program reads up to {}, update it", what, found, version);
  }
  std::string_view body = bytes.substr(6);
  if (seal_crc(tag, found, body) != crc) return fail(Code::corrupt, "the checksum of a {} does not hold", what);
  return body;
}

}  // namespace skerry::storage::internal
