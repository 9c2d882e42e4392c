// The Open Inference Protocol as Triton's Python HTTP client speaks it (tritonclient.http: the same headers, bodies and order of bytes), and
// the extensions around inference.
#include <zlib.h>

#include <cstring>

#include "base/random.h"
#include "node/internal/content_coding.h"
#include "node/internal/infer_message.h"
#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

std::string raw_floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> floats_of(const std::string& raw) {
  std::vector<float> out(raw.size() / sizeof(float));
  std::memcpy(out.data(), raw.data(), out.size() * sizeof(float));
  return out;
}

std::string header_of(const http::Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

// What InferenceServerClient.infer() sends: InferInput.set_data_from_numpy with binary data, outputs as asked for.
class TritonClient {
 public:
  explicit TritonClient(RestFixture& fixture) : f_(fixture) {}

  struct Options {
    json outputs;                     // null: none given, so binary_data_output is set
    json parameters = json::object();
    std::string id, coding, accept, version;
  };
  http::Response infer(const std::vector<float>& values, int64_t rows, const Options& options) {
    json request = {{"id", options.id}, {"inputs", json::array()}};
    request["inputs"].push_back({{"name", "input"},
                                 {"shape", {rows, 2, 4}},
                                 {"datatype", "FP32"},
                                 {"parameters", {{"binary_data_size", values.size() * sizeof(float)}}}});
    request["parameters"] = options.parameters;
    if (options.outputs.is_null()) request["parameters"]["binary_data_output"] = true;
    else request["outputs"] = options.outputs;
    const std::string text = request.dump();
    std::string body = text + raw_floats(values);
    http::Headers headers = {{"Content-Type", "application/octet-stream"}, {"Inference-Header-Content-Length", std::to_string(text.size())}};
    if (!options.coding.empty()) {
      headers.emplace_back("Content-Encoding", options.coding);
      body = node::pack(body, options.coding == "gzip" ? node::Coding::gzip : node::Coding::deflate).value();
    }
    if (!options.accept.empty()) headers.emplace_back("Accept-Encoding", options.accept);
    const std::string version = options.version.empty() ? "" : "/versions/" + options.version;
    return f_.post("/v2/models/toy" + version + "/infer", body, headers);
  }

  // What InferResult does: unpack, cut at the header's length, cut the rest by binary_data_size in order.
  struct Result {
    json header;
    std::map<std::string, std::string> raw;
  };
  Result result(const http::Response& response) {
    INFO(response.body.substr(0, 400));
    REQUIRE(response.status == 200);
    std::string body = response.body;
    const std::string coding = header_of(response, "content-encoding");
    if (!coding.empty()) body = node::unpack(body, coding == "gzip" ? node::Coding::gzip : node::Coding::deflate, 1 << 20).value();
    const std::string length = header_of(response, "inference-header-content-length");
    Result out;
    if (length.empty()) {
      out.header = json::parse(body);
      return out;
    }
    size_t at = std::stoul(length);
    out.header = json::parse(body.substr(0, at));
    for (const json& output : out.header["outputs"]) {
      if (!output.contains("parameters")) continue;
      const size_t size = output["parameters"]["binary_data_size"];
      REQUIRE(at + size <= body.size());
      out.raw[output["name"]] = body.substr(at, size);
      at += size;
    }
    CHECK(at == body.size());
    return out;
  }

 private:
  RestFixture& f_;
};

// Elements of a BYTES tensor: a uint32 of the length before each.
std::vector<std::string> texts_of(const std::string& raw) {
  std::vector<std::string> out;
  for (size_t at = 0; at < raw.size();) {
    uint32_t length = 0;
    REQUIRE(at + 4 <= raw.size());
    std::memcpy(&length, raw.data() + at, 4);
    REQUIRE(at + 4 + length <= raw.size());
    out.push_back(raw.substr(at + 4, length));
    at += 4 + length;
  }
  return out;
}

const std::vector<float> kOnes(8, 1.0f);

}  // namespace

