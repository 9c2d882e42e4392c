// A TensorFlow Lite file as plain structures: verified, bounded; data of constants is a view into the file. The only door to its
// FlatBuffers form. On failure: invalid; unavailable for what the format allows and we don't.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "inference/graph/graph.h"

namespace skerry::inference::frontends {

enum class TfliteType : uint8_t { f32, f16, i8, u8, i32, i64, boolean, other };

struct TfliteTensor {
  std::string name;
  TfliteType type = TfliteType::f32;
  graph::Shape shape;
  std::optional<graph::Quantization> quantization;  // of i8, u8 and i32 only
  std::span<const std::byte> data;                  // empty: computed, or an input
};

enum class TfliteActivation : uint8_t { none = 0, relu = 1, relu_n1_to_1 = 2, relu6 = 3, tanh = 4, sign_bit = 5 };

struct TfliteOptions {  // what the operator's own table says; the rest is as it stands here
  TfliteActivation activation = TfliteActivation::none;
  bool same_padding = true;
  int64_t stride_w = 1, stride_h = 1, dilation_w = 1, dilation_h = 1, filter_w = 1, filter_h = 1;
  int64_t axis = 0;
  float beta = 1, alpha = 0, cell_clip = 0, projection_clip = 0;
  int32_t begin_mask = 0, end_mask = 0, ellipsis_mask = 0, new_axis_mask = 0, shrink_axis_mask = 0;
  bool keep_dimensions = false, shuffled_weights = false, adjoint_x = false, adjoint_y = false, time_major = false, approximate = false;
};

struct TfliteOperator {
  int32_t code = 0;
  std::vector<int32_t> inputs, outputs;  // indices of tensors; -1: left out
  TfliteOptions options;
};

struct TfliteModel {
  size_t file_bytes = 0;
  std::vector<TfliteTensor> tensors;
  std::vector<TfliteOperator> operators;
  std::vector<int32_t> inputs, outputs;
};

// Codes of BuiltinOperator that have options or meaning here; the name of any code.
enum TfliteCode : int32_t {
  kAdd = 0,
  kAveragePool2d = 1,
  kConcatenation = 2,
  kConv2d = 3,
  kDepthwiseConv2d = 4,
  kDequantize = 6,
  kFullyConnected = 9,
  kLogistic = 14,
  kMaxPool2d = 17,
  kMul = 18,
  kRelu = 19,
  kReluN1To1 = 20,
  kRelu6 = 21,
  kReshape = 22,
  kSoftmax = 25,
  kTanh = 28,
  kCustom = 32,
  kPad = 34,
  kGather = 36,
  kTranspose = 39,
  kMean = 40,
  kSub = 41,
  kDiv = 42,
  kSqueeze = 43,
  kSequenceLstm = 44,
  kStridedSlice = 45,
  kExp = 47,
  kSplit = 49,
  kLogSoftmax = 50,
  kPrelu = 54,
  kMaximum = 55,
  kMinimum = 57,
  kNeg = 59,
  kPadV2 = 60,
  kSlice = 65,
  kExpandDims = 70,
  kLog = 73,
  kSum = 74,
  kSqrt = 75,
  kRsqrt = 76,
  kShape = 77,
  kPow = 78,
  kReduceMax = 82,
  kPack = 83,
  kSquare = 92,
  kLeakyRelu = 98,
  kSquaredDifference = 99,
  kAbs = 101,
  kSplitV = 102,
  kElu = 111,
  kQuantize = 114,
  kHardSwish = 117,
  kBatchMatMul = 126,
  kGelu = 150
};
std::string tflite_name(int32_t code);

Result<TfliteModel> parse_tflite(std::span<const std::byte> file);

}  // namespace skerry::inference::frontends
