// InfluxDB's two write endpoints. A body is taken whole or not at all.
// https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite, https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint
#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "node/internal/content_coding.h"
#include "node/internal/rest.h"
#include "node/line_protocol.h"

namespace skerry::node {
namespace {

constexpr size_t kProducerBytesMax = 128;

// Clients of version 1 read "error", those of version 2 "code" and "message".
http::Response write_error(const Error& error) {
  http::Response response = http::error_response(error);
  const char* code = response.status == 400   ? "invalid"
                     : response.status == 503 ? "unavailable"
                     : response.status == 507 ? "unavailable"
                                              : "internal error";
  http::Response body = json_response({{"error", error.message}, {"code", code}, {"message", error.message}}, response.status);
  body.headers = std::move(response.headers);
  return body;
}

// An empty answer when the lines are in `body`, else the refusal. A body may not unpack to more than it might have been itself.
std::optional<http::Response> unpack(http::Request& request, uint64_t bytes_max) {
  std::string encoding = request.header("content-encoding");
  std::transform(encoding.begin(), encoding.end(), encoding.begin(), [](unsigned char c) { return std::tolower(c); });
  if (encoding.empty() || encoding == "identity") return std::nullopt;
  if (encoding != "gzip") {
    const std::string says = fmt::format("Content-Encoding '{}' is not supported: send the lines as they are (identity), or as gzip",
                                         encoding.substr(0, 32));
    return json_response({{"error", says}, {"code", "invalid"}, {"message", says}}, 415);
  }
  auto lines = gunzip(request.body, bytes_max);
  if (lines.ok()) {
    request.body = std::move(lines).value();
    return std::nullopt;
  }
  if (lines.error().code != Code::exhausted) return write_error(lines.error());
  const std::string says = lines.error().message + ": send it in parts, or raise http.body_max";
  return json_response({{"error", says}, {"code", "request too large"}, {"message", says}}, 413);
}

// Who sends and the number of this body, from the two headers. Error: invalid.
Result<std::optional<storage::Producer>> producer_of(const http::Request& request) {
  const auto id = request.headers.find("skerry-producer"), number = request.headers.find("skerry-sequence");
  if (id == request.headers.end() && number == request.headers.end()) return std::optional<storage::Producer>();
  if (id == request.headers.end() || number == request.headers.end()) {
    return fail(Code::invalid, "Skerry-Producer and Skerry-Sequence go together: send both, or none");
  }
  const std::string& name = id->second;
  const bool printable = std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > ' ' && c < 127; });
  if (name.empty() || name.size() > kProducerBytesMax || !printable) {
    return fail(Code::invalid, "Skerry-Producer has 1 to {} printable ASCII characters without spaces", kProducerBytesMax);
  }
  storage::Producer producer{name, 0};
  const char *begin = number->second.data(), *end = begin + number->second.size();
  const auto [stop, error] = std::from_chars(begin, end, producer.seq);
  if (error != std::errc() || stop != end || producer.seq == 0) {
    return fail(Code::invalid, "Skerry-Sequence is a whole number from 1 to {}, larger with each body", UINT64_MAX);
  }
  return std::optional(std::move(producer));
}

http::Response write(Node& node, http::Request& request) {
  auto producer = producer_of(request);
  if (!producer.ok()) return write_error(producer.error());
  if (auto refusal = unpack(request, node.config().node.http.body_bytes_max)) return *std::move(refusal);
  auto unit = parse_precision(request.parameter("precision"));
  if (!unit.ok()) return write_error(unit.error());
  const storage::Options& limits = node.config().storage;
  const int64_t now = node.clock().now_ns();
  auto batches = parse_line_protocol(request.body, {.unit_ns = *unit,
                                                    .now_ns = now,
                                                    .time_min_ns = limits.time_min_ns,
                                                    .time_max_ns = now + limits.time_ahead_max.count()});
  if (!batches.ok()) return write_error(batches.error());
  auto receipt = node.ingest(std::move(batches).value(), std::move(producer).value());
  if (!receipt.ok()) return write_error(receipt.error());
  http::Response response;
  if (receipt->duplicate) response.headers.emplace_back("Skerry-Duplicate", "true");
  response.status = 204;
  response.content_type.clear();
  return response;
}

}  // namespace

void add_write_routes(http::Router& router, Node& node) {
  router.add("POST", "/write", [&node](http::Request& r) { return write(node, r); });
  router.add("POST", "/api/v2/write", [&node](http::Request& r) { return write(node, r); });
}

}  // namespace skerry::node
