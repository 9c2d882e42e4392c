// /v1/sync over REST: explaining, trying and changing the policy of a node that has no network.
#include <fstream>

#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::test;
using Catch::Contains;

namespace {

constexpr const char* kNight = "[sync]\npreset = \"lte-metered\"\n[[sync.window]]\nname = \"night\"\ntimes = \"01:00-05:00\"\n";

nlohmann::json class_of(const nlohmann::json& answer, const std::string& name) {
  for (const auto& c : answer["classes"]) {
    if (c["class"] == name) return c;
  }
  FAIL("no class " << name << " in " << answer.dump());
  return {};
}

}  // namespace

TEST_CASE("REST: explain says what would have to be true for a class to go") {
  RestFixture f;
  REQUIRE(f.post("/write", imu_lines(f.clock().now_ns() - 1'000'000'000, 20, 1.0)).status == 204);
  const auto one = f.get_json("/v1/sync/explain?class=telemetry");
  REQUIRE(one["classes"].size() == 1);
  const auto telemetry = class_of(one, "telemetry");
  CHECK(telemetry["send"] == false);
  CHECK(telemetry["blocked_by"] == "reachable");
  CHECK(telemetry["conditions"].size() >= 6);
  CHECK(f.get_json("/v1/sync/explain")["classes"].size() == 6);
  CHECK_THAT(f.refusal(f.get("/v1/sync/explain?class=gossip"), 400), Contains("alarm"));
}

TEST_CASE("REST: explain finds a record among what waits") {
  RestFixture f;
  const int64_t from = f.clock().now_ns() - 1'000'000'000;
  REQUIRE(f.post("/write", imu_lines(from - 60'000'000'000, 20, 1.0)).status == 204);
  REQUIRE(f.post("/write", imu_lines(from, 20, 1.0)).status == 204);
  const auto found = f.get_json("/v1/sync/explain?series=imu%7Bdevice%3Da%7D&time=" + std::to_string(from + 50'000'000));
  CHECK(found["record"]["state"] == "waiting");
  CHECK(found["record"]["seq"] == 2);
  CHECK(found["record"]["entries_before"] == 1);
  CHECK_THAT(f.refusal(f.get("/v1/sync/explain?series=imu%7Bdevice%3Da%7D&time=" + std::to_string(from + 1)), 404), Contains("no record"));
  CHECK_THAT(f.refusal(f.get("/v1/sync/explain?series=imu%7Bdevice%3Da%7D&time=soon"), 400), Contains("time"));
}

TEST_CASE("REST: a policy is tried, put, survives a restart, and is taken back; the backlog stays") {
  RestFixture f;
  REQUIRE(f.post("/write", imu_lines(f.clock().now_ns() - 1'000'000'000, 20, 1.0)).status == 204);
  const auto before = f.get_json("/v1/sync")["outbox"];
  CHECK(f.get_json("/v1/sync/policy")["source"] == "config");

  const auto tried = f.json(f.post("/v1/sync/policy/try", kNight));
  CHECK(tried["classes"].size() == 6);
  CHECK(f.get_json("/v1/sync/policy")["source"] == "config");  // nothing changed

  const auto put = f.json(f.ask("PUT", "/v1/sync/policy", kNight));
  CHECK(put["source"] == "rest");
  CHECK(put["preset"] == "lte-metered");
  CHECK_THAT(put["toml"].get<std::string>(), Contains("name = \"night\""));
  CHECK(f.get_json("/v1/sync")["outbox"] == before);
  REQUIRE(f.node().store().note("sync/policy").value().has_value());
  CHECK(*f.node().store().note("sync/policy").value() == kNight);

  CHECK(f.json(f.post("/v1/sync/windows", R"({"name":"night","revoked":true})"))["windows_revoked"][0] == "night");
  CHECK_THAT(f.refusal(f.post("/v1/sync/windows", R"({"name":"noon","revoked":true})"), 404), Contains("noon"));

  CHECK(f.json(f.ask("DELETE", "/v1/sync/policy", ""))["source"] == "config");
  CHECK_FALSE(f.node().store().note("sync/policy").value().has_value());
}

TEST_CASE("REST: a policy with mistakes is refused with all of them, and the one in use stays") {
  RestFixture f;
  REQUIRE(f.ask("PUT", "/v1/sync/policy", kNight).status == 200);
  const std::string complaint = f.refusal(f.ask("PUT", "/v1/sync/policy", "[sync]\npreset = \"lte-meterd\"\n[sync.class.telemetry]\nlingr = \"1s\"\n[http]\nport = 1\n"), 400);
  CHECK_THAT(complaint, Contains("policy.toml:2:10") && Contains("perhaps \"lte-metered\"") && Contains("did you mean 'linger'?") && Contains("'http' is not part of a policy"));
  CHECK(f.get_json("/v1/sync/policy")["preset"] == "lte-metered");
}

TEST_CASE("REST: a policy file is watched, and one with a mistake changes nothing") {
  TempDir dir;
  const auto file = dir / "policy.toml";
  std::ofstream(file) << "[sync]\npreset = \"ethernet\"\n";
  RestFixture f([&](config::Config config) {
    config.sync.policy_file = file.string();
    return config;
  });
  CHECK(f.get_json("/v1/sync/policy")["source"] == "file");
  CHECK(f.get_json("/v1/sync/policy")["preset"] == "ethernet");
  auto look = [&] {
    f.clock().advance(std::chrono::seconds(3));
    f.node().step_sync();
    return f.get_json("/v1/sync/policy");
  };
  std::ofstream(file) << "[sync]\npreset = \"satellite\"\n";
  CHECK(look()["preset"] == "satellite");
  std::ofstream(file) << "[sync]\npreset = \"satelite, or so\"\n";
  const auto wrong = look();
  CHECK(wrong["preset"] == "satellite");
  CHECK_THAT(wrong["problem"].get<std::string>(), Contains("there is no preset"));
  std::filesystem::remove(file);
  CHECK(look()["preset"] == "satellite");
}

TEST_CASE("REST: bytes by bearer and purpose are in status and metrics") {
  RestFixture f;
  REQUIRE(f.post("/write", imu_lines(f.clock().now_ns() - 1'000'000'000, 20, 1.0)).status == 204);
  f.node().step_sync();  // a HELLO that nobody answers
  const auto bearer = f.get_json("/v1/sync")["bearers"][0];
  CHECK(bearer["name"] == "default");
  CHECK(bearer["purposes"]["control"]["exchanges"] == 1);
  CHECK(bearer["month"]["bytes"].get<uint64_t>() > 100);
  const std::string metrics = f.get("/metrics").body;
  CHECK_THAT(metrics, Contains("skerry_sync_wire_bytes_total{bearer=\"default\",purpose=\"control\",direction=\"sent\"}"));
  CHECK_THAT(metrics, Contains("skerry_bearer_month_budget_bytes{bearer=\"default\"} 0"));
}
