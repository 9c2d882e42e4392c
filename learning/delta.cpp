#include "learning/delta.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/file.h"

namespace skerry::learning {
namespace {

constexpr std::string_view kMagic = "SKDL";
constexpr uint8_t kPlain = 1;                // read only: a gap is a varint, a value a byte
constexpr uint8_t kPacked = 2;               // bits: gaps in Rice code (Rice & Plaunt 1971), values as wide as the largest
constexpr size_t kNameBytesMax = 1024;
constexpr size_t kDigestBytes = 32;
constexpr uint8_t kTextDigest = 0, kSha256Digest = 1;
constexpr unsigned kRiceMax = 31;
// Endings of names that come again and again; their numbers are persistent.
constexpr std::string_view kEndings[] = {"", ".weight", ".bias"};

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift);
}

void put_text(std::string& out, const std::string& text) {
  put_varint(out, text.size());
  out += text;
}

Error damaged(const char* what) { return fail(Code::corrupt, "model delta: {}; ask for it again", what); }

// Reads with the end in sight: a failed read answers false and nothing is taken.
struct Reader {
  std::string_view rest;

  bool bytes(size_t n, std::string_view& out) {
    if (n > rest.size()) return false;
    out = rest.substr(0, n);
    rest.remove_prefix(n);
    return true;
  }
  bool varint(uint64_t max, uint64_t& out) {
    out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      std::string_view byte;
      if (!bytes(1, byte)) return false;
      uint64_t part = static_cast<unsigned char>(byte[0]);
      if (shift == 63 && part > 1) return false;
      out |= (part & 0x7f) << shift;
      if ((part & 0x80) == 0) return out <= max;
    }
    return false;
  }
  bool u32(uint32_t& out) {
    std::string_view raw;
    if (!bytes(4, raw)) return false;
    out = 0;
    for (int i = 0; i < 4; ++i) out |= static_cast<uint32_t>(static_cast<unsigned char>(raw[i])) << (8 * i);
    return true;
  }
  bool text(std::string& out) {
    uint64_t size = 0;
    std::string_view raw;
    if (!varint(kNameBytesMax, size) || !bytes(size, raw)) return false;
    out = raw;
    return true;
  }
};

// Bits fill bytes from the lowest one.
struct BitWriter {
  std::string& out;
  unsigned used = 8;  // of the last byte

  void put(uint32_t value, unsigned bits) {
    for (unsigned i = 0; i < bits; ++i, value >>= 1) {
      if (used == 8) {
        out += '\0';
        used = 0;
      }
      out.back() = static_cast<char>(static_cast<unsigned char>(out.back()) | ((value & 1) << used++));
    }
  }
  void rice(uint32_t value, unsigned k) {
    for (uint32_t q = value >> k; q > 0; --q) put(1, 1);
    put(0, 1);
    put(value, k);
  }
};

struct BitReader {
  std::string_view bytes;
  uint64_t at = 0;

  bool bit(uint32_t& out) {
    if (at >= bytes.size() * 8) return false;
    out = (static_cast<unsigned char>(bytes[at / 8]) >> (at % 8)) & 1;
    ++at;
    return true;
  }
  bool take(unsigned bits, uint32_t& out) {
    out = 0;
    for (unsigned i = 0; i < bits; ++i) {
      uint32_t b = 0;
      if (!bit(b)) return false;
      out |= b << i;
    }
    return true;
  }
  bool rice(unsigned k, uint64_t& out) {  // as many ones as there are bits at most
    uint64_t q = 0;
    uint32_t b = 0, low = 0;
    for (; bit(b); ++q) {
      if (b == 1) continue;
      out = q << k;
      if (!take(k, low)) return false;
      out |= low;
      return true;
    }
    return false;
  }
  size_t bytes_taken() const { return static_cast<size_t>((at + 7) / 8); }
};

bool parse_hex(std::string_view text, std::string& out) {
  if (text.size() != 2 * kDigestBytes) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
    const int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return false;
    out += static_cast<char>(high * 16 + low);
  }
  return true;
}

std::string to_hex(std::string_view bytes) {
  std::string out;
  for (unsigned char c : bytes) out += fmt::format("{:02x}", c);
  return out;
}

void put_digest(std::string& out, const std::string& digest) {
  std::string raw;
  if (parse_hex(digest, raw)) {
    out += static_cast<char>(kSha256Digest);
    out += raw;
  } else {
    out += static_cast<char>(kTextDigest);
    put_text(out, digest);
  }
}

// Only what differs from the name before: length of the common beginning, the rest, and the ending by its number.
void put_name(std::string& out, const std::string& before, std::string_view name) {
  size_t ending = 0;
  for (size_t e = 1; e < std::size(kEndings); ++e) {
    if (name.ends_with(kEndings[e])) ending = e;
  }
  name.remove_suffix(kEndings[ending].size());
  const size_t common = static_cast<size_t>(std::mismatch(name.begin(), name.end(), before.begin(), before.end()).first - name.begin());
  put_varint(out, common);
  put_text(out, std::string(name.substr(common)));
  out += static_cast<char>(ending);
}

