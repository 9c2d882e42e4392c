// The answer of an inference: JSON, and the outputs that are wanted as raw bytes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "node/internal/infer_message.h"
#include "node/internal/rest.h"
#include "node/internal/tensor_values.h"

namespace skerry::node {
namespace {

using inference::DataType;
using inference::Tensor;

// The best `classes` of each row, as "score:index:label".
Tensor classified(const Tensor& scores, uint32_t classes, const std::vector<std::string>& labels) {
  const auto rows = static_cast<size_t>(scores.shape[0]);
  const std::vector<float> values = scores.floats();
  const size_t columns = rows == 0 ? 0 : values.size() / rows, kept = std::min<size_t>(classes, columns);
  Tensor out{scores.name, DataType::bytes, {scores.shape[0], static_cast<int64_t>(kept)}, {}};
  std::vector<size_t> order(columns);
  for (size_t row = 0; row < rows; ++row) {
    const float* of_row = values.data() + row * columns;
    std::iota(order.begin(), order.end(), size_t{0});
    std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(kept), order.end(),
                      [&](size_t a, size_t b) { return of_row[a] != of_row[b] ? of_row[a] > of_row[b] : a < b; });
    for (size_t k = 0; k < kept; ++k) {
      std::string text = fmt::format("{}:{}", of_row[order[k]], order[k]);
      if (order[k] < labels.size()) text += ":" + labels[order[k]];
      append_bytes_element(out.data, text);
    }
  }
  return out;
}

template <typename T>
void append_values(std::string& out, const Tensor& tensor) {
  const size_t count = tensor.data.size() / sizeof(T);
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, tensor.data.data() + i * sizeof(T), sizeof(T));
    if (i > 0) out += ',';
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(value)) {
        out += "null";
        continue;
      }
    }
    fmt::format_to(std::back_inserter(out), "{}", value);
  }
}

void append_texts(std::string& out, const Tensor& tensor) {
  bool first = true;
  for (size_t at = 0; at + sizeof(uint32_t) <= tensor.data.size();) {
    uint32_t length = 0;
    std::memcpy(&length, tensor.data.data() + at, sizeof length);
    at += sizeof length;
    if (!first) out += ',';
    first = false;
    append_json_string(out, {reinterpret_cast<const char*>(tensor.data.data() + at), length});
    at += length;
  }
}

void append_output(InferAnswer& out, const Tensor& tensor, bool binary) {
  std::string& json = out.json;
  json += json.back() == '[' ? "{\"name\":" : ",{\"name\":";
  append_json_string(json, tensor.name);
  fmt::format_to(std::back_inserter(json), ",\"datatype\":\"{}\",\"shape\":[{}]", inference::to_string(tensor.type),
                 fmt::join(tensor.shape, ","));
  const bool half = tensor.type == DataType::fp16 || tensor.type == DataType::bf16;  // JSON has no form for them
  if (binary || half) {
    fmt::format_to(std::back_inserter(json), ",\"parameters\":{{\"binary_data_size\":{}}}}}", tensor.data.size());
    out.raw.emplace_back(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    return;
  }
  json += ",\"data\":[";
  if (tensor.type == DataType::bytes) append_texts(json, tensor);
  else with_type(tensor.type, [&]<typename T>(T) { append_values<T>(json, tensor); });
  json += "]}";
}

}  // namespace

InferAnswer write_infer(const inference::Answer& answer, const InferRequest& request, const inference::PackageInfo& info) {
  InferAnswer out;
  out.json.reserve(256);
  out.json = "{\"model_name\":";
  append_json_string(out.json, answer.model);
  fmt::format_to(std::back_inserter(out.json), ",\"model_version\":\"{}\"", answer.version);
  if (request.id) {
    out.json += ",\"id\":";
    append_json_string(out.json, *request.id);
  }
  out.json += ",\"outputs\":[";
  for (const Tensor& tensor : answer.outputs) {
    if (request.outputs.empty()) append_output(out, tensor, request.binary);
    for (const RequestedOutput& wanted : request.outputs) {
      if (wanted.name != tensor.name) continue;
      const bool binary = wanted.binary.value_or(request.binary);
      if (wanted.classes > 0) append_output(out, classified(tensor, wanted.classes, info.labels), binary);
      else append_output(out, tensor, binary);
    }
  }
  out.json += "]}";
  return out;
}

}  // namespace skerry::node
