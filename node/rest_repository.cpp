// Open Inference Protocol v2, model repository extension: what there is, and whether it answers. Which version of a model serves is decided by
// its life on this node (/v1/models): load brings back what served, unload takes the model away until it is loaded or the node starts again.
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "node/internal/rest.h"

namespace skerry::node {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using storage::ModelState;
using storage::ModelVersion;

constexpr const char* kRepository = "models";

Result<json> body_of(const http::Request& request) {
  if (request.body.empty()) return json::object();
  return parse_object(request.body);
}

Status check_repository(const http::Request& request) {
  auto at = request.path_parameters.find("repository");
  if (at == request.path_parameters.end() || at->second == kRepository) return {};
  return fail(Code::not_found, "there is no repository '{}': there is one, '{}'", at->second.substr(0, 64), kRepository);
}

Result<json> index(const Node& node, const http::Request& request) {
  SKERRY_TRY(check_repository(request));
  SKERRY_ASSIGN(const json body, body_of(request));
  bool only_ready = false;
  if (auto at = body.find("ready"); at != body.end()) {
    if (!at->is_boolean()) return fail(Code::invalid, "'ready' must be true or false");
    only_ready = at->get<bool>();
  }
  SKERRY_ASSIGN(const auto versions, node.store().versions(""));
  json out = json::array();
  for (const ModelVersion& v : versions) {
    const bool ready = node.engine().find(v.model, v.version).ok();
    if (only_ready && !ready) continue;
    json one = {{"name", v.model}, {"version", std::to_string(v.version)}, {"state", ready ? "READY" : "UNAVAILABLE"}, {"reason", ""}};
    if (!ready) one["reason"] = fmt::format("{}{}{}", to_string(v.state), v.reason.empty() ? "" : ": ", v.reason);
    out.push_back(std::move(one));
  }
  return out;
}

// Packages that were put into the models folder since the start become candidates.
Status import_new(Node& node, const std::string& name, const std::vector<ModelVersion>& known) {
  std::error_code error;
  for (fs::directory_iterator at(node.engine().options().models / name, error), end; !error && at != end; at.increment(error)) {
    const std::string text = at->path().filename().string();
    uint32_t number = 0;
    auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (code != std::errc() || stop != text.data() + text.size()) continue;
    if (std::any_of(known.begin(), known.end(), [&](const ModelVersion& v) { return v.version == number; })) continue;
    SKERRY_ASSIGN(const ModelVersion imported, node.models().import(at->path()));
    log::info("models", "{}/{} was found in the models folder", imported.model, imported.version);
  }
  return {};
}

Result<json> load(Node& node, const http::Request& request) {
  SKERRY_TRY(check_repository(request));
  const std::string& name = request.path_parameters.at("model");
  if (!inference::is_model_name(name)) return fail(Code::not_found, "there is no model '{}'", name.substr(0, 64));
  SKERRY_ASSIGN(auto versions, node.store().versions(name));
  const auto serving = std::find_if(versions.begin(), versions.end(), [](const ModelVersion& v) { return v.state == ModelState::serving; });
  if (serving != versions.end()) {
    SKERRY_TRY(node.engine().load(name, serving->version));
    SKERRY_TRY(node.engine().serve(name, serving->version));
  }
  SKERRY_TRY(import_new(node, name, versions));
  if (!node.engine().serving(name)) {
    return fail(Code::not_found, "there is no version of '{}' that may serve: import a package, or promote one (/v1/models/{}/versions/...)",
                name, name);
  }
  return json::object();
}

Result<json> unload(Node& node, const http::Request& request) {
  SKERRY_TRY(check_repository(request));
  const std::string& name = request.path_parameters.at("model");
  SKERRY_TRY(body_of(request));
  SKERRY_ASSIGN(const auto versions, node.store().versions(name));
  if (name.empty() || versions.empty()) return fail(Code::not_found, "there is no model '{}'", name.substr(0, 64));
  node.engine().withdraw(name);
  log::info("models", "{} was unloaded over the repository API", name);
  return json::object();
}

// What Triton takes to replace a model's configuration or files with.
http::Response load_or_refuse(Node& node, const http::Request& request) {
  auto body = body_of(request);
  if (!body.ok()) return http::error_response(body.error());
  auto parameters = body->find("parameters");
  if (parameters != body->end() && !parameters->empty()) {
    return http::error_response(501, "load parameters (config, file:...) are not supported: import a sealed package at /v1/models/import");
  }
  auto loaded = load(node, request);
  return loaded.ok() ? json_response(*loaded) : http::error_response(loaded.error());
}

http::Response answer(const Result<json>& result) { return result.ok() ? json_response(*result) : http::error_response(result.error()); }

}  // namespace

void add_repository_routes(http::Router& router, Node& node) {
  for (const std::string repository : {"/v2/repository", "/v2/repository/{repository}"}) {
    router.add("POST", repository + "/index", [&node](http::Request& r) { return answer(index(node, r)); });
    router.add("POST", repository + "/models/{model}/load", [&node](http::Request& r) { return load_or_refuse(node, r); });
    router.add("POST", repository + "/models/{model}/unload", [&node](http::Request& r) { return answer(unload(node, r)); });
  }
}

}  // namespace skerry::node
