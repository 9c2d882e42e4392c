#include "node/rest_api.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "node/internal/rest.h"

namespace skerry::node {

void HttpCounters::count_inference(Duration took) {
  double seconds = std::chrono::duration<double>(took).count();
  auto bucket = std::lower_bound(std::begin(kInferenceBuckets), std::end(kInferenceBuckets), seconds) - std::begin(kInferenceBuckets);
  inferences_[static_cast<size_t>(bucket)] += 1;
  inference_ns_ += static_cast<uint64_t>(std::max<int64_t>(0, took.count()));
}

std::array<uint64_t, std::size(kInferenceBuckets) + 1> HttpCounters::inferences() const {
  std::array<uint64_t, std::size(kInferenceBuckets) + 1> out{};
  std::copy(inferences_.begin(), inferences_.end(), out.begin());
  return out;
}

Result<storage::TimeRange> range_parameters(const http::Request& request) {
  storage::TimeRange range;
  for (auto [name, bound] : {std::pair{"from", &range.from_ns}, std::pair{"to", &range.to_ns}}) {
    std::string text = request.parameter(name);
    if (text.empty()) continue;
    auto time = parse_time(text);
    if (!time.ok()) return fail(Code::invalid, "parameter '{}': {}", name, time.error().message);
    *bound = *time;
  }
  if (range.from_ns > range.to_ns) return fail(Code::invalid, "parameter 'from' is later than 'to': swap them");
  return range;
}

Result<uint64_t> number_parameter(const http::Request& request, const char* name, uint64_t fallback, uint64_t max, const char* also) {
  std::string text = request.parameter(name);
  if (text.empty()) return fallback;
  uint64_t number = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size() || number == 0 || number > max) {
    return fail(Code::invalid, "parameter '{}' is '{}': write a number from 1 to {}{}{}", name, text.substr(0, 32), max, *also ? " " : "", also);
  }
  return number;
}

Result<uint32_t> version_segment(const http::Request& request) {
  const std::string& text = request.path_parameters.at("version");
  uint32_t version = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (code != std::errc() || end != text.data() + text.size()) {
    return fail(Code::not_found, "there is no version '{}' of '{}': versions are numbers", text.substr(0, 32),
                request.path_parameters.at("model").substr(0, 64));
  }
  return version;
}

http::Router make_router(Node& node, HttpCounters& counters) {
  http::Router router;
  add_inference_routes(router, node, counters);
  add_repository_routes(router, node);
  add_write_routes(router, node);
  add_label_routes(router, node);
  add_query_routes(router, node);
  add_record_routes(router, node);
  add_sql_route(router, node);
  add_model_routes(router, node);
  add_status_routes(router, node);
  add_sync_routes(router, node);
  add_metrics_route(router, node, counters);
  return router;
}

Handlers make_handlers(Node& node) {
  struct Api {
    HttpCounters counters;
    http::Router router;
  };
  auto api = std::make_shared<Api>();
  api->router = make_router(node, api->counters);
  auto all = [api](http::Request& request) {
    http::Response response = api->router.handle(request);
    api->counters.count_answer(response.status);
    return response;
  };
  auto direct = [api, inference = make_direct_inference(node, api->counters)](http::Request& request, const http::Reply& reply) {
    return inference(request, reply);
  };
  return {all, direct};
}

}  // namespace skerry::node
