#include "inference/tensor.h"

#include <catch2/catch.hpp>
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
  for (DataType type : {DataType::fp32, DataType::int64, DataType::int32, DataType::uint8, DataType::int8,
                        DataType::boolean, DataType::fp64}) {
    auto parsed = parse_data_type(to_string(type));
    REQUIRE(parsed.ok());
    CHECK(*parsed == type);
    CHECK(bytes_per_element(type) > 0);
  }
  auto unknown = parse_data_type("FP16");
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

}  // namespace skerry::inference
