#include "node/internal/infer_json.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kInputsMax = 16;
constexpr size_t kRankMax = 8;
constexpr size_t kParserKeptBytes = 256 << 10;  // a parser that grew beyond is not kept for the next request

struct Specs {
  const inference::PackageInfo& info;
  const std::vector<inference::TensorSpec>& inputs;
  const std::vector<inference::TensorSpec>& outputs;
};

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// Row-major values, nested or flat.
Status append_floats(dom::element element, const std::string& input, size_t count_max, std::vector<float>& out, size_t depth = 0) {
  if (element.is_array()) {
    if (depth > kRankMax) return fail(Code::invalid, "the data of input '{}' is nested deeper than {} levels", input, kRankMax);
    for (dom::element child : dom::array(element)) SKERRY_TRY(append_floats(child, input, count_max, out, depth + 1));
    return {};
  }
  double number = 0;
  if (element.get_double().get(number) != simdjson::SUCCESS) {
    return fail(Code::invalid, "element {} of input '{}' is not a number: JSON has no NaN, leave such windows out", out.size(), input);
  }
  float value = static_cast<float>(number);
  if (!std::isfinite(value)) {
    return fail(Code::invalid, "element {} of input '{}' is too large for FP32", out.size(), input);
  }
  if (out.size() == count_max) {
    return fail(Code::invalid, "input '{}' has more data than its shape says ({} values)", input, count_max);
  }
  out.push_back(value);
  return {};
}

Result<std::string> required_text(dom::element object, const char* name, const std::string& of) {
  std::string_view text;
  if (object[name].get_string().get(text) != simdjson::SUCCESS) {
    return fail(Code::invalid, "{} has no '{}': it must be a string", of, name);
  }
  return std::string(text.substr(0, 256));
}

Result<inference::Tensor> read_input(dom::element element, const Specs& model) {
  if (!element.is_object()) return fail(Code::invalid, "'inputs' must be a list of objects");
  SKERRY_ASSIGN(std::string name, required_text(element, "name", "an input"));
  const std::string of = fmt::format("input '{}'", name);
  SKERRY_ASSIGN(std::string datatype, required_text(element, "datatype", of));
  const inference::TensorSpec* spec = nullptr;
  for (const auto& candidate : model.inputs) {
    if (candidate.name == name) spec = &candidate;
  }
  if (!spec) {
    return fail(Code::invalid, "{}/{} has no input '{}': it takes '{}'", model.info.name, model.info.version, name,
                model.inputs.front().name);
  }
  if (datatype != inference::to_string(spec->type)) {
    return fail(Code::invalid, "{} has datatype {}, {} is expected", of, datatype, inference::to_string(spec->type));
  }
  dom::array sizes;
  if (element["shape"].get_array().get(sizes) != simdjson::SUCCESS) {
    return fail(Code::invalid, "{} has no 'shape': write a list of numbers, {} is expected", of, shape_text(spec->shape));
  }
  inference::Tensor tensor{.name = name, .type = spec->type};
  for (dom::element size : sizes) {
    int64_t number = 0;
    if (size.get_int64().get(number) != simdjson::SUCCESS || number < 0 || tensor.shape.size() >= kRankMax) {
      return fail(Code::invalid, "the shape of {} must be at most {} numbers that are not negative, {} is expected", of, kRankMax,
                  shape_text(spec->shape));
    }
    tensor.shape.push_back(number);
  }
  // Before reading the data: what does not fit is refused without having been copied.
  bool fits = tensor.shape.size() == spec->shape.size() && tensor.elements() >= 0;
  for (size_t i = 0; fits && i < spec->shape.size(); ++i) fits = spec->shape[i] < 0 || spec->shape[i] == tensor.shape[i];
  if (!fits) return fail(Code::invalid, "{} has shape {}, {} is expected", of, shape_text(tensor.shape), shape_text(spec->shape));
  dom::element data;
  if (element["data"].get(data) != simdjson::SUCCESS || !data.is_array()) {
    return fail(Code::invalid, "{} has no 'data': write a list of numbers, nested or flat", of);
  }
  const auto count = static_cast<size_t>(tensor.elements());
  std::vector<float> values;
  SKERRY_TRY(append_floats(data, name, count, values));
  if (values.size() != count) {
    return fail(Code::invalid, "{} has {} values, its shape {} needs {}", of, values.size(), shape_text(tensor.shape), count);
  }
  tensor.data.resize(count * sizeof(float));
  if (count > 0) std::memcpy(tensor.data.data(), values.data(), tensor.data.size());
  return tensor;
}

