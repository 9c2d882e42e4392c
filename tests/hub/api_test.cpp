#include "hub/api.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "hub/internal/model_files.h"
#include "learning/delta.h"
#include "storage/record_format.h"
#include "storage/sample_block.h"
#include "tests/support/fake_cloud.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::hub;
using nlohmann::json;
using storage::OutboxClass;
using skerry::test::SimClock;
using skerry::test::TempDir;

namespace {

struct Served {
  SimClock clock;
  TempDir dir;
  std::unique_ptr<Receiver> receiver;
  std::unique_ptr<Api> api;

  Served() {
    auto opened = Receiver::open({.path = dir / "hub", .name = "hub", .file_system = test::hasty_file_system()}, clock);
    REQUIRE(opened.ok());
    receiver = std::move(*opened);
    api = std::make_unique<Api>(*receiver, ApiOptions{dir / "models"}, clock);
  }
  http::Response request(const std::string& method, const std::string& path, std::map<std::string, std::string> query = {},
                         std::map<std::string, std::string> headers = {}, std::string body = "") {
    http::Request q;
    q.method = method;
    q.path = path;
    q.query = std::move(query);
    q.headers = std::move(headers);
    q.body = std::move(body);
    return api->handle(q);
  }
  json get(const std::string& path, std::map<std::string, std::string> query = {}) {
    auto response = request("GET", path, std::move(query));
    INFO(path << ": " << response.body);
    REQUIRE(response.status == 200);
    return json::parse(response.body);
  }
  void hello(uint64_t epoch = 7) {
    sync::Hello hello{.node = "pump-1", .epoch = epoch, .backlog_bytes = 9, .models = {"har/3 serving"}};
    auto response = request("POST", "/v1/sync/hello", {}, {}, sync::encode(hello));
    REQUIRE(response.status == 200);
    REQUIRE(sync::decode_hello_reply(response.body).ok());
  }
  void send(OutboxClass outbox_class, std::vector<storage::OutboxItem> entries) {
    auto response = request("POST", "/v1/sync/batch", {}, {}, sync::encode(sync::Batch{"pump-1", 7, outbox_class, std::move(entries)}));
    REQUIRE(response.status == 200);
    auto reply = sync::decode_batch_reply(response.body);
    REQUIRE(reply.ok());
    REQUIRE(reply->outcome == sync::BatchOutcome::applied);
  }
  void offer(const std::string& path, const std::string& content) {
    std::filesystem::create_directories((dir / "models" / path).parent_path());
    std::ofstream(dir / "models" / path, std::ios::binary) << content;
  }
};

storage::OutboxItem samples(uint64_t seq, size_t rows = 2) {
  Batch batch;
  batch.series = {"imu", {{"device", "a"}}};
  std::vector<double> v;
  std::vector<int64_t> n;
  std::vector<std::string> s;
  for (size_t i = 0; i < rows; ++i) {
    batch.times.push_back(static_cast<int64_t>(seq * 1'000'000 + i));
    v.push_back(0.5);
    n.push_back(static_cast<int64_t>(i));
    s.push_back("\xff text");
  }
  batch.columns = {{"v", v, {}}, {"n", n, std::vector<uint8_t>(rows, 0)}, {"s", s, {}}};
  batch.columns[1].present[0] = 1;
  return {seq, storage::EntryKind::samples, "imu{device=a}", storage::encode_block(batch), static_cast<uint32_t>(rows), 5};
}

}  // namespace

TEST_CASE("hub api: a node that delivered is listed with its watermark") {
  Served hub;
  CHECK(hub.get("/health")["status"] == "ok");
  CHECK(hub.get("/v1/nodes")["nodes"].empty());
  hub.hello();
  hub.send(OutboxClass::telemetry, {samples(1), samples(2)});
  const json node = hub.get("/v1/nodes")["nodes"][0];
  CHECK(node["node"] == "pump-1");
  CHECK(node["watermarks"]["telemetry"] == 2);
  CHECK(node["records"] == 4);
  CHECK(node["models"][0] == "har/3 serving");
  CHECK(node["last_seen_ns"] == hub.clock.now_ns());
  CHECK(hub.request("GET", "/metrics").body.find("skerry_hub_records_total 4\n") != std::string::npos);
}

