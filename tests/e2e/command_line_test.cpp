// The program `skerry` against a real node that has something to tell.
#include <fmt/ranges.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/http_server.h"
#include "tests/e2e/support/gateway.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::e2e;
using Catch::Matchers::Contains;
using nlohmann::json;

TEST_CASE("command line: what it reads of a node that has sent something is printed, as text and as JSON") {
  test::TempDir folder;
  Hub hub(folder / "hub");
  REQUIRE(hub.start().ok());
  Daemon daemon(folder / "node", {.hub = hub.url()});
  REQUIRE(daemon.start().ok());
  auto client = http::Client::open(daemon.url(), {.timeout = milliseconds(10'000)});
  REQUIRE(client.ok());
  REQUIRE(write_lines(**client, fmt::format("vineyard,row=12 soil_moisture=0.31 {}", system_clock().now_ns())) == Written::acknowledged);
  uint64_t waiting = 1;
  for (int i = 0; i < 200 && waiting > 0; ++i) {
    std::this_thread::sleep_for(milliseconds(50));
    auto seen = view(**client);
    REQUIRE(seen.ok());
    waiting = seen->outbox_entries;
  }
  REQUIRE(waiting == 0);

  auto skerry = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--url", daemon.url()});
    auto done = run_program("skerry", words, folder.path(), milliseconds(20'000));
    INFO(fmt::format("skerry {}: {}", fmt::join(words, " "), done.ok() ? done->output : done.error().message));
    REQUIRE(done.ok());
    CHECK(done->exit.code == 0);
    return done->output;
  };
  CHECK_THAT(skerry({"status"}), Contains("records     1 since start"));
  CHECK_THAT(skerry({"query", "vineyard{row=12}", "--csv"}), Contains("0.31"));
  CHECK_THAT(skerry({"sync"}), Contains("telemetry") && Contains("exchanges") && Contains("nothing waiting"));
  CHECK_THAT(skerry({"sync", "hold"}), Contains("held back by hand"));
  CHECK_THAT(skerry({"sync", "resume"}), Contains("online"));
  CHECK_THAT(skerry({"sync", "why", "telemetry"}), Contains("telemetry: "));
  CHECK_THAT(skerry({"sync", "policy"}), Contains("[[sync.bearer]]"));
  CHECK_THAT(skerry({"learning", "why"}), Contains("jobs started 0"));
  skerry({"models"});
  skerry({"predictions"});
  for (const char* command : {"status", "sync", "models", "predictions"}) CHECK(json::accept(skerry({command, "--json"})));
}

TEST_CASE("command line: an answer that is not of this program's API ends a command with a reason, whatever its shape") {
  test::TempDir folder;
  for (const std::string answer : {"{}", "[1]", "\"text\"", "null", R"({"models":[{}],"sync":3,"outbox":[],"classes":[null],"decisions":{"a":1},"storage":7,"streams":[{}]})"}) {
    auto server = http::Server::open({}, [&](http::Request&) { return http::Response{.body = answer}; });
    REQUIRE(server.ok());
    std::thread serving([&] { (*server)->run(); });
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"status"}, {"query", "imu"}, {"sql", "select 1"}, {"streams"}, {"predictions"}, {"models"}, {"models", "show", "har"}, {"learning", "why"},
             {"sync"}, {"sync", "why"}, {"sync", "policy"}, {"label", "--prediction", "1", "walk"}}) {
      auto all = words;
      all.insert(all.end(), {"--url", fmt::format("http://127.0.0.1:{}", (*server)->port())});
      auto done = run_program("skerry", all, folder.path(), milliseconds(20'000));
      INFO(fmt::format("skerry {} on {}: {}", fmt::join(words, " "), answer, done.ok() ? done->exit.text() + ", " + done->output : done.error().message));
      CHECK((done.ok() && done->exit.signal == 0 && (done->exit.code == 0 || done->exit.code == 1)));
      if (done.ok() && done->exit.code == 1) CHECK_THAT(done->output, Contains("skerry"));
    }
    (*server)->stop();
    serving.join();
  }
}
