#include "inference/frontends/internal/tflite_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "inference/frontends/internal/builder.h"
#include "inference/frontends/tflite_ir_generated.h"

namespace skerry::inference::frontends {
namespace {

constexpr size_t kFileBytesMax = size_t{1} << 30;
constexpr size_t kOperandsMax = 1 << 20;  // of all operators; parts of the file may be referred to many times
constexpr size_t kScalesMax = 1 << 22;    // of all tensors

// BuiltinOperator of the file format, 0 to 126.
constexpr const char* kNames[] = {"ADD",
                                  "AVERAGE_POOL_2D",
                                  "CONCATENATION",
                                  "CONV_2D",
                                  "DEPTHWISE_CONV_2D",
                                  "DEPTH_TO_SPACE",
                                  "DEQUANTIZE",
                                  "EMBEDDING_LOOKUP",
                                  "FLOOR",
                                  "FULLY_CONNECTED",
                                  "HASHTABLE_LOOKUP",
                                  "L2_NORMALIZATION",
                                  "L2_POOL_2D",
                                  "LOCAL_RESPONSE_NORMALIZATION",
                                  "LOGISTIC",
                                  "LSH_PROJECTION",
                                  "LSTM",
                                  "MAX_POOL_2D",
                                  "MUL",
                                  "RELU",
                                  "RELU_N1_TO_1",
                                  "RELU6",
                                  "RESHAPE",
                                  "RESIZE_BILINEAR",
                                  "RNN",
                                  "SOFTMAX",
                                  "SPACE_TO_DEPTH",
                                  "SVDF",
                                  "TANH",
                                  "CONCAT_EMBEDDINGS",
                                  "SKIP_GRAM",
                                  "CALL",
                                  "CUSTOM",
                                  "EMBEDDING_LOOKUP_SPARSE",
                                  "PAD",
                                  "UNIDIRECTIONAL_SEQUENCE_RNN",
                                  "GATHER",
                                  "BATCH_TO_SPACE_ND",
                                  "SPACE_TO_BATCH_ND",
                                  "TRANSPOSE",
                                  "MEAN",
                                  "SUB",
                                  "DIV",
                                  "SQUEEZE",
                                  "UNIDIRECTIONAL_SEQUENCE_LSTM",
                                  "STRIDED_SLICE",
                                  "BIDIRECTIONAL_SEQUENCE_RNN",
                                  "EXP",
                                  "TOPK_V2",
                                  "SPLIT",
                                  "LOG_SOFTMAX",
                                  "DELEGATE",
                                  "BIDIRECTIONAL_SEQUENCE_LSTM",
                                  "CAST",
                                  "PRELU",
                                  "MAXIMUM",
                                  "ARG_MAX",
                                  "MINIMUM",
                                  "LESS",
                                  "NEG",
                                  "PADV2",
                                  "GREATER",
                                  "GREATER_EQUAL",
                                  "LESS_EQUAL",
                                  "SELECT",
                                  "SLICE",
                                  "SIN",
                                  "TRANSPOSE_CONV",
                                  "SPARSE_TO_DENSE",
                                  "TILE",
                                  "EXPAND_DIMS",
                                  "EQUAL",
                                  "NOT_EQUAL",
                                  "LOG",
                                  "SUM",
                                  "SQRT",
                                  "RSQRT",
                                  "SHAPE",
                                  "POW",
                                  "ARG_MIN",
                                  "FAKE_QUANT",
                                  "REDUCE_PROD",
                                  "REDUCE_MAX",
                                  "PACK",
                                  "LOGICAL_OR",
                                  "ONE_HOT",
                                  "LOGICAL_AND",
                                  "LOGICAL_NOT",
                                  "UNPACK",
                                  "REDUCE_MIN",
                                  "FLOOR_DIV",
                                  "REDUCE_ANY",
                                  "SQUARE",
                                  "ZEROS_LIKE",
                                  "FILL",
                                  "FLOOR_MOD",
                                  "RANGE",
                                  "RESIZE_NEAREST_NEIGHBOR",
                                  "LEAKY_RELU",
                                  "SQUARED_DIFFERENCE",
                                  "MIRROR_PAD",
                                  "ABS",
                                  "SPLIT_V",
                                  "UNIQUE",
                                  "CEIL",
                                  "REVERSE_V2",
                                  "ADD_N",
                                  "GATHER_ND",
                                  "COS",
                                  "WHERE",
                                  "RANK",
                                  "ELU",
                                  "REVERSE_SEQUENCE",
                                  "MATRIX_DIAG",
                                  "QUANTIZE",
                                  "MATRIX_SET_DIAG",
                                  "ROUND",
                                  "HARD_SWISH",
                                  "IF",
                                  "WHILE",
                                  "NON_MAX_SUPPRESSION_V4",
                                  "NON_MAX_SUPPRESSION_V5",
                                  "SCATTER_ND",
                                  "SELECT_V2",
                                  "DENSIFY",
                                  "SEGMENT_SUM",
                                  "BATCH_MATMUL"};

TfliteType type_of(tflite_ir::TensorType type) {
  switch (type) {
    case tflite_ir::TensorType_float32:
      return TfliteType::f32;
    case tflite_ir::TensorType_float16:
      return TfliteType::f16;
    case tflite_ir::TensorType_int8:
      return TfliteType::i8;
    case tflite_ir::TensorType_uint8:
      return TfliteType::u8;
    case tflite_ir::TensorType_int32:
      return TfliteType::i32;
    case tflite_ir::TensorType_int64:
      return TfliteType::i64;
    case tflite_ir::TensorType_bool_:
      return TfliteType::boolean;
    default:
      return TfliteType::other;
  }
}

size_t width_of(TfliteType type) {
  switch (type) {
    case TfliteType::f32:
    case TfliteType::i32:
      return 4;
    case TfliteType::i64:
      return 8;
    case TfliteType::f16:
      return 2;
    default:
      return 1;
  }
}

TfliteActivation activation_of(int8_t code) {
  return code >= 0 && code <= static_cast<int8_t>(TfliteActivation::sign_bit) ? static_cast<TfliteActivation>(code)
                                                                              : TfliteActivation::sign_bit;
}

// The options as the table that the operator's code says they are.
class OptionsReader {
 public:
  OptionsReader(flatbuffers::Verifier& verifier, const tflite_ir::Options* table) : verifier_(verifier), table_(table) {}

