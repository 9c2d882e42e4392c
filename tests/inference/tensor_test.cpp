#include "inference/tensor.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

namespace skerry::inference {

TEST_CASE("tensor: elements of hostile shapes are refused, not overflowed") {
  Tensor tensor;
  tensor.shape = {2, 3, 4};
  CHECK(tensor.elements() == 24);
  tensor.shape = {};
  CHECK(tensor.elements() == 1);
  tensor.shape = {5, 0, int64_t{1} << 39};
  CHECK(tensor.elements() == 0);
  for (std::vector<int64_t> shape :
       {std::vector<int64_t>{-1}, {2, -3}, {INT64_MAX, INT64_MAX}, {INT64_MIN}, {1 << 30, 1 << 30}}) {
    tensor.shape = shape;
    CHECK(tensor.elements() == -1);
  }
}

TEST_CASE("tensor: data types are named as in the Open Inference Protocol") {
  for (DataType type : {DataType::fp32, DataType::fp64, DataType::fp16, DataType::bf16, DataType::int64, DataType::int32, DataType::int16,
                        DataType::int8, DataType::uint64, DataType::uint32, DataType::uint16, DataType::uint8, DataType::boolean}) {
    auto parsed = parse_data_type(to_string(type));
    REQUIRE(parsed.ok());
    CHECK(*parsed == type);
    CHECK(bytes_per_element(type) > 0);
  }
  auto unknown = parse_data_type("FP8");
  CHECK(*parse_data_type("BYTES") == DataType::bytes);
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().message.find("FP32") != std::string::npos);
}

TEST_CASE("tensor: floats converts from every type and stops at the bytes that are there") {
  Tensor tensor{"x", DataType::int64, {2}, std::vector<std::byte>(2 * sizeof(int64_t) + 3)};
  int64_t values[] = {-7, 1 << 20};
  std::memcpy(tensor.data.data(), values, sizeof(values));
  CHECK(tensor.floats() == std::vector<float>{-7.0f, 1048576.0f});
  CHECK(Tensor::fp32("y", {2}, {1.5f, -2.0f}).floats() == std::vector<float>{1.5f, -2.0f});
}

TEST_CASE("tensor: halves are read by both of their layouts") {
  const uint16_t fp16[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000}, bf16[] = {0x3f80, 0xc000};
  Tensor tensor{"x", DataType::fp16, {5}, std::vector<std::byte>(10)};
  std::memcpy(tensor.data.data(), fp16, sizeof fp16);
  CHECK(tensor.floats() == std::vector<float>{1.0f, -2.0f, 65504.0f, std::ldexp(1.0f, -24), -0.0f});
  tensor = {"x", DataType::bf16, {2}, std::vector<std::byte>(4)};
  std::memcpy(tensor.data.data(), bf16, sizeof bf16);
  CHECK(tensor.floats() == std::vector<float>{1.0f, -2.0f});
}

TEST_CASE("tensor: raw bytes that are not what the shape says are refused") {
  auto raw = [](DataType type, std::vector<int64_t> shape, const std::string& bytes) {
    Tensor tensor{"x", type, std::move(shape), std::vector<std::byte>(bytes.size())};
    if (!bytes.empty()) std::memcpy(tensor.data.data(), bytes.data(), bytes.size());
    return check_raw(tensor).ok();
  };
  CHECK(raw(DataType::fp32, {2}, "12345678"));
  CHECK_FALSE(raw(DataType::fp32, {2}, "1234567"));
  CHECK_FALSE(raw(DataType::uint8, {int64_t{1} << 50}, "1"));
  CHECK(raw(DataType::boolean, {2}, std::string("\1\0", 2)));
  CHECK_FALSE(raw(DataType::boolean, {2}, std::string("\1\2", 2)));
  const std::string two("\2\0\0\0ab\0\0\0\0", 10);
  CHECK(raw(DataType::bytes, {2}, two));
  CHECK_FALSE(raw(DataType::bytes, {1}, two));
  CHECK_FALSE(raw(DataType::bytes, {3}, two));
  CHECK_FALSE(raw(DataType::bytes, {1}, std::string("\xff\xff\xff\xff", 4)));
}

}  // namespace skerry::inference
