// Open Inference Protocol v2: health, metadata, inference. Health answers 200 with a JSON body, which pleases strict clients and those that
// look at the status alone.
// https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "node/internal/content_coding.h"
#include "node/internal/infer_message.h"
#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using inference::Scheduler;
using nlohmann::json;

constexpr size_t kDirectBodyBytesMax = 128 << 10;  // larger ones take too long to read in the thread that moves all bytes
constexpr size_t kDirectPackedBytesMax = 16 << 10;  // the same, when the answer is to be packed
constexpr size_t kPackBytesMin = 1 << 10;          // what is smaller costs more to pack than to send
constexpr const char* kExtensions[] = {"binary_tensor_data", "classification", "model_configuration", "model_repository",
                                       "model_repository(unload_dependents)", "parameters", "schedule_policy", "statistics"};
constexpr const char* kJsonLength = "inference-header-content-length";

json tensors_json(const std::vector<inference::TensorSpec>& specs) {
  json out = json::array();
  for (const auto& spec : specs) out.push_back({{"name", spec.name}, {"datatype", inference::to_string(spec.type)}, {"shape", spec.shape}});
  return out;
}

// "/v2/models/NAME/infer" or "/v2/models/NAME/versions/VERSION/infer", as the router would read it.
bool read_infer_path(http::Request& request) {
  constexpr std::string_view kBegin = "/v2/models/", kEnd = "/infer", kVersions = "/versions/";
  std::string_view path = request.path;
  if (request.method != "POST" || path.size() <= kBegin.size() + kEnd.size() || !path.starts_with(kBegin) || !path.ends_with(kEnd)) return false;
  path = path.substr(kBegin.size(), path.size() - kBegin.size() - kEnd.size());
  const size_t slash = path.find('/');
  if (slash == 0) return false;
  if (slash != std::string_view::npos) {
    std::string_view version = path.substr(slash);
    if (!version.starts_with(kVersions)) return false;
    version.remove_prefix(kVersions.size());
    if (version.empty() || version.find('/') != std::string_view::npos) return false;
    request.path_parameters["version"] = std::string(version);
  }
  request.path_parameters["model"] = std::string(path.substr(0, slash));
  return true;
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
    const inference::Session& session = *(*model)->session;
    json body = {{"name", info.name},
                 {"versions", versions},
                 {"platform", session.platform()},
                 {"inputs", tensors_json((*model)->inputs)},
                 {"outputs", tensors_json((*model)->outputs)}};
    if (!session.description().empty()) body["parameters"]["runtime"] = session.description();
    if (!session.no_plan().empty()) body["parameters"]["no_plan"] = session.no_plan();
    return json_response(body);
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

  http::Response infer(http::Request& request) const {
    Asked asked;
    if (auto refusal = read(request, asked)) return *std::move(refusal);
    const SteadyTime start = node_.clock().steady();
    auto answer = node_.scheduler().infer(std::move(asked.job));
    counters_.count_inference(node_.clock().steady() - start);
    return write(asked, answer);
  }

  bool infer_directly(http::Request& request, const http::Reply& reply) const {
    if (request.body.size() > kDirectBodyBytesMax || !request.header("content-encoding").empty() || !read_infer_path(request)) return false;
    if (request.body.size() > kDirectPackedBytesMax && !request.header("accept-encoding").empty()) return false;
    auto asked = std::make_shared<Asked>();
    if (auto refusal = read(request, *asked)) {
      reply(*std::move(refusal));
      return true;
    }
    const SteadyTime start = node_.clock().steady();
    node_.scheduler().submit(std::move(asked->job), Scheduler::Caller::must_not_block, [this, asked, start, reply](Result<inference::Answer> answer) {
      counters_.count_inference(node_.clock().steady() - start);
      reply(write(*asked, answer));
    });
    return true;
  }

 private:
  struct Asked {
    std::shared_ptr<const inference::LoadedModel> model;
    InferRequest request;  // its inputs are with the job
    inference::Job job;
    Coding coding = Coding::identity;  // of the answer
  };

  static Result<std::optional<uint32_t>> version_of(const http::Request& request) {
    if (request.path_parameters.count("version") == 0) return std::optional<uint32_t>();
    SKERRY_ASSIGN(uint32_t version, version_segment(request));
    return std::optional<uint32_t>(version);
  }
  Result<std::shared_ptr<const inference::LoadedModel>> find(const http::Request& request) const {
    SKERRY_ASSIGN(auto version, version_of(request));
    return node_.engine().find(request.path_parameters.at("model"), version);
  }

  // A refusal, or nothing and `asked` is filled in.
  std::optional<http::Response> read(http::Request& request, Asked& asked) const {
    if (auto refusal = unpack_body(request)) return refusal;
    auto read = parse(request, asked);
    if (!read.ok()) return http::error_response(read.error());
    return std::nullopt;
  }

  std::optional<http::Response> unpack_body(http::Request& request) const {
    const auto coding = content_coding(request.header("content-encoding"));
    if (!coding) {
      return http::error_response(415, fmt::format("Content-Encoding '{}' is not supported: send gzip, deflate or nothing",
                                                   request.header("content-encoding").substr(0, 32)));
    }
    if (*coding == Coding::identity) return std::nullopt;
    auto body = unpack(request.body, *coding, node_.config().node.http.body_bytes_max);
    if (!body.ok() && body.error().code == Code::exhausted) {
      return http::error_response(413, body.error().message + ": send less, or raise http.body_max");
    }
    if (!body.ok()) return http::error_response(body.error());
    request.body = std::move(*body);
    return std::nullopt;
  }

  Status parse(const http::Request& request, Asked& asked) const {
    SKERRY_ASSIGN(asked.job.version, version_of(request));
    asked.job.model = request.path_parameters.at("model");
    SKERRY_ASSIGN(asked.model, node_.engine().find(asked.job.model, asked.job.version));
    const ModelSpecs specs{asked.model->package.info, asked.model->inputs, asked.model->outputs};
    SKERRY_ASSIGN(asked.request, parse_body(request, specs));
    asked.job.inputs = std::move(asked.request.inputs);
    asked.job.priority = asked.request.priority;
    asked.job.timeout = asked.request.timeout;
    asked.coding = accepted_coding(request.header("accept-encoding"));
    return {};
  }

  static Result<InferRequest> parse_body(const http::Request& request, const ModelSpecs& specs) {
    const std::string text = request.header(kJsonLength);
    if (text.empty()) return parse_infer(request.body, {}, specs);
    uint64_t length = 0;
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (code != std::errc() || end != text.data() + text.size() || length > request.body.size()) {
      return fail(Code::invalid, "Inference-Header-Content-Length is '{}': write the bytes of the JSON, at most the {} of the body",
                  text.substr(0, 32), request.body.size());
    }
    if (length == 0) return parse_raw_infer(request.body, specs);
    const std::string_view body = request.body;
    return parse_infer(body.substr(0, length), RawTensors::in_a_row(body.substr(length)), specs);
  }

  http::Response write(const Asked& asked, const Result<inference::Answer>& answer) const {
    if (!answer.ok()) return http::error_response(answer.error());
    InferAnswer written = write_infer(*answer, asked.request, asked.model->package.info);
    http::Response response;
    if (!written.raw.empty()) {
      response.content_type = "application/octet-stream";
      response.headers.emplace_back("Inference-Header-Content-Length", std::to_string(written.json.size()));
    }
    response.body = std::move(written.json);
    for (const std::string& raw : written.raw) response.body += raw;
    if (asked.coding == Coding::identity || response.body.size() < kPackBytesMin) return response;
    auto packed = pack(response.body, asked.coding);
    if (!packed.ok()) return response;  // as it is, then
    response.body = std::move(*packed);
    response.headers.emplace_back("Content-Encoding", to_string(asked.coding));
    return response;
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
    return json_response({{"name", "skerry"}, {"version", "0.1.0"}, {"extensions", kExtensions}});
  });
  add_inference_stats_routes(router, node);  // before what takes any name
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    router.add("GET", model, [api](http::Request& r) { return api->metadata(r); });
    router.add("GET", model + "/ready", [api](http::Request& r) { return api->ready(r); });
    router.add("POST", model + "/infer", [api](http::Request& r) { return api->infer(r); });
  }
}

http::DirectHandler make_direct_inference(Node& node, HttpCounters& counters) {
  auto api = std::make_shared<InferenceApi>(node, counters);
  return [api, &counters](http::Request& request, const http::Reply& reply) {
    return api->infer_directly(request, [api, &counters, reply](http::Response response) {
      counters.count_answer(response.status);
      reply(std::move(response));
    });
  };
}

}  // namespace skerry::node
