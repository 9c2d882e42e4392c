// POST /v1/labels: what a person or a system says about a prediction, or about a stretch of a series; /withdraw takes it back; GET
// /v1/labels/next names the windows whose labels would teach most.
#include <nlohmann/json.hpp>
#include <vector>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using nlohmann::json;

constexpr size_t kLabelsMax = 1000;  // in one request
constexpr uint64_t kNextDefault = 10, kNextMax = 100;

// Which predictions are meant, and who says so.
Result<learning::LabelRequest> read_subject(const json& object) {
  learning::LabelRequest request;
  SKERRY_ASSIGN(request.source, text_member(object, "source", "operator"));
  if (request.source.size() > kNameBytesMax) return fail(Code::invalid, "'source' has {} bytes: at most {} are allowed", request.source.size(), kNameBytesMax);
  SKERRY_ASSIGN(request.model, text_member(object, "model", ""));
  SKERRY_ASSIGN(request.series, text_member(object, "series", ""));
  auto prediction = object.find("prediction");
  if (prediction != object.end()) {
    if (!prediction->is_number_unsigned()) return fail(Code::invalid, "'prediction' must be the number of a prediction");
    if (object.contains("series") || object.contains("from") || object.contains("to")) {
      return fail(Code::invalid, "a label is about a prediction, or about series, from and to: leave one of them out");
    }
    request.prediction = prediction->get<uint64_t>();
    return request;
  }
  if (request.series.empty()) {
    return fail(Code::invalid, "the label is about nothing: write \"prediction\", or \"series\", \"from\" and \"to\"");
  }
  SKERRY_ASSIGN(Series series, Series::parse(request.series));
  request.series = series.text();
  SKERRY_ASSIGN(request.range.from_ns, time_member(object, "from"));
  SKERRY_ASSIGN(request.range.to_ns, time_member(object, "to"));
  if (request.range.from_ns >= request.range.to_ns) return fail(Code::invalid, "'from' must be earlier than 'to'");
  return request;
}

Status refuse_unknown(const json& object, const std::vector<std::string>& known, const char* what) {
  if (!object.is_object()) return fail(Code::invalid, "a label must be an object: write {{\"prediction\":12,\"label\":\"...\"}}");
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    return fail(Code::invalid, "'{}' is not part of a {}: known are {}", key.substr(0, 64), what, names);
  }
  return {};
}

Result<learning::LabelRequest> read_label(const json& object) {
  SKERRY_TRY(refuse_unknown(object, {"prediction", "model", "series", "from", "to", "label", "source"}, "label"));
  auto label = object.find("label");
  if (label == object.end()) return fail(Code::invalid, "'label' is missing: write the name of a class, or its number");
  std::string value;
  if (label->is_number_unsigned()) {
    value = std::to_string(label->get<uint64_t>());
  } else {
    SKERRY_ASSIGN(value, text_member(object, "label", ""));
  }
  SKERRY_ASSIGN(learning::LabelRequest request, read_subject(object));
  request.label = std::move(value);
  return request;
}

json outcome_json(const learning::LabelOutcome& outcome) {
  return {{"predictions", outcome.predictions}, {"examples", outcome.examples}, {"correct", outcome.correct}, {"overruled", outcome.overruled}};
}

// All are read before the first is applied. Each is its own effect: repeating the request after a failure does no harm.
Result<json> label_many(Node& node, const json& list) {
  if (!list.is_array()) return fail(Code::invalid, "'labels' must be a list");
  if (list.size() > kLabelsMax) return fail(Code::invalid, "{} labels in one request: at most {} are allowed", list.size(), kLabelsMax);
  std::vector<learning::LabelRequest> requests;
  for (size_t i = 0; i < list.size(); ++i) {
    auto request = read_label(list[i]);
    if (!request.ok()) return fail(request.error().code, "label {}: {}", i, request.error().message);
    requests.push_back(std::move(request).value());
  }
  learning::LabelOutcome sum;
  for (size_t i = 0; i < requests.size(); ++i) {
    auto outcome = node.label(requests[i]);
    if (!outcome.ok()) return fail(outcome.error().code, "label {} ({} before it were taken): {}", i, i, outcome.error().message);
    sum.predictions += outcome->predictions;
    sum.examples += outcome->examples;
    sum.correct += outcome->correct;
    sum.overruled += outcome->overruled;
  }
  return outcome_json(sum);
}

Result<json> post_labels(Node& node, const std::string& body) {
  SKERRY_ASSIGN(json object, parse_object(body));
  if (object.contains("labels")) {
    if (object.size() > 1) return fail(Code::invalid, "beside 'labels' nothing else is expected");
    return label_many(node, object["labels"]);
  }
  SKERRY_ASSIGN(learning::LabelRequest request, read_label(object));
  SKERRY_ASSIGN(learning::LabelOutcome outcome, node.label(request));
  return outcome_json(outcome);
}

Result<json> withdraw_labels(Node& node, const std::string& body) {
  SKERRY_ASSIGN(json object, parse_object(body));
  SKERRY_TRY(refuse_unknown(object, {"prediction", "model", "series", "from", "to", "source"}, "withdrawal"));
  SKERRY_ASSIGN(learning::LabelRequest request, read_subject(object));
  SKERRY_ASSIGN(learning::WithdrawOutcome outcome, node.labels().withdraw(request));
  json versions = json::array();
  for (const storage::ModelVersion& v : outcome.versions) versions.push_back({{"model", v.model}, {"version", v.version}, {"state", to_string(v.state)}});
  return json{{"predictions", outcome.predictions}, {"overruled", outcome.overruled}, {"versions", versions}};
}

Result<json> next_labels(Node& node, const http::Request& request) {
  SKERRY_ASSIGN(const uint64_t limit, number_parameter(request, "limit", kNextDefault, kNextMax));
  SKERRY_ASSIGN(const std::vector<learning::Proposal> proposals, node.labels().next(request.parameter("model"), limit));
  json list = json::array();
  for (const learning::Proposal& proposal : proposals) {
    const storage::Prediction& p = proposal.prediction;
    SKERRY_ASSIGN(const auto model, node.engine().find(p.model, std::nullopt));
    const std::vector<std::string>& labels = model->package.info.labels;
    auto name = [&](int32_t index) { return index >= 0 && static_cast<size_t>(index) < labels.size() ? json(labels[static_cast<size_t>(index)]) : json(); };
    list.push_back({{"prediction", number(p.id)}, {"model", p.model}, {"version", p.version}, {"series", p.series}, {"from", format_time(p.window.from_ns)},
                    {"to", format_time(p.window.to_ns)}, {"answer", name(p.top)}, {"or", name(proposal.second)}, {"margin", proposal.margin}});
  }
  return json{{"next", list}};
}

}  // namespace

void add_label_routes(http::Router& router, Node& node) {
  router.add("POST", "/v1/labels", [&node](http::Request& request) {
    auto outcome = post_labels(node, request.body);
    return outcome.ok() ? json_response(*outcome) : http::error_response(outcome.error());
  });
  router.add("POST", "/v1/labels/withdraw", [&node](http::Request& request) {
    auto outcome = withdraw_labels(node, request.body);
    return outcome.ok() ? json_response(*outcome) : http::error_response(outcome.error());
  });
  router.add("GET", "/v1/labels/next", [&node](http::Request& request) {
    auto proposals = next_labels(node, request);
    return proposals.ok() ? json_response(*proposals) : http::error_response(proposals.error());
  });
}

}  // namespace skerry::node
