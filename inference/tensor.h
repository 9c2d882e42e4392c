// A tensor at the door of a runtime. Data types and names as in the Open Inference Protocol v2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace skerry::inference {

enum class DataType : uint8_t {
  fp32 = 1,
  int64 = 2,
  int32 = 3,
  uint8 = 4,
  int8 = 5,
  boolean = 6,
  fp64 = 7,
  fp16 = 8,   // IEEE 754 binary16
  bf16 = 9,   // the upper half of an fp32
  int16 = 10,
  uint16 = 11,
  uint32 = 12,
  uint64 = 13,
  bytes = 14  // each element a uint32 of its length, then so many bytes
};
const char* to_string(DataType type);                     // "FP32"
Result<DataType> parse_data_type(std::string_view name);  // Error: invalid, with the known names
size_t bytes_per_element(DataType type);                  // 0: it varies (bytes)

struct Tensor {
  std::string name;
  DataType type = DataType::fp32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;  // row-major, little-endian

  static Tensor fp32(std::string name, std::vector<int64_t> shape, const std::vector<float>& values);
  int64_t elements() const;     // product of the shape; -1 when negative or over 2^40
  std::vector<float> floats() const;  // converted when of another type; as many as the bytes hold; none of bytes
};

// What came as raw bytes: as many as the shape needs, booleans 0 or 1, the elements of bytes ending where the data end. Error: invalid, naming
// the tensor.
Status check_raw(const Tensor& tensor);

struct TensorSpec {
  std::string name;
  DataType type = DataType::fp32;
  std::vector<int64_t> shape;  // -1: any
};

}  // namespace skerry::inference