  template <typename Table, typename Read>
  Status as(Read read) {
    if (table_ == nullptr) return {};  // all defaults
    const Table* table = reinterpret_cast<const Table*>(table_);
    if (!table->Verify(verifier_)) return fail(Code::invalid, "its options are damaged");
    read(*table);
    return {};
  }

 private:
  flatbuffers::Verifier& verifier_;
  const tflite_ir::Options* table_;
};

template <typename Table>
void read_window(const Table& t, TfliteOptions& out) {
  out.activation = activation_of(t.activation());
  out.same_padding = t.padding() == 0;
  out.stride_w = t.stride_w();
  out.stride_h = t.stride_h();
}

Status read_options(int32_t code, OptionsReader reader, TfliteOptions& out) {
  switch (code) {
    case kConv2d:
      return reader.as<tflite_ir::Conv2D>([&](const auto& t) {
        read_window(t, out);
        out.dilation_w = t.dilation_w();
        out.dilation_h = t.dilation_h();
      });
    case kDepthwiseConv2d:
      return reader.as<tflite_ir::DepthwiseConv2D>([&](const auto& t) {
        read_window(t, out);
        out.dilation_w = t.dilation_w();
        out.dilation_h = t.dilation_h();
      });
    case kAveragePool2d:
    case kMaxPool2d:
      return reader.as<tflite_ir::Pool2D>([&](const auto& t) {
        read_window(t, out);
        out.filter_w = t.filter_width();
        out.filter_h = t.filter_height();
      });
    case kFullyConnected:
      return reader.as<tflite_ir::FullyConnected>([&](const auto& t) {
        out.activation = activation_of(t.activation());
        out.shuffled_weights = t.weights_format() != 0;
        out.keep_dimensions = t.keep_num_dims();
      });
    case kConcatenation:
      return reader.as<tflite_ir::Concatenation>([&](const auto& t) {
        out.activation = activation_of(t.activation());
        out.axis = t.axis();
      });
    case kAdd:
    case kSub:
    case kMul:
    case kDiv:
      return reader.as<tflite_ir::Activated>([&](const auto& t) { out.activation = activation_of(t.activation()); });
    case kSoftmax:
      return reader.as<tflite_ir::Softmax>([&](const auto& t) { out.beta = t.beta(); });
    case kMean:
    case kSum:
    case kReduceMax:
      return reader.as<tflite_ir::Reducer>([&](const auto& t) { out.keep_dimensions = t.keep_dims(); });
    case kLeakyRelu:
      return reader.as<tflite_ir::LeakyRelu>([&](const auto& t) { out.alpha = t.alpha(); });
    case kGelu:
      return reader.as<tflite_ir::Gelu>([&](const auto& t) { out.approximate = t.approximate(); });
    case kStridedSlice:
      return reader.as<tflite_ir::StridedSlice>([&](const auto& t) {
        out.begin_mask = t.begin_mask();
        out.end_mask = t.end_mask();
        out.ellipsis_mask = t.ellipsis_mask();
        out.new_axis_mask = t.new_axis_mask();
        out.shrink_axis_mask = t.shrink_axis_mask();
      });
    case kBatchMatMul:
      return reader.as<tflite_ir::BatchMatMul>([&](const auto& t) {
        out.adjoint_x = t.adjoint_x();
        out.adjoint_y = t.adjoint_y();
      });
    case kSequenceLstm:
      return reader.as<tflite_ir::SequenceLstm>([&](const auto& t) {
        out.activation = activation_of(t.activation());
        out.cell_clip = t.cell_clip();
        out.projection_clip = t.projection_clip();
        out.time_major = t.time_major();
      });
    default:
      return {};
  }
}

Result<std::optional<graph::Quantization>> quantization_of(const tflite_ir::Tensor& from, size_t& scales) {
  const tflite_ir::QuantizationParameters* given = from.quantization();
  if (given == nullptr || given->scale() == nullptr || given->scale()->size() == 0) return std::optional<graph::Quantization>();
  if (given->details_type() != 0) return fail(Code::unavailable, "has a quantization of its own kind");
  graph::Quantization q;
  scales += given->scale()->size();
  if (scales > kScalesMax) return fail(Code::invalid, "is one of too many with scales");
  q.scale.assign(given->scale()->begin(), given->scale()->end());
  q.zero_point.assign(q.scale.size(), 0);
  if (given->zero_point() != nullptr && given->zero_point()->size() > 0) {
    const size_t zeros = given->zero_point()->size();
    if (zeros != q.scale.size() && zeros != 1) return fail(Code::invalid, "has {} scales and {} zero points", q.scale.size(), zeros);
    for (size_t i = 0; i < q.scale.size(); ++i) {
      int64_t zero = 0;  // the verifier makes sure of four bytes' alignment, not of eight
      std::memcpy(&zero, given->zero_point()->Data() + (zeros == 1 ? 0 : i) * sizeof(zero), sizeof(zero));
      if (zero < INT32_MIN || zero > INT32_MAX) return fail(Code::invalid, "has a zero point of {}", zero);
      q.zero_point[i] = static_cast<int32_t>(zero);
    }
  }
  q.axis = q.scale.size() > 1 ? given->quantized_dimension() : 0;
  return std::optional<graph::Quantization>(std::move(q));
}

Result<std::span<const std::byte>> data_of(const tflite_ir::Model& model, const tflite_ir::Tensor& from) {
  std::span<const std::byte> none;
  if (from.buffer() == 0 || model.buffers() == nullptr) return none;
  if (from.buffer() >= model.buffers()->size()) return fail(Code::invalid, "refers to buffer {}, which does not exist", from.buffer());
  const tflite_ir::Buffer* buffer = model.buffers()->Get(from.buffer());
  if (buffer == nullptr || buffer->data() == nullptr) return none;
  return std::span(reinterpret_cast<const std::byte*>(buffer->data()->data()), buffer->data()->size());
}

Result<TfliteTensor> tensor_of(const tflite_ir::Model& model, const tflite_ir::Tensor& from, size_t& scales) {
  TfliteTensor tensor;
  if (from.name() != nullptr) tensor.name = printable({reinterpret_cast<const char*>(from.name()->data()), from.name()->size()});
  tensor.type = type_of(from.type());
  if (from.shape() != nullptr) {
    if (from.shape()->size() > 2 * graph::kRankMax)
      return fail(Code::unavailable, "'{}' has {} dimensions", tensor.name, from.shape()->size());
    tensor.shape.assign(from.shape()->begin(), from.shape()->end());
  }
  for (int64_t& dimension : tensor.shape) dimension = dimension < 0 ? -1 : dimension;
  const int64_t count = graph::elements(tensor.shape);
  if (count < 0) return fail(Code::invalid, "'{}' has more than {} elements", tensor.name, graph::kElementsMax);
  Result<std::span<const std::byte>> data = data_of(model, from);
  if (!data) return fail(Code::invalid, "'{}' {}", tensor.name, data.error().message);
  tensor.data = *data;
  if (!tensor.data.empty() && tensor.type != TfliteType::other &&
      tensor.data.size() != static_cast<size_t>(count) * width_of(tensor.type)) {
    return fail(Code::invalid, "'{}' has {} bytes, its shape needs {}", tensor.name, tensor.data.size(),
                static_cast<size_t>(count) * width_of(tensor.type));
  }
  if (tensor.type != TfliteType::i8 && tensor.type != TfliteType::u8 && tensor.type != TfliteType::i32) return tensor;
  Result<std::optional<graph::Quantization>> quantization = quantization_of(from, scales);
  if (!quantization) return fail(quantization.error().code, "'{}' {}", tensor.name, quantization.error().message);
  tensor.quantization = std::move(*quantization);
  return tensor;
}

Result<std::vector<int32_t>> indices(const flatbuffers::Vector<int32_t>* from, size_t tensors, size_t& operands) {
  std::vector<int32_t> out;
  if (from == nullptr) return out;
  operands += from->size();
  if (operands > kOperandsMax) return fail(Code::invalid, "the model has more than {} operands", kOperandsMax);
  for (int32_t index : *from) {
    if (index < -1 || index >= static_cast<int64_t>(tensors))
      return fail(Code::invalid, "the model refers to tensor {}, which does not exist", index);
    out.push_back(index);
  }
  return out;
}

Result<int32_t> code_of(const tflite_ir::Model& model, const tflite_ir::Operator& from) {
  if (model.operator_codes() == nullptr || from.opcode_index() >= model.operator_codes()->size()) {
    return fail(Code::invalid, "an operator refers to code {}, which does not exist", from.opcode_index());
  }
  const tflite_ir::OperatorCode* entry = model.operator_codes()->Get(from.opcode_index());
  const int32_t code = std::max<int32_t>(entry->deprecated_code(), entry->code());  // old files have the first alone
  if (code != kCustom) return code;
  std::string name;
  if (entry->custom_code() != nullptr)
    name = printable({reinterpret_cast<const char*>(entry->custom_code()->data()), entry->custom_code()->size()});
  return fail(Code::unavailable, "operator CUSTOM '{}' is not supported", name);
}

Result<TfliteModel> model_of(const tflite_ir::Model& from, flatbuffers::Verifier& verifier) {
  if (from.version() != 3)
    return fail(Code::unavailable, "the file has version {} of the TensorFlow Lite format; 3 is supported", from.version());
  if (from.subgraphs() == nullptr || from.subgraphs()->size() != 1) {
    return fail(Code::unavailable, "the model has {} subgraphs; control flow is not supported",
                from.subgraphs() == nullptr ? 0 : from.subgraphs()->size());
  }
  const tflite_ir::SubGraph& graph = *from.subgraphs()->Get(0);
  if (graph.tensors() == nullptr || graph.operators() == nullptr) return fail(Code::invalid, "the model is empty");
  if (graph.tensors()->size() > graph::kValuesMax || graph.operators()->size() > graph::kNodesMax) {
    return fail(Code::invalid, "the model has {} operators and {} tensors, at most {} and {}", graph.operators()->size(),
                graph.tensors()->size(), graph::kNodesMax, graph::kValuesMax);
  }
  TfliteModel model;
  size_t scales = 0, operands = 0;
  for (const tflite_ir::Tensor* tensor : *graph.tensors()) {
    Result<TfliteTensor> plain = tensor_of(from, *tensor, scales);
    if (!plain) return fail(plain.error().code, "tensor {}", plain.error().message);
    model.tensors.push_back(std::move(*plain));
  }
  for (const tflite_ir::Operator* op : *graph.operators()) {
    TfliteOperator plain;
    SKERRY_ASSIGN(plain.code, code_of(from, *op));
    SKERRY_ASSIGN(plain.inputs, indices(op->inputs(), model.tensors.size(), operands));
    SKERRY_ASSIGN(plain.outputs, indices(op->outputs(), model.tensors.size(), operands));
    if (Status read = read_options(plain.code, OptionsReader(verifier, op->options()), plain.options); !read.ok()) {
      return fail(Code::invalid, "operator {}: {}", tflite_name(plain.code), read.error().message);
    }
    model.operators.push_back(std::move(plain));
  }
  SKERRY_ASSIGN(model.inputs, indices(graph.inputs(), model.tensors.size(), operands));
  SKERRY_ASSIGN(model.outputs, indices(graph.outputs(), model.tensors.size(), operands));
  const bool left_out =
      std::count(model.inputs.begin(), model.inputs.end(), -1) + std::count(model.outputs.begin(), model.outputs.end(), -1) > 0;
  if (model.inputs.empty() || model.outputs.empty() || left_out) return fail(Code::invalid, "the model has no inputs or no outputs");
  return model;
}

}  // namespace

std::string tflite_name(int32_t code) {
  if (code >= 0 && code < static_cast<int32_t>(std::size(kNames))) return kNames[code];
  return code == kGelu ? "GELU" : fmt::format("number {}", code);
}

Result<TfliteModel> parse_tflite(std::span<const std::byte> file) {
  if (file.size() > kFileBytesMax) return fail(Code::invalid, "the file has {} bytes, at most {}", file.size(), kFileBytesMax);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(file.data());
  constexpr size_t kIdentifierEnd = 8;
  if (file.size() < kIdentifierEnd || !tflite_ir::ModelBufferHasIdentifier(bytes))
    return fail(Code::invalid, "this is no TensorFlow Lite file");
  // The verifier and the readers want the file aligned as it would be mapped.
  if (reinterpret_cast<uintptr_t>(bytes) % alignof(std::max_align_t) != 0) return fail(Code::internal, "the file's memory is not aligned");
  flatbuffers::Verifier verifier(bytes, file.size());
  if (!tflite_ir::VerifyModelBuffer(verifier)) return fail(Code::invalid, "the TensorFlow Lite file is damaged, or cut off");
  SKERRY_ASSIGN(TfliteModel model, model_of(*tflite_ir::GetModel(bytes), verifier));
  model.file_bytes = file.size();
  return model;
}

}  // namespace skerry::inference::frontends
