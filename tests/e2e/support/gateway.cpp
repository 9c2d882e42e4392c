#include "tests/e2e/support/gateway.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/file.h"

namespace skerry::e2e {
namespace {

using nlohmann::json;
using Steady = std::chrono::steady_clock;

constexpr milliseconds kStopLimit{15'000};

Result<json> ask(http::Client& client, const std::string& method, const std::string& target, const std::string& body = {},
                 const std::string& content_type = "application/json") {
  http::Headers headers;
  if (!body.empty()) headers.emplace_back("Content-Type", content_type);
  SKERRY_ASSIGN(http::Response response, client.request(method, target, body, headers));
  if (response.status < 200 || response.status >= 300) {
    return fail(Code::invalid, "{} {} answered {}: {}", method, target, response.status, response.body.substr(0, 400));
  }
  if (response.body.empty()) return json::object();
  json answer = json::parse(response.body, nullptr, false);
  if (answer.is_discarded()) return fail(Code::corrupt, "{} {} answered no JSON: {}", method, target, response.body.substr(0, 200));
  return answer;
}

// A value of the wrong type in an answer is a failed check, not a crash.
template <typename Read>
auto reading(const char* what, Read read) -> Result<decltype(read())> {
  try {
    return read();
  } catch (const json::exception& e) {
    return fail(Code::corrupt, "{}: {}", what, e.what());
  }
}

}  // namespace

uint16_t free_port() {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  SKERRY_CHECK(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  SKERRY_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

bool ready(uint16_t port) {
  auto answer = http::request(fmt::format("http://127.0.0.1:{}", port), "GET", "/v2/health/ready", {}, {}, milliseconds(1000));
  return answer.ok() && answer.value().status == 200;
}

Hub::Hub(std::filesystem::path folder, std::string address) : folder_(std::move(folder)), address_(std::move(address)), port_(free_port()) { std::filesystem::create_directories(folder_); }

Status Hub::start() {
  SKERRY_ASSIGN(Process process, Process::start("skerry-hub", {"--data", store().string(), "--address", address_, "--port", std::to_string(port_)}, folder_));
  SKERRY_TRY(process.wait_for_line("listening on", milliseconds(20'000)));
  process_ = std::move(process);
  return {};
}

std::optional<Exit> Hub::terminate() {
  auto exit = process_ ? process_->terminate(kStopLimit) : std::nullopt;
  process_.reset();
  return exit;
}

Daemon::Daemon(std::filesystem::path folder, const DaemonOptions& options) : folder_(std::move(folder)), port_(free_port()) {
  std::filesystem::create_directories(models());
  std::string toml = fmt::format("[node]\nname = \"{}\"\ndata_dir = \"{}\"\n\n", options.node, data().string());
  toml += fmt::format("[http]\nport = {}\n{}\n", port_, options.http);
  toml += fmt::format("[learning]\n{}\n", options.learning);
  toml += options.hub.empty() ? "[sync]\nenabled = false\n" : fmt::format("[sync]\nhub = \"{}\"\n{}\n", options.hub, options.sync);
  toml += options.more;
  Status written = write_file_atomic(config_file(), toml);
  SKERRY_CHECK(written.ok(), "{}", written.error().message);
  own_names_ = !options.resolv_conf.empty();
  if (own_names_) written = write_file_atomic(folder_ / "resolv.conf", options.resolv_conf);
  SKERRY_CHECK(written.ok(), "{}", written.error().message);
}

Status Daemon::start(milliseconds limit) {
  const auto begin = Steady::now();
  std::string program = "skerryd";
  std::vector<std::string> arguments = {"--config", config_file().string()};
  if (own_names_) {  // the same process in the end: each step becomes the next
    const std::string script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    arguments = {"--mount", "sh", "-c", script, "sh", (folder_ / "resolv.conf").string(), (program_folder() / program).string(), "--config", config_file().string()};
    program = "/usr/bin/unshare";
  }
  SKERRY_ASSIGN(Process process, Process::start(program, arguments, folder_));
  SKERRY_TRY(process.wait_for_line("listening on", limit));
  while (!ready(port_)) {
    if (!process.running() || Steady::now() - begin > limit) {
      return fail(Code::unavailable, "skerryd is not ready after {} ms; it said:\n{}", limit.count(), process.tail());
    }
    std::this_thread::sleep_for(milliseconds(2));
  }
  start_time_ = std::chrono::duration_cast<milliseconds>(Steady::now() - begin);
  process_ = std::move(process);
  return {};
}

std::optional<Exit> Daemon::terminate() {
  auto exit = process_ ? process_->terminate(kStopLimit) : std::nullopt;
  process_.reset();
  return exit;
}

Result<NodeView> view(http::Client& client) {
  SKERRY_ASSIGN(json status, ask(client, "GET", "/v1/status"));
  return reading("/v1/status", [&] {
    NodeView v;
    v.records = status.at("records");
    v.predictions = status.at("predictions");
    v.labelled = status.at("labels");
    v.outbox_bytes = status.at("outbox").at("bytes");
    for (const json& entry : status.at("outbox").at("classes")) v.outbox_entries += entry.at("entries").get<uint64_t>();
    const json& sync = status.at("sync");
    v.online = sync.at("online");
    v.failures = sync.at("failures");
    v.repeated = sync.at("repeated");
    const json& learning = status.at("learning");
    v.learning_state = learning.at("state");
    v.learning_why = learning.at("why");
    v.jobs_started = learning.at("jobs_started");
    v.jobs_failed = learning.at("jobs_failed");
    v.promoted = learning.at("promoted");
    v.rejected = learning.at("rejected");
    for (const json& model : status.at("models")) {
      NodeView::Model m;
      m.name = model.at("name");
      m.version = model.at("version");
      m.labelled = model.at("live").at("labelled");
      m.correct = model.at("live").at("correct");
      v.models.push_back(m);
    }
    return v;
  });
}

Written write_lines(http::Client& client, const std::string& lines, std::string* why) {
  auto response = client.request("POST", "/api/v2/write?precision=ns", lines, {{"Content-Type", "text/plain"}});
  if (!response.ok()) {
    if (why != nullptr) *why = response.error().message;
    return Written::unknown;
  }
  if (response.value().status == 204) return Written::acknowledged;
  if (why != nullptr) *why = fmt::format("{}: {}", response.value().status, response.value().body.substr(0, 400));
  return Written::refused;
}

Result<uint64_t> give_label(http::Client& client, const std::string& model, const std::string& series, int64_t from_ns, int64_t to_ns,
                            const std::string& label) {
  json body = {{"model", model}, {"series", series}, {"from", from_ns}, {"to", to_ns}, {"label", label}, {"source", "operator"}};
  SKERRY_ASSIGN(json answer, ask(client, "POST", "/v1/labels", body.dump()));
  return reading("/v1/labels", [&] { return answer.at("predictions").get<uint64_t>(); });
}

Result<int64_t> newest_window_end(http::Client& client, const std::string& model, const std::string& series) {
  SKERRY_ASSIGN(json answer, ask(client, "GET", fmt::format("/v1/predictions?model={}&series={}&limit=1", http::percent_encode(model),
                                                            http::percent_encode(series))));
  SKERRY_ASSIGN(std::string end, reading("/v1/predictions", [&] {
    const json& predictions = answer.at("predictions");
    return predictions.empty() ? std::string() : predictions.at(0).at("to").get<std::string>();
  }));
  if (end.empty()) return INT64_MIN;
  return parse_time(end);
}

std::string infer_body(const std::vector<int64_t>& shape, const std::vector<float>& raw) {
  json input = {{"name", "input"}, {"datatype", "FP32"}, {"shape", shape}, {"data", raw}};
  return json({{"inputs", json::array({input})}}).dump();
}

Result<Inferred> infer(http::Client& client, const std::string& model, const std::string& body) {
  SKERRY_ASSIGN(json answer, ask(client, "POST", "/v2/models/" + model + "/infer", body));
  return reading("infer", [&] {
    Inferred inferred;
    inferred.version = static_cast<uint32_t>(std::stoul(answer.at("model_version").get<std::string>()));
    std::vector<float> scores = answer.at("outputs").at(0).at("data");
    inferred.top = static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    return inferred;
  });
}

Status promote(http::Client& client, const std::string& model, uint32_t version) {
  SKERRY_TRY(ask(client, "POST", fmt::format("/v1/models/{}/versions/{}/promote", model, version), "{}"));
  return {};
}

Status train_now(http::Client& client, const std::string& model) {
  SKERRY_TRY(ask(client, "POST", fmt::format("/v1/models/{}/train", model), "{}"));
  return {};
}

Status rollback(http::Client& client, const std::string& model) {
  SKERRY_TRY(ask(client, "POST", fmt::format("/v1/models/{}/rollback", model), "{}"));
  return {};
}

}  // namespace skerry::e2e
