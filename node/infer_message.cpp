#include "node/internal/infer_message.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include "node/internal/rest.h"
#include "node/internal/tensor_values.h"

namespace skerry::node {
namespace {

namespace dom = simdjson::dom;
using inference::DataType;
using inference::Tensor;
using inference::TensorSpec;

constexpr size_t kInputsMax = 16;
constexpr size_t kRankMax = 8;
constexpr size_t kIdBytesMax = 1024;
constexpr size_t kParserKeptBytes = 256 << 10;  // a parser that grew beyond is not kept for the next request

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// ---- values of JSON into a tensor

template <typename T>
Status read_value(dom::element element, const std::string& input, size_t at, T& out) {
  if constexpr (std::is_same_v<T, bool>) {
    if (element.get_bool().get(out) == simdjson::SUCCESS) return {};
    return fail(Code::invalid, "element {} of input '{}' is no boolean: write true or false", at, input);
  } else if constexpr (std::is_floating_point_v<T>) {
    double number = 0;
    if (element.get_double().get(number) != simdjson::SUCCESS) {
      return fail(Code::invalid, "element {} of input '{}' is not a number: JSON has no NaN, leave such windows out", at, input);
    }
    out = static_cast<T>(number);
    if (std::isfinite(out)) return {};
    return fail(Code::invalid, "element {} of input '{}' is too large for FP32", at, input);
  } else {
    int64_t number = 0;
    uint64_t large = 0;
    if (element.get_int64().get(number) == simdjson::SUCCESS) {
      out = static_cast<T>(number);
      if (std::in_range<T>(number)) return {};
    } else if (element.get_uint64().get(large) == simdjson::SUCCESS) {
      out = static_cast<T>(large);
      if (std::in_range<T>(large)) return {};
    }
    return fail(Code::invalid, "element {} of input '{}' is no whole number from {} to {}", at, input, std::numeric_limits<T>::min(),
                std::numeric_limits<T>::max());
  }
}

// Row-major values, nested or flat.
template <typename T>
class Values {
 public:
  Values(const std::string& input, Tensor& tensor, size_t count) : input_(input), tensor_(tensor), count_(count) {
    tensor_.data.resize(count * sizeof(T));
  }
  Status read(dom::array array, size_t depth = 0) {
    if (depth > kRankMax) return fail(Code::invalid, "the data of input '{}' is nested deeper than {} levels", input_, kRankMax);
    for (dom::element child : array) {
      if (child.is_array()) {
        SKERRY_TRY(read(dom::array(child), depth + 1));
        continue;
      }
      T value{};
      SKERRY_TRY(read_value(child, input_, at_, value));
      if (at_ == count_) return fail(Code::invalid, "input '{}' has more data than its shape says ({} values)", input_, count_);
      std::memcpy(tensor_.data.data() + at_++ * sizeof(T), &value, sizeof(T));
    }
    return {};
  }
  size_t count() const { return at_; }

