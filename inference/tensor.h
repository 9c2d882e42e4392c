// A tensor at the door of a runtime. Data types and names as in the Open Inference Protocol v2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace skerry::inference {

enum class DataType : uint8_t { fp32 = 1, int64 = 2, int32 = 3, uint8 = 4, int8 = 5, boolean = 6, fp64 = 7 };
const char* to_string(DataType type);                     // "FP32"
Result<DataType> parse_data_type(const std::string& name);  // Error: invalid, with the known names
size_t bytes_per_element(DataType type);

struct Tensor {
  std::string name;
  DataType type = DataType::fp32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;  // row-major, little-endian

  static Tensor fp32(std::string name, std::vector<int64_t> shape, const std::vector<float>& values);
  int64_t elements() const;     // product of the shape; -1 when negative or over 2^40
  std::vector<float> floats() const;  // converted when of another type; as many as the bytes hold
};

struct TensorSpec {
  std::string name;
  DataType type = DataType::fp32;
  std::vector<int64_t> shape;  // -1: any
};

}  // namespace skerry::inference