TEST_CASE("hub api: entries come decoded") {
  Served hub;
  hub.hello();
  hub.send(OutboxClass::telemetry, {samples(1)});
  storage::Prediction p;
  p.id = storage::PredictionId{12};
  p.model = "har";
  p.version = 3;
  p.series = "imu{device=a}";
  p.window = {1, 2};
  p.scores = {0.25f, 0.75f};
  p.top = 1;
  hub.send(OutboxClass::telemetry, {{2, storage::EntryKind::prediction, "har/3", storage::encode(p), 1, 5}});
  storage::Label l;
  l.id = storage::LabelId{4};
  l.model = "har";
  l.value = 2;
  l.source = "operator";
  hub.send(OutboxClass::label, {{1, storage::EntryKind::label, "har", storage::encode(l), 1, 5}});

  const json page = hub.get("/v1/nodes/pump-1/entries");
  REQUIRE(page["entries"].size() == 2);
  CHECK(page["next"].is_null());
  const json& s = page["entries"][0];
  CHECK(s["epoch"] == 7);
  CHECK(s["seq"] == 1);
  CHECK(s["kind"] == "samples");
  CHECK(s["series"] == "imu{device=a}");
  CHECK(s["times"] == json::array({1'000'000, 1'000'001}));
  CHECK(s["columns"]["v"] == json::array({0.5, 0.5}));
  CHECK(s["columns"]["n"] == json::array({0, nullptr}));
  CHECK(page["entries"][1]["id"] == 12);
  CHECK(page["entries"][1]["scores"] == json::array({0.25, 0.75}));
  CHECK(hub.get("/v1/nodes/pump-1/entries", {{"class", "label"}})["entries"][0]["value"] == 2);
}

TEST_CASE("hub api: pages follow each other without a hole or a repetition") {
  Served hub;
  hub.hello();
  std::vector<storage::OutboxItem> entries;
  for (uint64_t seq = 1; seq <= 25; ++seq) entries.push_back(samples(seq));
  hub.send(OutboxClass::telemetry, entries);
  std::vector<uint64_t> seen;
  std::map<std::string, std::string> query{{"limit", "10"}};
  for (int pages = 0; pages < 5; ++pages) {
    const json page = hub.get("/v1/nodes/pump-1/entries", query);
    for (const json& e : page["entries"]) seen.push_back(e["seq"]);
    if (page["next"].is_null()) break;
    for (const auto& [key, value] : page["next"].items()) query[key] = std::to_string(value.get<uint64_t>());
  }
  REQUIRE(seen.size() == 25);
  for (uint64_t i = 0; i < 25; ++i) CHECK(seen[i] == i + 1);
}

