// plan.bin: a model compiled to steps over tensors, for the plan runtime. Portable: weights lie plain, nothing in it knows a processor.
// Little-endian. Header of 64 bytes, tables (tensors, then steps), data (constants, each on 64 bytes). Numbers here are never renumbered.
//   header  magic[8] | version u32 | zero u32 | file bytes u64 | tables at u64 | tables bytes u64 | data at u64 | data bytes u64 |
//           crc32c of tables u32 | crc32c of data u32
//   tables  tensors u32, inputs u32, outputs u32, steps u32 (counts); tensors; tensor ids u32 of inputs, of outputs; steps
//   tensor  type u8 | rank u8 | zero u16 | zero point i32 | dims i32[rank] (-1: the batch) | scales u32 (count) | scale f32[] |
//           data at u64 (from the start of data; all ones: computed) | name length u32 | name
//   step    op u8 | activation u8 | inputs u8 | outputs u8 (counts) | ints u32 | floats u32 (counts) | alpha f32 | beta f32 |
//           ids u32[inputs], u32[outputs] | i32[ints] | f32[floats] | name length u32 | name
#pragma once

#include <cstddef>
#include <cstdint>

namespace skerry::inference::plan {

inline constexpr char kMagic[9] = "SKRYPLAN";
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 64, kDataAlignment = 64;
inline constexpr uint64_t kComputed = UINT64_MAX;
inline constexpr uint32_t kNoTensor = UINT32_MAX;  // an optional input that is left out

enum class Type : uint8_t { f32 = 1, i8 = 2, u8 = 3 };

// Images and sequences lie channels last: [n, h, w, c] or [n, w, c].
enum class Op : uint8_t {
  quantize = 1,      // f32 -> i8 or u8. ints: nothing, or how dimensions are permuted on the way
  dequantize = 2,    // i8 or u8 -> f32. ints: as quantize
  convolution = 3,   // x, weights [out, kh, kw, c / groups], bias f32 [out] or none, residual or none. ints: ConvolutionInts
  linear = 4,        // x [..., in], weights [out, in], bias f32 [out] or none, residual or none
  max_pool = 5,      // x. ints: PoolInts
  average_pool = 6,  // x. ints: PoolInts
  binary = 7,        // a, b; NumPy's broadcast. ints: kind (graph::Binary::Kind)
  activate = 8,      // x
  unary = 9,         // x. ints: kind (graph::Unary::Kind)
  softmax = 10,      // x. ints: axis, logarithm
  layer_norm = 11,   // x, scale, shift or none. ints: axis. floats: epsilon
  reduce = 12,       // x; the output keeps or drops the dimensions. ints: kind (graph::Reduce::Kind), axes
  concat = 13,       // 1 to 250. ints: axis
  reshape = 14,      // x: the same bytes
  transpose = 15,    // x. ints: permutation
  pad = 16,          // x. ints: begin per dimension, end per dimension. floats: value, in the real world's units
  slice = 17,        // x. ints: begin per dimension, step per dimension
  matmul = 18,       // a, b
  recurrent = 19,    // as graph::Recurrent: x, weights, recurrent weights, bias, h, c. ints: kind, direction, hidden, reset after
};

// Where the integers of a step lie.
enum ConvolutionInts : size_t { kStrideH, kStrideW, kDilationH, kDilationW, kPadTop, kPadLeft, kPadBottom, kPadRight, kGroups, kConvolutionInts };
enum PoolInts : size_t { kPoolH, kPoolW, kPoolStrideH, kPoolStrideW, kPoolTop, kPoolLeft, kPoolBottom, kPoolRight, kCountPadding, kPoolIntsCount };

// Bounds; a plan beyond them is refused.
inline constexpr size_t kTensorsMax = 1 << 13, kStepsMax = 1 << 12, kRankMax = 6, kNameBytesMax = 256;
inline constexpr size_t kStepInputsMax = 250, kStepOutputsMax = 3;
inline constexpr size_t kStepNumbersMax = 64;          // ints, and floats, of a step
inline constexpr int64_t kElementsMax = 1LL << 28;     // of one tensor
inline constexpr int64_t kWorkMax = 1LL << 36;         // multiplications of one sample, all steps: about a second
inline constexpr uint64_t kFileBytesMax = 1ULL << 31;
inline constexpr int64_t kWindowMax = 1 << 14;         // kernel, stride, dilation and padding, each

}  // namespace skerry::inference::plan
