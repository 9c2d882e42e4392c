// Any bytes as an inference request, over HTTP and over ZeroMQ: with and without raw tensors behind its JSON, in one piece and in frames; and
// as a small object: refused or read within bounds. What was read can be answered.
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "node/internal/infer_message.h"
#include "node/internal/rest.h"

namespace {

using namespace skerry;

void check(const Result<node::InferRequest>& request, const inference::PackageInfo& info, size_t size) {
  if (!request.ok()) {
    SKERRY_CHECK(request.error().code == Code::invalid && request.error().message.size() < 2000, "{}", request.error().message);
    return;
  }
  for (const auto& input : request->inputs) {
    SKERRY_CHECK(inference::check_raw(input).ok(), "shape and data differ");
    SKERRY_CHECK(input.data.size() <= size * 8, "more values than bytes");
  }
  const auto scores = inference::Tensor::fp32("scores", {2, 3}, {1, 2, 3, 6, 5, 4});
  const node::InferAnswer out = node::write_infer({"toy", 1, {scores}}, *request, info);
  const auto parsed = nlohmann::json::parse(out.json, nullptr, false);
  SKERRY_CHECK(!parsed.is_discarded(), "{}", out.json);
  size_t raw = 0;
  for (const auto& output : parsed["outputs"]) {
    if (!output.contains("parameters")) continue;
    SKERRY_CHECK(raw < out.raw.size() && output["parameters"]["binary_data_size"] == out.raw[raw].size(), "{}", out.json);
    ++raw;
  }
  SKERRY_CHECK(raw == out.raw.size(), "{} raw outputs, {} are named", out.raw.size(), raw);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using inference::DataType;
  const std::string body(reinterpret_cast<const char*>(data), size);
  inference::PackageInfo info;
  info.name = "toy";
  info.version = 1;
  info.labels = {"a", "b"};
  const std::vector<inference::TensorSpec> outputs = {{"scores", DataType::fp32, {-1, 3}}};
  for (DataType type : {DataType::fp32, DataType::uint8, DataType::int64, DataType::boolean, DataType::fp16, DataType::bytes}) {
    const std::vector<inference::TensorSpec> inputs = {{"input", type, {-1, 2, 4}}, {"more", type, {-1}}};
    const node::ModelSpecs specs{info, inputs, outputs};
    check(node::parse_infer(body, {}, specs), info, size);
    const size_t json = body.rfind('}') + 1;  // what follows the last brace is taken for the raw tensors
    const std::string_view text = std::string_view(body).substr(0, json), raw = std::string_view(body).substr(json);
    check(node::parse_infer(text, node::RawTensors::in_a_row(raw), specs), info, size);
    const size_t half = raw.size() / 2;
    check(node::parse_infer(text, node::RawTensors::in_frames({raw.substr(0, half), raw.substr(half)}), specs), info, size);
    std::optional<std::string> id;
    check(node::parse_addressed(text, node::RawTensors::in_frames({raw}), [&](const node::Address&) -> Result<node::ModelSpecs> { return specs; }, id),
          info, size);
    check(node::parse_raw_infer(body, {info, {inputs.front()}, outputs}), info, size);
  }
  auto object = node::parse_object(body);
  if (object.ok()) {
    SKERRY_CHECK(object->is_object(), "not an object");
    (void)node::text_member(*object, "label", "");
    (void)node::time_member(*object, "from");
  }
  return 0;
}
