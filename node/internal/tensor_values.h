// The values of tensors by their C++ types.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "inference/tensor.h"

namespace skerry::node {

// Calls `use` with a value of the C++ type of a datatype. False: it has none here (bytes, and the halves, which JSON can't carry).
template <typename Use>
bool with_type(inference::DataType type, Use use) {
  using inference::DataType;
  switch (type) {
    case DataType::fp32: use(float()); return true;
    case DataType::fp64: use(double()); return true;
    case DataType::int8: use(int8_t()); return true;
    case DataType::int16: use(int16_t()); return true;
    case DataType::int32: use(int32_t()); return true;
    case DataType::int64: use(int64_t()); return true;
    case DataType::uint8: use(uint8_t()); return true;
    case DataType::uint16: use(uint16_t()); return true;
    case DataType::uint32: use(uint32_t()); return true;
    case DataType::uint64: use(uint64_t()); return true;
    case DataType::boolean: use(bool()); return true;
    default: return false;
  }
}

// An element of a tensor of bytes: its length, then itself.
inline void append_bytes_element(std::vector<std::byte>& out, std::string_view text) {
  const auto length = static_cast<uint32_t>(text.size());
  const auto* prefix = reinterpret_cast<const std::byte*>(&length);
  out.insert(out.end(), prefix, prefix + sizeof length);
  const auto* content = reinterpret_cast<const std::byte*>(text.data());
  out.insert(out.end(), content, content + text.size());
}

}  // namespace skerry::node