bool take_name(Reader& in, const std::string& before, std::string& name) {
  uint64_t common = 0, ending = 0;
  std::string rest;
  if (!in.varint(before.size(), common) || !in.text(rest) || !in.varint(std::size(kEndings) - 1, ending)) return false;
  name = before.substr(0, common) + rest + std::string(kEndings[ending]);
  return name.size() <= kNameBytesMax;
}

std::vector<uint32_t> gaps_of(const TensorDelta& tensor) {
  std::vector<uint32_t> gaps;
  uint64_t next = 0;  // the smallest index that may follow
  for (uint32_t index : tensor.indices) {
    SKERRY_CHECK(index >= next && index < tensor.elements, "indices of {} must ascend below {}", tensor.name, tensor.elements);
    gaps.push_back(static_cast<uint32_t>(index - next));
    next = static_cast<uint64_t>(index) + 1;
  }
  return gaps;
}

unsigned best_rice(const std::vector<uint32_t>& gaps) {
  unsigned best = 0;
  uint64_t fewest = UINT64_MAX;
  for (unsigned k = 0; k <= kRiceMax; ++k) {
    uint64_t bits = gaps.size() * (1ULL + k);
    for (uint32_t gap : gaps) bits += gap >> k;
    if (bits < fewest) {
      fewest = bits;
      best = k;
    }
  }
  return best;
}

unsigned width_of(const TensorDelta& tensor) {
  unsigned width = 1;
  for (int value : tensor.values) {
    while (value < -(1 << (width - 1)) || value >= 1 << (width - 1)) ++width;
  }
  return width;
}

void put_tensor(std::string& out, const std::string& before, const TensorDelta& tensor, bool own_scale) {
  SKERRY_CHECK(tensor.indices.size() == tensor.values.size(), "delta of {}", tensor.name);
  put_name(out, before, tensor.name);
  put_varint(out, tensor.elements);
  if (own_scale) put_u32(out, std::bit_cast<uint32_t>(tensor.scale));
  put_varint(out, tensor.indices.size());
  if (tensor.indices.empty()) return;
  const std::vector<uint32_t> gaps = gaps_of(tensor);
  const unsigned k = best_rice(gaps), width = width_of(tensor);
  out += static_cast<char>(k | (width - 1) << 5);
  BitWriter bits{out};
  for (size_t i = 0; i < gaps.size(); ++i) {
    bits.rice(gaps[i], k);
    bits.put(static_cast<uint32_t>(static_cast<uint8_t>(tensor.values[i])), width);
  }
}

// What is wrong; nullptr: nothing.
const char* take_tensor(Reader& in, const std::string& before, std::optional<uint32_t> shared_scale, TensorDelta& tensor) {
  constexpr uint64_t kElementsMax = 1ULL << 32;
  uint32_t scale = shared_scale.value_or(0);
  uint64_t count = 0;
  if (!take_name(in, before, tensor.name) || !in.varint(kElementsMax, tensor.elements) || (!shared_scale && !in.u32(scale)) ||
      !in.varint(in.rest.size() * 4, count)) {  // two bits at least for an index and its value
    return "broken tensor header";
  }
  tensor.scale = std::bit_cast<float>(scale);
  if (!std::isfinite(tensor.scale) || tensor.scale < 0) return "a scale that is no positive number";
  if (count == 0) return nullptr;
  std::string_view packing;
  if (!in.bytes(1, packing)) return "broken tensor header";
  const unsigned k = static_cast<unsigned char>(packing[0]) & 31, width = (static_cast<unsigned char>(packing[0]) >> 5) + 1;
  BitReader bits{in.rest};
  tensor.indices.reserve(count);
  tensor.values.reserve(count);
  uint64_t next = 0;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t gap = 0;
    uint32_t value = 0;
    if (!bits.rice(k, gap) || gap >= tensor.elements || next + gap >= tensor.elements) return "an index outside its tensor";
    if (!bits.take(width, value)) return "values are missing";
    tensor.indices.push_back(static_cast<uint32_t>(next + gap));
    tensor.values.push_back(static_cast<int8_t>(static_cast<int32_t>(value << (32 - width)) >> (32 - width)));
    next += gap + 1;
  }
  in.rest.remove_prefix(bits.bytes_taken());
  return nullptr;
}

const char* take_plain_tensor(Reader& in, TensorDelta& tensor) {
  constexpr uint64_t kU32Max = std::numeric_limits<uint32_t>::max();
  uint32_t scale = 0;
  uint64_t count = 0;
  // An index takes a byte at least and its value one: so `count` is bounded by what is really there.
  if (!in.text(tensor.name) || !in.varint(kU32Max + 1, tensor.elements) || !in.u32(scale) || !in.varint(in.rest.size() / 2, count)) {
    return "broken tensor header";
  }
  tensor.scale = std::bit_cast<float>(scale);
  if (!std::isfinite(tensor.scale) || tensor.scale < 0) return "a scale that is no positive number";
  tensor.indices.reserve(count);
  uint64_t next = 0;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t gap = 0;
    if (!in.varint(kU32Max, gap) || next + gap >= tensor.elements) return "an index outside its tensor";
    tensor.indices.push_back(static_cast<uint32_t>(next + gap));
    next += gap + 1;
  }
  std::string_view values;
  if (!in.bytes(count, values)) return "values are missing";
  tensor.values.resize(count);
  if (count > 0) std::memcpy(tensor.values.data(), values.data(), count);
  return nullptr;
}

