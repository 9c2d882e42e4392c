// What the groups of REST routes share: their registration, counters, and JSON in and out.
// Threads: everything here may be used from any number of threads.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/clock.h"
#include "base/http_server.h"
#include "node/node.h"
#include "storage/types.h"

namespace skerry::node {

// Upper bounds of the inference duration histogram, seconds; the last bucket is without one.
inline constexpr double kInferenceBuckets[] = {50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 1.0};

class HttpCounters {
 public:
  void count_answer(int status) {
    if (status >= 0 && status < static_cast<int>(by_status_.size())) by_status_[static_cast<size_t>(status)] += 1;
  }
  void count_inference(Duration took);

  uint64_t answers(int status) const { return by_status_[static_cast<size_t>(status)]; }
  std::array<uint64_t, std::size(kInferenceBuckets) + 1> inferences() const;  // per bucket, not summed up
  double inference_seconds() const { return static_cast<double>(inference_ns_) / 1e9; }

 private:
  std::array<std::atomic<uint64_t>, 600> by_status_{};
  std::array<std::atomic<uint64_t>, std::size(kInferenceBuckets) + 1> inferences_{};
  std::atomic<uint64_t> inference_ns_{0};
};

void add_inference_routes(http::Router& router, Node& node, HttpCounters& counters);  // /v2/health, /v2/models
void add_inference_stats_routes(http::Router& router, Node& node);
void add_repository_routes(http::Router& router, Node& node);                         // /v2/repository
http::DirectHandler make_direct_inference(Node& node, HttpCounters& counters);        // POST .../infer, when it is small
void add_write_routes(http::Router& router, Node& node);                              // /write, /api/v2/write
void add_label_routes(http::Router& router, Node& node);
void add_query_routes(http::Router& router, Node& node);                              // streams, predictions
void add_record_routes(http::Router& router, Node& node);                             // records, aggregates
void add_sql_route(http::Router& router, Node& node);
void add_model_routes(http::Router& router, Node& node);
void add_sync_routes(http::Router& router, Node& node);                               // /v1/sync
void add_status_routes(http::Router& router, Node& node);                             // status, sync, learning, /
void add_metrics_route(http::Router& router, Node& node, HttpCounters& counters);

// Of GET /v1/query, besides tag.KEY.
inline constexpr const char* kQueryParameters[] = {"series", "name",   "from",      "to",     "limit",
                                                   "fields", "format", "aggregate", "bucket", "last"};

inline constexpr size_t kSmallBodyBytesMax = 1 << 20;
inline constexpr size_t kJsonDepthMax = 32;
inline constexpr const char* kSoftware = "skerry 0.1.0";

// A small body as JSON, which must be an object. Bounded in size and depth. Error: invalid, naming the place where known.
Result<nlohmann::json> parse_object(std::string_view body);
http::Response json_response(const nlohmann::json& body, int status = 200);
void append_json_string(std::string& out, std::string_view text);  // with quotes

// A required or optional member of an object. Error: invalid, naming the member and what it should be.
Result<std::string> text_member(const nlohmann::json& object, const char* name, const std::string& fallback);
// A time: RFC 3339 or an integer of nanoseconds.
Result<int64_t> time_member(const nlohmann::json& object, const char* name);

// Query parameters. Error: invalid, naming the parameter.
Result<storage::TimeRange> range_parameters(const http::Request& request);  // from, to; open where missing
// `also`: what else may be written.
Result<uint64_t> number_parameter(const http::Request& request, const char* name, uint64_t fallback, uint64_t max, const char* also = "");
Result<uint32_t> version_segment(const http::Request& request);             // {version}; not_found when it is no number

nlohmann::json status_json(const Node& node);
nlohmann::json sync_json(const sync::SyncStatus& status);
nlohmann::json outbox_json(const NodeStatus& status);
nlohmann::json learning_json(const learning::LearnerStatus& status);
nlohmann::json score_json(const storage::LiveScore& score);

}  // namespace skerry::node