TEST_CASE("REST: Triton's client is answered in raw bytes, in JSON, or in both, as each output is asked for") {
  RestFixture f;
  TritonClient client(f);
  auto binary = client.infer(kOnes, 1, {.id = "7"});
  CHECK(binary.content_type == "application/octet-stream");
  auto result = client.result(binary);
  CHECK(result.header["id"] == "7");
  CHECK(result.header["model_name"] == "toy");
  CHECK(result.header["outputs"][0]["shape"] == json{1, 3});
  CHECK_FALSE(result.header["outputs"][0].contains("data"));
  CHECK(floats_of(result.raw.at("scores")) == std::vector<float>{1, 2, 3});

  result = client.result(client.infer(kOnes, 1, {.outputs = {{{"name", "scores"}, {"parameters", {{"binary_data", true}}}}}, .version = "1"}));
  CHECK(floats_of(result.raw.at("scores")) == std::vector<float>{1, 2, 3});

  auto text = client.infer(kOnes, 1, {.outputs = {{{"name", "scores"}, {"parameters", {{"binary_data", false}}}}},
                                      .parameters = {{"priority", 1}, {"timeout", 1'000'000}, {"sequence_id", 5}}});
  CHECK(header_of(text, "inference-header-content-length").empty());
  CHECK(client.result(text).header["outputs"][0]["data"] == json{1.0, 2.0, 3.0});
}

TEST_CASE("REST: Triton's client gets the best classes by score, index and label") {
  RestFixture f;
  TritonClient client(f);
  json outputs = {{{"name", "scores"}, {"parameters", {{"classification", 2}, {"binary_data", true}}}}};
  std::vector<float> two(16, 1.0f);
  for (size_t i = 8; i < 16; ++i) two[i] = -1;
  auto result = client.result(client.infer(two, 2, {.outputs = outputs}));
  CHECK(result.header["outputs"][0]["datatype"] == "BYTES");
  CHECK(result.header["outputs"][0]["shape"] == json{2, 2});
  CHECK(texts_of(result.raw.at("scores")) == std::vector<std::string>{"3:2:high", "2:1:middle", "-1:0:low", "-2:1:middle"});
  outputs[0]["parameters"] = {{"classification", 99}, {"binary_data", false}};
  result = client.result(client.infer(kOnes, 1, {.outputs = outputs}));
  CHECK(result.header["outputs"][0]["data"] == json{"3:2:high", "2:1:middle", "1:0:low"});
}

TEST_CASE("REST: Triton's client may pack its request, and asks for packed answers") {
  RestFixture f;
  TritonClient client(f);
  for (const char* coding : {"gzip", "deflate"}) {
    CHECK(floats_of(client.result(client.infer(kOnes, 1, {.coding = coding})).raw.at("scores")) == std::vector<float>{1, 2, 3});
    std::vector<float> many(256 * 8, 1.0f);
    auto response = client.infer(many, 256, {.outputs = {{{"name", "scores"}, {"parameters", {{"binary_data", true}}}}}, .accept = coding});
    CHECK(header_of(response, "content-encoding") == coding);
    CHECK(response.body.size() < 1000);
    CHECK(floats_of(client.result(response).raw.at("scores")).size() == 256 * 3);
  }
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", "x", {{"Content-Encoding", "br"}}), 415), Contains("br"));
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", "x", {{"Content-Encoding", "gzip"}}), 400), Contains("gzip"));
  const std::string bomb = node::pack(std::string(20 << 20, ' '), node::Coding::gzip).value();
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", bomb, {{"Content-Encoding", "gzip"}}), 413), Contains("http.body_max"));
}

TEST_CASE("REST: a body that is nothing but the tensor is answered in raw bytes") {
  RestFixture f;
  TritonClient client(f);
  const http::Headers raw = {{"Content-Type", "application/octet-stream"}, {"Inference-Header-Content-Length", "0"}};
  CHECK(floats_of(client.result(f.post("/v2/models/toy/infer", raw_floats(kOnes), raw)).raw.at("scores")) == std::vector<float>{1, 2, 3});
  CHECK_THAT(f.refusal(f.post("/v2/models/toy/infer", "123", raw), 400), Contains("3 raw bytes") && Contains("32"));
}