bool take_digest(Reader& in, uint8_t format, std::string& digest) {
  uint64_t kind = kTextDigest;
  if (format == kPacked && !in.varint(kSha256Digest, kind)) return false;
  if (kind == kTextDigest) return in.text(digest);
  std::string_view raw;
  if (!in.bytes(kDigestBytes, raw)) return false;
  digest = to_hex(raw);
  return true;
}

}  // namespace

std::string encode_delta(const Delta& delta) {
  const bool one_scale = std::all_of(delta.tensors.begin(), delta.tensors.end(), [&](const TensorDelta& t) {
    return std::bit_cast<uint32_t>(t.scale) == std::bit_cast<uint32_t>(delta.tensors.front().scale);
  });
  std::string out(kMagic);
  out += static_cast<char>(kPacked);
  put_text(out, delta.model);
  put_varint(out, delta.base_version);
  put_varint(out, delta.version);
  put_digest(out, delta.base_digest);
  put_varint(out, delta.tensors.size());
  if (!delta.tensors.empty()) {
    out += static_cast<char>(one_scale);
    if (one_scale) put_u32(out, std::bit_cast<uint32_t>(delta.tensors.front().scale));
  }
  std::string before;
  for (const TensorDelta& tensor : delta.tensors) {
    put_tensor(out, before, tensor, !one_scale);
    before = tensor.name;
  }
  put_u32(out, crc32c(out));
  return out;
}

Result<Delta> decode_delta(std::string_view bytes) {
  constexpr uint64_t kU32Max = std::numeric_limits<uint32_t>::max();
  if (bytes.size() < kMagic.size() + 1 + 4) return damaged("shorter than its header");
  if (!bytes.starts_with(kMagic)) return damaged("does not begin as one");
  const uint8_t format = static_cast<uint8_t>(bytes[kMagic.size()]);
  if (format != kPlain && format != kPacked) return damaged("of an unknown format; update this program");
  uint32_t checksum = 0;
  Reader tail{bytes.substr(bytes.size() - 4)};
  tail.u32(checksum);
  bytes.remove_suffix(4);
  if (crc32c(bytes) != checksum) return damaged("wrong checksum");

  Reader in{bytes.substr(kMagic.size() + 1)};
  Delta delta;
  uint64_t base_version = 0, version = 0, tensors = 0, one_scale = 0;
  if (!in.text(delta.model) || !in.varint(kU32Max, base_version) || !in.varint(kU32Max, version) ||
      !take_digest(in, format, delta.base_digest) || !in.varint(in.rest.size(), tensors)) {
    return damaged("broken header");
  }
  delta.base_version = static_cast<uint32_t>(base_version);
  delta.version = static_cast<uint32_t>(version);
  std::optional<uint32_t> scale;
  if (format == kPacked && tensors > 0) {
    uint32_t given = 0;
    if (!in.varint(1, one_scale) || (one_scale == 1 && !in.u32(given))) return damaged("broken header");
    if (one_scale == 1) scale = given;
  }
  std::string before;
  uint64_t name_bytes = 0;
  for (uint64_t t = 0; t < tensors; ++t) {
    TensorDelta tensor;
    const char* wrong = format == kPlain ? take_plain_tensor(in, tensor) : take_tensor(in, before, scale, tensor);
    if (wrong) return damaged(wrong);
    before = tensor.name;
    // A name may repeat the one before it for a byte: so their sum needs a bound of its own.
    name_bytes += tensor.name.size();
    if (name_bytes > 64 * (bytes.size() + kNameBytesMax)) return damaged("names that are longer than it");
    delta.tensors.push_back(std::move(tensor));
  }
  if (!in.rest.empty()) return damaged("bytes after its end");
  return delta;
}

Result<Delta> squash(Delta first, const Delta& next) {
  if (first.model != next.model || first.version != next.base_version) {
    return fail(Code::invalid, "a delta to {}/{} can't be followed by one from {}/{}", first.model, first.version, next.model, next.base_version);
  }
  first.version = next.version;
  first.tensors.insert(first.tensors.end(), next.tensors.begin(), next.tensors.end());
  return first;
}

Status apply_delta(const TensorDelta& delta, std::vector<float>& tensor) {
  if (tensor.size() != delta.elements) {
    return fail(Code::invalid, "delta of {} is for {} elements, the tensor has {}", delta.name, delta.elements,
                tensor.size());
  }
  for (size_t i = 0; i < delta.indices.size(); ++i) {
    // Two roundings on every machine: the volatile keeps a compiler from fusing them into one multiply-add.
    volatile float change = static_cast<float>(delta.values[i]) * delta.scale;
    tensor[delta.indices[i]] += change;
  }
  return {};
}

}  // namespace skerry::learning