TEST_CASE("hub api: a page is bounded in values, however large the entries are") {
  Served hub;
  hub.hello();
  for (uint64_t seq = 1; seq <= 6; ++seq) hub.send(OutboxClass::telemetry, {samples(seq, 30'000)});
  const json page = hub.get("/v1/nodes/pump-1/entries", {{"limit", "1000"}});
  CHECK(page["entries"].size() < 6);
  CHECK_FALSE(page["next"].is_null());
}

TEST_CASE("hub api: an entry that cannot be read says why") {
  Served hub;
  hub.hello();
  hub.send(OutboxClass::telemetry, {{1, storage::EntryKind::samples, "imu", "garbage", 1, 5}});
  const json entry = hub.get("/v1/nodes/pump-1/entries")["entries"][0];
  CHECK(entry["quarantined"] == true);
  CHECK(entry.contains("error"));
}

TEST_CASE("hub api: deltas are listed and fetched as they came") {
  Served hub;
  hub.hello();
  learning::Delta delta{.model = "har", .base_version = 1, .version = 2, .base_digest = std::string(64, 'a'), .tensors = {}};
  const std::string bytes = learning::encode_delta(delta);
  hub.send(OutboxClass::model, {{1, storage::EntryKind::model_event, "har/2", "candidate", 1, 5}, {2, storage::EntryKind::model_delta, "har/2", bytes, 1, 5}});
  const json list = hub.get("/v1/nodes/pump-1/deltas")["deltas"];
  REQUIRE(list.size() == 1);
  CHECK(list[0]["subject"] == "har/2");
  CHECK(list[0]["seq"] == 2);
  CHECK(list[0]["sha256"] == sha256_hex(bytes));
  CHECK(hub.request("GET", "/v1/nodes/pump-1/deltas/2").body == bytes);
  CHECK(hub.request("GET", "/v1/nodes/pump-1/deltas/1").status == 404);
  CHECK(hub.request("GET", "/v1/nodes/pump-1/deltas/x").status == 400);
}

TEST_CASE("hub api: bad requests are answered with a reason") {
  Served hub;
  hub.hello();
  CHECK(hub.request("POST", "/v1/sync/batch", {}, {}, "junk").status == 400);
  CHECK(hub.request("POST", "/v1/sync/hello", {}, {}, "").status == 400);
  CHECK(hub.request("GET", "/v1/sync/hello").status == 405);
  CHECK(hub.request("GET", "/nothing").status == 404);
  CHECK(hub.request("GET", "/v1/nodes/nobody/entries").status == 404);
  CHECK(hub.request("GET", "/v1/nodes/pump-1/entries", {{"class", "odd"}}).status == 400);
  for (const char* limit : {"0", "-1", "1001", "99999999999999999999", "1x"}) {
    CHECK(hub.request("GET", "/v1/nodes/pump-1/entries", {{"limit", limit}}).status == 400);
  }
  CHECK(hub.request("GET", "/v1/nodes/pump-1/entries", {{"after_seq", "4"}}).status == 400);
  CHECK(hub.request("GET", "/v1/nodes/pump-1/entries", {{"after_seq", "4"}, {"after_epoch", "99"}}).status == 404);
}

TEST_CASE("hub models: complete packages are listed by name and number") {
  Served hub;
  CHECK(hub.get("/v1/models")["models"].empty());
  for (const char* version : {"har/10", "har/9", "pump/1"}) {
    hub.offer(std::string(version) + "/manifest", "m");
    hub.offer(std::string(version) + "/model.pt", "12345");
  }
  hub.offer("har/11/model.pt", "half written");
  hub.offer("har/notes/manifest", "x");
  const json models = hub.get("/v1/models")["models"];
  REQUIRE(models.size() == 3);
  CHECK(models[0]["version"] == 9);
  CHECK(models[1]["version"] == 10);
  CHECK(models[2]["model"] == "pump");
  CHECK(models[0]["files"][1]["file"] == "model.pt");
  CHECK(models[0]["files"][1]["bytes"] == 5);
}

TEST_CASE("hub models: a download resumes where it broke") {
  Served hub;
  const std::string path = "/v1/models/har/versions/1/files/model.pt";
  std::string content;
  for (int i = 0; i < 1000; ++i) content += static_cast<char>('a' + i % 26);
  hub.offer("har/1/model.pt", content);
  auto whole = hub.request("GET", path);
  CHECK(whole.status == 200);
  CHECK(whole.body == content);
  std::string etag;
  for (const auto& [name, value] : whole.headers) {
    if (name == "ETag") etag = value;
  }
  auto first = hub.request("GET", path, {}, {{"range", "bytes=0-399"}});
  auto rest = hub.request("GET", path, {}, {{"range", "bytes=400-"}, {"if-range", etag}});
  CHECK(first.status == 206);
  CHECK(rest.status == 206);
  CHECK(first.body + rest.body == content);
  bool said = false;
  for (const auto& [name, value] : rest.headers) said = said || (name == "Content-Range" && value == "bytes 400-999/1000");
  CHECK(said);
  CHECK(hub.request("GET", path, {}, {{"range", "bytes=-10"}}).body == content.substr(990));
  CHECK(hub.request("GET", path, {}, {{"range", "bytes=1000-"}}).status == 416);
  // The file is another one now: the whole of it is the answer.
  auto changed = hub.request("GET", path, {}, {{"range", "bytes=400-"}, {"if-range", "\"old\""}});
  CHECK(changed.status == 200);
  CHECK(changed.body == content);
}

TEST_CASE("hub models: no path leads out of the folder") {
  Served hub;
  hub.offer("har/1/manifest", "m");
  std::ofstream(hub.dir / "secret") << "secret";
  std::filesystem::create_symlink(hub.dir / "secret", hub.dir / "models" / "har" / "1" / "link");
  std::filesystem::create_directory_symlink(hub.dir.path(), hub.dir / "models" / "up");
  std::filesystem::create_directories(hub.dir / "1");
  std::ofstream(hub.dir / "1" / "secret") << "secret";
  auto get = [&](const std::string& model, const std::string& version, const std::string& file) {
    http::Request request;
    request.path_parameters = {{"model", model}, {"version", version}, {"file", file}};
    return hub::internal::download(hub.dir / "models", request).status;
  };
  CHECK(get("har", "1", "manifest") == 200);
  for (const char* name : {"..", ".", "../../secret", "link", "", "a/b", ".hidden"}) CHECK(get("har", "1", name) == 404);
  for (const char* version : {"..", "", "1/..", "x"}) CHECK(get("har", version, "manifest") == 404);
  for (const char* model : {"..", ".", "har/..", "/etc", "up"}) CHECK(get(model, "1", "secret") == 404);
}

TEST_CASE("hub models: ranges follow RFC 9110") {
  using hub::internal::parse_range;
  auto range = [](const char* text, uint64_t size) {
    auto parsed = parse_range(text, size);
    REQUIRE(parsed.ok());
    return *parsed ? std::pair<uint64_t, uint64_t>{(*parsed)->from, (*parsed)->size} : std::pair<uint64_t, uint64_t>{UINT64_MAX, 0};
  };
  const std::pair<uint64_t, uint64_t> kWhole{UINT64_MAX, 0};
  CHECK(range("bytes=0-0", 10) == std::pair<uint64_t, uint64_t>{0, 1});
  CHECK(range("bytes=3-", 10) == std::pair<uint64_t, uint64_t>{3, 7});
  CHECK(range("bytes=3-99999", 10) == std::pair<uint64_t, uint64_t>{3, 7});
  CHECK(range("bytes=3-18446744073709551615", 10) == std::pair<uint64_t, uint64_t>{3, 7});
  CHECK(range("bytes=-99", 10) == std::pair<uint64_t, uint64_t>{0, 10});
  for (const char* text : {"", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes=18446744073709551616-"}) {
    CHECK(range(text, 10) == kWhole);
  }
  CHECK_FALSE(parse_range("bytes=10-", 10).ok());
  CHECK_FALSE(parse_range("bytes=-0", 10).ok());
  CHECK_FALSE(parse_range("bytes=0-", 0).ok());
}
