#include "hub/api.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "hub/internal/json.h"
#include "hub/internal/model_files.h"
#include "sync/wire.h"

namespace skerry::hub {
namespace {

using http::Request;
using http::Response;
using internal::dump;
using nlohmann::json;

constexpr uint64_t kPageEntriesMax = 1000, kPageEntries = 100;
constexpr size_t kPageCellsMax = 1 << 18;            // values of samples in one answer
constexpr size_t kManifestBytesMax = 64 << 10;       // of a package
constexpr size_t kPageBytesMax = 4 << 20;            // of payloads in one answer

Response ok(const json& value) { return {.status = 200, .body = dump(value)}; }

Response binary(std::string body) { return {.status = 200, .body = std::move(body), .content_type = "application/octet-stream"}; }

// A damaged or wrong message is the sender's to mend, whatever the decoder calls it.
Response bad_message(const Error& error) { return http::error_response(400, error.message); }

Result<uint64_t> number_parameter(const Request& request, const std::string& name, uint64_t fallback) {
  const std::string text = request.parameter(name);
  if (text.empty()) return fallback;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return fail(Code::invalid, "{}='{}' is not a whole number", name, text.substr(0, 32));
  return value;
}

Result<storage::OutboxClass> class_parameter(const Request& request) {
  const std::string text = request.parameter("class", "telemetry");
  std::string known;
  for (storage::OutboxClass c : storage::kOutboxClasses) {
    if (text == storage::to_string(c)) return c;
    known += known.empty() ? "" : ", ";
    known += storage::to_string(c);
  }
  return fail(Code::invalid, "class='{}' is unknown: one of {}", text.substr(0, 32), known);
}

}  // namespace

struct Api::Impl {
  Impl(Receiver& r, const ApiOptions& o, const Clock& c, Access* a) : receiver(r), options(o), clock(c), access(a), started_ns(c.now_ns()) {
    router.add("POST", "/v1/sync/hello", [this](Request& q) { return hello(q); });
    router.add("POST", "/v1/sync/batch", [this](Request& q) { return batch(q); });
    router.add("POST", "/v1/sync/range", [this](Request& q) { return range(q); });
    router.add("POST", "/v1/sync/chunk", [this](Request& q) { return chunk(q); });
    router.add("POST", "/v1/bundles", [this](Request& q) { return bundle(q); });
    router.add("GET", "/health", [this](Request&) { return health(); });
    router.add("GET", "/v1/nodes", [this](Request&) { return nodes(); });
    router.add("GET", "/v1/nodes/{node}/entries", [this](Request& q) { return entries(q); });
    router.add("GET", "/v1/nodes/{node}/deltas", [this](Request& q) { return deltas(q); });
    router.add("GET", "/v1/nodes/{node}/deltas/{seq}", [this](Request& q) { return delta(q); });
    router.add("GET", "/v1/models", [this](Request&) { return models(); });
    router.add("GET", "/v1/models/{model}/versions/{version}/files/{file}", [this](Request& q) { return internal::download(options.models, q); });
    router.add("GET", "/metrics", [this](Request&) { return metrics(); });
  }

  Receiver& receiver;
  const ApiOptions options;
  const Clock& clock;
  Access* const access;
  const int64_t started_ns;
  http::Router router;
  std::mutex offers_mutex;
  std::vector<sync::Offer> offered;
  SteadyTime offered_until{};
  std::atomic<uint64_t> hellos{0}, batches{0}, refused{0}, bytes_in{0};

  // Nothing: `request` may go on to its route. Whom a delivery names is checked there.
  std::optional<Response> refusal(const Request& request) const {
    if (access == nullptr || access->everybody() || request.path == "/health") return {};
    const bool delivery = request.path.starts_with("/v1/sync/");
    auto who = access->who(request);
    if (!who.ok()) {
      Response response = http::error_response(401, who.error().message);
      response.headers.emplace_back("WWW-Authenticate", "Bearer");
      return response;
    }
    if (delivery || *who == kOperator || request.path.starts_with("/v1/models") || request.path == "/v1/bundles") return {};
    return http::error_response(403, fmt::format("{} may deliver and fetch models; to read here needs an operator's token", *who));
  }

  Status may_deliver(const Request& request, const std::string& node) const {
    if (access == nullptr || access->everybody()) return {};
    SKERRY_ASSIGN(const std::string who, access->who(request));
    if (who == node) return {};
    return fail(Code::invalid, "{} may not deliver in the name of {}", who == kOperator ? "an operator" : who, node);
  }

  Response hello(const Request& request) {
    ++hellos;
    bytes_in += request.body.size();
    auto message = sync::decode_hello(request.body);
    if (!message.ok()) return ++refused, bad_message(message.error());
    if (auto may = may_deliver(request, message->node); !may.ok()) return ++refused, http::error_response(403, may.error().message);
    auto reply = receiver.hello(*message);
    if (!reply.ok()) return ++refused, http::error_response(reply.error());
    reply->offers = offers();
    return binary(sync::encode(*reply));
  }

