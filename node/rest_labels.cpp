// POST /v1/labels: what a person or a system says about a prediction, or about a stretch of a series.
#include <nlohmann/json.hpp>
#include <vector>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using nlohmann::json;

constexpr size_t kLabelsMax = 1000;  // in one request

Result<learning::LabelRequest> read_label(const json& object) {
  static const std::vector<std::string> kKnown = {"prediction", "model", "series", "from", "to", "label", "source"};
  if (!object.is_object()) return fail(Code::invalid, "a label must be an object: write {{\"prediction\":12,\"label\":\"...\"}}");
  for (const auto& [key, value] : object.items()) {
    if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) {
      return fail(Code::invalid, "'{}' is not part of a label: known are {}", key.substr(0, 64), "prediction, model, series, from, to, label, source");
    }
  }
  learning::LabelRequest request;
  auto label = object.find("label");
  if (label == object.end()) return fail(Code::invalid, "'label' is missing: write the name of a class, or its number");
  if (label->is_number_unsigned()) {
    request.label = std::to_string(label->get<uint64_t>());
  } else {
    SKERRY_ASSIGN(request.label, text_member(object, "label", ""));
  }
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

json outcome_json(const learning::LabelOutcome& outcome) {
  return {{"predictions", outcome.predictions}, {"examples", outcome.examples}, {"correct", outcome.correct}};
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

}  // namespace

void add_label_routes(http::Router& router, Node& node) {
  router.add("POST", "/v1/labels", [&node](http::Request& request) {
    auto outcome = post_labels(node, request.body);
    return outcome.ok() ? json_response(*outcome) : http::error_response(outcome.error());
  });
}

}  // namespace skerry::node
