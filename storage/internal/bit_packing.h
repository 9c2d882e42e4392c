// Bit packing: 128 numbers of `width` bits in 16 * width bytes. Number i lies in lane i % L, L lanes of 16, 32 or 64 bit words side by
// side (the vertical layout of Lemire & Boytsov, "Decoding billions of integers per second through vectorization", 2015), so that one
// 128 bit operation moves a row of numbers on any machine. What is left of a stream after its last whole block is packed densely.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {

inline constexpr size_t kPackedBlock = 128;

// Bytes of `count` <= 128 numbers of `width` <= 64 bits.
inline size_t packed_bytes(size_t count, unsigned width) { return (count * width + 7) / 8; }

// Bits of the numbers above `width` are ignored. `in` and `out` have 128 places, whatever `count` is.
void pack(const uint64_t* in, size_t count, unsigned width, Writer& out);
void pack(const uint32_t* in, size_t count, unsigned width, Writer& out);
// `bytes` has packed_bytes(count, width) bytes.
void unpack(std::string_view bytes, size_t count, unsigned width, uint64_t* out);

}  // namespace skerry::storage::internal