  // The newest versions of each model, as many as a HELLO's answer takes. Looked at once a second: every node asks.
  std::vector<sync::Offer> offers() {
    std::lock_guard lock(offers_mutex);
    if (!offered.empty() && clock.steady() < offered_until) return offered;
    offered_until = clock.steady() + std::chrono::seconds(1);
    offered.clear();
    auto packages = internal::list_packages(options.models);
    if (!packages.ok()) return offered;
    for (auto package = packages->rbegin(); package != packages->rend() && offered.size() < sync::kOffersMax; ++package) {
      if (!sync::valid_model_name(package->model)) continue;
      auto manifest = internal::read_piece(options.models, package->model, package->version, "manifest", 0, kManifestBytesMax);
      if (manifest.ok()) offered.push_back({package->model, package->version, sha256_hex(manifest->data)});
    }
    return offered;
  }

  // A package that has changed since it was offered is another: 404, and the node looks at what is offered then.
  Response chunk(const Request& request) {
    bytes_in += request.body.size();
    auto message = sync::decode_chunk_ask(request.body);
    if (!message.ok()) return ++refused, bad_message(message.error());
    if (auto may = may_deliver(request, message->node); !may.ok()) return ++refused, http::error_response(403, may.error().message);
    const sync::Offer& package = message->package;
    auto manifest = internal::read_piece(options.models, package.model, package.version, "manifest", 0, kManifestBytesMax);
    if (!manifest.ok() || sha256_hex(manifest->data) != package.digest) return ++refused, http::error_response(404, "this package is not offered, or has changed");
    auto piece = internal::read_piece(options.models, package.model, package.version, message->file, message->offset, message->bytes_max);
    if (!piece.ok()) return ++refused, http::error_response(piece.error());
    return binary(sync::encode(sync::ChunkReply{piece->file_bytes, std::move(piece->data)}));
  }

  Response batch(const Request& request) {
    ++batches;
    bytes_in += request.body.size();
    auto message = sync::decode_batch(request.body);
    if (!message.ok()) return ++refused, bad_message(message.error());
    if (auto may = may_deliver(request, message->node); !may.ok()) return ++refused, http::error_response(403, may.error().message);
    auto reply = receiver.apply(*message);
    if (!reply.ok()) return ++refused, http::error_response(reply.error());
    return binary(sync::encode(*reply));
  }

  Response range(const Request& request) {
    bytes_in += request.body.size();
    auto message = sync::decode_range_ask(request.body);
    if (!message.ok()) return ++refused, bad_message(message.error());
    if (auto may = may_deliver(request, message->node); !may.ok()) return ++refused, http::error_response(403, may.error().message);
    auto reply = receiver.range(*message);
    if (!reply.ok()) return ++refused, http::error_response(reply.error());
    return binary(sync::encode(*reply));
  }

  // Its signature says whose it is, so anybody who may come in may bring it.
  Response bundle(const Request& request) {
    bytes_in += request.body.size();
    auto receipt = take_bundle(receiver, options.bundles, clock, request.body);
    if (receipt.ok()) return binary(*std::move(receipt));
    ++refused;
    return receipt.error().code == Code::corrupt ? bad_message(receipt.error()) : http::error_response(receipt.error());
  }

