#include "learning/delta.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/file.h"

namespace skerry::learning {
namespace {

constexpr std::string_view kMagic = "SKDL";
constexpr uint8_t kFormat = 1;
constexpr size_t kNameBytesMax = 1024;

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

}  // namespace

std::string encode_delta(const Delta& delta) {
  std::string out(kMagic);
  out += static_cast<char>(kFormat);
  put_text(out, delta.model);
  put_varint(out, delta.base_version);
  put_varint(out, delta.version);
  put_text(out, delta.base_digest);
  put_varint(out, delta.tensors.size());
  for (const TensorDelta& tensor : delta.tensors) {
    SKERRY_CHECK(tensor.indices.size() == tensor.values.size(), "delta of {}", tensor.name);
    put_text(out, tensor.name);
    put_varint(out, tensor.elements);
    put_u32(out, std::bit_cast<uint32_t>(tensor.scale));
    put_varint(out, tensor.indices.size());
    uint64_t next = 0;  // the smallest index that may follow
    for (uint32_t index : tensor.indices) {
      SKERRY_CHECK(index >= next && index < tensor.elements, "indices of {} must ascend below {}", tensor.name,
                   tensor.elements);
      put_varint(out, index - next);
      next = static_cast<uint64_t>(index) + 1;
    }
    out.append(reinterpret_cast<const char*>(tensor.values.data()), tensor.values.size());
  }
  put_u32(out, crc32c(out));
  return out;
}

Result<Delta> decode_delta(std::string_view bytes) {
  constexpr uint64_t kU32Max = std::numeric_limits<uint32_t>::max();
  if (bytes.size() < kMagic.size() + 1 + 4) return damaged("shorter than its header");
  if (!bytes.starts_with(kMagic)) return damaged("does not begin as one");
  if (static_cast<uint8_t>(bytes[kMagic.size()]) != kFormat) return damaged("of an unknown format; update this program");
  uint32_t checksum = 0;
  Reader tail{bytes.substr(bytes.size() - 4)};
  tail.u32(checksum);
  bytes.remove_suffix(4);
  if (crc32c(bytes) != checksum) return damaged("wrong checksum");

  Reader in{bytes.substr(kMagic.size() + 1)};
  Delta delta;
  uint64_t base_version = 0, version = 0, tensors = 0;
  if (!in.text(delta.model) || !in.varint(kU32Max, base_version) || !in.varint(kU32Max, version) ||
      !in.text(delta.base_digest) || !in.varint(in.rest.size(), tensors)) {
    return damaged("broken header");
  }
  delta.base_version = static_cast<uint32_t>(base_version);
  delta.version = static_cast<uint32_t>(version);
  for (uint64_t t = 0; t < tensors; ++t) {
    TensorDelta tensor;
    uint32_t scale = 0;
    uint64_t count = 0;
    // An index takes a byte at least and its value one: so `count` is bounded by what is really there.
    if (!in.text(tensor.name) || !in.varint(kU32Max + 1, tensor.elements) || !in.u32(scale) ||
        !in.varint(in.rest.size() / 2, count)) {
      return damaged("broken tensor header");
    }
    tensor.scale = std::bit_cast<float>(scale);
    if (!std::isfinite(tensor.scale) || tensor.scale < 0) return damaged("a scale that is no positive number");
    tensor.indices.reserve(count);
    uint64_t next = 0;
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t gap = 0;
      if (!in.varint(kU32Max, gap) || next + gap >= tensor.elements) return damaged("an index outside its tensor");
      tensor.indices.push_back(static_cast<uint32_t>(next + gap));
      next += gap + 1;
    }
    std::string_view values;
    if (!in.bytes(count, values)) return damaged("values are missing");
    tensor.values.resize(count);
    if (count > 0) std::memcpy(tensor.values.data(), values.data(), count);
    delta.tensors.push_back(std::move(tensor));
  }
  if (!in.rest.empty()) return damaged("bytes after its end");
  return delta;
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
