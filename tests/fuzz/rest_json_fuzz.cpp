// Any bytes as the body of an inference request, and of a small object: refused or read within bounds.
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "node/internal/infer_json.h"
#include "node/internal/rest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skerry;
  const std::string body(reinterpret_cast<const char*>(data), size);
  inference::PackageInfo info;
  info.name = "toy";
  info.version = 1;
  const std::vector<inference::TensorSpec> inputs = {{"input", inference::DataType::fp32, {-1, 2, 4}}};
  const std::vector<inference::TensorSpec> outputs = {{"scores", inference::DataType::fp32, {-1, 3}}};
  auto request = node::parse_infer(body, info, inputs, outputs);
  if (request.ok()) {
    for (const auto& input : request->inputs) {
      SKERRY_CHECK(static_cast<size_t>(input.elements()) * 4 == input.data.size(), "shape and data differ");
      SKERRY_CHECK(input.data.size() <= size * 4, "more values than bytes");
    }
    std::string out = node::write_infer({"toy", 1, request->inputs}, *request);
    SKERRY_CHECK(nlohmann::json::accept(out), "{}", out);
  }
  auto object = node::parse_object(body);
  if (object.ok()) {
    SKERRY_CHECK(object->is_object(), "not an object");
    (void)node::text_member(*object, "label", "");
    (void)node::time_member(*object, "from");
  }
  return 0;
}
