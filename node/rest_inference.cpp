// Open Inference Protocol v2: health, metadata, inference. Health answers 200 with a JSON body, which pleases strict clients and those that
// look at the status alone.
// https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "node/internal/infer_json.h"
#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using nlohmann::json;

json tensors_json(const std::vector<inference::TensorSpec>& specs) {
  json out = json::array();
  for (const auto& spec : specs) out.push_back({{"name", spec.name}, {"datatype", inference::to_string(spec.type)}, {"shape", spec.shape}});
  return out;
}

class InferenceApi {
 public:
  InferenceApi(Node& node, HttpCounters& counters) : node_(node), counters_(counters) {}

  http::Response metadata(const http::Request& request) const {
    auto model = find(request);
    if (!model.ok()) return http::error_response(model.error());
    const auto& info = (*model)->package.info;
    json versions = json::array();
    for (const auto& other : node_.engine().loaded()) {
      if (other->package.info.name == info.name) versions.push_back(std::to_string(other->package.info.version));
    }
    return json_response({{"name", info.name},
                          {"versions", versions},
                          {"platform", "pytorch_torchscript"},
                          {"inputs", tensors_json((*model)->inputs)},
                          {"outputs", tensors_json((*model)->outputs)}});
  }

  http::Response ready(const http::Request& request) const {
    auto model = find(request);
    if (model.ok()) return json_response({{"name", (*model)->package.info.name}, {"ready", true}});
    // Known, but not loaded: not ready, which Triton's clients read from the status.
    const std::string& name = request.path_parameters.at("model");
    auto known = node_.store().versions(name);
    bool versioned = request.path_parameters.count("version") > 0;
    for (const auto& version : known.value_or({})) {
      if (versioned && std::to_string(version.version) != request.path_parameters.at("version")) continue;
      return json_response({{"name", name}, {"ready", false}}, 400);
    }
    return http::error_response(model.error());
  }

  http::Response infer(const http::Request& request) const {
    if (!request.header("inference-header-content-length").empty()) {
      return http::error_response(501, "the binary tensor extension is not supported: send the tensors as JSON");
    }
    auto version = version_of(request);
    if (!version.ok()) return http::error_response(version.error());
    const std::string& name = request.path_parameters.at("model");
    auto model = node_.engine().find(name, *version);
    if (!model.ok()) return http::error_response(model.error());
    auto parsed = parse_infer(request.body, (*model)->package.info, (*model)->inputs, (*model)->outputs);
    if (!parsed.ok()) return http::error_response(parsed.error());
    const SteadyTime start = node_.clock().steady();
    auto answer = node_.engine().infer(name, *version, parsed->inputs);
    counters_.count_inference(node_.clock().steady() - start);
    if (!answer.ok()) return http::error_response(answer.error());
    http::Response response;
    response.body = write_infer(*answer, *parsed);
    return response;
  }

 private:
  static Result<std::optional<uint32_t>> version_of(const http::Request& request) {
    if (request.path_parameters.count("version") == 0) return std::optional<uint32_t>();
    SKERRY_ASSIGN(uint32_t version, version_segment(request));
    return std::optional<uint32_t>(version);
  }
  Result<std::shared_ptr<const inference::LoadedModel>> find(const http::Request& request) const {
    SKERRY_ASSIGN(auto version, version_of(request));
    return node_.engine().find(request.path_parameters.at("model"), version);
  }

  Node& node_;
  HttpCounters& counters_;
};

}  // namespace

void add_inference_routes(http::Router& router, Node& node, HttpCounters& counters) {
  auto api = std::make_shared<InferenceApi>(node, counters);
  router.add("GET", "/v2/health/live", [](http::Request&) { return json_response({{"live", true}}); });
  router.add("GET", "/v2/health/ready", [](http::Request&) { return json_response({{"ready", true}, {"live", true}}); });
  router.add("GET", "/v2", [](http::Request&) {
    return json_response({{"name", "skerry"}, {"version", "0.1.0"}, {"extensions", json::array()}});
  });
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    router.add("GET", model, [api](http::Request& r) { return api->metadata(r); });
    router.add("GET", model + "/ready", [api](http::Request& r) { return api->ready(r); });
    router.add("POST", model + "/infer", [api](http::Request& r) { return api->infer(r); });
  }
}

}  // namespace skerry::node
