// How the node is: status, sync, learning, and what this is at /.
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using nlohmann::json;

}  // namespace

json learning_json(const learning::LearnerStatus& s) {
  json trials = json::array();
  for (const auto& t : s.trials) trials.push_back({{"model", t.model}, {"version", t.version}, {"stage", t.stage}, {"why", t.why}});
  return {{"state", s.state},
          {"why", s.why},
          {"jobs_started", s.jobs_started},
          {"jobs_failed", s.jobs_failed},
          {"promoted", s.promoted},
          {"rejected", s.rejected},
          {"rolled_back", s.rolled_back},
          {"trials", trials}};
}

namespace {

json loss_json(const storage::Loss& loss) {
  json out = {{"reason", to_string(loss.reason)},
          {"from", format_time(loss.range.from_ns)},
          {"to", format_time(loss.range.to_ns)},
          {"records", loss.records},
          {"unsent", loss.unsent},
          {"at", format_time(loss.at_ns)}};
  if (loss.resolution_ns > 0) out["resolution"] = format_duration(Duration(loss.resolution_ns));
  if (loss.outbox_class) {
    out["class"] = to_string(*loss.outbox_class);
    out["entries"] = loss.entries;
  } else {
    out["series"] = loss.series;
  }
  return out;
}

// What the store holds, may hold, and has lost by rule. Figures that are still being counted after a start are null.
json storage_json(const Node& node) {
  uint64_t kept = 0, head = 0, chunks = 0, lost = 0, unsent = 0;
  bool counted = true;
  for (const auto& stream : node.store().streams().value_or({})) {
    counted = counted && stream.counted;
    kept += stream.kept;
    head += stream.head_bytes;
    chunks += stream.chunk_bytes;
  }
  json rolled = json::object();
  for (const auto& loss : node.store().losses()) {
    if (loss.outbox_class) continue;  // its records stay in their stream
    if (loss.resolution_ns > 0) {
      const std::string resolution = format_duration(Duration(loss.resolution_ns));
      rolled[resolution] = rolled.value(resolution, uint64_t{0}) + loss.records;
      continue;
    }
    lost += loss.records;
    unsent += loss.unsent;
  }
  json quotas = json::array();
  for (const auto& quota : node.store().quotas()) {
    if (quota.quota_bytes == 0) continue;
    quotas.push_back({{"rule", quota.rule.empty() ? json() : json(quota.rule)}, {"bytes", quota.bytes}, {"quota", quota.quota_bytes}, {"full", quota.full}});
  }
  const auto when = [&](uint64_t value) { return counted ? json(value) : json(); };
  return {{"records", when(kept)}, {"head_bytes", when(head)}, {"chunk_bytes", when(chunks)},
          {"lost", lost},          {"lost_unsent", unsent},    {"rolled_up", rolled},      {"quotas", quotas},
          {"taken_bytes", node.store().wear().taken_bytes}, {"written_bytes", node.store().wear().written_bytes}};
}

json recovery_json(const NodeStatus& s) {
  if (!s.recovery) return {};
  return {{"at", format_time(s.recovery->at_ns)}, {"why", s.recovery->why}, {"damaged", s.recovery->damaged},
          {"kept", s.recovery->kept.string()}};
}

}  // namespace

json status_json(const Node& node) {
  NodeStatus s = node.status();
  json models = json::array();
  for (const auto& model : s.models) {
    models.push_back({{"name", model.name}, {"version", model.version}, {"live", score_json(model.score)}});
  }
  return {{"node", node.config().node.name},
          {"software", kSoftware},
          {"time", format_time(node.clock().now_ns())},
          {"records", s.records},
          {"predictions", s.predictions},
          {"labels", s.labels},
          {"models", models},
          {"outbox", outbox_json(s)},
          {"sync", sync_json(s.sync)},
          {"learning", learning_json(s.learning)},
          {"disk_bytes", s.disk_bytes},
          {"storage", storage_json(node)},
          {"damaged", s.damaged},
          {"recovery", recovery_json(s)},
          {"sources", s.sources},
          {"sources_finished", s.sources_finished},
          {"source_errors", s.source_errors},
          {"trouble", s.trouble.empty() ? json() : json(s.trouble)}};
}

namespace {

Result<json> decisions_json(const Node& node, const http::Request& request) {
  constexpr uint64_t kLimitDefault = 50;
  const std::string limit = request.parameter("limit");
  uint64_t count = kLimitDefault;
  if (!limit.empty()) {
    auto [end, code] = std::from_chars(limit.data(), limit.data() + limit.size(), count);
    if (code != std::errc() || end != limit.data() + limit.size() || count == 0 || count > learning::kDecisionsKept) {
      return fail(Code::invalid, "parameter 'limit' must be a number from 1 to {}", learning::kDecisionsKept);
    }
  }
  json list = json::array();
  for (const auto& d : node.models().decisions().newest(request.parameter("model"), count)) {
    list.push_back({{"at", format_time(d.at_ns)}, {"model", d.model}, {"version", d.version == 0 ? json() : json(d.version)}, {"step", d.step},
                    {"outcome", d.outcome}, {"reason", d.reason}});
  }
  return json{{"decisions", list}};
}

}  // namespace

void add_status_routes(http::Router& router, Node& node) {
  using http::Request;
  router.add("GET", "/", [&node](Request&) {
    return json_response({{"name", "skerry"},
                          {"what", "an offline-first edge gateway: it takes in sensor data, answers with a model, learns from labels and "
                                   "brings everything home when there is a link"},
                          {"node", node.config().node.name},
                          {"software", kSoftware},
                          {"see", {"/v1/status", "/v1/streams", "/v1/models", "/v2", "/metrics"}},
                          {"api", "docs/openapi.yaml"}});
  });
  router.add("GET", "/v1/status", [&node](Request&) { return json_response(status_json(node)); });
  router.add("GET", "/v1/losses", [&node](Request&) {
    json list = json::array();
    for (const auto& loss : node.store().losses()) list.push_back(loss_json(loss));
    return json_response({{"losses", list}});
  });
  router.add("GET", "/v1/learning/decisions", [&node](Request& request) {
    auto decisions = decisions_json(node, request);
    return decisions.ok() ? json_response(*decisions) : http::error_response(decisions.error());
  });
  router.add("GET", "/v1/learning", [&node](Request&) { return json_response(learning_json(node.learner().status())); });
}

}  // namespace skerry::node
