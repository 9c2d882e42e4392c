// /v1/sync: the link, what waits for it and why, and the policy that says so.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "node/internal/rest.h"
#include "node/internal/rest_bundle.h"
#include "storage/sample_block.h"

namespace skerry::node {
namespace {

using nlohmann::json;

constexpr uint64_t kSearchPageBytes = 1 << 20, kSearchBytesMax = 256 << 20;

template <typename T>
json maybe(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

json bearer_json(const sync::BearerStatus& b) {
  json purposes = json::object();
  for (const auto& [name, bytes] : b.use.purposes) purposes[name] = {{"sent", bytes.sent}, {"received", bytes.received}, {"exchanges", bytes.exchanges}};
  const sync::LinkFacts& l = b.link;
  return {{"name", b.name},
          {"online", b.online},
          {"up", l.up},
          {"device", l.device},
          {"technology", to_string(l.technology)},
          {"technology_from", l.technology_from},
          {"metered", maybe(l.metered)},
          {"metered_from", l.metered_from},
          {"constrained", maybe(l.constrained)},
          {"roaming", maybe(l.roaming)},
          {"rsrp_dbm", maybe(l.rsrp_dbm)},
          {"rsrq_db", maybe(l.rsrq_db)},
          {"snr_db", maybe(l.snr_db)},
          {"registration", l.radio.registration},
          {"operator", l.radio.operator_name},
          {"apn", l.radio.apn},
          {"connectivity", l.radio.connectivity},
          {"modem_bytes_sent", maybe(l.radio.bytes_sent)},
          {"modem_bytes_received", maybe(l.radio.bytes_received)},
          {"goodput_bytes_per_second", l.goodput},
          {"rtt_seconds", std::chrono::duration<double>(l.rtt).count()},
          {"last_outage_seconds", std::chrono::duration<double>(l.last_outage).count()},
          {"outages", l.outages},
          {"batch_goal", b.batch_goal},
          {"month", {{"bytes", b.use.month_bytes}, {"budget", b.monthly_bytes}, {"from", format_time(b.use.month_from_ns)}}},
          {"day", {{"bytes", b.use.day_bytes}, {"budget", b.daily_bytes}}},
          {"cost", b.use.cost},
          {"purposes", purposes}};
}

json decision_json(const sync::ClassDecision& d, SteadyTime now, const std::vector<sync::BearerStatus>& bearers) {
  json out = {{"class", to_string(d.outbox_class)}, {"send", d.send}, {"never", d.never}, {"bytes_max", d.bytes_max}, {"reason", d.reason}};
  if (d.bearer < bearers.size()) out["bearer"] = bearers[d.bearer].name;
  if (d.send) out["compression"] = d.compression;
  else out["blocked_by"] = to_string(d.blocked_by);
  out["not_before_seconds"] = d.not_before ? json(std::max(0.0, std::chrono::duration<double>(*d.not_before - now).count())) : json();
  if (d.conditions.empty()) return out;
  json conditions = json::array();
  for (const auto& c : d.conditions) {
    conditions.push_back({{"gate", to_string(c.gate)}, {"holds", c.holds}, {"bearer", c.bearer.empty() ? json() : json(c.bearer)}, {"text", c.text}});
  }
  out["conditions"] = conditions;
  return out;
}

Result<json> hold(Node& node, const std::string& body) {
  SKERRY_ASSIGN(json object, parse_object(body));
  auto held = object.find("held");
  if (held == object.end() || !held->is_boolean()) return fail(Code::invalid, "'held' must be true or false");
  node.syncer().hold(held->get<bool>());
  return sync_json(node.syncer().status());
}

Result<json> revoke(Node& node, const std::string& body) {
  SKERRY_ASSIGN(json object, parse_object(body));
  SKERRY_ASSIGN(const std::string name, text_member(object, "name", ""));
  auto revoked = object.find("revoked");
  if (revoked == object.end() || !revoked->is_boolean()) return fail(Code::invalid, "'revoked' must be true or false");
  const auto windows = node.syncer().policy().windows;
  if (std::none_of(windows.begin(), windows.end(), [&](const auto& w) { return w.name == name; })) {
    return fail(Code::not_found, "there is no transfer window '{}': see GET /v1/sync/policy", name.substr(0, 64));
  }
  node.syncer().revoke_window(name, revoked->get<bool>());
  return sync_json(node.syncer().status());
}

Result<std::optional<storage::OutboxClass>> class_parameter(const http::Request& request) {
  const std::string name = request.parameter("class");
  if (name.empty()) return std::optional<storage::OutboxClass>{};
  for (storage::OutboxClass c : storage::kOutboxClasses) {
    if (name == to_string(c)) return std::optional(c);
  }
  return fail(Code::invalid, "there is no class '{}': alarm, label, model, telemetry, backlog and diagnostics are", name.substr(0, 64));
}

bool holds_time(const storage::OutboxItem& item, const Series& series, int64_t time_ns) {
  if (item.kind != storage::EntryKind::samples || item.subject != series.text()) return false;
  auto block = storage::decode_block(series, item.payload);
  return block.ok() && std::find(block->times.begin(), block->times.end(), time_ns) != block->times.end();
}

// Where a record waits, by looking at what waits: the outbox knows blocks, not records.
Result<json> find_record(Node& node, const std::string& name, int64_t time_ns) {
  SKERRY_ASSIGN(const Series series, Series::parse(name));
  SKERRY_ASSIGN(const Batch stored, node.store().read(series, {time_ns, time_ns + 1}, 1));
  if (stored.times.empty()) return fail(Code::not_found, "{} has no record at {}: see `skerry query`", name, format_time(time_ns));
  const auto all = node.store().outbox_status();
  const auto status = *std::find_if(all.begin(), all.end(), [](const auto& s) { return s.outbox_class == storage::OutboxClass::telemetry; });
  uint64_t bytes = 0;
  for (uint64_t seq = status.acked_seq + 1; seq <= status.last_seq && bytes < kSearchBytesMax;) {
    SKERRY_ASSIGN(const auto items, node.store().outbox_read(storage::OutboxClass::telemetry, seq, kSearchPageBytes));
    for (const auto& item : items) {
      if (holds_time(item, series, time_ns)) {
        return json{{"state", "waiting"}, {"class", "telemetry"}, {"seq", item.seq}, {"entries_before", item.seq - status.acked_seq - 1}, {"bytes_before", bytes}};
      }
      bytes += item.payload.size();
    }
    if (items.empty()) break;
    seq = items.back().end_seq() + 1;
  }
  if (bytes >= kSearchBytesMax) return json{{"state", "not among the first that wait"}, {"class", "telemetry"}, {"bytes_before", bytes}};
  return json{{"state", "not waiting: the hub holds it, or its stream is not synced, or a rule dropped it from the outbox"}, {"class", "telemetry"}};
}

Result<json> explain(Node& node, const http::Request& request) {
  SKERRY_ASSIGN(std::optional<storage::OutboxClass> only, class_parameter(request));
  json out = json::object();
  if (const std::string series = request.parameter("series"); !series.empty()) {
    SKERRY_ASSIGN(const int64_t time, parse_time(request.parameter("time")));
    SKERRY_ASSIGN(out["record"], find_record(node, series, time));
    only = storage::OutboxClass::telemetry;
  }
  const auto bearers = node.syncer().status().bearers;
  out["classes"] = json::array();
  for (const auto& d : node.syncer().explain()) {
    if (!only || d.outbox_class == *only) out["classes"].push_back(decision_json(d, node.clock().steady(), bearers));
  }
  return out;
}

json policy_json(Node& node) {
  return {{"source", node.sync_policy().source()},
          {"problem", node.sync_policy().problem().empty() ? json() : json(node.sync_policy().problem())},
          {"preset", node.syncer().policy().preset},
          {"toml", node.sync_policy().text()}};
}

template <typename T>
http::Response answer(const Result<T>& result) {
  return result.ok() ? json_response(*result) : http::error_response(result.error());
}

void add_policy_routes(http::Router& router, Node& node) {
  using http::Request;
  router.add("GET", "/v1/sync/policy", [&node](Request&) { return json_response(policy_json(node)); });
  router.add("PUT", "/v1/sync/policy", [&node](Request& request) {
    auto put = node.sync_policy().put(request.body);
    return put.ok() ? json_response(policy_json(node)) : http::error_response(put.error());
  });
  router.add("DELETE", "/v1/sync/policy", [&node](Request&) {
    auto back = node.sync_policy().take_back();
    return back.ok() ? json_response(policy_json(node)) : http::error_response(back.error());
  });
  router.add("POST", "/v1/sync/policy/try", [&node](Request& request) {
    auto decisions = node.sync_policy().attempt(request.body);
    if (!decisions.ok()) return http::error_response(decisions.error());
    json classes = json::array();
    for (const auto& d : *decisions) classes.push_back(decision_json(d, node.clock().steady(), {}));
    return json_response({{"classes", classes}});
  });
}

}  // namespace

json outbox_json(const NodeStatus& status) {
  json classes = json::array();
  for (const auto& outbox : status.outbox) {
    classes.push_back({{"class", to_string(outbox.outbox_class)},
                       {"last_seq", outbox.last_seq},
                       {"acked_seq", outbox.acked_seq},
                       {"entries", outbox.entries},
                       {"bytes", outbox.bytes},
                       {"oldest", outbox.entries == 0 ? json() : json(format_time(outbox.oldest_ns))}});
  }
  return {{"bytes", status.outbox_bytes}, {"classes", classes}};
}

json sync_json(const sync::SyncStatus& s) {
  json decisions = json::array(), bearers = json::array(), dead = json::array();
  for (const auto& l : s.dead) {
    dead.push_back({{"class", to_string(l.outbox_class)}, {"seq", l.seq}, {"subject", l.subject}, {"reason", l.reason}, {"bytes", l.bytes}, {"records", l.records}});
  }
  for (const auto& d : s.decisions) {
    json one = {{"class", to_string(d.outbox_class)}, {"send", d.send}, {"bytes_max", d.bytes_max}, {"reason", d.reason}};
    if (d.bearer < s.bearers.size()) one["bearer"] = s.bearers[d.bearer].name;
    decisions.push_back(one);
  }
  for (const auto& b : s.bearers) bearers.push_back(bearer_json(b));
  return {{"enabled", s.enabled},
          {"online", s.online},
          {"held", s.held},
          {"hub", s.hub},
          {"last_error", s.last_error},
          {"batches", s.batches},
          {"repeated", s.repeated},
          {"failures", s.failures},
          {"records", s.records},
          {"lost_at_hub", s.lost_at_hub},
          {"epochs_begun", s.epochs_begun},
          {"bytes_sent", s.traffic.sent},
          {"bytes_received", s.traffic.received},
          {"windows_revoked", s.revoked},
          {"dead_letters", dead},
          {"bearers", bearers},
          {"decisions", decisions}};
}

void add_sync_routes(http::Router& router, Node& node) {
  using http::Request;
  router.add("GET", "/v1/sync", [&node](Request&) {
    NodeStatus status = node.status();
    json out = sync_json(status.sync);
    out["outbox"] = outbox_json(status);
    return json_response(out);
  });
  router.add("POST", "/v1/sync/hold", [&node](Request& request) { return answer(hold(node, request.body)); });
  router.add("POST", "/v1/sync/windows", [&node](Request& request) { return answer(revoke(node, request.body)); });
  router.add("GET", "/v1/sync/explain", [&node](Request& request) { return answer(explain(node, request)); });
  add_policy_routes(router, node);
  add_bundle_routes(router, node);
}

}  // namespace skerry::node
