// Models, sync, learning, status and metrics over REST.
#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::test;
using Catch::Matchers::Contains;
using nlohmann::json;

TEST_CASE("REST: a version is imported, promoted and rolled back") {
  RestFixture f;
  json before = f.get_json("/v1/models");
  REQUIRE(before["models"].size() == 1);
  CHECK(before["models"][0]["name"] == "toy");
  CHECK(before["models"][0]["serving"] == 1);
  CHECK(before["models"][0]["labels"] == json{"low", "middle", "high"});

  toy_package(f.dir() / "elsewhere", 2);
  auto imported = f.post("/v1/models/import", json{{"path", (f.dir() / "elsewhere" / "toy" / "2").string()}}.dump());
  INFO(imported.body);
  REQUIRE(imported.status == 201);
  CHECK(f.json(imported)["state"] == "candidate");

  auto promoted = f.post("/v1/models/toy/versions/2/promote", json{{"reason", "tried on site"}}.dump());
  INFO(promoted.body);
  REQUIRE(promoted.status == 200);
  CHECK(f.json(promoted)["state"] == "serving");
  CHECK_THAT(f.json(promoted)["reason"].get<std::string>(), Contains("tried on site"));
  json after = f.get_json("/v1/models/toy");
  CHECK(after["serving"] == 2);
  CHECK(f.node().engine().serving("toy") == 2u);

  auto back = f.post("/v1/models/toy/rollback", "");
  INFO(back.body);
  REQUIRE(back.status == 200);
  CHECK(f.json(back)["version"] == 1);
  CHECK(f.get_json("/v1/models/toy")["serving"] == 1);
}

TEST_CASE("REST: what can't be done to a model is refused and the serving version stays") {
  RestFixture f;
  CHECK_THAT(f.refusal(f.get("/v1/models/none"), 404), Contains("none"));
  CHECK_THAT(f.refusal(f.post("/v1/models/toy/versions/9/promote", ""), 404), Contains("9"));
  CHECK_THAT(f.refusal(f.post("/v1/models/none/versions/1/promote", ""), 404), Contains("none"));
  CHECK_THAT(f.refusal(f.post("/v1/models/toy/versions/1/promote", "nonsense"), 400), Contains("JSON"));
  CHECK(f.post("/v1/models/toy/rollback", "").status == 404);
  CHECK_THAT(f.refusal(f.post("/v1/models/toy/versions/1/retrain", ""), 404), Contains("nothing to repeat"));
  CHECK_THAT(f.refusal(f.post("/v1/models/toy/versions/99/retrain", ""), 404), Contains("99"));
  CHECK_THAT(f.refusal(f.post("/v1/models/none/rollback", ""), 404), Contains("none"));
  CHECK_THAT(f.refusal(f.post("/v1/models/none/train", ""), 404), Contains("none"));
  CHECK_THAT(f.refusal(f.post("/v1/models/import", "{}"), 400), Contains("path"));
  CHECK(f.post("/v1/models/import", R"({"path":"/nowhere/at/all"})").status == 404);

  auto damaged = toy_package(f.dir() / "elsewhere", 3);
  REQUIRE(write_file_atomic(damaged / "model.int8.pt", "linear 2").ok());
  auto refused = f.post("/v1/models/import", json{{"path", damaged.string()}}.dump());
  CHECK(refused.status == 500);
  CHECK_THAT(f.refusal(refused, 500), Contains("model.int8.pt"));
  CHECK(f.get_json("/v1/models/toy")["serving"] == 1);
}

TEST_CASE("REST: training is asked for, and answered with what will happen") {
  RestFixture f;
  auto asked = f.post("/v1/models/toy/train", "");
  REQUIRE(asked.status == 202);
  CHECK(f.json(asked)["model"] == "toy");
  CHECK(f.get_json("/v1/learning").contains("why"));
}

TEST_CASE("REST: sync is held and resumed, and says what waits") {
  RestFixture f;
  REQUIRE(f.post("/write", "room t=1\n").status == 204);
  json sync = f.get_json("/v1/sync");
  CHECK(sync["held"] == false);
  CHECK(sync["outbox"]["bytes"] > 0);
  CHECK(f.json(f.post("/v1/sync/hold", R"({"held":true})"))["held"] == true);
  CHECK(f.get_json("/v1/sync")["held"] == true);
  CHECK(f.json(f.post("/v1/sync/hold", R"({"held":false})"))["held"] == false);
  CHECK_THAT(f.refusal(f.post("/v1/sync/hold", R"({"held":"yes"})"), 400), Contains("held"));
  CHECK_THAT(f.refusal(f.post("/v1/sync/hold", "true"), 400), Contains("object"));
}

TEST_CASE("REST: the status shows records, models, outbox, link and learning") {
  RestFixture f;
  REQUIRE(f.post("/write", "room t=1\nroom t=2 1763999999000000000\n").status == 204);
  json status = f.get_json("/v1/status");
  CHECK(status["node"] == "test-node");
  CHECK(status["records"] == 2);
  CHECK(status["models"][0]["name"] == "toy");
  CHECK(status["models"][0]["live"]["accuracy"].is_null());
  CHECK(status["sync"]["online"] == false);
  CHECK(status["trouble"].is_null());
  CHECK(status["outbox"]["classes"].size() == 6);
  json root = f.get_json("/");
  CHECK(root["name"] == "skerry");
}

TEST_CASE("REST: metrics count what happened") {
  RestFixture f;
  REQUIRE(f.post("/write", "room t=1\n").status == 204);
  REQUIRE(f.get("/nowhere").status == 404);
  REQUIRE(f.post("/v2/models/toy/infer", R"({"inputs":[{"name":"input","shape":[1,2,4],"datatype":"FP32","data":[1,1,1,1,1,1,1,1]}]})").status == 200);
  auto metrics = f.get("/metrics");
  REQUIRE(metrics.status == 200);
  CHECK_THAT(metrics.content_type, Contains("text/plain"));
  for (const char* line : {"# TYPE skerry_records_total counter", "skerry_records_total 1\n", "skerry_http_requests_total{status=\"204\"} 1\n",
                           "skerry_http_requests_total{status=\"404\"} 1\n", "skerry_outbox_entries{class=\"telemetry\"} 1\n",
                           "skerry_model_serving{model=\"toy\",version=\"1\"} 1\n", "skerry_inference_duration_seconds_count 1\n",
                           "skerry_inference_duration_seconds_bucket{le=\"+Inf\"} 1\n", "skerry_link_online 0\n"}) {
    CHECK_THAT(metrics.body, Contains(line));
  }
}
