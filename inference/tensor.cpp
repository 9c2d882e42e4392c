#include "inference/tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace skerry::inference {
namespace {

struct TypeName {
  DataType type;
  const char* name;
  size_t bytes;
};
constexpr TypeName kTypes[] = {{DataType::boolean, "BOOL", 1}, {DataType::uint8, "UINT8", 1},   {DataType::uint16, "UINT16", 2},
                               {DataType::uint32, "UINT32", 4}, {DataType::uint64, "UINT64", 8}, {DataType::int8, "INT8", 1},
                               {DataType::int16, "INT16", 2},  {DataType::int32, "INT32", 4},   {DataType::int64, "INT64", 8},
                               {DataType::fp16, "FP16", 2},    {DataType::bf16, "BF16", 2},     {DataType::fp32, "FP32", 4},
                               {DataType::fp64, "FP64", 8},    {DataType::bytes, "BYTES", 0}};

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

// IEEE 754-2019, 3.4: sign, 5 bits of exponent with bias 15, 10 of fraction.
float from_fp16(uint16_t bits) {
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0x1f) return fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
}

template <typename Decode>
std::vector<float> convert_halves(const std::vector<std::byte>& data, Decode decode) {
  std::vector<float> out(data.size() / 2);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, data.data() + 2 * i, 2);
    out[i] = decode(bits);
  }
  return out;
}

Status check_lengths(const Tensor& tensor, int64_t count) {
  size_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t length = 0;
    if (tensor.data.size() - at < sizeof length) {
      return fail(Code::invalid, "the data of '{}' end at element {} of {}", tensor.name, i, count);
    }
    std::memcpy(&length, tensor.data.data() + at, sizeof length);
    at += sizeof length;
    if (tensor.data.size() - at < length) {
      return fail(Code::invalid, "element {} of '{}' is said to have {} bytes, {} are left", i, tensor.name, length, tensor.data.size() - at);
    }
    at += length;
  }
  if (at == tensor.data.size()) return {};
  return fail(Code::invalid, "'{}' has {} bytes after its {} elements", tensor.name, tensor.data.size() - at, count);
}

}  // namespace

const char* to_string(DataType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.name;
  }
  return "unknown";
}

Result<DataType> parse_data_type(std::string_view name) {
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
    case DataType::int16:
      return convert<int16_t>(data);
    case DataType::uint16:
      return convert<uint16_t>(data);
    case DataType::uint32:
      return convert<uint32_t>(data);
    case DataType::uint64:
      return convert<uint64_t>(data);
    case DataType::fp16:
      return convert_halves(data, from_fp16);
    case DataType::bf16:
      return convert_halves(data, [](uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); });
    case DataType::bytes:
      return {};
  }
  return {};
}

Status check_raw(const Tensor& tensor) {
  const int64_t count = tensor.elements();
  if (count < 0) return fail(Code::invalid, "the shape of '{}' is too large", tensor.name);
  if (tensor.type == DataType::bytes) return check_lengths(tensor, count);
  const size_t bytes = static_cast<size_t>(count) * bytes_per_element(tensor.type);
  if (tensor.data.size() != bytes) {
    return fail(Code::invalid, "'{}' has {} bytes of data, its shape needs {}", tensor.name, tensor.data.size(), bytes);
  }
  if (tensor.type != DataType::boolean) return {};
  const auto odd = std::find_if(tensor.data.begin(), tensor.data.end(), [](std::byte b) { return b > std::byte{1}; });
  if (odd == tensor.data.end()) return {};
  return fail(Code::invalid, "element {} of '{}' is no boolean: write 0 or 1", odd - tensor.data.begin(), tensor.name);
}

}  // namespace skerry::inference
