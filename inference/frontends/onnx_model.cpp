#include "inference/frontends/internal/onnx_model.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "inference/frontends/internal/builder.h"
#include "inference/frontends/onnx_ir.pb.h"

namespace skerry::inference::frontends {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr size_t kFileBytesMax = size_t{1} << 30;
constexpr size_t kPartsMax = 1 << 20;  // messages and texts: each costs a few hundred bytes of memory, however short it is in the file

// Which fields hold messages that we parse, on the way from the model down to a tensor.
enum class Level { model, graph, node, attribute, leaf };
Level below(Level level, int field) {
  if (level == Level::model) return field == 7 ? Level::graph : Level::leaf;
  if (level == Level::graph) return field == 1 ? Level::node : Level::leaf;
  if (level == Level::node) return field == 5 ? Level::attribute : Level::leaf;
  return Level::leaf;
}

// Counts the length-delimited fields before anything is allocated for them. False: too many, or not protobuf.
bool count_parts(CodedInputStream& in, Level level, size_t& parts) {
  for (;;) {
    const uint32_t tag = in.ReadTagNoLastTag();
    if (tag == 0) return true;
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) return false;
      continue;
    }
    if (++parts > kPartsMax) return false;
    uint32_t length = 0;
    if (!in.ReadVarint32(&length) || length > static_cast<uint32_t>(std::numeric_limits<int>::max())) return false;
    const Level inner = below(level, WireFormatLite::GetTagFieldNumber(tag));
    if (inner == Level::leaf) {
      if (!in.Skip(static_cast<int>(length))) return false;
      continue;
    }
    CodedInputStream::Limit limit = in.PushLimit(static_cast<int>(length));
    if (!count_parts(in, inner, parts) || in.BytesUntilLimit() != 0) return false;
    in.PopLimit(limit);
  }
}

template <typename To, typename From>
graph::Bytes packed(const From& values) {
  auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(values.size()) * sizeof(To));
  for (int i = 0; i < values.size(); ++i) {
    const To value = static_cast<To>(values.Get(i));
    std::memcpy(bytes->data() + static_cast<size_t>(i) * sizeof(To), &value, sizeof(To));
  }
  return bytes;
}

graph::Bytes copied(const std::string& raw) {
  auto bytes = std::make_shared<std::vector<std::byte>>(raw.size());
  if (!raw.empty()) std::memcpy(bytes->data(), raw.data(), raw.size());
  return bytes;
}

// TensorProto.DataType of the specification.
enum OnnxType {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kBfloat16 = 16
};

Result<graph::ElementType> element_type(int type) {
  switch (type) {
    case kFloat:
    case kDouble:
      return graph::ElementType::f32;
    case kUint8:
      return graph::ElementType::u8;
    case kInt8:
      return graph::ElementType::i8;
    case kInt32:
      return graph::ElementType::i32;
    case kInt64:
      return graph::ElementType::i64;
    case kBool:
      return graph::ElementType::boolean;
    default:
      return fail(Code::unavailable, "has the data type {}; float, double, int8, uint8, int32, int64 and bool are supported", type);
  }
}

graph::Bytes narrowed(const std::string& raw) {
  std::vector<double> doubles(raw.size() / sizeof(double));
  if (!doubles.empty()) std::memcpy(doubles.data(), raw.data(), doubles.size() * sizeof(double));
  auto bytes = std::make_shared<std::vector<std::byte>>(doubles.size() * sizeof(float));
  for (size_t i = 0; i < doubles.size(); ++i) {
    const float value = static_cast<float>(doubles[i]);
    std::memcpy(bytes->data() + i * sizeof(float), &value, sizeof(float));
  }
  return bytes;
}

