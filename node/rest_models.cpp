// Models and the life of their versions on this node.
#include <map>
#include <nlohmann/json.hpp>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using nlohmann::json;

json time_or_null(int64_t ns) { return ns == 0 ? json() : json(format_time(ns)); }

json version_json(const Node& node, const storage::ModelVersion& v) {
  return {{"model", v.model},
          {"version", v.version},
          {"parent", v.parent == 0 ? json() : json(v.parent)},
          {"state", to_string(v.state)},
          {"pinned", v.pinned},
          {"reason", v.reason},
          {"digest", v.digest},
          {"job", v.job},
          {"created", time_or_null(v.created_ns)},
          {"changed", time_or_null(v.changed_ns)},
          {"holdout_accuracy", v.holdout_accuracy < 0 ? json() : json(v.holdout_accuracy)},
          {"loaded", node.engine().find(v.model, v.version).ok()},
          {"live", score_json(node.store().live_score(v.model, v.version))}};
}

json model_json(const Node& node, const std::string& name, const std::vector<storage::ModelVersion>& versions) {
  json list = json::array();
  for (const auto& version : versions) list.push_back(version_json(node, version));
  const auto pinned = node.models().pinned_by_hand(name);
  json out = {{"name", name}, {"serving", nullptr}, {"pinned_by_hand", pinned ? json(*pinned) : json()}, {"versions", list}};
  const learning::Watched watched = node.learner().watch().watched(name);
  if (watched.predecessor != 0) {
    out["watched"] = {{"predecessor", watched.predecessor}, {"labels", watched.counts.examples}, {"accuracy", watched.counts.candidate()},
                      {"predecessor_accuracy", watched.counts.parent()}};
  }
  out["drift"] = watched.drift.empty() ? json() : json(watched.drift);
  if (auto serving = node.engine().find(name, std::nullopt); serving.ok()) {
    const auto& info = (*serving)->package.info;
    out["serving"] = info.version;
    out["labels"] = info.labels;
    out["stream"] = info.window.stream;
    out["fields"] = info.window.fields;
    out["window_records"] = info.window.rows;
    out["stride_records"] = info.window.stride;
  }
  return out;
}

Result<json> all_models(const Node& node) {
  SKERRY_ASSIGN(auto versions, node.store().versions(""));
  std::map<std::string, std::vector<storage::ModelVersion>> by_name;
  for (auto& version : versions) by_name[version.model].push_back(std::move(version));
  json list = json::array();
  for (const auto& [name, of_name] : by_name) list.push_back(model_json(node, name, of_name));
  return json{{"models", list}};
}

Result<json> one_model(const Node& node, const std::string& name) {
  SKERRY_ASSIGN(auto versions, node.store().versions(name));
  if (name.empty() || versions.empty()) {
    return fail(Code::not_found, "there is no model '{}': GET /v1/models lists them", name.substr(0, 64));
  }
  return model_json(node, name, versions);
}

Result<json> versions_of(const Node& node, const std::string& name) {
  SKERRY_ASSIGN(json model, one_model(node, name));
  return json{{"name", name}, {"versions", model["versions"]}};
}

Result<json> one_version(const Node& node, const std::string& name, uint32_t version) {
  SKERRY_ASSIGN(auto versions, node.store().versions(name));
  for (const auto& v : versions) {
    if (v.version == version) return version_json(node, v);
  }
  return fail(Code::not_found, "there is no version {} of '{}'", version, name.substr(0, 64));
}

// The reason that a person gives; the body may be empty.
Result<std::string> reason_of(const http::Request& request, const char* fallback) {
  if (request.body.empty()) return std::string(fallback);
  SKERRY_ASSIGN(json object, parse_object(request.body));
  SKERRY_ASSIGN(std::string reason, text_member(object, "reason", fallback));
  if (reason.size() > kNameBytesMax) return fail(Code::invalid, "'reason' has {} bytes: at most {} are allowed", reason.size(), kNameBytesMax);
  return reason;
}

Result<json> promote(Node& node, const http::Request& request) {
  const std::string& name = request.path_parameters.at("model");
  SKERRY_ASSIGN(uint32_t version, version_segment(request));
  SKERRY_ASSIGN(std::string reason, reason_of(request, "promoted by hand"));
  SKERRY_TRY(one_version(node, name, version));
  SKERRY_TRY(node.models().promote(name, version, reason));
  return one_version(node, name, version);
}

Result<json> rollback(Node& node, const http::Request& request) {
  const std::string& name = request.path_parameters.at("model");
  SKERRY_ASSIGN(std::string reason, reason_of(request, "rolled back by hand"));
  SKERRY_TRY(one_model(node, name));
  SKERRY_ASSIGN(uint32_t version, node.models().rollback(name, reason));
  return one_version(node, name, version);
}

