// skerry models, sync, learning: what serves, what is sent, what is learnt, and why.
#include <cstdlib>
#include <filesystem>

#include "base/units.h"
#include "node/cli/api.h"
#include "node/cli/print.h"

namespace skerry::cli {
namespace {

using nlohmann::json;

std::string percent_or_dash(const json& share) {
  return share.is_number() ? fmt::format("{:.1f} %", 100 * share.get<double>()) : "-";
}

void add_versions(std::vector<std::vector<std::string>>& table, const json& versions) {
  for (const json& v : versions) {
    table.push_back({fmt::format("{}/{}", text(v.at("model")), text(v.at("version"))), text(v.at("state")) + (v.value("pinned", false) ? ", pinned" : ""),
                     text(v.at("parent")), percent_or_dash(v.at("holdout_accuracy")), accuracy_text(v.at("live")), text(v.at("reason"))});
  }
}

void print_answer(const ModelsOptions& o, const json& answer) {
  std::vector<std::vector<std::string>> table(1, {"version", "state", "parent", "held out", "live", "reason"});
  if (o.action == "train" || o.action == "retrain") {
    const std::string left_out = o.action == "train" ? "" : fmt::format("without {} labels; ", text(answer.at("left_out")));
    print_line(fmt::format("{}{}; {}", left_out, text(answer.at("state")), text(answer.at("why"))));
    return;
  }
  if (o.action == "list") {
    for (const json& model : answer.at("models")) add_versions(table, model.at("versions"));
    if (table.size() == 1) return print_line("no models yet: import one with `skerry models import PATH`, or make one with `skerry fit`");
  } else if (o.action == "show" || o.action == "unpin") {
    print_line(fmt::format("{}: stream {}, windows of {} records, labels {}", text(answer.at("name")), text(answer.value("stream", json())),
                           text(answer.value("window_records", json())), answer.value("labels", json::array()).dump()));
    add_versions(table, answer.at("versions"));
  } else {
    add_versions(table, json::array({answer}));
  }
  print_table(table);
}

Result<json> ask(Api& api, const ModelsOptions& o) {
  const std::string base = "/v1/models/" + http::percent_encode(o.model);
  const json reason = o.reason.empty() ? json() : json{{"reason", o.reason}};
  if (o.action == "list") return api.get("/v1/models");
  if (o.action == "show") return api.get(base);
  if (o.action == "promote") return api.post(base + "/versions/" + http::percent_encode(o.version) + "/promote", reason);
  if (o.action == "retrain") return api.post(base + "/versions/" + http::percent_encode(o.version) + "/retrain", json());
  if (o.action == "rollback") return api.post(base + "/rollback", reason);
  if (o.action == "unpin") return api.post(base + "/unpin", reason);
  if (o.action == "pin") {
    json pin = o.reason.empty() ? json::object() : json{{"reason", o.reason}};
    if (!o.version.empty()) pin["version"] = std::strtoul(o.version.c_str(), nullptr, 10);
    return api.post(base + "/pin", pin);
  }
  if (o.action == "train") return api.post(base + "/train", json());
  std::error_code ignored;  // the node resolves paths from its own folder
  return api.post("/v1/models/import", {{"path", std::filesystem::absolute(o.path, ignored).string()}});
}

}  // namespace

int models(const Common& common, const ModelsOptions& options) {
  auto api = Api::open(common.url, std::chrono::minutes(2));  // loading a version may take its time
  if (!api.ok()) return failed(common, api.error());
  auto answer = ask(*api, options);
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
  } else {
    print_answer(options, *answer);
  }
  return 0;
}

int learning(const Common& common) {
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  auto answer = api->get("/v1/learning");
  if (!answer.ok()) return failed(common, answer.error());
  auto decisions = api->get("/v1/learning/decisions?limit=20");
  if (!decisions.ok()) return failed(common, decisions.error());
  if (common.json) {
    (*answer)["decisions"] = decisions->at("decisions");
    print_json(*answer);
    return 0;
  }
  print_line(fmt::format("{}\nwhy: {}", text(answer->at("state")), text(answer->at("why"))));
  for (const json& t : answer->value("trials", json::array())) {
    print_line(fmt::format("{}/{} is {}: {}", text(t.at("model")), text(t.at("version")), text(t.at("stage")), text(t.at("why"))));
  }
  print_line(fmt::format("jobs started {}, failed {}; candidates promoted {}, rejected {}, rolled back {}", text(answer->at("jobs_started")),
                         text(answer->at("jobs_failed")), text(answer->at("promoted")), text(answer->at("rejected")), text(answer->at("rolled_back"))));
  std::vector<std::vector<std::string>> table(1, {"when", "version", "step", "outcome", "reason"});
  for (const json& d : decisions->at("decisions")) {
    table.push_back({text(d.at("at")), fmt::format("{}/{}", text(d.at("model")), text(d.at("version"))), text(d.at("step")), text(d.at("outcome")), text(d.at("reason"))});
  }
  if (table.size() > 1) print_table(table);
  return 0;
}

}  // namespace skerry::cli
