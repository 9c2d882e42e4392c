// Writes small TensorFlow Lite files for tests, an operator a line.
#pragma once

#include <string>
#include <vector>

#include "inference/frontends/tflite_ir_generated.h"

namespace skerry::test {

struct TfliteGrid {
  std::vector<float> scale;
  std::vector<int64_t> zero_point;
  int axis = 0;
};

class TfliteFile {
 public:
  using Options = flatbuffers::Offset<void>;

  // Returns the tensor's number. Data: as many bytes as the shape needs, or none.
  int tensor(const std::string& name, const std::vector<int>& shape, tflite_ir::TensorType type = tflite_ir::TensorType_float32,
             const TfliteGrid& grid = {}, const void* data = nullptr, size_t bytes = 0) {
    uint32_t buffer = 0;
    if (data != nullptr) {
      fb_.ForceVectorAlignment(bytes, 1, 16);
      buffers_.push_back(tflite_ir::CreateBuffer(fb_, fb_.CreateVector(static_cast<const uint8_t*>(data), bytes)));
      buffer = static_cast<uint32_t>(buffers_.size());  // buffer 0 is the empty one
    }
    flatbuffers::Offset<tflite_ir::QuantizationParameters> quantization = 0;
    if (!grid.scale.empty()) {
      auto scale = fb_.CreateVector(grid.scale);
      auto zero = fb_.CreateVector(grid.zero_point);
      quantization = tflite_ir::CreateQuantizationParameters(fb_, 0, 0, scale, zero, 0, 0, grid.axis);
    }
    auto shape_offset = fb_.CreateVector(shape);
    auto name_offset = fb_.CreateVector(reinterpret_cast<const uint8_t*>(name.data()), name.size());
    tensors_.push_back(tflite_ir::CreateTensor(fb_, shape_offset, type, buffer, name_offset, quantization));
    return static_cast<int>(tensors_.size()) - 1;
  }
  int floats(const std::string& name, const std::vector<int>& shape, const std::vector<float>& data) {
    return tensor(name, shape, tflite_ir::TensorType_float32, {}, data.data(), data.size() * sizeof(float));
  }
  int ints(const std::string& name, const std::vector<int>& shape, const std::vector<int32_t>& data) {
    return tensor(name, shape, tflite_ir::TensorType_int32, {}, data.data(), data.size() * sizeof(int32_t));
  }
  int int8s(const std::string& name, const std::vector<int>& shape, const TfliteGrid& grid, const std::vector<int8_t>& data) {
    return tensor(name, shape, tflite_ir::TensorType_int8, grid, data.data(), data.size());
  }

  void op(int code, const std::vector<int>& inputs, const std::vector<int>& outputs, Options options = 0) {
    codes_.push_back(tflite_ir::CreateOperatorCode(fb_, static_cast<int8_t>(code < 127 ? code : 127), 0, 1, code));
    auto in = fb_.CreateVector(inputs);
    auto out = fb_.CreateVector(outputs);
    operators_.push_back(tflite_ir::CreateOperator(fb_, static_cast<uint32_t>(codes_.size() - 1), in, out, options.o == 0 ? 0 : 1,
                                                   flatbuffers::Offset<tflite_ir::Options>(options.o)));
  }

  flatbuffers::FlatBufferBuilder& fb() { return fb_; }

  std::string bytes(const std::vector<int>& inputs, const std::vector<int>& outputs) {
    std::vector<flatbuffers::Offset<tflite_ir::Buffer>> buffers = {tflite_ir::CreateBuffer(fb_)};
    buffers.insert(buffers.end(), buffers_.begin(), buffers_.end());
    auto tensors = fb_.CreateVector(tensors_);
    auto in = fb_.CreateVector(inputs);
    auto out = fb_.CreateVector(outputs);
    auto operators = fb_.CreateVector(operators_);
    std::vector<flatbuffers::Offset<tflite_ir::SubGraph>> graphs = {tflite_ir::CreateSubGraph(fb_, tensors, in, out, operators)};
    auto codes = fb_.CreateVector(codes_);
    auto subgraphs = fb_.CreateVector(graphs);
    auto all_buffers = fb_.CreateVector(buffers);
    tflite_ir::FinishModelBuffer(fb_, tflite_ir::CreateModel(fb_, 3, codes, subgraphs, 0, all_buffers));
    return {reinterpret_cast<const char*>(fb_.GetBufferPointer()), fb_.GetSize()};
  }

 private:
  flatbuffers::FlatBufferBuilder fb_;
  std::vector<flatbuffers::Offset<tflite_ir::Buffer>> buffers_;
  std::vector<flatbuffers::Offset<tflite_ir::Tensor>> tensors_;
  std::vector<flatbuffers::Offset<tflite_ir::OperatorCode>> codes_;
  std::vector<flatbuffers::Offset<tflite_ir::Operator>> operators_;
};

}  // namespace skerry::test
