// Open Inference Protocol v2, two extensions: statistics, and the configuration of a model.
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md, extension_model_configuration.md
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using inference::EngineStatistics;
using nlohmann::json;

constexpr const char* kBackend = "skerry";

json duration(uint64_t count, uint64_t ns) { return {{"count", count}, {"ns", ns}}; }

json statistics_json(const std::string& model, uint32_t version, const EngineStatistics& s) {
  const uint64_t answered = s.requests - s.failures;
  json batches = json::array();
  for (const auto& [rows, batch] : s.batches) {
    batches.push_back({{"batch_size", rows},
                       {"compute_input", duration(batch.executions, batch.input_ns)},
                       {"compute_infer", duration(batch.executions, batch.infer_ns)},
                       {"compute_output", duration(batch.executions, batch.output_ns)}});
  }
  return {{"name", model},
          {"version", std::to_string(version)},
          {"last_inference", s.last_ns / 1'000'000},
          {"inference_count", s.rows},
          {"execution_count", s.executions},
          {"inference_stats",
           {{"success", duration(answered, s.request_ns)},
            {"fail", duration(s.failures, s.failed_ns)},
            {"queue", duration(answered, s.queue_ns)},
            {"compute_input", duration(answered, s.input_ns)},
            {"compute_infer", duration(answered, s.infer_ns)},
            {"compute_output", duration(answered, s.output_ns)},
            {"cache_hit", duration(0, 0)},
            {"cache_miss", duration(0, 0)}}},
          {"response_stats", json::object()},
          {"batch_stats", batches},
          {"memory_usage", json::array()}};
}

http::Response statistics(const Node& node, const http::Request& request) {
  const auto& path = request.path_parameters;
  std::optional<uint32_t> version;
  if (path.count("version") > 0) {
    auto number = version_segment(request);
    if (!number.ok()) return http::error_response(number.error());
    version = *number;
  }
  json list = json::array();
  for (const auto& [name, number] : node.engine().known()) {
    if (path.count("model") > 0 && path.at("model") != name) continue;
    if (version && *version != number) continue;
    list.push_back(statistics_json(name, number, node.engine().statistics(name, number)));
  }
  if (list.empty() && path.count("model") > 0) {
    return http::error_response(fail(Code::not_found, "there are no statistics of '{}': nothing of it was loaded since start",
                                     path.at("model").substr(0, 64)));
  }
  return json_response({{"model_stats", list}});
}

json tensor_config(const inference::TensorSpec& spec) {
  const char* const name = inference::to_string(spec.type);
  json dims = json::array();
  for (size_t i = 1; i < spec.shape.size(); ++i) dims.push_back(spec.shape[i]);  // the first is the batch's
  return {{"name", spec.name}, {"data_type", spec.type == inference::DataType::bytes ? "TYPE_STRING" : std::string("TYPE_") + name}, {"dims", dims}};
}

json config_json(const Node& node, const inference::LoadedModel& model) {
  const auto& options = node.engine().options();
  json inputs = json::array(), outputs = json::array();
  for (const auto& spec : model.inputs) inputs.push_back(tensor_config(spec));
  for (const auto& spec : model.outputs) outputs.push_back(tensor_config(spec));
  const auto& info = model.package.info;
  json config = {{"name", info.name},
                 {"platform", model.session->platform()},
                 {"backend", kBackend},
                 {"version_policy", {{"specific", {{"versions", json::array({info.version})}}}}},
                 {"max_batch_size", options.batch_max},
                 {"input", inputs},
                 {"output", outputs},
                 {"instance_group", json::array({json{{"name", info.name}, {"kind", "KIND_CPU"}, {"count", options.queue.instances}}})},
                 {"default_model_filename", info.int8_file},
                 {"parameters", {{"labels", {{"string_value", fmt::format("{}", fmt::join(info.labels, ","))}}}}}};
  if (options.queue.together_max > 1) {
    const auto us = [](Duration d) { return std::chrono::duration_cast<std::chrono::microseconds>(d).count(); };
    config["dynamic_batching"] = {{"preferred_batch_size", json::array({options.queue.together_max})},
                                  {"max_queue_delay_microseconds", us(options.queue.batch_delay)},
                                  {"default_priority_level", inference::kPriorityDefault},
                                  {"default_queue_policy",
                                   {{"timeout_action", "REJECT"},
                                    {"default_timeout_microseconds", us(options.queue.timeout)},
                                    {"allow_timeout_override", true},
                                    {"max_queue_size", options.queue.queue_max}}}};
  }
  return config;
}

http::Response config(const Node& node, const http::Request& request) {
  std::optional<uint32_t> version;
  if (request.path_parameters.count("version") > 0) {
    auto number = version_segment(request);
    if (!number.ok()) return http::error_response(number.error());
    version = *number;
  }
  auto model = node.engine().find(request.path_parameters.at("model"), version);
  if (!model.ok()) return http::error_response(model.error());
  return json_response(config_json(node, **model));
}

}  // namespace

void add_inference_stats_routes(http::Router& router, Node& node) {
  router.add("GET", "/v2/models/stats", [&node](http::Request& r) { return statistics(node, r); });
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    router.add("GET", model + "/stats", [&node](http::Request& r) { return statistics(node, r); });
    router.add("GET", model + "/config", [&node](http::Request& r) { return config(node, r); });
  }
}

}  // namespace skerry::node