Result<InferRequest> read_request(dom::element root, const Specs& model) {
  if (!root.is_object()) return fail(Code::invalid, "the body is not a JSON object: write {{\"inputs\":[...]}}");
  InferRequest request;
  dom::element id;
  if (root["id"].get(id) == simdjson::SUCCESS) {
    std::string_view text;
    if (id.get_string().get(text) != simdjson::SUCCESS || text.size() > 1024) {
      return fail(Code::invalid, "'id' must be a string of at most 1024 bytes");
    }
    request.id = std::string(text);
  }
  dom::array inputs;
  if (root["inputs"].get_array().get(inputs) != simdjson::SUCCESS) {
    return fail(Code::invalid, "there is no 'inputs': write [{{\"name\":\"{}\",\"shape\":{},\"datatype\":\"{}\",\"data\":[...]}}]",
                model.inputs.front().name, shape_text(model.inputs.front().shape), inference::to_string(model.inputs.front().type));
  }
  for (dom::element input : inputs) {
    if (request.inputs.size() >= kInputsMax) return fail(Code::invalid, "more than {} inputs", kInputsMax);
    SKERRY_ASSIGN(request.inputs.emplace_back(), read_input(input, model));
  }
  dom::element outputs;
  if (root["outputs"].get(outputs) == simdjson::SUCCESS) {
    if (!outputs.is_array()) return fail(Code::invalid, "'outputs' must be a list of objects with a name");
    for (dom::element output : dom::array(outputs)) {
      SKERRY_ASSIGN(std::string name, required_text(output, "name", "an output"));
      bool known = false;
      for (const auto& spec : model.outputs) known = known || spec.name == name;
      if (!known) return fail(Code::invalid, "{} has no output '{}': it has '{}'", model.info.name, name, model.outputs.front().name);
      request.outputs.push_back(std::move(name));
      if (request.outputs.size() > kInputsMax) return fail(Code::invalid, "more than {} outputs", kInputsMax);
    }
  }
  return request;
}

}  // namespace

Result<InferRequest> parse_infer(const std::string& body, const inference::PackageInfo& info,
                                 const std::vector<inference::TensorSpec>& inputs, const std::vector<inference::TensorSpec>& outputs) try {
  const Specs model{info, inputs, outputs};
  thread_local std::unique_ptr<dom::parser> kept;
  std::unique_ptr<dom::parser> parser = kept ? std::move(kept) : std::make_unique<dom::parser>();
  if (parser->capacity() < body.size() || parser->max_depth() != kJsonDepthMax) {
    if (parser->allocate(std::max<size_t>(body.size(), 16 << 10), kJsonDepthMax) != simdjson::SUCCESS) {
      return fail(Code::unavailable, "not enough memory for the body: try again");
    }
  }
  dom::element root;
  auto code = parser->parse(body).get(root);
  Result<InferRequest> request = code == simdjson::SUCCESS
                                     ? read_request(root, model)
                                     : Result<InferRequest>(fail(Code::invalid, "the body is not JSON: {}", simdjson::error_message(code)));
  if (parser->capacity() <= kParserKeptBytes) kept = std::move(parser);
  return request;
} catch (const std::exception& e) {
  return fail(Code::invalid, "the body can't be read: {}", e.what());
}

std::string write_infer(const inference::Answer& answer, const InferRequest& request) {
  std::string out = "{\"model_name\":";
  append_json_string(out, answer.model);
  fmt::format_to(std::back_inserter(out), ",\"model_version\":\"{}\"", answer.version);
  if (request.id) {
    out += ",\"id\":";
    append_json_string(out, *request.id);
  }
  out += ",\"outputs\":[";
  bool first = true;
  for (const inference::Tensor& tensor : answer.outputs) {
    if (!request.outputs.empty() && std::find(request.outputs.begin(), request.outputs.end(), tensor.name) == request.outputs.end()) continue;
    if (!first) out += ',';
    first = false;
    out += "{\"name\":";
    append_json_string(out, tensor.name);
    fmt::format_to(std::back_inserter(out), ",\"datatype\":\"{}\",\"shape\":[{}],\"data\":[", inference::to_string(tensor.type),
                   fmt::join(tensor.shape, ","));
    bool first_value = true;
    for (float value : tensor.floats()) {
      if (!first_value) out += ',';
      first_value = false;
      fmt::format_to(std::back_inserter(out), "{}", value);
    }
    out += "]}";
  }
  return out + "]}";
}

}  // namespace skerry::node
