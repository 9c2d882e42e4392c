#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

json window(double level) {
  return {{"inputs", {{{"name", "input"}, {"shape", {1, 2, 4}}, {"datatype", "FP32"}, {"data", json(std::vector<double>(8, level))}}}}};
}

}  // namespace

TEST_CASE("REST: health answers with a status and a body that please both kinds of clients") {
  RestFixture f;
  CHECK(f.get_json("/v2/health/live") == json{{"live", true}});
  CHECK(f.get_json("/v2/health/ready") == json{{"ready", true}, {"live", true}});
  json server = f.get_json("/v2");
  CHECK(server["name"] == "skerry");
  CHECK(server["extensions"].is_array());
}

TEST_CASE("REST: model metadata names inputs, outputs and loaded versions") {
  RestFixture f;
  for (const char* path : {"/v2/models/toy", "/v2/models/toy/versions/1"}) {
    json model = f.get_json(path);
    CHECK(model["name"] == "toy");
    CHECK(model["versions"] == json{"1"});
    CHECK(model["inputs"] == json::array({{{"name", "input"}, {"datatype", "FP32"}, {"shape", {-1, 2, 4}}}}));
    CHECK(model["outputs"] == json::array({{{"name", "scores"}, {"datatype", "FP32"}, {"shape", {-1, 3}}}}));
    CHECK(f.get_json(std::string(path) + "/ready") == json{{"name", "toy"}, {"ready", true}});
  }
  CHECK_THAT(f.refusal(f.get("/v2/models/none"), 404), Contains("none"));
  CHECK_THAT(f.refusal(f.get("/v2/models/none/ready"), 404), Contains("none"));
  CHECK_THAT(f.refusal(f.get("/v2/models/toy/versions/7"), 404), Contains("7"));
  CHECK_THAT(f.refusal(f.get("/v2/models/toy/versions/latest"), 404), Contains("latest"));
}

TEST_CASE("REST: a version that is known but not loaded is not ready, by status and body") {
  RestFixture f;
  toy_package(f.dir() / "elsewhere", 2);
  json import = {{"path", (f.dir() / "elsewhere" / "toy" / "2").string()}};
  REQUIRE(f.post("/v1/models/import", import.dump()).status == 201);
  auto response = f.get("/v2/models/toy/versions/2/ready");
  CHECK(response.status == 400);
  CHECK(f.json(response) == json{{"name", "toy"}, {"ready", false}});
}

TEST_CASE("REST: inference takes nested and flat data, echoes the id and selects outputs") {
  RestFixture f;
  json flat = window(2.0);
  auto first = f.post("/v2/models/toy/infer", flat.dump());
  REQUIRE(first.status == 200);
  json answer = f.json(first);
  CHECK(answer["model_name"] == "toy");
  CHECK(answer["model_version"] == "1");
  CHECK_FALSE(answer.contains("id"));
  CHECK(answer["outputs"] == json::array({{{"name", "scores"}, {"datatype", "FP32"}, {"shape", {1, 3}}, {"data", {2.0, 4.0, 6.0}}}}));

  json nested = flat;
  nested["inputs"][0]["data"] = {{{2, 2, 2, 2}, {2, 2, 2, 2}}};
  nested["id"] = "a \"quoted\" id";
  nested["outputs"] = {{{"name", "scores"}}};
  nested["parameters"] = {{"priority", 1}};
  json second = f.json(f.post("/v2/models/toy/versions/1/infer", nested.dump()));
  CHECK(second["id"] == "a \"quoted\" id");
  CHECK(second["outputs"] == answer["outputs"]);

  json two = flat;
  two["inputs"][0]["shape"] = {2, 2, 4};
  two["inputs"][0]["data"] = {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1};
  json third = f.json(f.post("/v2/models/toy/infer", two.dump()));
  CHECK(third["outputs"][0]["shape"] == json{2, 3});
  CHECK(third["outputs"][0]["data"] == json{1.0, 2.0, 3.0, -1.0, -2.0, -3.0});
}

