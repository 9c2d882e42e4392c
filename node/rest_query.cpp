// What the store holds: streams, records, predictions.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using nlohmann::json;

constexpr uint64_t kRowsDefault = 1'000, kRowsMax = 100'000;
constexpr uint64_t kPredictionsDefault = 100, kPredictionsMax = 10'000;

void append_value(std::string& out, const Column& column, size_t row) {
  switch (column.type()) {
    case FieldType::float64: fmt::format_to(std::back_inserter(out), "{}", std::get<0>(column.values)[row]); return;
    case FieldType::int64: fmt::format_to(std::back_inserter(out), "{}", std::get<1>(column.values)[row]); return;
    case FieldType::boolean: out += std::get<2>(column.values)[row] ? "true" : "false"; return;
    case FieldType::string: return;  // by the caller: quoting differs
  }
}

// {"series":..., "fields":[...], "types":[...], "rows":[[time, value or null, ...], ...], "truncated":bool}
std::string to_json(const Batch& batch, size_t rows, bool truncated) {
  std::string out = "{\"series\":";
  append_json_string(out, batch.series.text());
  std::string fields, types;
  for (const Column& column : batch.columns) {
    const char* separator = fields.empty() ? "" : ",";
    fields += separator;
    append_json_string(fields, column.name);
    types += separator;
    append_json_string(types, to_string(column.type()));
  }
  fmt::format_to(std::back_inserter(out), ",\"fields\":[{}],\"types\":[{}],\"truncated\":{},\"rows\":[", fields, types, truncated);
  for (size_t row = 0; row < rows; ++row) {
    out += row == 0 ? "[\"" : ",[\"";
    out += format_time(batch.times[row]);
    out += '"';
    for (const Column& column : batch.columns) {
      out += ',';
      if (!column.has(row)) {
        out += "null";
      } else if (column.type() == FieldType::string) {
        append_json_string(out, std::get<3>(column.values)[row]);
      } else {
        append_value(out, column, row);
      }
    }
    out += ']';
  }
  return out + "]}\n";
}

void append_csv_text(std::string& out, const std::string& text) {  // RFC 4180
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    out += text;
    return;
  }
  out += '"';
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

std::string to_csv(const Batch& batch, size_t rows) {
  std::string out = "time";
  for (const Column& column : batch.columns) {
    out += ',';
    append_csv_text(out, column.name);
  }
  out += '\n';
  for (size_t row = 0; row < rows; ++row) {
    out += format_time(batch.times[row]);
    for (const Column& column : batch.columns) {
      out += ',';
      if (!column.has(row)) continue;
      if (column.type() == FieldType::string) {
        append_csv_text(out, std::get<3>(column.values)[row]);
      } else {
        append_value(out, column, row);
      }
    }
    out += '\n';
  }
  return out;
}

Result<http::Response> query(const Node& node, const http::Request& request) {
  std::string text = request.parameter("series");
  if (text.empty()) return fail(Code::invalid, "parameter 'series' is missing: GET /v1/streams lists them");
  SKERRY_ASSIGN(Series series, Series::parse(text));
  SKERRY_ASSIGN(storage::TimeRange range, range_parameters(request));
  SKERRY_ASSIGN(uint64_t limit, number_parameter(request, "limit", kRowsDefault, kRowsMax));
  std::string format = request.parameter("format", "json");
  if (format != "json" && format != "csv") return fail(Code::invalid, "parameter 'format' is '{}': write json or csv", format.substr(0, 32));
  std::vector<std::string> fields;
  std::string names = request.parameter("fields");
  for (size_t at = 0; at < names.size();) {
    size_t comma = std::min(names.find(',', at), names.size());
    if (comma > at) fields.push_back(names.substr(at, comma - at));
    at = comma + 1;
    if (fields.size() > kBatchColumnsMax) return fail(Code::invalid, "more than {} fields: ask for fewer", kBatchColumnsMax);
  }
  SKERRY_ASSIGN(Batch batch, node.store().read(series, range, limit + 1, fields));
  const bool truncated = batch.rows() > limit;
  const size_t rows = truncated ? limit : batch.rows();
  http::Response response;
  response.body = format == "csv" ? to_csv(batch, rows) : to_json(batch, rows, truncated);
  if (format == "csv") {
    response.content_type = "text/csv; charset=utf-8";
    if (truncated) response.headers.emplace_back("Skerry-Truncated", "true");
  }
  return response;
}

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
  router.add("GET", "/v1/query", [&node](http::Request& request) {
    auto response = query(node, request);
    return response.ok() ? std::move(response).value() : http::error_response(response.error());
  });
  router.add("GET", "/v1/predictions", [&node](http::Request& request) { return answer(predictions(node, request)); });
  router.add("GET", "/v1/predictions/{id}", [&node](http::Request& request) { return answer(prediction(node, request)); });
}

}  // namespace skerry::node