graph::Bytes data_of(const onnx_ir::TensorProto& tensor) {
  if (!tensor.raw_data().empty()) return tensor.data_type() == kDouble ? narrowed(tensor.raw_data()) : copied(tensor.raw_data());
  switch (tensor.data_type()) {
    case kFloat:
      return packed<float>(tensor.float_data());
    case kDouble:
      return packed<float>(tensor.double_data());
    case kInt64:
      return packed<int64_t>(tensor.int64_data());
    case kInt32:
      return packed<int32_t>(tensor.int32_data());
    case kInt8:
      return packed<int8_t>(tensor.int32_data());
    default:
      return packed<uint8_t>(tensor.int32_data());
  }
}

Result<OnnxTensor> tensor_of(const onnx_ir::TensorProto& from) {
  OnnxTensor tensor;
  tensor.name = from.name();
  const std::string shown = printable(from.name());
  if (from.data_location() != 0) {
    return fail(Code::unavailable, "tensor '{}' lies in another file: save the model with its data inside (no external data)", shown);
  }
  Result<graph::ElementType> type = element_type(from.data_type());
  if (!type) return fail(type.error().code, "tensor '{}' {}", shown, type.error().message);
  tensor.type = *type;
  tensor.shape.assign(from.dims().begin(), from.dims().end());
  const bool negative = std::any_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t d) { return d < 0; });
  const int64_t count = negative || tensor.shape.size() > 2 * graph::kRankMax ? -1 : graph::elements(tensor.shape);
  if (count < 0) return fail(Code::invalid, "tensor '{}' has a shape that is negative or over {} elements", shown, graph::kElementsMax);
  tensor.data = data_of(from);
  if (tensor.data->size() != static_cast<size_t>(count) * bytes_of(tensor.type)) {
    return fail(Code::invalid, "tensor '{}' has {} bytes, its shape needs {}", shown, tensor.data->size(),
                static_cast<size_t>(count) * bytes_of(tensor.type));
  }
  return tensor;
}

Result<OnnxNode> node_of(const onnx_ir::NodeProto& from) {
  OnnxNode node;
  node.type = printable(from.op_type());
  node.domain = printable(from.domain());
  node.inputs.assign(from.input().begin(), from.input().end());
  node.outputs.assign(from.output().begin(), from.output().end());
  node.name = printable(!from.name().empty() ? from.name() : !node.outputs.empty() ? node.outputs[0] : from.op_type());
  for (const onnx_ir::AttributeProto& attribute : from.attribute()) {
    OnnxAttribute& to = node.attributes[attribute.name()];
    to.i = attribute.i();
    to.f = attribute.f();
    to.s = attribute.s();
    to.ints.assign(attribute.ints().begin(), attribute.ints().end());
    to.floats.assign(attribute.floats().begin(), attribute.floats().end());
    to.strings.assign(attribute.strings().begin(), attribute.strings().end());
    if (!attribute.has_t()) continue;
    Result<OnnxTensor> tensor = tensor_of(attribute.t());
    if (!tensor) return fail(tensor.error().code, "node '{}' ({}): {}", node.name, node.type, tensor.error().message);
    to.tensor = {std::move(*tensor)};
  }
  return node;
}

Result<OnnxValue> value_of(const onnx_ir::ValueInfoProto& from) {
  OnnxValue value;
  value.name = from.name();
  const onnx_ir::TensorTypeProto& tensor = from.type().tensor_type();
  Result<graph::ElementType> type = element_type(tensor.elem_type());
  if (!type) return fail(type.error().code, "'{}' {}", printable(value.name), type.error().message);
  value.type = *type;
  for (const onnx_ir::DimensionProto& dimension : tensor.shape().dim()) {
    const bool known = dimension.value_case() == onnx_ir::DimensionProto::kDimValue && dimension.dim_value() > 0;
    value.shape.push_back(known ? dimension.dim_value() : -1);
  }
  return value;
}

Result<int64_t> opset_of(const onnx_ir::ModelProto& model) {
  for (const onnx_ir::OperatorSetIdProto& set : model.opset_import()) {
    if (!set.domain().empty() && set.domain() != "ai.onnx") continue;
    if (set.version() < 11 || set.version() > 17) {
      return fail(Code::unavailable, "the model uses ONNX opset {}; 11 to 17 are supported: convert it with onnx.version_converter",
                  set.version());
    }
    return set.version();
  }
  return fail(Code::invalid, "the model names no ONNX operator set: is it an ONNX file?");
}