TEST_CASE("REST: a request that can't be answered says what is expected and what was given") {
  RestFixture f;
  auto refused = [&](const json& body, int status = 400) { return f.refusal(f.post("/v2/models/toy/infer", body.dump()), status); };
  json good = window(1), bad;

  CHECK_THAT(f.refusal(f.post("/v2/models/none/infer", good.dump()), 404), Contains("none"));
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/versions/9/infer", good.dump()), 404), Contains("9"));

  (bad = good)["inputs"][0]["shape"] = {1, 2, 5};
  CHECK_THAT(refused(bad), Contains("[1, 2, 5]") && Contains("[-1, 2, 4]"));
  (bad = good)["inputs"][0]["shape"] = {2, 4};
  CHECK_THAT(refused(bad), Contains("[2, 4]") && Contains("[-1, 2, 4]"));
  (bad = good)["inputs"][0]["shape"] = {-1, 2, 4};
  CHECK_THAT(refused(bad), Contains("not negative"));
  (bad = good)["inputs"][0]["shape"] = {1'000'000'000'000, 2, 4};
  CHECK_THAT(refused(bad), Contains("[-1, 2, 4]"));
  (bad = good)["inputs"][0]["shape"] = {0, 2, 4};
  bad["inputs"][0]["data"] = json::array();
  CHECK_THAT(refused(bad), Contains("windows"));
  (bad = good)["inputs"][0]["shape"] = "1,2,4";
  CHECK_THAT(refused(bad), Contains("shape"));
  (bad = good)["inputs"][0]["datatype"] = "INT64";
  CHECK_THAT(refused(bad), Contains("INT64") && Contains("FP32"));
  (bad = good)["inputs"][0]["name"] = "image";
  CHECK_THAT(refused(bad), Contains("image") && Contains("input"));
  (bad = good)["inputs"][0].erase("data");
  CHECK_THAT(refused(bad), Contains("data"));
  (bad = good)["inputs"][0]["data"].erase(0);
  CHECK_THAT(refused(bad), Contains("7 values") && Contains("8"));
  (bad = good)["inputs"][0]["data"].push_back(1);
  CHECK_THAT(refused(bad), Contains("more data") && Contains("8"));
  (bad = good)["inputs"][0]["data"][3] = "NaN";
  CHECK_THAT(refused(bad), Contains("element 3") && Contains("NaN"));
  (bad = good)["inputs"][0]["data"][3] = nullptr;
  CHECK_THAT(refused(bad), Contains("element 3"));
  (bad = good)["inputs"][0]["data"][3] = 1e39;
  CHECK_THAT(refused(bad), Contains("FP32"));
  (bad = good)["outputs"] = {{{"name", "logits"}}};
  CHECK_THAT(refused(bad), Contains("logits") && Contains("scores"));
  (bad = good)["id"] = 7;
  CHECK_THAT(refused(bad), Contains("id"));
  CHECK_THAT(refused(json::object()), Contains("inputs"));
  CHECK_THAT(refused(json::array()), Contains("object"));
  (bad = good)["inputs"].push_back(good["inputs"][0]);
  CHECK_THAT(refused(bad), Contains("one input"));

  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", R"({"inputs":[{"name":"input","shape":[1,2,4],"datatype":"FP32","data":[NaN]}]})"), 400),
             Contains("JSON"));
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", "{\"inputs\":"), 400), Contains("JSON"));
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", ""), 400), Contains("JSON"));
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", std::string(100'000, '[')), 400), Contains("JSON"));
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", "\xff\xfe{}"), 400), Contains("JSON"));
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", good.dump(), {{"Inference-Header-Content-Length", "10"}}), 400), Contains("JSON"));
  (bad = good)["inputs"][0]["datatype"] = "FP8";
  CHECK_THAT(refused(bad), Contains("FP8") && Contains("write one of") && Contains("BF16"));
  (bad = good)["inputs"][0]["shape"] = {1'000'000'000, 2, 4};
  CHECK_THAT(refused(bad), Contains("less data than its shape"));
  (bad = good)["inputs"][0]["parameters"] = {{"shared_memory_region", "r"}, {"shared_memory_byte_size", 32}};
  CHECK_THAT(refused(bad), Contains("shared memory") && Contains("raw bytes"));
  (bad = good)["parameters"] = {{"timeout", "soon"}};
  CHECK_THAT(refused(bad), Contains("timeout"));
  (bad = good)["parameters"] = {{"priority", -1}};
  CHECK_THAT(refused(bad), Contains("priority"));
  (bad = good)["outputs"] = {{{"name", "scores"}, {"parameters", {{"classification", "all"}}}}};
  CHECK_THAT(refused(bad), Contains("classification"));
  CHECK(f.post("/v2/models/toy/infer", good.dump()).status == 200);  // still there
}

TEST_CASE("REST: a wrong verb is 405, an unknown path 404") {
  RestFixture f;
  CHECK_THAT(f.refusal(f.get("/v2/models/toy/infer"), 405), Contains("POST"));
  CHECK_THAT(f.refusal(f.post("/v2/health/live", "{}"), 405), Contains("GET"));
  CHECK_THAT(f.refusal(f.ask("DELETE", "/v1/models/toy", ""), 405), Contains("GET"));
  CHECK_THAT(f.refusal(f.get("/v3"), 404), Contains("/v3"));
}