TEST_CASE("REST: a request that lies about its raw bytes is refused, and the next one on the connection is answered") {
  RestFixture f;
  auto send = [&](const json& parameters, const std::string& raw, const std::string& length = "", json shape = {1, 2, 4}) {
    const json request = {{"inputs", {{{"name", "input"}, {"shape", shape}, {"datatype", "FP32"}, {"parameters", parameters}}}}};
    const std::string text = request.dump();
    auto response = f.post("/v2/models/toy/infer", text + raw,
                           {{"Inference-Header-Content-Length", length.empty() ? std::to_string(text.size()) : length}});
    std::string error = f.refusal(response, 400);
    CHECK(TritonClient(f).infer(kOnes, 1, {}).status == 200);
    return error;
  };
  const std::string good = raw_floats(kOnes);
  CHECK_THAT(send({{"binary_data_size", 31}}, good), Contains("31 raw bytes") && Contains("32"));
  CHECK_THAT(send({{"binary_data_size", 32}}, good.substr(1)), Contains("32") && Contains("31 are there"));
  CHECK_THAT(send({{"binary_data_size", 32}}, good + "x"), Contains("1 raw bytes are left over"));
  CHECK_THAT(send({{"binary_data_size", 18446744073709551615ull}}, good), Contains("raw bytes"));
  CHECK_THAT(send({{"binary_data_size", -1}}, good), Contains("binary_data_size"));
  CHECK_THAT(send({{"binary_data_size", "32"}}, good), Contains("binary_data_size"));
  CHECK_THAT(send({{"binary_data_size", 32}}, ""), Contains("no raw bytes"));
  CHECK_THAT(send({{"binary_data_size", 32}}, good, "100000"), Contains("Inference-Header-Content-Length"));
  CHECK_THAT(send({{"binary_data_size", 32}}, good, "-1"), Contains("Inference-Header-Content-Length"));
  CHECK_THAT(send({{"binary_data_size", 32}}, good, "12"), Contains("JSON"));
  CHECK_THAT(send({{"binary_data_size", 32ull << 30}}, good, "", {1 << 30, 2, 4}), Contains("raw bytes"));
  for (float bad : {NAN, INFINITY}) {
    std::vector<float> values = kOnes;
    values[3] = bad;
    CHECK_THAT(send({{"binary_data_size", 32}}, raw_floats(values)), Contains("NaN or infinity at element 3"));
  }
}

TEST_CASE("REST: statistics count requests, rows and runs by version, as Triton's do") {
  RestFixture f;
  TritonClient client(f);
  client.infer(kOnes, 1, {});
  client.infer(std::vector<float>(16, 1.0f), 2, {});
  f.refusal(client.infer({1, 2}, 1, {}), 400);  // never reaches the model's queue
  std::vector<float> bad = kOnes;
  bad[0] = NAN;
  f.refusal(client.infer(bad, 1, {}), 400);
  for (const char* path : {"/v2/models/stats", "/v2/models/toy/stats", "/v2/models/toy/versions/1/stats"}) {
    const json all = f.get_json(path);
    REQUIRE(all["model_stats"].size() == 1);
    const json& s = all["model_stats"][0];
    CHECK(s["name"] == "toy");
    CHECK(s["version"] == "1");
    CHECK(s["inference_count"] == 3);
    CHECK(s["execution_count"] == 2);
    CHECK(s["last_inference"] == f.clock().now_ns() / 1'000'000);
    CHECK(s["inference_stats"]["success"]["count"] == 2);
    CHECK(s["inference_stats"]["fail"]["count"] == 1);
    CHECK(s["inference_stats"]["compute_infer"]["count"] == 2);
    CHECK(s["batch_stats"].size() == 2);
  }
  CHECK_THAT(f.refusal(f.get("/v2/models/none/stats"), 404), Contains("none"));
  const std::string metrics = f.get("/metrics").body;
  CHECK_THAT(metrics, Contains("nv_inference_request_success{model=\"toy\",version=\"1\"} 2"));
  CHECK_THAT(metrics, Contains("nv_inference_request_failure{model=\"toy\",version=\"1\",reason=\"OTHER\"} 1"));
  CHECK_THAT(metrics, Contains("nv_inference_count{model=\"toy\",version=\"1\"} 3"));
  CHECK_THAT(metrics, Contains("nv_inference_pending_request_count{model=\"toy\",version=\"1\"} 0"));
}