  Response health() const {
    return ok({{"status", "ok"}, {"uptime_s", (clock.now_ns() - started_ns) / 1'000'000'000}, {"protocol", sync::kProtocolVersion}});
  }

  Response nodes() const {
    auto all = receiver.nodes();
    if (!all.ok()) return http::error_response(all.error());
    json list = json::array();
    for (const NodeInfo& node : *all) list.push_back(internal::to_json(node));
    return ok({{"nodes", std::move(list)}});
  }

  Response entries(const Request& request) const {
    auto page = page_of(request);
    return page.ok() ? ok(*page) : http::error_response(page.error());
  }

  Result<json> page_of(const Request& request) const {
    const std::string& node = request.path_parameters.at("node");
    SKERRY_ASSIGN(const storage::OutboxClass outbox_class, class_parameter(request));
    SKERRY_ASSIGN(const uint64_t limit, number_parameter(request, "limit", kPageEntries));
    if (limit == 0 || limit > kPageEntriesMax) return fail(Code::invalid, "limit={} is not possible: 1 to {}", limit, kPageEntriesMax);
    EntryPosition after;
    SKERRY_ASSIGN(after.epoch, number_parameter(request, "after_epoch", 0));
    SKERRY_ASSIGN(after.seq, number_parameter(request, "after_seq", 0));
    if (after.epoch == 0 && after.seq != 0) return fail(Code::invalid, "after_seq without after_epoch: give both, as 'next' of the page before has them");

    json list = json::array(), next = nullptr;
    size_t cells = kPageCellsMax, bytes = 0;
    EntryPosition last = after;
    SKERRY_TRY(receiver.entries(node, outbox_class, [&](uint64_t epoch, const storage::OutboxItem& item) {
      bytes += item.payload.size();
      if (list.size() >= limit || (!list.empty() && (cells < kPageCellsMax / 4 || bytes > kPageBytesMax))) {
        next = {{"after_epoch", last.epoch}, {"after_seq", last.seq}};
        return false;
      }
      list.push_back(internal::to_json(epoch, item, cells));
      last = {epoch, item.seq};
      return true;
    }, after));
    return json{{"node", node}, {"class", storage::to_string(outbox_class)}, {"entries", std::move(list)}, {"next", std::move(next)}};
  }

  Response deltas(const Request& request) const {
    auto all = receiver.deltas(request.path_parameters.at("node"));
    if (!all.ok()) return http::error_response(all.error());
    json list = json::array();
    for (const DeltaInfo& d : *all) {
      list.push_back({{"subject", d.subject}, {"epoch", d.epoch}, {"seq", d.seq}, {"bytes", d.payload.size()}, {"sha256", sha256_hex(d.payload)}});
    }
    return ok({{"node", request.path_parameters.at("node")}, {"deltas", std::move(list)}});
  }

  // ?epoch= when a seq occurs in several; by default the newest that has it.
  Response delta(const Request& request) const {
    const std::string& text = request.path_parameters.at("seq");
    uint64_t seq = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seq);
    auto epoch = number_parameter(request, "epoch", 0);
    if (error != std::errc{} || end != text.data() + text.size()) return http::error_response(400, "a delta is named by its seq: see the list of deltas");
    if (!epoch.ok()) return http::error_response(epoch.error());
    auto all = receiver.deltas(request.path_parameters.at("node"));
    if (!all.ok()) return http::error_response(all.error());
    std::optional<std::string> found;
    for (DeltaInfo& d : *all) {
      if (d.seq == seq && (*epoch == 0 || d.epoch == *epoch)) found = std::move(d.payload);
    }
    if (!found) return http::error_response(404, "this node sent no such delta: see the list of deltas");
    return binary(std::move(*found));
  }

  Response models() const {
    auto packages = internal::list_packages(options.models);
    if (!packages.ok()) return http::error_response(packages.error());
    json list = json::array();
    for (const auto& package : *packages) {
      json files = json::array();
      for (const auto& [name, bytes] : package.files) files.push_back({{"file", name}, {"bytes", bytes}});
      list.push_back({{"model", package.model}, {"version", package.version}, {"files", std::move(files)}});
    }
    return ok({{"models", std::move(list)}});
  }

  Response metrics() const {
    auto all = receiver.nodes();
    if (!all.ok()) return http::error_response(all.error());
    NodeInfo sum;
    for (const NodeInfo& n : *all) {
      sum.records += n.records;
      sum.entries += n.entries;
      sum.duplicates += n.duplicates;
      sum.quarantined += n.quarantined;
      sum.lost += n.lost;
      for (const auto& [reason, d] : n.dropped) sum.dropped[reason].entries += d.entries;
      sum.backlog_bytes += n.backlog_bytes;
    }
    std::string text;
    auto add = [&](const char* name, const char* type, const char* help, uint64_t value) {
      text += fmt::format("# HELP skerry_hub_{0} {1}\n# TYPE skerry_hub_{0} {2}\nskerry_hub_{0} {3}\n", name, help, type, value);
    };
    add("nodes", "gauge", "Nodes that ever reached this hub.", all->size());
    add("records_total", "counter", "Records applied, each once.", sum.records);
    add("entries_total", "counter", "Outbox entries applied, each once.", sum.entries);
    add("duplicates_total", "counter", "Entries recognised as already held.", sum.duplicates);
    add("quarantined_total", "counter", "Entries held that could not be decoded.", sum.quarantined);
    add("lost_total", "counter", "Entries that were acknowledged and lost by this hub.", sum.lost);
    text += "# HELP skerry_hub_dropped_total Entries that nodes lost by their own rules.\n# TYPE skerry_hub_dropped_total counter\n";
    for (const auto& [reason, d] : sum.dropped) text += fmt::format("skerry_hub_dropped_total{{reason=\"{}\"}} {}\n", storage::to_string(reason), d.entries);
    add("backlog_bytes", "gauge", "Bytes that the nodes said were waiting, at their last HELLO.", sum.backlog_bytes);
    add("hellos_total", "counter", "HELLO requests since the start.", hellos);
    add("batches_total", "counter", "Batch requests since the start.", batches);
    add("refused_total", "counter", "Sync requests answered with an error since the start.", refused);
    add("received_bytes_total", "counter", "Bytes of sync requests since the start.", bytes_in);
    return {.status = 200, .body = std::move(text), .content_type = "text/plain; version=0.0.4"};
  }
};

Api::Api(Receiver& receiver, const ApiOptions& options, const Clock& clock, Access* access)
    : impl_(std::make_unique<Impl>(receiver, options, clock, access)) {}
Api::~Api() = default;

Response Api::handle(Request& request) {
  if (auto refusal = impl_->refusal(request)) return *std::move(refusal);
  return impl_->router.handle(request);
}

}  // namespace skerry::hub
