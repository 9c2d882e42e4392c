// Who may do what at the hub.
#include "hub/access.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "base/file.h"
#include "hub/api.h"
#include "tests/support/fake_cloud.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::hub;
using Catch::Matchers::Contains;
using skerry::test::SimClock;
using skerry::test::TempDir;

namespace {

struct Guarded {
  SimClock clock;
  TempDir dir;
  std::unique_ptr<Receiver> receiver;
  std::unique_ptr<Access> access;
  std::unique_ptr<Api> api;

  Guarded() {
    auto opened = Receiver::open({.path = dir / "hub", .name = "hub", .file_system = test::hasty_file_system()}, clock);
    REQUIRE(opened.ok());
    receiver = std::move(*opened);
  }
  std::string token_for(const std::string& name) {
    auto made = make_token(name);
    REQUIRE(made.ok());
    std::ofstream(dir / "tokens", std::ios::app) << made->line << "\n";
    return made->token;
  }
  void guard(bool tokens, bool certificates = false) {
    auto opened = Access::open({.tokens = tokens ? dir / "tokens" : std::filesystem::path(), .certificates = certificates}, clock);
    if (!opened.ok()) FAIL(opened.error().message);
    access = std::move(*opened);
    api = std::make_unique<Api>(*receiver, ApiOptions{dir / "models"}, clock, access.get());
  }
  http::Response ask(const std::string& method, const std::string& path, const std::string& token, const std::string& peer = "", std::string body = "") {
    http::Request q;
    q.method = method;
    q.path = path;
    if (!token.empty()) q.headers["authorization"] = "Bearer " + token;
    q.peer = peer;
    q.body = std::move(body);
    return api->handle(q);
  }
  http::Response hello(const std::string& node, const std::string& token, const std::string& peer = "") {
    return ask("POST", "/v1/sync/hello", token, peer, sync::encode(sync::Hello{.node = node, .epoch = 7, .backlog_bytes = 0, .models = {}}));
  }
};

}  // namespace

TEST_CASE("access: a node delivers under its own name, an operator reads, others do neither") {
  Guarded hub;
  const std::string pump = hub.token_for("pump-1"), other = hub.token_for("pump-2"), operator_token = hub.token_for("*");
  hub.guard(true);
  CHECK(hub.hello("pump-1", pump).status == 200);
  CHECK(hub.hello("pump-1", other).status == 403);
  CHECK(hub.hello("pump-1", operator_token).status == 403);
  CHECK(hub.hello("pump-1", "").status == 401);
  CHECK(hub.hello("pump-1", "guess").status == 401);
  CHECK(hub.hello("pump-1", std::string(10'000, 'a')).status == 401);
  for (const char* path : {"/v1/nodes", "/v1/nodes/pump-1/entries", "/v1/nodes/pump-1/deltas", "/metrics"}) {
    INFO(path);
    CHECK(hub.ask("GET", path, operator_token).status == 200);
    CHECK(hub.ask("GET", path, pump).status == 403);
    CHECK(hub.ask("GET", path, "").status == 401);
  }
  CHECK(hub.ask("GET", "/v1/models", pump).status == 200);
  CHECK(hub.ask("GET", "/v1/models", "").status == 401);
  CHECK(hub.ask("GET", "/health", "").status == 200);
}

TEST_CASE("access: nothing of a batch in another's name is taken") {
  Guarded hub;
  const std::string pump = hub.token_for("pump-1"), other = hub.token_for("pump-2"), reader = hub.token_for("*");
  hub.guard(true);
  REQUIRE(hub.hello("pump-1", pump).status == 200);
  sync::Batch batch{"pump-1", 7, storage::OutboxClass::alarm, {{1, storage::EntryKind::model_event, "gate", "{}", 1, 5}}};
  CHECK(hub.ask("POST", "/v1/sync/batch", other, "", sync::encode(batch)).status == 403);
  CHECK_THAT(hub.ask("GET", "/v1/nodes/pump-1/entries", reader).body, Contains("\"entries\":[]"));
  CHECK(hub.ask("POST", "/v1/sync/batch", pump, "", sync::encode(batch)).status == 200);
}

TEST_CASE("access: a token that is taken out of the file is shut out within a second, and a damaged file changes nothing") {
  Guarded hub;
  const std::string pump = hub.token_for("pump-1");
  hub.guard(true);
  CHECK(hub.hello("pump-1", pump).status == 200);
  auto rewrite = [&](const std::string& text) {
    std::ofstream(hub.dir / "tokens") << text;
    static int later = 0;
    std::filesystem::last_write_time(hub.dir / "tokens", std::filesystem::file_time_type::clock::now() + std::chrono::seconds(++later));
    hub.clock.advance(std::chrono::seconds(2));
  };
  rewrite("pump-1 nonsense\n");
  CHECK(hub.hello("pump-1", pump).status == 200);
  rewrite("# nobody\n");
  CHECK(hub.hello("pump-1", pump).status == 401);
}

TEST_CASE("access: a certificate proves the name, and a token has to agree with it") {
  Guarded hub;
  const std::string pump = hub.token_for("pump-1");
  hub.guard(false, true);
  CHECK(hub.hello("pump-1", "", "pump-1").status == 200);
  CHECK(hub.hello("pump-1", "", "pump-2").status == 403);
  CHECK(hub.hello("pump-1", "", "").status == 401);
  CHECK(hub.ask("GET", "/v1/nodes", "", "*").status == 200);
  hub.guard(true, true);
  CHECK(hub.hello("pump-1", pump, "pump-1").status == 200);
  CHECK(hub.hello("pump-1", pump, "pump-2").status == 401);
  CHECK(hub.hello("pump-1", "", "pump-1").status == 401);
}

TEST_CASE("access: a file of tokens says what is wrong with it, by line") {
  SimClock clock;
  TempDir dir;
  auto problem = [&](const std::string& text) {
    std::ofstream(dir / "tokens") << text;
    auto opened = Access::open({.tokens = dir / "tokens"}, clock);
    return opened.ok() ? std::string() : opened.error().message;
  };
  const std::string digest = sha256_hex("a");
  CHECK(problem("# a remark\n\n  pump-1\t" + digest + "  # of the north\r\n") == "");
  CHECK_THAT(problem("pump-1 " + digest + "\npump-2 abc\n"), Contains("line 2") && Contains("--new-token"));
  CHECK_THAT(problem("pump-1\n"), Contains("line 1"));
  CHECK_THAT(problem("../x " + digest), Contains("line 1"));
  CHECK_THAT(problem("pump-1 " + digest + "\npump-2 " + digest), Contains("line 2"));
  CHECK(!Access::open({.tokens = dir / "none"}, clock).ok());
  CHECK(!make_token("a b").ok());
}