TEST_CASE("REST: a model's configuration says what Triton's clients read from it") {
  RestFixture f;
  const json config = f.get_json("/v2/models/toy/config");
  CHECK(config["name"] == "toy");
  CHECK(config["max_batch_size"] == 256);
  CHECK(config["input"] == json::array({{{"name", "input"}, {"data_type", "TYPE_FP32"}, {"dims", {2, 4}}}}));
  CHECK(config["output"] == json::array({{{"name", "scores"}, {"data_type", "TYPE_FP32"}, {"dims", {3}}}}));
  CHECK(config["version_policy"] == json{{"specific", {{"versions", json::array({1})}}}});
  CHECK(config["instance_group"][0]["kind"] == "KIND_CPU");
  CHECK(config["dynamic_batching"]["default_queue_policy"]["max_queue_size"] == 256);
  CHECK(f.get_json("/v2/models/toy/versions/1/config") == config);
  f.refusal(f.get("/v2/models/none/config"), 404);
  const json server = f.get_json("/v2");
  for (const char* extension : {"binary_tensor_data", "classification", "model_repository", "model_configuration", "statistics"}) {
    CHECK(std::find(server["extensions"].begin(), server["extensions"].end(), extension) != server["extensions"].end());
  }
}

TEST_CASE("REST: a model is unloaded and loaded again over the repository, and a new package is found") {
  RestFixture f;
  TritonClient client(f);
  const json ready = json::array({{{"name", "toy"}, {"version", "1"}, {"state", "READY"}, {"reason", ""}}});
  CHECK(f.json(f.post("/v2/repository/index", "")) == ready);
  CHECK(f.json(f.post("/v2/repository/models/index", R"({"ready":true})")) == ready);
  CHECK(f.post("/v2/repository/models/toy/unload", R"({"parameters":{"unload_dependents":false}})").status == 200);
  CHECK(f.get("/v2/models/toy/ready").status == 400);
  f.refusal(client.infer(kOnes, 1, {}), 404);
  CHECK(f.json(f.post("/v2/repository/index", R"({"ready":true})")) == json::array());
  CHECK(f.json(f.post("/v2/repository/index", "{}"))[0]["state"] == "UNAVAILABLE");

  toy_package(f.dir() / "models", 2);
  CHECK(f.post("/v2/repository/models/toy/load", "{}").status == 200);
  CHECK(client.result(client.infer(kOnes, 1, {})).header["model_version"] == "1");  // the new one waits for its promotion
  CHECK(f.json(f.post("/v2/repository/index", "")).size() == 2);

  f.refusal(f.post("/v2/repository/models/none/load", ""), 404);
  f.refusal(f.post("/v2/repository/models/..%2Ftoy/load", ""), 404);
  f.refusal(f.post("/v2/repository/models/none/unload", ""), 404);
  f.refusal(f.post("/v2/repository/elsewhere/index", ""), 404);
  f.refusal(f.post("/v2/repository/models/toy/load", R"({"parameters":{"config":"{}"}})"), 501);
  f.refusal(f.post("/v2/repository/index", R"({"ready":1})"), 400);
}

