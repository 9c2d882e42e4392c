// GET /metrics: everything that is counted, in the Prometheus text format. Collected when asked; nothing is kept twice.
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"
#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<std::pair<std::string, std::string>>;

class Families {
 public:
  MetricFamily& add(const std::string& name, const std::string& help, MetricType type) {
    families_.push_back({"skerry_" + name, help, type, {}});
    return families_.back();
  }
  MetricFamily& add_as_named(const std::string& name, const std::string& help, MetricType type) {  // by names that others have given
    families_.push_back({name, help, type, {}});
    return families_.back();
  }
  void counter(const std::string& name, const std::string& help, uint64_t value) {
    put(add(name, help, MetricType::Counter), {}, static_cast<double>(value));
  }
  void gauge(const std::string& name, const std::string& help, double value) { put(add(name, help, MetricType::Gauge), {}, value); }
  static void put(MetricFamily& family, const Labels& labels, double value) {
    ClientMetric metric;
    for (const auto& [label, text] : labels) metric.label.push_back({label, text});
    if (family.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family.metric.push_back(std::move(metric));
  }
  const std::vector<MetricFamily>& families() const { return families_; }

 private:
  std::vector<MetricFamily> families_;
};

// A reference into families_ holds only until the next add(): so each family is filled before the next begins.
void add_outbox(Families& f, const NodeStatus& s) {
  auto each = [&](const char* name, const char* help, auto value) {
    MetricFamily& family = f.add(name, help, MetricType::Gauge);
    for (const auto& outbox : s.outbox) Families::put(family, {{"class", to_string(outbox.outbox_class)}}, static_cast<double>(value(outbox)));
  };
  each("outbox_bytes", "Waiting for the hub, as payload bytes.", [](const auto& o) { return o.bytes; });
  each("outbox_entries", "Waiting for the hub.", [](const auto& o) { return o.entries; });
  each("outbox_acked_seq", "The hub holds everything up to this sequence number.", [](const auto& o) { return o.acked_seq; });
}

void add_bearers(Families& f, const sync::SyncStatus& s) {
  MetricFamily& bytes = f.add("sync_wire_bytes_total", "Bytes on the wire with headers, by bearer, purpose and direction, since the store was made.", MetricType::Counter);
  for (const auto& b : s.bearers) {
    for (const auto& [purpose, p] : b.use.purposes) {
      Families::put(bytes, {{"bearer", b.name}, {"purpose", purpose}, {"direction", "sent"}}, static_cast<double>(p.sent));
      Families::put(bytes, {{"bearer", b.name}, {"purpose", purpose}, {"direction", "received"}}, static_cast<double>(p.received));
    }
  }
  auto each = [&](const char* name, const char* help, auto value) {
    MetricFamily& family = f.add(name, help, MetricType::Gauge);
    for (const auto& b : s.bearers) Families::put(family, {{"bearer", b.name}}, static_cast<double>(value(b)));
  };
  each("bearer_online", "1 when the last exchange over it succeeded.", [](const auto& b) { return b.online ? 1 : 0; });
  each("bearer_month_bytes", "Of this month's budget used.", [](const auto& b) { return b.use.month_bytes; });
  each("bearer_month_budget_bytes", "0: none.", [](const auto& b) { return b.monthly_bytes; });
  each("bearer_cost", "At the configured prices, since the store was made.", [](const auto& b) { return b.use.cost; });
  each("bearer_goodput_bytes_per_second", "Measured.", [](const auto& b) { return b.link.goodput; });
}

void add_storage(Families& f, const Node& node) {
  uint64_t head = 0, chunks = 0;
  for (const auto& stream : node.store().streams().value_or({})) {
    head += stream.head_bytes;
    chunks += stream.chunk_bytes;
  }
  f.gauge("store_head_bytes", "Records that are not sealed yet.", static_cast<double>(head));
  f.gauge("store_chunk_bytes", "Sealed records.", static_cast<double>(chunks));
  f.counter("store_taken_bytes_total", "Bytes of records as they came.", node.store().wear().taken_bytes);
  f.counter("store_written_bytes_total", "Bytes that the store wrote to files.", node.store().wear().written_bytes);
  std::map<std::string, uint64_t> lost, rolled;
  std::map<std::pair<std::string, std::string>, uint64_t> unsent;
  for (const auto& loss : node.store().losses()) {
    if (loss.outbox_class) {
      unsent[{to_string(*loss.outbox_class), to_string(loss.reason)}] += loss.entries;
    } else if (loss.resolution_ns > 0) {
      rolled[format_duration(Duration(loss.resolution_ns))] += loss.records;
    } else {
      lost[to_string(loss.reason)] += loss.records;
    }
  }
  MetricFamily& family = f.add("lost_records_total", "Records that are gone by rule.", MetricType::Counter);
  for (const auto& [reason, records] : lost) Families::put(family, {{"reason", reason}}, static_cast<double>(records));
  MetricFamily& coarser = f.add("rolled_up_records_total", "Records of which only a summary per stretch of this length was kept; once for each length.", MetricType::Counter);
  for (const auto& [resolution, records] : rolled) Families::put(coarser, {{"resolution", resolution}}, static_cast<double>(records));
  MetricFamily& dropped = f.add("outbox_lost_entries_total", "Outbox entries that the hub never got, by the rule of their class.", MetricType::Counter);
  for (const auto& [why, entries] : unsent) Families::put(dropped, {{"class", why.first}, {"reason", why.second}}, static_cast<double>(entries));
}

void add_models(Families& f, const Node& node) {
  auto versions = node.store().versions("").value_or({});
  auto each = [&](const char* name, const char* help, MetricType type, auto value) {
    MetricFamily& family = f.add(name, help, type);
    for (const auto& v : versions) {
      if (auto number = value(v)) Families::put(family, {{"model", v.model}, {"version", std::to_string(v.version)}}, *number);
    }
  };
  using Number = std::optional<double>;
  auto score = [&](const storage::ModelVersion& v) { return node.store().live_score(v.model, v.version); };
  each("model_serving", "1 for the version that answers.", MetricType::Gauge,
       [&](const auto& v) { return Number(node.engine().serving(v.model) == v.version ? 1 : 0); });
  each("model_live_labelled", "Predictions of this version that got a label.", MetricType::Gauge,
       [&](const auto& v) { return Number(static_cast<double>(score(v).labelled)); });
  each("model_live_accuracy", "Share of them that were right.", MetricType::Gauge, [&](const auto& v) {
    auto s = score(v);
    return s.labelled == 0 ? Number() : Number(static_cast<double>(s.correct) / static_cast<double>(s.labelled));
  });
  each("model_state", "1 candidate, 2 shadow, 3 canary, 4 serving, 5 retired, 6 rejected.", MetricType::Gauge,
       [&](const auto& v) { return Number(static_cast<double>(v.state)); });
  each("model_holdout_accuracy", "Of the int8 artefact on the gate's examples.", MetricType::Gauge,
       [&](const auto& v) { return v.holdout_accuracy < 0 ? Number() : Number(v.holdout_accuracy); });
  each("model_requests_total", "Inferences asked of this version.", MetricType::Counter,
       [&](const auto& v) { return Number(static_cast<double>(node.engine().statistics(v.model, v.version).requests)); });
  each("model_failures_total", "Inferences that failed.", MetricType::Counter,
       [&](const auto& v) { return Number(static_cast<double>(node.engine().statistics(v.model, v.version).failures)); });
  each("model_compute_seconds_total", "Time spent in the model.", MetricType::Counter,
       [&](const auto& v) { return Number(static_cast<double>(node.engine().statistics(v.model, v.version).compute_ns) / 1e9); });
}

// By the names and meanings of Triton, for the dashboards that know them.
// https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
void add_triton(Families& f, const Node& node) {
  const auto known = node.engine().known();
  std::vector<inference::EngineStatistics> all;
  for (const auto& [model, version] : known) all.push_back(node.engine().statistics(model, version));
  auto each = [&](const char* name, const char* help, auto value) {
    MetricFamily& family = f.add_as_named(name, help, MetricType::Counter);
    for (size_t i = 0; i < known.size(); ++i) {
      Families::put(family, {{"model", known[i].first}, {"version", std::to_string(known[i].second)}}, static_cast<double>(value(all[i])));
    }
  };
  using S = const inference::EngineStatistics&;
  each("nv_inference_request_success", "Requests that were answered.", [](S s) { return s.requests - s.failures; });
  MetricFamily& failures = f.add_as_named("nv_inference_request_failure", "Requests that were not, by reason.", MetricType::Counter);
  for (size_t i = 0; i < known.size(); ++i) {
    S s = all[i];
    const std::pair<const char*, uint64_t> reasons[] = {{"REJECTED", s.rejected},
                                                        {"CANCELED", s.cancelled},
                                                        {"BACKEND", s.model_failures},
                                                        {"OTHER", s.failures - s.rejected - s.cancelled - s.model_failures}};
    for (const auto& [reason, count] : reasons) {
      Families::put(failures, {{"model", known[i].first}, {"version", std::to_string(known[i].second)}, {"reason", reason}},
                    static_cast<double>(count));
    }
  }
  each("nv_inference_count", "Rows that were answered.", [](S s) { return s.rows; });
  each("nv_inference_exec_count", "Runs of the model.", [](S s) { return s.executions; });
  each("nv_inference_request_duration_us", "Of answered requests, waiting included.", [](S s) { return s.request_ns / 1000; });
  each("nv_inference_queue_duration_us", "That they waited.", [](S s) { return s.queue_ns / 1000; });
  each("nv_inference_compute_input_duration_us", "That preparing their inputs took.", [](S s) { return s.input_ns / 1000; });
  each("nv_inference_compute_infer_duration_us", "That the model took.", [](S s) { return s.infer_ns / 1000; });
  each("nv_inference_compute_output_duration_us", "That checking their outputs took.", [](S s) { return s.output_ns / 1000; });
  MetricFamily& waiting = f.add_as_named("nv_inference_pending_request_count", "Requests that wait for the model.", MetricType::Gauge);
  for (const auto& [model, version] : known) {
    if (node.engine().serving(model) != version) continue;
    Families::put(waiting, {{"model", model}, {"version", std::to_string(version)}}, static_cast<double>(node.scheduler().waiting(model)));
  }
}

void add_http(Families& f, const HttpCounters& counters) {
  MetricFamily& answers = f.add("http_requests_total", "Requests answered, by status.", MetricType::Counter);
  for (int status = 100; status < 600; ++status) {
    if (uint64_t n = counters.answers(status)) Families::put(answers, {{"status", std::to_string(status)}}, static_cast<double>(n));
  }
  MetricFamily& duration = f.add("inference_duration_seconds", "Of inference requests over REST, within the engine.", MetricType::Histogram);
  ClientMetric metric;
  uint64_t sum = 0;
  auto inferences = counters.inferences();
  for (size_t i = 0; i < inferences.size(); ++i) {
    sum += inferences[i];
    double bound = i < std::size(kInferenceBuckets) ? kInferenceBuckets[i] : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({sum, bound});
  }
  metric.histogram.sample_count = sum;
  metric.histogram.sample_sum = counters.inference_seconds();
  duration.metric.push_back(std::move(metric));
}

std::string metrics_text(const Node& node, const HttpCounters& counters) {
  NodeStatus s = node.status();
  Families f;
  f.counter("records_total", "Records acknowledged since start.", s.records);
  f.counter("predictions_total", "Windows answered by pipelines since start.", s.predictions);
  f.counter("labels_total", "Predictions labelled since start.", s.labels);
  f.counter("source_errors_total", "Polls of sources that failed, and batches that were refused.", s.source_errors);
  f.gauge("ingest_refused", "1 while the store refuses records, e.g. because the disk is full.", s.trouble.empty() ? 0 : 1);
  f.gauge("store_disk_bytes", "Size of the store.", static_cast<double>(s.disk_bytes));
  f.counter("store_damaged_total", "Blocks and rows skipped because their checksum did not hold.", s.damaged);
  f.gauge("store_recovered_damage", "What the last repair at a start found damaged; 0: the store was always whole.",
          s.recovery ? static_cast<double>(std::max<uint64_t>(s.recovery->damaged, 1)) : 0);
  add_outbox(f, s);
  add_storage(f, node);
  add_bearers(f, s.sync);
  f.gauge("link_online", "1 when the last exchange with the hub succeeded.", s.sync.online ? 1 : 0);
  f.counter("sync_records_total", "Records acknowledged by the hub since start.", s.sync.records);
  f.counter("sync_batches_total", "Batches sent.", s.sync.batches);
  f.counter("sync_repeated_total", "Batches sent again because their answer was lost.", s.sync.repeated);
  f.counter("sync_failures_total", "Exchanges that failed.", s.sync.failures);
  f.counter("sync_lost_at_hub_total", "Entries that the hub acknowledged and lost.", s.sync.lost_at_hub);
  f.counter("sync_sent_bytes_total", "Bytes of bodies sent to the hub.", s.sync.traffic.sent);
  f.counter("sync_received_bytes_total", "Bytes of bodies received from the hub.", s.sync.traffic.received);
  f.counter("learning_jobs_started_total", "Jobs given to the worker.", s.learning.jobs_started);
  f.counter("learning_jobs_failed_total", "Jobs that failed.", s.learning.jobs_failed);
  f.counter("learning_promoted_total", "Versions that came to serve after gate, shadow and canary.", s.learning.promoted);
  f.counter("learning_rolled_back_total", "Versions taken back by themselves, because of labels.", s.learning.rolled_back);
  f.counter("learning_rejected_total", "Candidates that were refused on the way.", s.learning.rejected);
  add_models(f, node);
  add_triton(f, node);
  add_http(f, counters);
  return prometheus::TextSerializer().Serialize(f.families());
}

}  // namespace

void add_metrics_route(http::Router& router, Node& node, HttpCounters& counters) {
  router.add("GET", "/metrics", [&node, &counters](http::Request&) {
    http::Response response;
    response.body = metrics_text(node, counters);
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return response;
  });
}

}  // namespace skerry::node
