// A node of its own on a simulated clock, with a toy model of the fake runtime and an uplink that never answers, behind a real server.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "node/cli/http_client.h"
#include "node/node.h"
#include "node/rest_api.h"
#include "tests/inference/fake_runtime.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::test {

class DeadUplink final : public sync::Uplink {
 public:
  Result<sync::HelloReply> hello(const sync::Hello&) override { return fail(Code::unavailable, "no network in this test"); }
  uint64_t begin(uint64_t, sync::Batch, sync::Lane) override { return 0; }  // never: a HELLO comes first
  std::vector<sync::Answer> answers(Duration) override { return {}; }
  std::vector<sync::Answer> give_up() override { return {}; }
  sync::Traffic traffic() const override { return {}; }
};

class NoWorker final : public learning::WorkerLauncher {
 public:
  Status start(const std::filesystem::path&) override { return fail(Code::unavailable, "no worker in this test"); }
  std::optional<learning::WorkerExit> poll() override { return std::nullopt; }
  void kill() override {}
  void pause() override {}
  void resume() override {}
  uint64_t memory_bytes() const override { return 0; }
};

class IdleProbe final : public learning::LoadProbe {
 public:
  learning::LoadSample sample(double requests) override { return {.cpu_others = 0, .requests_per_second = requests}; }
};

inline config::Config node_config(const std::filesystem::path& folder) {
  config::Config config;
  config.node.name = "test-node";
  config.node.data_dir = folder;
  config.storage.path = folder / "store";
  config.inference.models = folder / "models";
  config.learning.jobs = folder / "jobs";
  return config;
}

inline node::Seams node_seams(const Clock& clock) {
  node::Seams seams;
  seams.clock = &clock;
  seams.uplink = std::make_unique<DeadUplink>();
  seams.runtime = std::make_unique<inference::test::FakeRuntime>();
  seams.worker = std::make_unique<NoWorker>();
  seams.probe = std::make_unique<IdleProbe>();
  seams.seed = 1;
  return seams;
}

// "toy": windows of 4 records of imu's fields x and y every 2; answers "high" when their mean is positive, else "low".
inline std::filesystem::path toy_package(const std::filesystem::path& models, uint32_t version) {
  return inference::test::make_package(models / "toy" / std::to_string(version), inference::test::small_info(version), "linear 1");
}

// `records` of imu at 100 Hz from `from_ns`, as line protocol.
inline std::string imu_lines(int64_t from_ns, int records, double level, const std::string& tags = ",device=a") {
  std::string out;
  for (int i = 0; i < records; ++i) out += fmt::format("imu{} x={},y={} {}\n", tags, level, level / 2, from_ns + i * 10'000'000LL);
  return out;
}

class RestFixture {
 public:
  explicit RestFixture(const std::function<config::Config(config::Config)>& change = {}) {
    toy_package(dir_ / "models", 1);
    config::Config config = node_config(dir_.path());
    if (change) config = change(config);
    auto node = node::Node::open(config, node_seams(clock_));
    if (!node.ok()) FAIL(node.error().message);
    node_ = std::move(node).value();
    auto handlers = node::make_handlers(*node_);
    auto server = http::Server::open({}, handlers.all, handlers.direct);
    if (!server.ok()) FAIL(server.error().message);
    server_ = std::move(server).value();
    thread_ = std::thread([this] { server_->run(); });
    client_ = http::Client::open(url()).value();
  }
  ~RestFixture() {
    server_->stop();
    thread_.join();
    node_->scheduler().stop();
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}", server_->port()); }
  uint16_t port() const { return server_->port(); }
  node::Node& node() { return *node_; }
  SimClock& clock() { return clock_; }
  const TempDir& dir() const { return dir_; }

  http::Response get(const std::string& target) { return ask("GET", target, ""); }
  http::Response post(const std::string& target, const std::string& body, const http::Headers& headers = {}) {
    return ask("POST", target, body, headers);
  }
  http::Response ask(const std::string& method, const std::string& target, const std::string& body, const http::Headers& headers = {}) {
    auto response = client_->request(method, target, body, headers);
    if (!response.ok()) FAIL(method << " " << target << ": " << response.error().message);
    return *response;
  }
  nlohmann::json json(const http::Response& response) {
    auto parsed = nlohmann::json::parse(response.body, nullptr, false);
    INFO(response.body);
    REQUIRE_FALSE(parsed.is_discarded());
    return parsed;
  }
  nlohmann::json get_json(const std::string& target) {
    http::Response response = get(target);
    INFO(target << ": " << response.body);
    REQUIRE(response.status == 200);
    return json(response);
  }
  // The text of an error, which must have this status.
  std::string refusal(const http::Response& response, int status) {
    INFO(response.body);
    CHECK(response.status == status);
    auto body = json(response);
    REQUIRE(body.contains("error"));
    return body["error"].get<std::string>();
  }
  void answer_windows() {
    for (int i = 0; i < 100 && node_->step_pipelines() == Duration::zero(); ++i) {
    }
  }

 private:
  TempDir dir_;
  SimClock clock_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
  std::unique_ptr<http::Client> client_;
};

}  // namespace skerry::test
