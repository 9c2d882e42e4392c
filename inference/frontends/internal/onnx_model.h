// An ONNX file as plain structures: parsed, bounded, typed tensors; nothing of it is interpreted. The only door to its protobuf form. On
// failure: invalid with the thing's name; memory stays within a multiple of the file's size.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "inference/graph/graph.h"

namespace skerry::inference::frontends {

struct OnnxTensor {
  std::string name;
  graph::ElementType type = graph::ElementType::f32;  // doubles have been narrowed
  graph::Shape shape;
  graph::Bytes data;

  std::vector<int64_t> ints() const;  // of i8, u8, i32, i64 and boolean; f32: rounded toward zero
};

struct OnnxAttribute {
  int64_t i = 0;
  float f = 0;
  std::string s;
  std::vector<int64_t> ints;
  std::vector<float> floats;
  std::vector<std::string> strings;
  std::vector<OnnxTensor> tensor;  // one, or none
};

struct OnnxNode {
  std::string name, type, domain;            // type: "Conv"
  std::vector<std::string> inputs, outputs;  // "" is an optional one that is left out
  std::map<std::string, OnnxAttribute> attributes;

  bool has(const std::string& attribute) const { return attributes.contains(attribute); }
  int64_t integer(const std::string& attribute, int64_t otherwise) const;
  float real(const std::string& attribute, float otherwise) const;
  std::string text(const std::string& attribute, const std::string& otherwise) const;
  std::vector<int64_t> integers(const std::string& attribute, const std::vector<int64_t>& otherwise = {}) const;
};

struct OnnxValue {  // an input or output of the model
  std::string name;
  graph::ElementType type = graph::ElementType::f32;
  graph::Shape shape;  // -1: unknown
};

struct OnnxModel {
  size_t file_bytes = 0;
  int64_t opset = 0;
  std::vector<OnnxNode> nodes;
  std::map<std::string, OnnxTensor> initializers;
  std::vector<OnnxValue> inputs, outputs;  // inputs: without those that initializers give
};

Result<OnnxModel> parse_onnx(std::span<const std::byte> file);

}  // namespace skerry::inference::frontends
