// What the store holds: streams and predictions.
#include <charconv>
#include <nlohmann/json.hpp>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using nlohmann::json;

constexpr uint64_t kPredictionsDefault = 100, kPredictionsMax = 10'000;

json streams_json(const std::vector<storage::StreamInfo>& streams) {
  json list = json::array();
  for (const auto& stream : streams) {
    json fields = json::array();
    for (const auto& [name, type] : stream.fields) fields.push_back({{"name", name}, {"type", to_string(type)}});
    bool empty = stream.records == 0;
    list.push_back({{"series", stream.series.text()},
                    {"name", stream.series.name},
                    {"tags", stream.series.tags},
                    {"fields", fields},
                    {"durability", to_string(stream.durability)},
                    {"records", stream.records},
                    {"first", empty ? json() : json(format_time(stream.first_ns))},
                    {"last", empty ? json() : json(format_time(stream.last_ns))}});
  }
  return {{"streams", list}};
}

// Names of classes, from whichever loaded version knows them.
class ClassNames {
 public:
  explicit ClassNames(const Node& node) : node_(node) {}
  json name(const std::string& model, uint32_t version, int32_t index) const {
    if (index < 0) return nullptr;
    auto loaded = node_.engine().find(model, version);
    if (!loaded.ok()) loaded = node_.engine().find(model, std::nullopt);
    if (!loaded.ok()) return std::to_string(index);
    const auto& labels = (*loaded)->package.info.labels;
    return static_cast<size_t>(index) < labels.size() ? labels[static_cast<size_t>(index)] : std::to_string(index);
  }

 private:
  const Node& node_;
};

json prediction_json(const storage::Prediction& p, const ClassNames& names) {
  return {{"id", number(p.id)},
          {"model", p.model},
          {"version", p.version},
          {"series", p.series},
          {"from", format_time(p.window.from_ns)},
          {"to", format_time(p.window.to_ns)},
          {"records", p.window_rows},
          {"at", format_time(p.at_ns)},
          {"answer", names.name(p.model, p.version, p.top)},
          {"label", names.name(p.model, p.version, p.label)},
          {"scores", p.scores}};
}

Result<json> predictions(const Node& node, const http::Request& request) {
  SKERRY_ASSIGN(storage::TimeRange range, range_parameters(request));
  SKERRY_ASSIGN(uint64_t limit, number_parameter(request, "limit", kPredictionsDefault, kPredictionsMax));
  std::string series_text = request.parameter("series");
  if (!series_text.empty()) {
    SKERRY_ASSIGN(Series series, Series::parse(series_text));
    series_text = series.text();
  }
  SKERRY_ASSIGN(auto found, node.store().predictions(request.parameter("model"), series_text, range, limit));
  json list = json::array();
  ClassNames names(node);
  for (const auto& prediction : found) list.push_back(prediction_json(prediction, names));
  return json{{"predictions", list}};
}

Result<json> prediction(const Node& node, const http::Request& request) {
  const std::string& text = request.path_parameters.at("id");
  uint64_t id = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (code != std::errc() || end != text.data() + text.size()) {
    return fail(Code::not_found, "there is no prediction '{}': ids are numbers", text.substr(0, 32));
  }
  SKERRY_ASSIGN(storage::Prediction found, node.store().prediction(static_cast<storage::PredictionId>(id)));
  return prediction_json(found, ClassNames(node));
}

http::Response answer(const Result<json>& result) {
  return result.ok() ? json_response(*result) : http::error_response(result.error());
}

}  // namespace

void add_query_routes(http::Router& router, Node& node) {
  router.add("GET", "/v1/streams", [&node](http::Request&) {
    auto streams = node.store().streams();
    return streams.ok() ? json_response(streams_json(*streams)) : http::error_response(streams.error());
  });
  router.add("GET", "/v1/predictions", [&node](http::Request& request) { return answer(predictions(node, request)); });
  router.add("GET", "/v1/predictions/{id}", [&node](http::Request& request) { return answer(prediction(node, request)); });
}

}  // namespace skerry::node
