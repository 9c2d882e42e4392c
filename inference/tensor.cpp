#include "inference/tensor.h"

#include <cstring>

namespace skerry::inference {
namespace {

struct TypeName {
  DataType type;
  const char* name;
  size_t bytes;
};
constexpr TypeName kTypes[] = {{DataType::fp32, "FP32", 4},   {DataType::int64, "INT64", 8},
                               {DataType::int32, "INT32", 4}, {DataType::uint8, "UINT8", 1},
                               {DataType::int8, "INT8", 1},   {DataType::boolean, "BOOL", 1},
                               {DataType::fp64, "FP64", 8}};

template <typename T>
std::vector<float> convert(const std::vector<std::byte>& data) {
  std::vector<float> out(data.size() / sizeof(T));
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
  return out;
}

}  // namespace

const char* to_string(DataType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.name;
  }
  return "unknown";
}

Result<DataType> parse_data_type(const std::string& name) {
  std::string names;
  for (const TypeName& known : kTypes) {
    if (name == known.name) return known.type;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  }
  return fail(Code::invalid, "unknown datatype '{}': write one of {}", name.substr(0, 32), names);
}

size_t bytes_per_element(DataType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.bytes;
  }
  return 0;
}

Tensor Tensor::fp32(std::string name, std::vector<int64_t> shape, const std::vector<float>& values) {
  Tensor tensor{std::move(name), DataType::fp32, std::move(shape),
                std::vector<std::byte>(values.size() * sizeof(float))};
  if (!values.empty()) std::memcpy(tensor.data.data(), values.data(), tensor.data.size());
  return tensor;
}

int64_t Tensor::elements() const {
  constexpr int64_t kMax = int64_t{1} << 40;
  int64_t product = 1;
  for (int64_t size : shape) {
    if (size < 0 || size > kMax) return -1;
    if (size != 0 && product > kMax / size) return -1;
    product *= size;
  }
  return product;
}

std::vector<float> Tensor::floats() const {
  switch (type) {
    case DataType::fp32:
      return convert<float>(data);
    case DataType::int64:
      return convert<int64_t>(data);
    case DataType::int32:
      return convert<int32_t>(data);
    case DataType::uint8:
      return convert<uint8_t>(data);
    case DataType::int8:
      return convert<int8_t>(data);
    case DataType::boolean:
      return convert<uint8_t>(data);
    case DataType::fp64:
      return convert<double>(data);
  }
  return {};
}

}  // namespace skerry::inference