Result<OnnxModel> model_of(const onnx_ir::ModelProto& from) {
  OnnxModel model;
  SKERRY_ASSIGN(model.opset, opset_of(from));
  if (static_cast<size_t>(from.graph().node_size()) > graph::kNodesMax) {
    return fail(Code::invalid, "the model has {} nodes, at most {}", from.graph().node_size(), graph::kNodesMax);
  }
  for (const onnx_ir::TensorProto& initializer : from.graph().initializer()) {
    SKERRY_ASSIGN(OnnxTensor tensor, tensor_of(initializer));
    model.initializers[tensor.name] = std::move(tensor);
  }
  for (const onnx_ir::NodeProto& proto : from.graph().node()) {
    SKERRY_ASSIGN(OnnxNode node, node_of(proto));
    model.nodes.push_back(std::move(node));
  }
  for (const onnx_ir::ValueInfoProto& proto : from.graph().input()) {
    if (model.initializers.contains(proto.name())) continue;
    SKERRY_ASSIGN(OnnxValue value, value_of(proto));
    model.inputs.push_back(std::move(value));
  }
  for (const onnx_ir::ValueInfoProto& proto : from.graph().output()) {
    SKERRY_ASSIGN(OnnxValue value, value_of(proto));
    model.outputs.push_back(std::move(value));
  }
  if (model.inputs.empty() || model.outputs.empty()) return fail(Code::invalid, "the model has no inputs or no outputs");
  return model;
}

}  // namespace

std::vector<int64_t> OnnxTensor::ints() const {
  std::vector<int64_t> out;
  graph::Value value{name, type, shape, std::nullopt, data};
  if (type == graph::ElementType::i64) {
    out.resize(data->size() / sizeof(int64_t));
    if (!out.empty()) std::memcpy(out.data(), data->data(), data->size());
    return out;
  }
  if (type == graph::ElementType::i32) {
    std::vector<int32_t> stored(data->size() / sizeof(int32_t));
    if (!stored.empty()) std::memcpy(stored.data(), data->data(), data->size());
    return {stored.begin(), stored.end()};
  }
  for (float f : real_values(value)) out.push_back(std::fabs(f) < 9e18f ? static_cast<int64_t>(f) : 0);
  return out;
}

int64_t OnnxNode::integer(const std::string& attribute, int64_t otherwise) const {
  auto at = attributes.find(attribute);
  return at == attributes.end() ? otherwise : at->second.i;
}
float OnnxNode::real(const std::string& attribute, float otherwise) const {
  auto at = attributes.find(attribute);
  return at == attributes.end() ? otherwise : at->second.f;
}
std::string OnnxNode::text(const std::string& attribute, const std::string& otherwise) const {
  auto at = attributes.find(attribute);
  return at == attributes.end() ? otherwise : at->second.s;
}
std::vector<int64_t> OnnxNode::integers(const std::string& attribute, const std::vector<int64_t>& otherwise) const {
  auto at = attributes.find(attribute);
  return at == attributes.end() ? otherwise : at->second.ints;
}

Result<OnnxModel> parse_onnx(std::span<const std::byte> file) {
  if (file.size() > kFileBytesMax) return fail(Code::invalid, "the file has {} bytes, at most {}", file.size(), kFileBytesMax);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(file.data());
  CodedInputStream counted(bytes, static_cast<int>(file.size()));
  size_t parts = 0;
  if (!count_parts(counted, Level::model, parts)) {
    return fail(Code::invalid, "this is no ONNX file, it is cut off, or it has more than {} parts", kPartsMax);
  }
  onnx_ir::ModelProto model;
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())))
    return fail(Code::invalid, "this is no ONNX file, or it is damaged");
  SKERRY_ASSIGN(OnnxModel plain, model_of(model));
  plain.file_bytes = file.size();
  return plain;
}

}  // namespace skerry::inference::frontends