 private:
  const std::string& input_;
  Tensor& tensor_;
  const size_t count_;
  size_t at_ = 0;
};

Status read_texts(dom::array array, const std::string& input, size_t count_max, Tensor& tensor, size_t& count, size_t depth = 0) {
  if (depth > kRankMax) return fail(Code::invalid, "the data of input '{}' is nested deeper than {} levels", input, kRankMax);
  for (dom::element child : array) {
    if (child.is_array()) {
      SKERRY_TRY(read_texts(dom::array(child), input, count_max, tensor, count, depth + 1));
      continue;
    }
    std::string_view text;
    if (child.get_string().get(text) != simdjson::SUCCESS) return fail(Code::invalid, "element {} of input '{}' is no string", count, input);
    if (count == count_max) return fail(Code::invalid, "input '{}' has more data than its shape says ({} values)", input, count_max);
    append_bytes_element(tensor.data, text);
    ++count;
  }
  return {};
}

Status read_data(dom::array data, Tensor& tensor, size_t json_bytes) {
  const auto count = static_cast<size_t>(tensor.elements());
  size_t found = 0;
  Status status;
  if (count > json_bytes) {  // each value is at least a byte: nothing is allocated for what can't be there
    return fail(Code::invalid, "input '{}' has less data than its shape {} needs ({} values)", tensor.name, shape_text(tensor.shape), count);
  }
  if (tensor.type == DataType::bytes) {
    status = read_texts(data, tensor.name, count, tensor, found);
  } else {
    const bool readable = with_type(tensor.type, [&]<typename T>(T) {
      Values<T> values(tensor.name, tensor, count);
      status = values.read(data);
      found = values.count();
    });
    if (!readable) {
      return fail(Code::invalid, "JSON can't carry {}: send input '{}' as raw bytes (binary_data_size)", inference::to_string(tensor.type),
                  tensor.name);
    }
  }
  if (!status.ok()) return status;
  if (found == count) return {};
  return fail(Code::invalid, "input '{}' has {} values, its shape {} needs {}", tensor.name, found, shape_text(tensor.shape), count);
}

// ---- the parts of a request

Result<std::string> required_text(dom::element object, const char* name, const std::string& of) {
  std::string_view text;
  if (object[name].get_string().get(text) != simdjson::SUCCESS) return fail(Code::invalid, "{} has no '{}': it must be a string", of, name);
  return std::string(text.substr(0, 256));
}

// The parameters of a request, an input or an output: each is optional.
class Parameters {
 public:
  // `what` and `name` say in errors whose they are, and must outlive this.
  static Result<Parameters> of(dom::element object, std::string_view what, std::string_view name = {}) {
    Parameters out;
    out.what_ = what;
    out.name_ = name;
    dom::element element;
    if (object["parameters"].get(element) != simdjson::SUCCESS) return out;
    dom::object parameters;
    if (element.get_object().get(parameters) != simdjson::SUCCESS) {
      return fail(Code::invalid, "'parameters' of {} must be an object", out.where());
    }
    out.object_ = parameters;
    return out;
  }
  bool has(const char* name) const {
    dom::element ignored;
    return object_ && object_->at_key(name).get(ignored) == simdjson::SUCCESS;
  }
  Result<std::optional<uint64_t>> number(const char* name, uint64_t max) const {
    if (!has(name)) return std::optional<uint64_t>();
    uint64_t value = 0;
    if (object_->at_key(name).get_uint64().get(value) != simdjson::SUCCESS || value > max) {
      return fail(Code::invalid, "parameter '{}' of {} must be a whole number from 0 to {}", name, where(), max);
    }
    return std::optional<uint64_t>(value);
  }
  Result<std::optional<bool>> flag(const char* name) const {
    if (!has(name)) return std::optional<bool>();
    bool value = false;
    if (object_->at_key(name).get_bool().get(value) != simdjson::SUCCESS) {
      return fail(Code::invalid, "parameter '{}' of {} must be true or false", name, where());
    }
    return std::optional<bool>(value);
  }
  Status refuse_shared_memory() const {
    if (!has("shared_memory_region")) return {};
    return fail(Code::invalid, "{} lies in shared memory, which is not supported: send it as raw bytes (binary_data_size)", where());
  }

 private:
  std::string where() const { return name_.empty() ? std::string(what_) : fmt::format("{} '{}'", what_, name_); }

