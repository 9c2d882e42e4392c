#include "tests/bench/serving.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <zmq.hpp>

#include "base/file.h"
#include "base/random.h"
#include "inference/package.h"
#include "tests/bench/http_load.h"
#include "tests/bench/rounds.h"
#include "tests/e2e/support/gateway.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;
using e2e::milliseconds;

constexpr size_t kChannels = 9, kRows = 128;
constexpr const char* kTarget = "/v2/models/har/infer";

std::vector<float> window() {
  Random random(1);
  std::vector<float> out(kChannels * kRows);
  for (float& value : out) value = static_cast<float>(std::round(random.normal() * 1e6) / 1e6);  // as sensors print them
  return out;
}

std::string json_body() {
  return fmt::format(R"({{"inputs":[{{"name":"input","shape":[1,{},{}],"datatype":"FP32","data":[{}]}}]}})", kChannels, kRows,
                     fmt::join(window(), ","));
}

std::string raw_bytes() {
  const std::vector<float> values = window();
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string binary_header(const char* more = "") {
  return fmt::format(R"({{{}"inputs":[{{"name":"input","shape":[1,{},{}],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],)"
                     R"("parameters":{{"binary_data_output":true}}}})",
                     more, kChannels, kRows, kChannels * kRows * sizeof(float));
}

std::string json_request() { return http_post(kTarget, "Content-Type: application/json\r\n", json_body()); }
std::string binary_request() {
  const std::string header = binary_header();
  return http_post(kTarget, fmt::format("Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\n", header.size()),
                   header + raw_bytes());
}

// Adds the compiled plan to a package, so that it is served by it. Where that is not possible LibTorch serves, and it is said.
Status add_plan(const fs::path& package, const fs::path& folder) {
  SKERRY_ASSIGN(const inference::Package opened, inference::Package::open(package, uint64_t{256} << 20));
  Random random(2);
  std::string samples;
  for (size_t i = 0; i < 64 * kChannels * kRows; ++i) {
    const auto value = static_cast<float>(random.normal());
    samples.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  const fs::path calibration = folder / "calibration.f32", plan = folder / "plan.bin";
  SKERRY_TRY(write_file_atomic(calibration, samples));
  SKERRY_ASSIGN(const e2e::Finished made,
                e2e::run_program("skerry-worker", {"compile", package.string(), "--calibration", calibration.string(), "--output", plan.string()},
                                 folder, milliseconds(120'000)));
  if (made.exit.code != 0) {
    std::cout << "# inference.serving: served by LibTorch, there is no plan: " << made.output.substr(0, made.output.find('\n')) << "\n";
    return {};
  }
  fs::rename(plan, package / inference::kPlanFile);
  inference::PackageInfo info = opened.info;
  info.int8_file = inference::kPlanFile;
  return inference::seal_package(package, info);
}

// skerryd with the HAR network of the runtime's tests, in so many versions.
Result<std::unique_ptr<e2e::Daemon>> make_gateway(const fs::path& folder, uint32_t versions) {
  e2e::DaemonOptions options;
  options.more = "[zeromq]\nenabled = true\nipc = \"infer.sock\"\n";
  auto daemon = std::make_unique<e2e::Daemon>(folder, options);
  for (uint32_t v = 1; v <= versions; ++v) {
    const fs::path package = daemon->models() / "har" / std::to_string(v);
    SKERRY_ASSIGN(e2e::Finished made, e2e::run_program("inference_make_test_package", {package.string(), "har", std::to_string(v)}, folder,
                                                       milliseconds(120'000)));
    if (made.exit.code != 0) return fail(Code::internal, "no HAR package: {}", made.output.substr(0, 400));
    SKERRY_TRY(add_plan(package, folder));
  }
  return daemon;
}

// ---- the peer

struct NodePeer {
  std::optional<e2e::Process> process;
  uint16_t port = 0;
};

Result<NodePeer> start_peer(const fs::path& folder) {
  const char* given = std::getenv("SKERRY_NODE_MODULES");
  const fs::path modules = given ? fs::path(given) : e2e::program_folder() / "../../peers/npm/node_modules";
  std::error_code ignored;
  if (!fs::exists(modules / "fastify", ignored) || !fs::exists(modules / "onnxruntime-node", ignored)) {
    return fail(Code::not_found, "fastify and onnxruntime-node are not in {}: ./bench inference fetches them with npm", modules.string());
  }
  NodePeer peer;
  peer.port = e2e::free_port();
  const std::string script = SKERRY_BENCH_SOURCE "/serving_peer.js";
  SKERRY_ASSIGN(e2e::Process process, e2e::Process::start("/usr/bin/node", {script, modules.string(), std::to_string(peer.port)}, folder));
  SKERRY_TRY(process.wait_for_line("listening on", milliseconds(30'000)));
  peer.process = std::move(process);
  return peer;
}

// ---- one round of each

struct Round {
  std::vector<double> p50, per_second;  // of each round
};

Status measure(const Load& load, const char* what, Round& out) {
  SKERRY_ASSIGN(LoadOutcome outcome, run_load(load));
  if (outcome.failed > 0) return fail(Code::internal, "{}: {} requests failed: {}", what, outcome.failed, outcome.last_failure);
  out.per_second.push_back(static_cast<double>(outcome.micros.size()) / outcome.seconds);
  out.p50.push_back(median(std::move(outcome.micros)));
  return {};
}

// What the library itself takes for a request of this size and an answer, with nothing behind it: the floor of what can be reached over it.
class ZmqEcho {
 public:
  explicit ZmqEcho(const std::string& endpoint) : endpoint_(endpoint), thread_([this] { serve(); }) {}
  ~ZmqEcho() {
    stop_ = true;
    thread_.join();
  }
  const std::string& endpoint() const { return endpoint_; }

 private:
  void serve() {
    try {
      zmq::context_t context(1);
      zmq::socket_t socket(context, zmq::socket_type::router);
      socket.set(zmq::sockopt::linger, 0);
      socket.set(zmq::sockopt::rcvtimeo, 100);
      socket.bind(endpoint_);
      while (!stop_) {
        zmq::message_t peer, json, tensor;
        if (!socket.recv(peer)) continue;
        if (!socket.recv(json) || !json.more() || !socket.recv(tensor)) continue;
        socket.send(peer, zmq::send_flags::sndmore);
        socket.send(json, zmq::send_flags::sndmore);
        socket.send(zmq::buffer(tensor.data(), 24), zmq::send_flags::none);
      }
    } catch (const zmq::error_t&) {
      return;  // the caller gets no answer, and says so
    }
  }

  const std::string endpoint_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

Status measure_zmq(const std::string& endpoint, uint32_t warm_up, uint32_t answers, Round& out) try {
  zmq::context_t context(1);
  zmq::socket_t socket(context, zmq::socket_type::dealer);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::rcvtimeo, 20'000);
  socket.connect(endpoint);
  const std::string header = binary_header(R"("model":"har",)"), tensor = raw_bytes();
  std::vector<double> micros;
  const Stopwatch whole;
  for (uint32_t i = 0; i < warm_up + answers; ++i) {
    const Stopwatch watch;
    socket.send(zmq::buffer(header), zmq::send_flags::sndmore);
    socket.send(zmq::buffer(tensor), zmq::send_flags::none);
    zmq::message_t json, scores;
    if (!socket.recv(json)) return fail(Code::unavailable, "no answer over ZeroMQ");
    if (!json.more()) return fail(Code::internal, "refused over ZeroMQ: {}", json.to_string().substr(0, 300));
    if (!socket.recv(scores)) return fail(Code::unavailable, "no tensor over ZeroMQ");
    if (i >= warm_up) micros.push_back(watch.seconds() * 1e6);
  }
  out.per_second.push_back((warm_up + answers) / whole.seconds());
  out.p50.push_back(median(std::move(micros)));
  return {};
} catch (const zmq::error_t& e) {
  return fail(Code::unavailable, "ZeroMQ: {}", e.what());
}

// What the model itself takes, so that one sees what is left for the way: from the daemon's own statistics.
void say_compute(http::Client& client) {
  auto answer = client.request("GET", "/metrics");
  if (!answer.ok()) return;
  double us = 0, count = 0;
  auto number = [&](const std::string& name) {
    const size_t at = answer->body.find("\n" + name + "{model=\"har\",version=\"1\"} ");
    return at == std::string::npos ? 0.0 : std::strtod(answer->body.c_str() + answer->body.find("} ", at) + 2, nullptr);
  };
  us = number("nv_inference_compute_infer_duration_us");
  count = number("nv_inference_request_success");
  if (count > 0) std::cout << fmt::format("# inference.serving: of each answer the model itself takes {:.1f} us\n", us / count);
}

}  // namespace

Result<std::vector<Figure>> serving_requests(Size size, const Places& places) {
  const uint32_t answers = size == Size::full ? 3000 : 100, warm_up = size == Size::full ? 300 : 20;
  const fs::path folder = places.work / "serving";
  SKERRY_ASSIGN(auto daemon, make_gateway(folder, 1));
  SKERRY_TRY(daemon->start());
  auto peer = start_peer(folder);
  const std::string endpoint = "ipc://" + (daemon->data() / "infer.sock").string();
  Round json1, json8, binary, zmq, echo, peer1, peer8;
  const ZmqEcho nothing("ipc://" + (daemon->data() / "echo.sock").string());
  for (int round = 0; round < (size == Size::full ? 7 : 1); ++round) {  // in turns, so that a noisy minute is everybody's
    SKERRY_TRY(measure({daemon->port(), json_request(), 1, warm_up, answers}, "JSON", json1));
    if (peer.ok()) SKERRY_TRY(measure({peer->port, json_request(), 1, warm_up, answers}, "fastify", peer1));
    SKERRY_TRY(measure({daemon->port(), binary_request(), 1, warm_up, answers}, "raw bytes", binary));
    SKERRY_TRY(measure_zmq(endpoint, warm_up, answers, zmq));
    SKERRY_TRY(measure_zmq(nothing.endpoint(), warm_up, answers, echo));
    SKERRY_TRY(measure({daemon->port(), json_request(), 8, warm_up, answers}, "JSON, 8 connections", json8));
    if (peer.ok()) SKERRY_TRY(measure({peer->port, json_request(), 8, warm_up, answers}, "fastify, 8 connections", peer8));
  }
  SKERRY_ASSIGN(auto client, http::Client::open(daemon->url()));
  say_compute(*client);
  std::cout << fmt::format("# inference.serving: over ZeroMQ an echo of as many bytes, with nothing behind it, takes {:.1f} us\n", median(echo.p50));
  const double peer_us = median(peer1.p50), peer_us8 = median(peer8.p50), peer_rate = median(peer8.per_second), peer_rate1 = median(peer1.per_second);
  struct Wanted {
    const char* name;
    double value, peer_value, factor;
    const char* unit;
    Better better;
  };
  const Wanted wanted[] = {
      {"inference.rest_json_1_p50", median(json1.p50), peer_us, 0.6, "us", Better::lower},
      {"inference.rest_json_1_rate", median(json1.per_second), peer_rate1, 2, "requests/s", Better::higher},
      {"inference.rest_json_8_p50", median(json8.p50), peer_us8, 0.6, "us", Better::lower},
      {"inference.rest_json_8_rate", median(json8.per_second), peer_rate, 2, "requests/s", Better::higher},
      {"inference.rest_binary_p50", median(binary.p50), peer_us, 0.35, "us", Better::lower},
      {"inference.zeromq_ipc_p50", median(zmq.p50), peer_us, 0.2, "us", Better::lower}};
  std::vector<Figure> figures;
  for (const Wanted& w : wanted) {
    Figure figure{w.name, w.value, w.unit, w.factor * w.peer_value, w.better};
    figure.judged = size == Size::full;
    if (peer.ok()) figure.peer = Peer{"fastify+onnxruntime", w.value / w.peer_value};
    else figure.skipped = peer.error().message;
    if (!peer.ok()) std::cout << fmt::format("# {} {:.4g} {} without its peer\n", w.name, w.value, w.unit);
    figures.push_back(std::move(figure));
  }
  return figures;
}

Result<std::vector<Figure>> serving_footprint(Size size, const Places& places) {
  SKERRY_ASSIGN(auto daemon, make_gateway(places.work / "footprint", 1));
  SKERRY_TRY(daemon->start());  // the first start takes the package into the store
  if (!daemon->terminate()) return fail(Code::internal, "skerryd did not stop");
  std::vector<double> first_ms;
  double resident_mb = 0;
  for (int run = 0; run < (size == Size::full ? 7 : 1); ++run) {
    const Stopwatch watch;
    SKERRY_ASSIGN(e2e::Process process, e2e::Process::start("skerryd", {"--config", daemon->config_file().string()}, daemon->folder()));
    for (;;) {
      auto outcome = run_load({daemon->port(), json_request(), 1, 0, 1});
      if (outcome.ok() && outcome->failed == 0) break;
      if (!process.running() || watch.seconds() > 20) return fail(Code::unavailable, "skerryd does not answer: {}", process.tail());
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
    first_ms.push_back(watch.seconds() * 1e3);
    SKERRY_ASSIGN(LoadOutcome load, run_load({daemon->port(), json_request(), 2, 0, size == Size::full ? 5000u : 50u}));
    if (load.failed > 0) return fail(Code::internal, "{} requests failed: {}", load.failed, load.last_failure);
    resident_mb = std::max(resident_mb, static_cast<double>(process.resident_bytes()) / (1 << 20));
    if (!process.terminate(milliseconds(15'000))) return fail(Code::internal, "skerryd did not stop");
  }
  std::vector<Figure> figures = {{"inference.resident", resident_mb, "MiB", 48, Better::lower},
                                 {"inference.first_answer", median(first_ms), "ms", 100, Better::lower}};
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

Result<std::vector<Figure>> serving_swaps(Size size, const Places& places) {
  const uint32_t swaps = size == Size::full ? 1000 : 6, settled = size == Size::full ? 100 : 2, versions = 3;
  SKERRY_ASSIGN(auto daemon, make_gateway(places.work / "swaps-1000", versions));
  SKERRY_TRY(daemon->start());
  SKERRY_ASSIGN(auto client, http::Client::open(daemon->url(), {.timeout = std::chrono::seconds(60)}));
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> asked{0}, failed{0};
  std::vector<std::thread> visitors;
  for (int i = 0; i < 2; ++i) {
    visitors.emplace_back([&] {
      while (!stop) {
        auto outcome = run_load({daemon->port(), json_request(), 1, 0, 20});
        asked += 20;
        failed += outcome.ok() ? outcome->failed : 20;
      }
    });
  }
  Status swapped;
  double before = 0;
  const Stopwatch watch;
  for (uint32_t i = 0; i < swaps && swapped.ok(); ++i) {
    if (i == settled) before = static_cast<double>(daemon->process().resident_bytes());
    swapped = e2e::promote(*client, "har", 1 + (i + 1) % versions);  // the one before stays as last good: each swap loads one and frees one
  }
  const double growth = (static_cast<double>(daemon->process().resident_bytes()) - before) / (1 << 20);
  stop = true;
  for (std::thread& visitor : visitors) visitor.join();
  if (!swapped.ok()) return swapped.error();
  std::cout << fmt::format("# inference.swaps: {} swaps in {:.1f} s, {} requests meanwhile\n", swaps, watch.seconds(), asked.load());
  std::vector<Figure> figures = {{"inference.swaps_failed", static_cast<double>(failed.load()), "requests", 0, Better::lower},
                                 {"inference.swaps_growth", growth, "MiB", 2, Better::lower}};
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
