// skerry query, sql, streams, predictions, label: what the node holds, and what people say about it.
#include <cstdio>

#include "node/cli/api.h"
#include "node/cli/print.h"

namespace skerry::cli {
namespace {

using nlohmann::json;

int show(const Common& common, const std::string& target, void (*print)(const json&)) {
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  auto answer = api->get(target);
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
  } else {
    print(*answer);
  }
  return 0;
}

constexpr const char* kMore = "(there is more: raise --limit, or ask for less)\n";

// Of one series, or of several: then with their series before each.
void print_records(const json& answer) {
  const json parts = answer.contains("results") ? answer.at("results") : json::array({answer});
  for (const json& part : parts) {
    if (answer.contains("results")) print_line(text(part.at("series")));
    std::vector<std::vector<std::string>> table(1, {"time"});
    for (const json& field : part.at("fields")) table[0].push_back(text(field));
    for (const json& row : part.at("rows")) {
      auto& cells = table.emplace_back();
      for (const json& value : row) cells.push_back(text(value));
    }
    print_table(table);
    for (const json& stretch : part.value("rolled_up", json::array())) {
      std::fputs(fmt::format("(from {} to {} only minimum, maximum and mean of every {} are left)\n", text(stretch.at("from")), text(stretch.at("to")),
                             text(stretch.at("resolution"))).c_str(), stderr);
    }
  }
  if (answer.value("truncated", false)) std::fputs(kMore, stderr);
}

void print_sql(const json& answer) {
  std::vector<std::vector<std::string>> table(1);
  for (const json& column : answer.at("columns")) table[0].push_back(text(column));
  for (const json& row : answer.at("rows")) {
    auto& cells = table.emplace_back();
    for (const json& value : row) cells.push_back(text(value));
  }
  print_table(table);
  if (answer.value("truncated", false)) std::fputs(kMore, stderr);
}

// What comes, as it comes.
int pass_on(const Common& common, const std::string& method, const std::string& target, const std::string& body = {}) {
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  auto headers = api->print(method, target, body);
  if (!headers.ok()) return failed(common, headers.error());
  for (const auto& [name, value] : *headers) {
    if (name == "skerry-truncated") std::fputs(kMore, stderr);
  }
  return 0;
}

void print_streams(const json& answer) {
  std::vector<std::vector<std::string>> table(1, {"series", "records", "last", "fields"});
  for (const json& stream : answer.at("streams")) {
    std::string fields;
    for (const json& field : stream.at("fields")) fields += fmt::format("{}{}", fields.empty() ? "" : ",", text(field.at("name")));
    if (fields.size() > 60) fields = fields.substr(0, 57) + "...";
    table.push_back({text(stream.at("series")), thousands(stream.value("records", uint64_t{0})), text(stream.at("last")), fields});
  }
  print_table(table);
}

void print_predictions(const json& answer) {
  std::vector<std::vector<std::string>> table(1, {"id", "model", "series", "from", "to", "answer", "label"});
  json one = json::array({answer});
  for (const json& p : answer.contains("predictions") ? answer.at("predictions") : one) {
    table.push_back({text(p.at("id")), fmt::format("{}/{}", text(p.at("model")), text(p.at("version"))), text(p.at("series")), text(p.at("from")),
                     text(p.at("to")), text(p.at("answer")), text(p.at("label"))});
  }
  print_table(table);
}

}  // namespace

int query(const Common& common, const QueryOptions& o) {
  std::vector<std::pair<std::string, std::string>> parameters = {
      {o.tags.empty() && !o.all ? "series" : "name", o.series}, {"from", o.from}, {"to", o.to}, {"limit", o.limit}, {"fields", o.fields},
      {"bucket", o.bucket}, {"aggregate", o.aggregate}, {"last", o.last ? "true" : ""}, {"format", o.format}};
  for (const auto& [key, value] : o.tags) parameters.emplace_back("tag." + http::percent_encode(key), value);
  const std::string target = "/v1/query" + query_string(parameters);
  return o.format.empty() ? show(common, target, print_records) : pass_on(common, "GET", target);
}

int sql(const Common& common, const SqlOptions& o) {
  const std::string target = "/v1/sql" + query_string({{"limit", o.limit}, {"format", o.format}});
  const json body = {{"sql", o.statement}};
  if (!o.format.empty()) return pass_on(common, "POST", target, body.dump());
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  auto answer = api->post(target, body);
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
  } else {
    print_sql(*answer);
  }
  return 0;
}

int streams(const Common& common) { return show(common, "/v1/streams", print_streams); }

int predictions(const Common& common, const PredictionsOptions& o) {
  if (!o.id.empty()) return show(common, "/v1/predictions/" + http::percent_encode(o.id), print_predictions);
  return show(common,
              "/v1/predictions" + query_string({{"model", o.model}, {"series", o.series}, {"from", o.from}, {"to", o.to}, {"limit", o.limit}}),
              print_predictions);
}

namespace {

int next_labels(const Common& common, Api& api, const LabelOptions& o) {
  auto answer = api.get("/v1/labels/next" + query_string({{"limit", std::to_string(o.count)}, {"model", o.model}}));
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
    return 0;
  }
  for (const json& one : (*answer)["next"]) {
    print_line(fmt::format("{:>8}  {} to {}  {}  {} or {}, margin {:.2f}", text(one["prediction"]), text(one["from"]), text(one["to"]), text(one["series"]),
                           text(one["answer"]), text(one["or"]), one.value("margin", 0.0)));
  }
  return 0;
}

int withdraw(const Common& common, Api& api, const json& body) {
  auto answer = api.post("/v1/labels/withdraw", body);
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
    return 0;
  }
  print_line(fmt::format("{} labels taken back", text((*answer)["predictions"])));
  for (const json& v : (*answer)["versions"]) {
    print_line(fmt::format("{}/{} ({}) was made with them: `skerry models rollback {}`, then `skerry models retrain {} {}`", text(v["model"]), text(v["version"]),
                           text(v["state"]), text(v["model"]), text(v["model"]), text(v["version"])));
  }
  return 0;
}

}  // namespace

int label(const Common& common, const LabelOptions& o) {
  if (o.value.empty() != (o.next || o.withdraw) || (o.next && o.withdraw)) {
    return failed(common, fail(Code::invalid, "say a label, or --next, or --withdraw"));
  }
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  if (o.next) return next_labels(common, *api, o);
  json body = {{"source", o.source}};
  if (o.prediction) body["prediction"] = *o.prediction;
  if (!o.model.empty()) body["model"] = o.model;
  if (!o.series.empty()) body["series"] = o.series;
  if (!o.from.empty()) body["from"] = o.from;
  if (!o.to.empty()) body["to"] = o.to;
  if (o.withdraw) return withdraw(common, *api, body);
  body["label"] = o.value;
  auto answer = api->post("/v1/labels", body);
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
  } else {
    print_line(fmt::format("{} predictions labelled, {} of them were right; {} examples kept for learning", text(answer->at("predictions")),
                           text(answer->at("correct")), text(answer->at("examples"))));
  }
  return 0;
}

}  // namespace skerry::cli