  std::optional<dom::object> object_;
  std::string_view what_, name_;
};

Result<Tensor> describe_input(dom::element element, const ModelSpecs& model) {
  if (!element.is_object()) return fail(Code::invalid, "'inputs' must be a list of objects");
  SKERRY_ASSIGN(std::string name, required_text(element, "name", "an input"));
  const std::string of = fmt::format("input '{}'", name);
  SKERRY_ASSIGN(std::string datatype, required_text(element, "datatype", of));
  const auto spec = std::find_if(model.inputs.begin(), model.inputs.end(), [&](const TensorSpec& s) { return s.name == name; });
  if (spec == model.inputs.end()) {
    return fail(Code::invalid, "{}/{} has no input '{}': it takes '{}'", model.info.name, model.info.version, name, model.inputs.front().name);
  }
  if (datatype != inference::to_string(spec->type)) {
    auto known = inference::parse_data_type(datatype);
    if (!known.ok()) return fail(Code::invalid, "{}: {}", of, known.error().message);
    return fail(Code::invalid, "{} has datatype {}, {} is expected", of, datatype, inference::to_string(spec->type));
  }
  dom::array sizes;
  if (element["shape"].get_array().get(sizes) != simdjson::SUCCESS) {
    return fail(Code::invalid, "{} has no 'shape': write a list of numbers, {} is expected", of, shape_text(spec->shape));
  }
  Tensor tensor{.name = std::move(name), .type = spec->type};
  for (dom::element size : sizes) {
    int64_t number = 0;
    if (size.get_int64().get(number) != simdjson::SUCCESS || number < 0 || tensor.shape.size() >= kRankMax) {
      return fail(Code::invalid, "the shape of {} must be at most {} numbers that are not negative, {} is expected", of, kRankMax,
                  shape_text(spec->shape));
    }
    tensor.shape.push_back(number);
  }
  bool fits = tensor.shape.size() == spec->shape.size() && tensor.elements() >= 0;
  for (size_t i = 0; fits && i < spec->shape.size(); ++i) fits = spec->shape[i] < 0 || spec->shape[i] == tensor.shape[i];
  if (!fits) return fail(Code::invalid, "{} has shape {}, {} is expected", of, shape_text(tensor.shape), shape_text(spec->shape));
  return tensor;
}

Status take_raw(RawTensors& raw, std::optional<uint64_t> said, Tensor& tensor) {
  const uint64_t needed = static_cast<uint64_t>(tensor.elements()) * inference::bytes_per_element(tensor.type);
  SKERRY_ASSIGN(std::string_view bytes, raw.take(tensor.name, said, needed));
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  tensor.data.assign(begin, begin + bytes.size());
  return inference::check_raw(tensor);
}

Result<Tensor> read_input(dom::element element, const ModelSpecs& model, RawTensors& raw, size_t json_bytes) {
  SKERRY_ASSIGN(Tensor tensor, describe_input(element, model));
  SKERRY_ASSIGN(const Parameters parameters, Parameters::of(element, "input", tensor.name));
  SKERRY_TRY(parameters.refuse_shared_memory());
  SKERRY_ASSIGN(const auto said, parameters.number("binary_data_size", UINT64_MAX));
  dom::element data;
  const bool has_data = element["data"].get(data) == simdjson::SUCCESS;
  if (has_data && said) return fail(Code::invalid, "input '{}' has both 'data' and 'binary_data_size': send one of them", tensor.name);
  if (said || (!has_data && !raw.empty())) {
    SKERRY_TRY(take_raw(raw, said, tensor));
    return tensor;
  }
  dom::array values;
  if (!has_data || data.get_array().get(values) != simdjson::SUCCESS) {
    return fail(Code::invalid, "input '{}' has no 'data': write a list, nested or flat", tensor.name);
  }
  SKERRY_TRY(read_data(values, tensor, json_bytes));
  return tensor;
}

Result<RequestedOutput> read_output(dom::element element, const ModelSpecs& model) {
  RequestedOutput output;
  SKERRY_ASSIGN(output.name, required_text(element, "name", "an output"));
  const bool known = std::any_of(model.outputs.begin(), model.outputs.end(), [&](const TensorSpec& s) { return s.name == output.name; });
  if (!known) {
    return fail(Code::invalid, "{} has no output '{}': it has '{}'", model.info.name, output.name, model.outputs.front().name);
  }
  SKERRY_ASSIGN(const Parameters parameters, Parameters::of(element, "output", output.name));
  SKERRY_TRY(parameters.refuse_shared_memory());
  SKERRY_ASSIGN(output.binary, parameters.flag("binary_data"));
  SKERRY_ASSIGN(const auto classes, parameters.number("classification", UINT32_MAX));
  output.classes = static_cast<uint32_t>(classes.value_or(0));
  return output;
}

Status read_parameters(dom::element root, InferRequest& request) {
  SKERRY_ASSIGN(const Parameters parameters, Parameters::of(root, "the request"));
  SKERRY_ASSIGN(const auto priority, parameters.number("priority", UINT32_MAX));
  request.priority = static_cast<uint32_t>(priority.value_or(0));
  SKERRY_ASSIGN(const auto timeout_us, parameters.number("timeout", uint64_t{1} << 40));
  if (timeout_us.value_or(0) > 0) request.timeout = std::chrono::microseconds(*timeout_us);
  SKERRY_ASSIGN(const auto binary, parameters.flag("binary_data_output"));
  request.binary = binary.value_or(false);
  return {};
}

Status read_id(dom::element root, std::optional<std::string>& out) {
  dom::element id;
  if (root["id"].get(id) != simdjson::SUCCESS) return {};
  std::string_view text;
  if (id.get_string().get(text) != simdjson::SUCCESS || text.size() > kIdBytesMax) {
    return fail(Code::invalid, "'id' must be a string of at most {} bytes", kIdBytesMax);
  }
  out = std::string(text);
  return {};
}

Result<InferRequest> read_request(dom::element root, RawTensors& raw, const ModelSpecs& model, size_t json_bytes) {
  if (!root.is_object()) return fail(Code::invalid, "the body is not a JSON object: write {{\"inputs\":[...]}}");
  InferRequest request;
  SKERRY_TRY(read_id(root, request.id));
  SKERRY_TRY(read_parameters(root, request));
  dom::array inputs;
  if (root["inputs"].get_array().get(inputs) != simdjson::SUCCESS) {
    return fail(Code::invalid, "there is no 'inputs': write [{{\"name\":\"{}\",\"shape\":{},\"datatype\":\"{}\",\"data\":[...]}}]",
                model.inputs.front().name, shape_text(model.inputs.front().shape), inference::to_string(model.inputs.front().type));
  }
  for (dom::element input : inputs) {
    if (request.inputs.size() >= kInputsMax) return fail(Code::invalid, "more than {} inputs", kInputsMax);
    SKERRY_ASSIGN(request.inputs.emplace_back(), read_input(input, model, raw, json_bytes));
  }
  SKERRY_TRY(raw.finish());
  dom::element outputs;
  if (root["outputs"].get(outputs) != simdjson::SUCCESS) return request;
  if (!outputs.is_array()) return fail(Code::invalid, "'outputs' must be a list of objects with a name");
  for (dom::element output : dom::array(outputs)) {
    if (request.outputs.size() >= kInputsMax) return fail(Code::invalid, "more than {} outputs", kInputsMax);
    SKERRY_ASSIGN(request.outputs.emplace_back(), read_output(output, model));
  }
  return request;
}

Result<Address> read_address(dom::element root, std::optional<std::string>& id) {
  if (!root.is_object()) return fail(Code::invalid, "the message is not a JSON object: write {{\"model\":...,\"inputs\":[...]}}");
  Address address;
  SKERRY_TRY(read_id(root, id));
  SKERRY_ASSIGN(address.model, required_text(root, "model", "the message"));
  dom::element version;
  if (root["version"].get(version) != simdjson::SUCCESS) return address;
  uint64_t number = 0;
  std::string_view text;
  bool good = version.get_uint64().get(number) == simdjson::SUCCESS;
  if (!good && version.get_string().get(text) == simdjson::SUCCESS) {
    if (text.empty()) return address;
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    good = code == std::errc() && end == text.data() + text.size();
  }
  if (!good || number > UINT32_MAX) return fail(Code::invalid, "'version' must be a number, or left out for the version that serves");
  address.version = static_cast<uint32_t>(number);
  return address;
}

// Reads a text with the thread's parser.
template <typename T, typename Read>
Result<T> parsed(std::string_view json, Read read) try {
  thread_local std::unique_ptr<dom::parser> kept;
  std::unique_ptr<dom::parser> parser = kept ? std::move(kept) : std::make_unique<dom::parser>();
  if (parser->capacity() < json.size() || parser->max_depth() != kJsonDepthMax) {
    if (parser->allocate(std::max<size_t>(json.size(), 16 << 10), kJsonDepthMax) != simdjson::SUCCESS) {
      return fail(Code::unavailable, "not enough memory for the body: try again");
    }
  }
  dom::element root;
  const auto code = parser->parse(json.data(), json.size()).get(root);
  Result<T> out = code == simdjson::SUCCESS ? read(root) : Result<T>(fail(Code::invalid, "the body is not JSON: {}", simdjson::error_message(code)));
  if (parser->capacity() <= kParserKeptBytes) kept = std::move(parser);
  return out;
} catch (const std::exception& e) {
  return fail(Code::invalid, "the body can't be read: {}", e.what());
}

}  // namespace

RawTensors RawTensors::in_a_row(std::string_view bytes) {
  RawTensors raw;
  if (!bytes.empty()) raw.parts_.push_back(bytes);
  return raw;
}

RawTensors RawTensors::in_frames(std::vector<std::string_view> frames) {
  RawTensors raw;
  raw.parts_ = std::move(frames);
  raw.frames_ = true;
  return raw;
}

Result<std::string_view> RawTensors::take(const std::string& input, std::optional<uint64_t> said, uint64_t needed) {
  if (next_ >= parts_.size()) {
    return fail(Code::invalid, "no raw bytes of input '{}' follow the JSON{}", input,
                frames_ ? ": send a frame for each tensor" : ": is Inference-Header-Content-Length its length?");
  }
  std::string_view& part = parts_[next_];
  const uint64_t size = said.value_or(frames_ ? part.size() : needed);
  if (needed > 0 && size != needed) {
    return fail(Code::invalid, "input '{}' has {} raw bytes, its shape needs {}", input, size, needed);
  }
  if (size > part.size() || (frames_ && size != part.size())) {
    return fail(Code::invalid, "input '{}' is said to have {} raw bytes, {} are there", input, size, part.size());
  }
  if (!frames_ && !said && needed == 0) return fail(Code::invalid, "input '{}' needs 'binary_data_size'", input);
  std::string_view taken = part.substr(0, size);
  part.remove_prefix(size);
  if (part.empty()) ++next_;
  return taken;
}

Status RawTensors::finish() const {
  uint64_t left = 0;
  for (size_t i = next_; i < parts_.size(); ++i) left += parts_[i].size();
  if (next_ >= parts_.size()) return {};
  return fail(Code::invalid, "{} raw bytes are left over: the sizes of the inputs must add up to what follows the JSON", left);
}

Result<InferRequest> parse_infer(std::string_view json, RawTensors raw, const ModelSpecs& model) {
  return parsed<InferRequest>(json, [&](dom::element root) { return read_request(root, raw, model, json.size()); });
}

Result<InferRequest> parse_addressed(std::string_view json, RawTensors raw, const FindModel& find, std::optional<std::string>& id) {
  return parsed<InferRequest>(json, [&](dom::element root) -> Result<InferRequest> {
    SKERRY_ASSIGN(const Address address, read_address(root, id));
    SKERRY_ASSIGN(const ModelSpecs model, find(address));
    return read_request(root, raw, model, json.size());
  });
}

Result<InferRequest> parse_raw_infer(std::string_view body, const ModelSpecs& model) {
  if (model.inputs.size() != 1) {
    return fail(Code::invalid, "{} has {} inputs: a body without JSON is for models with one", model.info.name, model.inputs.size());
  }
  const TensorSpec& spec = model.inputs.front();
  InferRequest request;
  request.binary = true;
  Tensor& tensor = request.inputs.emplace_back(Tensor{spec.name, spec.type, spec.shape, {}});
  const auto open = std::count_if(spec.shape.begin(), spec.shape.end(), [](int64_t size) { return size < 0; });
  if (open > 1) return fail(Code::invalid, "input '{}' has {} open dimensions: write its shape in JSON", spec.name, open);
  for (int64_t& size : tensor.shape) size = size < 0 ? 1 : size;
  RawTensors raw = RawTensors::in_a_row(body);
  SKERRY_TRY(take_raw(raw, body.size(), tensor));
  return request;
}

}  // namespace skerry::node