// The version that shall stay; left out: the serving one.
Result<json> pin(Node& node, const http::Request& request) {
  const std::string& name = request.path_parameters.at("model");
  SKERRY_TRY(one_model(node, name));
  SKERRY_ASSIGN(json object, request.body.empty() ? Result<json>(json::object()) : parse_object(request.body));
  uint32_t version = 0;
  if (auto given = object.find("version"); given != object.end()) {
    if (!given->is_number_unsigned() || given->get<uint64_t>() == 0 || given->get<uint64_t>() > inference::kVersionMax) {
      return fail(Code::invalid, "'version' must be the number of a version");
    }
    version = given->get<uint32_t>();
    SKERRY_TRY(one_version(node, name, version));
  }
  SKERRY_ASSIGN(std::string reason, reason_of(request, "pinned by hand"));
  SKERRY_ASSIGN(version, node.models().pin(name, version, reason));
  return one_version(node, name, version);
}

Result<json> unpin(Node& node, const http::Request& request) {
  const std::string& name = request.path_parameters.at("model");
  SKERRY_TRY(one_model(node, name));
  SKERRY_ASSIGN(std::string reason, reason_of(request, "unpinned by hand"));
  SKERRY_TRY(node.models().unpin(name, reason));
  return one_model(node, name);
}

Result<json> train(Node& node, const http::Request& request) {
  const std::string& name = request.path_parameters.at("model");
  SKERRY_TRY(one_model(node, name));
  node.learner().train_now(name);
  json out = learning_json(node.learner().status());
  out["model"] = name;
  return out;
}

Result<json> retrain(Node& node, const http::Request& request) {
  const std::string& name = request.path_parameters.at("model");
  SKERRY_ASSIGN(const uint32_t version, version_segment(request));
  SKERRY_TRY(one_version(node, name, version));
  SKERRY_ASSIGN(const uint32_t left_out, node.learner().retrain(name, version));
  json out = learning_json(node.learner().status());
  out["model"] = name;
  out["left_out"] = left_out;
  return out;
}

Result<json> import(Node& node, const http::Request& request) {
  SKERRY_ASSIGN(json object, parse_object(request.body));
  SKERRY_ASSIGN(std::string path, text_member(object, "path", ""));
  if (path.empty() || path.find('\0') != std::string::npos) {
    return fail(Code::invalid, "'path' is missing: write the folder of a model package on the node");
  }
  SKERRY_ASSIGN(const std::string digest, text_member(object, "digest", ""));
  if (!digest.empty()) {
    SKERRY_ASSIGN(const inference::Package package, inference::Package::open(path, node.engine().options().package_bytes_max));
    if (package.digest != digest) return fail(Code::invalid, "{} is another package than the one asked for: its digest is {}", path, package.digest);
  }
  SKERRY_ASSIGN(storage::ModelVersion version, node.models().import(path));
  return version_json(node, version);
}

http::Response answer(const Result<json>& result, int status = 200) {
  return result.ok() ? json_response(*result, status) : http::error_response(result.error());
}

}  // namespace

json score_json(const storage::LiveScore& score) {
  return {{"predictions", score.predictions},
          {"labelled", score.labelled},
          {"correct", score.correct},
          {"accuracy", score.labelled == 0 ? json() : json(static_cast<double>(score.correct) / static_cast<double>(score.labelled))}};
}

void add_model_routes(http::Router& router, Node& node) {
  using http::Request;
  router.add("GET", "/v1/models", [&node](Request&) { return answer(all_models(node)); });
  router.add("POST", "/v1/models/import", [&node](Request& r) { return answer(import(node, r), 201); });
  router.add("GET", "/v1/models/{model}", [&node](Request& r) { return answer(one_model(node, r.path_parameters.at("model"))); });
  router.add("POST", "/v1/models/{model}/versions/{version}/promote", [&node](Request& r) { return answer(promote(node, r)); });
  router.add("POST", "/v1/models/{model}/versions/{version}/retrain", [&node](Request& r) { return answer(retrain(node, r), 202); });
  router.add("GET", "/v1/models/{model}/versions", [&node](Request& r) { return answer(versions_of(node, r.path_parameters.at("model"))); });
  router.add("POST", "/v1/models/{model}/pin", [&node](Request& r) { return answer(pin(node, r)); });
  router.add("POST", "/v1/models/{model}/unpin", [&node](Request& r) { return answer(unpin(node, r)); });
  router.add("POST", "/v1/models/{model}/rollback", [&node](Request& r) { return answer(rollback(node, r)); });
  router.add("POST", "/v1/models/{model}/train", [&node](Request& r) { return answer(train(node, r), 202); });
}

}  // namespace skerry::node
