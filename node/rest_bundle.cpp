// /v1/sync/bundle and /v1/sync/receipt: what a stick carries instead of the link (docs/bundle.md). Keys lie in the data folder: bundle.key signs what
// this node exports, bundle.trusted names the hubs whose receipts count.
#include <charconv>
#include <nlohmann/json.hpp>

#include "node/internal/rest.h"
#include "node/internal/rest_bundle.h"
#include "sync/bundle_files.h"

namespace skerry::node {
namespace {

using nlohmann::json;

Result<storage::OutboxClass> class_named(const std::string& name) {
  for (storage::OutboxClass c : storage::kOutboxClasses) {
    if (name == to_string(c)) return c;
  }
  return fail(Code::invalid, "there is no class '{}': alarm, label, model, telemetry, backlog and diagnostics are", name.substr(0, 64));
}

// "telemetry:120,label:3"
Result<std::map<storage::OutboxClass, uint64_t>> positions(const std::string& text) {
  std::map<storage::OutboxClass, uint64_t> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string one = text.substr(at, end - at);
    at = end + 1;
    const size_t colon = one.find(':');
    uint64_t seq = 0;
    const char *first = one.data() + std::min(colon, one.size() - 1) + 1, *last = one.data() + one.size();
    const auto [stop, code] = std::from_chars(first, last, seq);
    if (colon == std::string::npos || code != std::errc() || stop != last || seq > sync::kSeqMax) {
      return fail(Code::invalid, "parameter 'after': write class:number,class:number");
    }
    SKERRY_ASSIGN(const auto outbox_class, class_named(one.substr(0, colon)));
    out[outbox_class] = seq;
  }
  return out;
}

Result<std::string> export_bundle(Node& node, const http::Request& request) {
  sync::BundleRequest wanted;
  if (const std::string name = request.parameter("class"); !name.empty()) {
    SKERRY_ASSIGN(wanted.only, class_named(name));
  }
  SKERRY_ASSIGN(wanted.bytes_max, number_parameter(request, "bytes_max", sync::kBundleBytes, sync::kBundleBytes));
  SKERRY_ASSIGN(wanted.after, positions(request.parameter("after")));
  wanted.again = request.parameter("again") == "true";
  return sync::sign_bundle(node.store(), wanted, node.clock(), node.config().node.data_dir);
}

Result<json> take(Node& node, const std::string& body) {
  SKERRY_ASSIGN(const sync::Receipt receipt, sync::trusted_receipt(body, node.config().node.data_dir));
  SKERRY_ASSIGN(const sync::ReceiptTaken taken, sync::take_receipt(node.store(), receipt));
  return sync::taken_json(receipt, taken);
}

}  // namespace

void add_bundle_routes(http::Router& router, Node& node) {
  router.add("GET", "/v1/sync/bundle", [&node](http::Request& request) {
    auto made = export_bundle(node, request);
    if (!made.ok()) return http::error_response(made.error());
    return http::Response{.status = 200, .body = *std::move(made), .content_type = "application/octet-stream", .headers = {}, .source = {}};
  });
  router.add("POST", "/v1/sync/receipt", [&node](http::Request& request) {
    auto taken = take(node, request.body);
    if (taken.ok()) return json_response(*taken);
    return taken.error().code == Code::corrupt ? http::error_response(400, taken.error().message) : http::error_response(taken.error());
  });
}

}  // namespace skerry::node
