// Writes small ONNX files for tests, a node a line.
#pragma once

#include <string>
#include <vector>

#include "inference/frontends/onnx_ir.pb.h"

namespace skerry::test {

class OnnxFile {
 public:
  explicit OnnxFile(int64_t opset = 13) {
    model_.set_ir_version(8);
    model_.add_opset_import()->set_version(opset);
  }

  OnnxFile& input(const std::string& name, const std::vector<int64_t>& shape, int type = 1) {
    return value(*graph().add_input(), name, shape, type);
  }
  OnnxFile& output(const std::string& name, int type = 1) { return value(*graph().add_output(), name, {}, type); }
  OnnxFile& floats(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& data) {
    set(*graph().add_initializer(), name, 1, shape, data.data(), data.size() * sizeof(float));
    return *this;
  }
  OnnxFile& ints(const std::string& name, const std::vector<int64_t>& data) {
    set(*graph().add_initializer(), name, 7, {static_cast<int64_t>(data.size())}, data.data(), data.size() * sizeof(int64_t));
    return *this;
  }
  OnnxFile& scalar(const std::string& name, int64_t value) {
    set(*graph().add_initializer(), name, 7, {}, &value, sizeof(value));
    return *this;
  }
  OnnxFile& int8s(const std::string& name, const std::vector<int64_t>& shape, const std::vector<int8_t>& data, int type = 3) {
    set(*graph().add_initializer(), name, type, shape, data.data(), data.size());
    return *this;
  }
  OnnxFile& int32s(const std::string& name, const std::vector<int64_t>& shape, const std::vector<int32_t>& data) {
    set(*graph().add_initializer(), name, 6, shape, data.data(), data.size() * sizeof(int32_t));
    return *this;
  }

  OnnxFile& node(const std::string& type, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
    onnx_ir::NodeProto& node = *graph().add_node();
    node.set_op_type(type);
    node.set_name(type + "_" + std::to_string(graph().node_size()));
    for (const std::string& name : inputs) node.add_input(name);
    for (const std::string& name : outputs) node.add_output(name);
    return *this;
  }
  // Attributes of the last node.
  OnnxFile& with(const std::string& name, int64_t value) {
    attribute(name, 2).set_i(value);
    return *this;
  }
  OnnxFile& with(const std::string& name, int value) { return with(name, static_cast<int64_t>(value)); }
  OnnxFile& with(const std::string& name, double value) {
    attribute(name, 1).set_f(static_cast<float>(value));
    return *this;
  }
  OnnxFile& with(const std::string& name, const char* value) {
    attribute(name, 3).set_s(value);
    return *this;
  }
  OnnxFile& with(const std::string& name, const std::vector<int64_t>& values) {
    onnx_ir::AttributeProto& to = attribute(name, 7);
    for (int64_t v : values) to.add_ints(v);
    return *this;
  }
  OnnxFile& with_tensor(const std::string& name, int type, const std::vector<int64_t>& shape, const void* data, size_t bytes) {
    set(*attribute(name, 4).mutable_t(), "", type, shape, data, bytes);
    return *this;
  }

  onnx_ir::ModelProto& model() { return model_; }
  onnx_ir::GraphProto& graph() { return *model_.mutable_graph(); }
  std::string bytes() const { return model_.SerializeAsString(); }

 private:
  onnx_ir::AttributeProto& attribute(const std::string& name, int type) {
    onnx_ir::AttributeProto& to = *graph().mutable_node(graph().node_size() - 1)->add_attribute();
    to.set_name(name);
    to.set_type(type);
    return to;
  }
  OnnxFile& value(onnx_ir::ValueInfoProto& to, const std::string& name, const std::vector<int64_t>& shape, int type) {
    to.set_name(name);
    onnx_ir::TensorTypeProto& tensor = *to.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(type);
    for (int64_t d : shape) {
      onnx_ir::DimensionProto& dimension = *tensor.mutable_shape()->add_dim();
      if (d > 0) dimension.set_dim_value(d);
      if (d <= 0) dimension.set_dim_param("n");
    }
    return *this;
  }
  static void set(onnx_ir::TensorProto& to, const std::string& name, int type, const std::vector<int64_t>& shape, const void* data,
                  size_t bytes) {
    to.set_name(name);
    to.set_data_type(type);
    for (int64_t d : shape) to.add_dims(d);
    if (bytes > 0) to.set_raw_data(data, bytes);
  }

  onnx_ir::ModelProto model_;
};

}  // namespace skerry::test