TEST_CASE("infer message: every datatype is read from JSON and from raw bytes, within its range") {
  using inference::DataType;
  inference::PackageInfo info;
  info.name = "toy";
  struct Case {
    DataType type;
    const char* good;
    const char* bad;
  };
  const Case cases[] = {{DataType::boolean, "[true,false]", "[1,0]"},
                        {DataType::uint8, "[0,255]", "[0,256]"},
                        {DataType::uint16, "[0,65535]", "[-1,0]"},
                        {DataType::uint32, "[0,4294967295]", "[0,4294967296]"},
                        {DataType::uint64, "[0,18446744073709551615]", "[0,-1]"},
                        {DataType::int8, "[-128,127]", "[-129,0]"},
                        {DataType::int16, "[-32768,32767]", "[0,32768]"},
                        {DataType::int32, "[-2147483648,2147483647]", "[0.5,0]"},
                        {DataType::int64, "[-9223372036854775808,1]", "[9223372036854775808,1]"},
                        {DataType::fp32, "[1.5,-2]", "[1e39,0]"},
                        {DataType::fp64, "[1e300,-2]", "[\"1\",0]"},
                        {DataType::bytes, "[\"a\",\"\"]", "[1,2]"}};
  for (const Case& c : cases) {
    const std::vector<inference::TensorSpec> inputs = {{"x", c.type, {-1}}}, outputs = {{"y", DataType::fp32, {-1}}};
    const node::ModelSpecs specs{info, inputs, outputs};
    auto text = [&](const std::string& data) {
      return fmt::format(R"({{"inputs":[{{"name":"x","shape":[2],"datatype":"{}",{}}}]}})", inference::to_string(c.type), data);
    };
    INFO(inference::to_string(c.type));
    auto read = node::parse_infer(text(std::string("\"data\":") + c.good), {}, specs);
    REQUIRE(read.ok());
    CHECK(inference::check_raw(read->inputs[0]).ok());
    const std::string raw(reinterpret_cast<const char*>(read->inputs[0].data.data()), read->inputs[0].data.size());
    auto again = node::parse_infer(text(fmt::format("\"parameters\":{{\"binary_data_size\":{}}}", raw.size())), node::RawTensors::in_a_row(raw), specs);
    REQUIRE(again.ok());
    CHECK(again->inputs[0].data == read->inputs[0].data);
    auto frames = node::parse_infer(text("\"parameters\":{}"), node::RawTensors::in_frames({raw}), specs);
    REQUIRE(frames.ok());
    CHECK(frames->inputs[0].data == read->inputs[0].data);
    auto refused = node::parse_infer(text(std::string("\"data\":") + c.bad), {}, specs);
    REQUIRE_FALSE(refused.ok());
    CHECK_THAT(refused.error().message, Contains("element"));
    // As an output it is written so that it reads back.
    auto written = node::write_infer({"toy", 1, {inference::Tensor{"y", c.type, {2}, read->inputs[0].data}}}, {}, info);
    CHECK(json::parse(written.json)["outputs"][0]["data"] == json::parse(c.good));
  }
  for (DataType half : {DataType::fp16, DataType::bf16}) {
    const std::vector<inference::TensorSpec> inputs = {{"x", half, {-1}}}, outputs = {{"y", half, {-1}}};
    const std::string text = fmt::format(R"({{"inputs":[{{"name":"x","shape":[2],"datatype":"{}","data":[1,2]}}]}})", inference::to_string(half));
    auto refused = node::parse_infer(text, {}, {info, inputs, outputs});
    REQUIRE_FALSE(refused.ok());
    CHECK_THAT(refused.error().message, Contains("raw bytes"));
  }
}

TEST_CASE("content coding: what was packed comes back, and the header's wishes are weighed") {
  Random random(Catch::rngSeed());
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += static_cast<char>('a' + random.below(4));
  for (node::Coding coding : {node::Coding::identity, node::Coding::gzip, node::Coding::deflate}) {
    CHECK(node::unpack(node::pack(text, coding).value(), coding, text.size()).value() == text);
  }
  const std::string packed = node::pack(text, node::Coding::deflate).value();
  CHECK(node::unpack(packed.substr(2, packed.size() - 6), node::Coding::deflate, text.size()).value() == text);  // bare, as some send it
  CHECK(node::unpack(packed, node::Coding::deflate, text.size() - 1).error().code == Code::exhausted);
  CHECK_FALSE(node::unpack(packed.substr(0, packed.size() - 5), node::Coding::deflate, text.size()).ok());
  CHECK_FALSE(node::unpack(packed + "x", node::Coding::deflate, text.size()).ok());
  CHECK(node::accepted_coding("") == node::Coding::identity);
  CHECK(node::accepted_coding("br, GZIP;q=0.5, deflate;q=0.7") == node::Coding::deflate);
  CHECK(node::accepted_coding("gzip;q=0") == node::Coding::identity);
  CHECK(node::accepted_coding("gzip, deflate, br") == node::Coding::gzip);
}
