// InfluxDB's two write endpoints. A body is taken whole or not at all.
// https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite, https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint
#include <nlohmann/json.hpp>

#include "node/internal/rest.h"
#include "node/line_protocol.h"

namespace skerry::node {
namespace {

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

http::Response write(Node& node, const http::Request& request) {
  std::string encoding = request.header("content-encoding");
  if (!encoding.empty() && encoding != "identity") {
    return json_response({{"error", fmt::format("Content-Encoding '{}' is not supported: send the lines as they are (Telegraf: "
                                                "content_encoding = \"identity\")",
                                                encoding.substr(0, 32))}},
                         415);
  }
  auto unit = parse_precision(request.parameter("precision"));
  if (!unit.ok()) return write_error(unit.error());
  const storage::Options& limits = node.config().storage;
  const int64_t now = node.clock().now_ns();
  auto batches = parse_line_protocol(request.body, {.unit_ns = *unit,
                                                    .now_ns = now,
                                                    .time_min_ns = limits.time_min_ns,
                                                    .time_max_ns = now + limits.time_ahead_max.count()});
  if (!batches.ok()) return write_error(batches.error());
  auto records = node.ingest(std::move(batches).value());
  if (!records.ok()) return write_error(records.error());
  http::Response response;
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
