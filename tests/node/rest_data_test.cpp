// Writing, querying and labelling over REST.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

constexpr int64_t kStart = 1'764'000'000'000'000'000;  // SimClock's first time

// Asks, reads the first bytes and no more.
class DeafClient {
 public:
  DeafClient(uint16_t port, const std::string& target) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const int small = 4096;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const std::string request = "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n";
    REQUIRE(::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()));
  }
  DeafClient(const DeafClient&) = delete;
  ~DeafClient() { ::close(fd_); }
  std::string first_bytes() {
    char buffer[600];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : "";
  }

 private:
  int fd_;
};

std::string encoded(const std::string& text) { return http::percent_encode(text); }

}  // namespace

TEST_CASE("REST: both write endpoints take line protocol and answer 204") {
  RestFixture f;
  CHECK(f.post("/write?db=site&precision=s", "room t=20.5 1764000000\n").status == 204);
  CHECK(f.post("/api/v2/write?org=o&bucket=b&precision=ms", "room t=21 1764000001000\n").status == 204);
  CHECK(f.post("/api/v2/write", "room t=21.5\n").status == 204);  // now
  CHECK(f.post("/write", "").status == 204);
  json answer = f.get_json("/v1/query?series=room");
  CHECK(answer["rows"] == json::array({{"2025-11-24T16:00:00Z", 21.5}, {"2025-11-24T16:00:01Z", 21.0}}));  // the clock stands at the first time
  CHECK(f.node().status().records == 3);
}

TEST_CASE("REST: a body with one bad line is refused whole, with the line and the remedy") {
  RestFixture f;
  struct Bad {
    std::string body, says;
  };
  for (const Bad& bad : std::vector<Bad>{{"room t=1 1764000000000000000\nroom t=NaN 1764000000000000001\n", "line 2, column 8"},
                                         {"room t=1 1764000000000000000\nroom t=1 1764000000\n", "1970"},
                                         {"room t=1 1764000000000000000\nroom t=1 7258118400000000000\n", "2200"},
                                         {"room t=1 1764000000000000000\nroom t=1i 1764000000000000001\n", "line 1"},
                                         {"room t=1 1764000000000000000\n{\"json\":1}\n", "line 2"}}) {
    CHECK_THAT(f.refusal(f.post("/write", bad.body), 400), Contains(bad.says));
    json v2 = f.json(f.post("/api/v2/write", bad.body));
    CHECK(v2["code"] == "invalid");
    CHECK_THAT(v2["message"].get<std::string>(), Contains(bad.says));
  }
  CHECK(f.get_json("/v1/streams")["streams"].empty());
  CHECK_THAT(f.refusal(f.post("/write?precision=fortnight", "room t=1\n"), 400), Contains("precision"));
  CHECK_THAT(f.refusal(f.post("/write", "\x1f\x8b", {{"Content-Encoding", "br"}}), 415), Contains("gzip") && Contains("identity"));
}

TEST_CASE("REST: a field that changes its type against what is stored is refused, naming the field") {
  RestFixture f;
  REQUIRE(f.post("/write", "room t=1\n").status == 204);
  CHECK_THAT(f.refusal(f.post("/write", "room t=\"warm\"\n"), 400), Contains("t"));
  CHECK(f.get_json("/v1/query?series=room")["rows"].size() == 1);
}

TEST_CASE("REST: query gives JSON and CSV, the oldest first, and says when there is more") {
  RestFixture f;
  REQUIRE(f.post("/write", "room,site=a\\ b t=1.5,on=true,n=3i,text=\"x,\\\"y\\\"\" 1764000000000000000\n"
                           "room,site=a\\ b t=2.5 1764000001000000000\n"
                           "room,site=a\\ b t=3.5 1764000002500000000\n").status == 204);
  const std::string base = "/v1/query?series=" + encoded("room{site=a b}");
  json all = f.get_json(base);
  CHECK(all["series"] == "room{site=a b}");
  CHECK(all["truncated"] == false);
  REQUIRE(all["rows"].size() == 3);
  json fields = all["fields"];
  CHECK(fields.size() == 4);

  json two = f.get_json(base + "&fields=t,n&limit=2");
  CHECK(two["truncated"] == true);
  CHECK(two["fields"].size() == 2);
  REQUIRE(two["rows"].size() == 2);
  size_t t = two["fields"][0] == "t" ? 1 : 2, n = 3 - t;
  CHECK(two["rows"][0][t] == 1.5);
  CHECK(two["rows"][0][n] == 3);
  CHECK(two["rows"][1][n].is_null());

  CHECK(f.get_json(base + "&from=2025-11-24T16:00:01Z&to=1764000002500000000")["rows"].size() == 1);

  auto csv = f.get(base + "&format=csv&fields=t");
  CHECK_THAT(csv.content_type, Contains("text/csv"));
  CHECK(csv.body == "time,t\n2025-11-24T16:00:00Z,1.5\n2025-11-24T16:00:01Z,2.5\n2025-11-24T16:00:02.5Z,3.5\n");
  CHECK_THAT(f.get(base + "&format=csv&fields=text&limit=1").body, Contains("\"x,\"\"y\"\"\""));

  json streams = f.get_json("/v1/streams")["streams"];
  REQUIRE(streams.size() == 1);
  CHECK(streams[0]["series"] == "room{site=a b}");
  CHECK(streams[0]["records"] == 3);
  CHECK(streams[0]["last"] == "2025-11-24T16:00:02.5Z");
}

TEST_CASE("REST: a query that makes no sense is refused with the parameter's name") {
  RestFixture f;
  REQUIRE(f.post("/write", "room t=1\n").status == 204);
  CHECK_THAT(f.refusal(f.get("/v1/query"), 400), Contains("series"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=" + encoded("room{")), 400), Contains("series"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=cellar"), 404), Contains("cellar"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=room&limit=0"), 400), Contains("limit"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=room&limit=1e9"), 400), Contains("limit"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=room&from=yesterday"), 400), Contains("from"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=room&from=2025-01-02T00:00:00Z&to=2025-01-01T00:00:00Z"), 400), Contains("from"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=room&format=xml"), 400), Contains("xml"));
  CHECK_THAT(f.refusal(f.get("/v1/query?series=room&fields=nope"), 404), Contains("nope"));
}

TEST_CASE("REST: windows are answered, listed and labelled, by prediction and by stretch") {
  RestFixture f;
  REQUIRE(f.post("/write", imu_lines(kStart, 12, 1.0)).status == 204);
  f.clock().advance(std::chrono::seconds(1));
  f.answer_windows();
  json list = f.get_json("/v1/predictions?model=toy")["predictions"];
  REQUIRE(list.size() == 5);  // 12 records, windows of 4 every 2
  json newest = list[0];
  CHECK(newest["answer"] == "high");
  CHECK(newest["label"].is_null());
  CHECK(newest["series"] == "imu{device=a}");
  CHECK(newest["records"] == 4);
  CHECK(newest["scores"].size() == 3);
  CHECK(f.get_json("/v1/predictions/" + newest["id"].dump()) == newest);
  CHECK(f.get_json("/v1/predictions?series=" + encoded("imu{device=a}") + "&limit=2")["predictions"].size() == 2);
  CHECK(f.get_json("/v1/predictions?model=other")["predictions"].empty());
  CHECK_THAT(f.refusal(f.get("/v1/predictions/999999"), 404), Contains("999999"));
  CHECK_THAT(f.refusal(f.get("/v1/predictions/x"), 404), Contains("x"));

  auto labelled = f.post("/v1/labels", json{{"prediction", newest["id"]}, {"label", "high"}, {"source", "test"}}.dump());
  INFO(labelled.body);
  REQUIRE(labelled.status == 200);
  CHECK(f.json(labelled)["predictions"] == 1);
  CHECK(f.json(labelled)["correct"] == 1);
  CHECK(f.get_json("/v1/predictions/" + newest["id"].dump())["label"] == "high");

  json stretch = {{"model", "toy"}, {"series", "imu{device=a}"}, {"from", list[4]["from"]}, {"to", list[3]["to"]}, {"label", "low"}};
  json outcome = f.json(f.post("/v1/labels", stretch.dump()));
  CHECK(outcome["predictions"] == 2);
  CHECK(outcome["correct"] == 0);

  json many = {{"labels", {{{"prediction", list[1]["id"]}, {"label", "high"}}, {{"prediction", list[2]["id"]}, {"label", 2}}}}};
  CHECK(f.json(f.post("/v1/labels", many.dump()))["predictions"] == 2);

  json model = f.get_json("/v1/models/toy");
  CHECK(model["versions"][0]["live"]["labelled"] == 5);
  CHECK(model["versions"][0]["live"]["accuracy"].get<double>() == Approx(0.6));
  CHECK(f.get_json("/v1/status")["labels"] == 5);
}

TEST_CASE("REST: a label can be taken back, and the node says what to label next") {
  RestFixture f;
  REQUIRE(f.post("/write", imu_lines(kStart, 10, 1.0)).status == 204);
  f.answer_windows();
  json next = f.get_json("/v1/labels/next?model=toy&limit=2")["next"];
  REQUIRE(next.size() == 2);
  const json first = next[0];
  CHECK(first["model"] == "toy");
  CHECK(first["answer"] == "high");
  CHECK(first["or"].is_string());
  CHECK(first["margin"].get<double>() >= 0);
  CHECK(next[1]["from"] >= first["to"]);  // none overlaps another

  REQUIRE(f.post("/v1/labels", json{{"prediction", first["prediction"]}, {"label", "low"}}.dump()).status == 200);
  const json rest = f.get_json("/v1/labels/next");
  for (const json& other : rest["next"]) CHECK(other["prediction"] != first["prediction"]);
  json taken_back = f.json(f.post("/v1/labels/withdraw", json{{"prediction", first["prediction"]}, {"source", "test"}}.dump()));
  CHECK(taken_back["predictions"] == 1);
  CHECK(taken_back["versions"].empty());
  CHECK(f.get_json("/v1/predictions/" + first["prediction"].dump())["label"].is_null());
  CHECK(f.json(f.post("/v1/labels/withdraw", json{{"prediction", first["prediction"]}}.dump()))["predictions"] == 0);
  CHECK(taken_back["overruled"] == 0);
  CHECK(f.get_json("/v1/models/toy")["versions"][0]["live"]["labelled"] == 0);

  auto refused = [&](const std::string& body, int status = 400) { return f.refusal(f.post("/v1/labels/withdraw", body), status); };
  CHECK_THAT(refused(R"({"prediction":1,"label":"low"})"), Contains("label"));
  CHECK_THAT(refused(R"({"prediction":99999})", 404), Contains("99999"));
  CHECK_THAT(refused("{}"), Contains("about nothing"));
  CHECK_THAT(refused("[]"), Contains("object"));
  CHECK_THAT(f.refusal(f.get("/v1/labels/next?limit=1000"), 400), Contains("limit"));
  CHECK_THAT(f.refusal(f.get("/v1/labels/next?model=none"), 404), Contains("none"));
}

TEST_CASE("REST: a label that is about nothing, or says nothing, is refused") {
  RestFixture f;
  REQUIRE(f.post("/write", imu_lines(kStart, 4, 1.0)).status == 204);
  f.answer_windows();
  json id = f.get_json("/v1/predictions")["predictions"].at(0)["id"];
  auto refused = [&](const std::string& body, int status = 400) { return f.refusal(f.post("/v1/labels", body), status); };
  CHECK_THAT(refused(json{{"prediction", id}, {"label", "warm"}}.dump()), Contains("warm") && Contains("low") && Contains("high"));
  CHECK_THAT(refused(json{{"prediction", 999}, {"label", "low"}}.dump(), 404), Contains("999"));
  CHECK_THAT(refused(json{{"prediction", -1}, {"label", "low"}}.dump()), Contains("prediction"));
  CHECK_THAT(refused(json{{"prediction", id}}.dump()), Contains("label"));
  CHECK_THAT(refused(R"({"label":"low"})"), Contains("about nothing"));
  CHECK_THAT(refused(R"({"label":"low","series":"imu{device=a}","from":"2025-11-24T16:00:00Z"})"), Contains("to"));
  CHECK_THAT(refused(R"({"label":"low","series":"imu{device=a}","from":"noon","to":"night"})"), Contains("noon"));
  CHECK_THAT(refused(R"({"label":"low","series":"imu{device=a}","from":2,"to":1})"), Contains("earlier"));
  CHECK_THAT(refused(json{{"prediction", id}, {"label", "low"}, {"series", "imu"}}.dump()), Contains("leave"));
  CHECK_THAT(refused(json{{"prediction", id}, {"label", "low"}, {"colour", "red"}}.dump()), Contains("colour"));
  CHECK_THAT(refused(R"({"label":"low","model":"toy","series":"imu{device=b}","from":"2025-11-24T16:00:00Z","to":"2025-11-24T17:00:00Z"})", 404), Contains("imu"));
  CHECK_THAT(refused(R"({"labels":7})"), Contains("labels"));
  CHECK_THAT(refused(R"({"labels":[{"prediction":1}]})"), Contains("label 0"));
  CHECK_THAT(refused("[]"), Contains("object"));
  CHECK_THAT(refused("not json"), Contains("JSON"));
  CHECK_THAT(refused("{\"a\":" + std::string(5000, '[')), Contains("JSON"));
  CHECK_THAT(refused("{\"label\":\"" + std::string(2 << 20, 'x') + "\"}"), Contains("bytes"));
  CHECK(f.get_json("/v1/status")["labels"] == 0);
}

TEST_CASE("REST: aggregates over buckets, with columns named after function and field") {
  RestFixture f;
  std::string lines;
  for (int i = 0; i < 120; ++i) lines += fmt::format("room t={},on={} {}\n", i, i % 2 ? "t" : "f", 1764000000 + i);
  REQUIRE(f.post("/write?precision=s", lines).status == 204);
  json answer = f.get_json("/v1/query?series=room&fields=t&bucket=1m&aggregate=count,mean,p50,stddev");
  CHECK(answer["fields"] == json::array({"count_t", "mean_t", "p50_t", "stddev_t"}));
  CHECK(answer["types"] == json::array({"int64", "float64", "float64", "float64"}));
  CHECK(answer["truncated"] == false);
  REQUIRE(answer["rows"].size() == 2);
  CHECK(answer["rows"][0][0] == "2025-11-24T16:00:00Z");
  CHECK(answer["rows"][0][1] == 60);
  CHECK(answer["rows"][1][2] == 89.5);
  CHECK(answer["rows"][1][3] == 89.5);
  CHECK(answer["rows"][1][4].get<double>() == Approx(std::sqrt(60 * 61 / 12.0)));
  CHECK(f.get("/v1/query?series=room&fields=on&aggregate=max,sum&format=csv").body == "time,max_on,sum_on\n2025-11-24T16:00:00Z,true,60\n");
  CHECK(f.get("/v1/query?series=room&fields=t&bucket=1m&aggregate=max&format=lines&limit=1").body == "room max_t=59 1764000000000000000\n");
}

TEST_CASE("REST: a query by name and tags gives each series with its name and tags") {
  RestFixture f;
  REQUIRE(f.post("/write?precision=s", "imu,device=a,site=n x=1 1764000000\nimu,device=b,site=n x=2,y=3 1764000001\n"
                                       "imu,device=c,site=s x=4 1764000002\nroom x=5 1764000003\n").status == 204);
  json north = f.get_json("/v1/query?name=imu&tag.site=n");
  CHECK(north["name"] == "imu");
  CHECK(north["truncated"] == false);
  REQUIRE(north["results"].size() == 2);
  CHECK(north["results"][0]["series"] == "imu{device=a,site=n}");
  CHECK(north["results"][1]["tags"] == json{{"device", "b"}, {"site", "n"}});
  CHECK(north["results"][1]["rows"] == json::array({{"2025-11-24T16:00:01Z", 2.0, 3.0}}));
  CHECK(f.get("/v1/query?name=imu&format=csv").body ==
        "series,time,x,y\n\"imu{device=a,site=n}\",2025-11-24T16:00:00Z,1,\n"
        "\"imu{device=b,site=n}\",2025-11-24T16:00:01Z,2,3\n\"imu{device=c,site=s}\",2025-11-24T16:00:02Z,4,\n");
  CHECK(f.get("/v1/query?name=imu&tag.device=b&format=lines").body == "imu,device=b,site=n x=2,y=3 1764000001000000000\n");
  json two = f.get_json("/v1/query?name=imu&limit=2");
  CHECK(two["truncated"] == true);
  CHECK(f.get_json("/v1/query?name=imu&limit=3")["truncated"] == false);
  CHECK(f.get_json("/v1/query?name=imu&fields=y")["results"].size() == 1);
}

TEST_CASE("REST: last=true gives the newest record of each series") {
  RestFixture f;
  REQUIRE(f.post("/write?precision=s", "imu,device=a x=2 1764000005\nimu,device=b x=3 1764000001\n").status == 204);
  REQUIRE(f.post("/write?precision=s", "imu,device=a x=1 1764000000\n").status == 204);
  json answer = f.get_json("/v1/query?name=imu&last=true");
  CHECK(answer["results"][0]["rows"] == json::array({{"2025-11-24T16:00:05Z", 2.0}}));
  CHECK(answer["results"][1]["rows"] == json::array({{"2025-11-24T16:00:01Z", 3.0}}));
  CHECK(f.get("/v1/query?series=" + encoded("imu{device=a}") + "&last=true&format=lines").body == "imu,device=a x=2 1764000005000000000\n");
}

TEST_CASE("REST: an export of everything is streamed and comes back as it was written") {
  RestFixture f;
  std::string all;
  for (int part = 0; part < 10; ++part) {
    std::string lines;
    for (int i = 0; i < 5000; ++i) {
      const int64_t n = part * 5000 + i;
      lines += fmt::format("imu,device=a n={}i,text=\"{}\",x={} {}\n", n, n % 7, static_cast<double>(n) / 3, kStart + n * 1'000'000);
    }
    REQUIRE(f.post("/write", lines).status == 204);
    all += lines;
  }
  const std::string series = "series=" + encoded("imu{device=a}");
  auto exported = f.get("/v1/query?" + series + "&format=lines&limit=all&fields=n,text,x");
  CHECK(exported.status == 200);
  CHECK(exported.body == all);
  auto header = [](const http::Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return std::string();
  };
  CHECK(header(exported, "transfer-encoding") == "chunked");
  CHECK(header(exported, "skerry-truncated").empty());
  json rows = f.get_json("/v1/query?" + series + "&limit=all");
  CHECK(rows["rows"].size() == 50'000);
  CHECK(rows["truncated"] == false);
  auto cut = f.get("/v1/query?" + series + "&format=csv&limit=20000");
  CHECK(std::count(cut.body.begin(), cut.body.end(), '\n') == 20'001);
  CHECK(header(cut, "skerry-truncated") == "true");  // a trailer
  CHECK(header(f.get("/v1/query?" + series + "&format=csv&limit=2"), "skerry-truncated") == "true");
  json buckets = f.get_json("/v1/query?" + series + "&limit=all&fields=n&bucket=10ms&aggregate=first,count");
  REQUIRE(buckets["rows"].size() == 5'000);
  for (int i = 0; i < 5'000; ++i) REQUIRE((buckets["rows"][i][1] == i * 10 && buckets["rows"][i][2] == 10));
}

TEST_CASE("REST: clients that take a long answer and do not read it can't fill the memory, and nobody else waits for them") {
  RestFixture f;
  for (int part = 0; part < 10; ++part) {
    std::string lines;
    for (int i = 0; i < 5000; ++i) lines += fmt::format("m text=\"{}\" {}\n", std::string(250, 'x'), kStart + (part * 5000 + i) * 1'000'000LL);
    REQUIRE(f.post("/write", lines).status == 204);
  }
  std::vector<std::unique_ptr<DeafClient>> deaf;
  std::string said;
  for (int i = 0; i < 40 && said.find("503") == std::string::npos; ++i) {
    deaf.push_back(std::make_unique<DeafClient>(f.port(), "/v1/query?series=m&limit=all"));
    said = deaf.back()->first_bytes();
  }
  CHECK_THAT(said, Contains("503 ") && Contains("long answers"));
  CHECK(deaf.size() == 17);
  CHECK(f.get("/v1/query?series=m&limit=10").status == 200);  // a short one
  deaf.clear();
  for (int i = 0; i < 100 && f.get("/v1/query?series=m&limit=5000").status != 200; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(f.get("/v1/query?series=m&limit=5000").status == 200);
}

TEST_CASE("REST: parameters of a query that do not go together are refused with what to write") {
  RestFixture f;
  REQUIRE(f.post("/write", "room t=1,text=\"a\"\n").status == 204);
  auto refused = [&](const std::string& query, int status = 400) { return f.refusal(f.get("/v1/query?" + query), status); };
  CHECK_THAT(refused("series=room&name=room"), Contains("series") && Contains("name"));
  CHECK_THAT(refused("series=room&tag.a=b"), Contains("name=imu"));
  CHECK_THAT(refused("name=room&tag.a=b", 404), Contains("room"));
  CHECK_THAT(refused("series=room&bucket=1m"), Contains("aggregate"));
  CHECK_THAT(refused("series=room&bucket=0s&aggregate=mean"), Contains("bucket"));
  CHECK_THAT(refused("series=room&bucket=soon&aggregate=mean"), Contains("bucket"));
  CHECK_THAT(refused("series=room&aggregate=avg"), Contains("mean"));
  CHECK_THAT(refused("series=room&aggregate=mean&fields=text"), Contains("text") && Contains("first"));
  CHECK_THAT(refused("series=room&last=yes"), Contains("true"));
  CHECK_THAT(refused("series=room&last=true&from=1"), Contains("last"));
  CHECK_THAT(refused("series=room&fields=t,t"), Contains("twice"));
  CHECK_THAT(refused("series=room&limits=3"), Contains("limits") && Contains("limit"));
  CHECK(f.get_json("/v1/query?series=room&aggregate=mean")["fields"] == json::array({"mean_t"}));  // all but the strings
}

TEST_CASE("REST: SQL as text or JSON, answered as JSON or CSV") {
  RestFixture f;
  REQUIRE(f.post("/write?precision=s", "imu,device=a x=1,text=\"p,q\" 1764000000\nimu,device=b x=2 1764000001\n").status == 204);
  const http::Headers as_json = {{"Content-Type", "application/json"}};
  json answer = f.json(f.post("/v1/sql", "select device, x, text from imu order by x"));
  CHECK(answer == json{{"columns", {"device", "x", "text"}}, {"rows", {{"a", 1.0, "p,q"}, {"b", 2.0, nullptr}}}, {"truncated", false}});
  CHECK(f.json(f.post("/v1/sql", R"({"sql":"select count(*) as n from imu"})", as_json))["rows"] == json::array({json::array({2})}));
  auto csv = f.post("/v1/sql?format=csv&limit=1", "select device, text, time from imu order by x");
  CHECK(csv.body == "device,text,time\na,\"p,q\",1764000000000000000\n");
  CHECK(std::count(csv.headers.begin(), csv.headers.end(), std::pair<std::string, std::string>{"skerry-truncated", "true"}) == 1);
  CHECK(f.json(f.post("/v1/sql?limit=1", "select x from imu"))["truncated"] == true);
  CHECK_THAT(f.refusal(f.post("/v1/sql", "drop table imu"), 400), Contains("SELECT") || Contains("drop"));
  CHECK_THAT(f.refusal(f.post("/v1/sql", "select * from nope"), 400), Contains("imu"));
  CHECK_THAT(f.refusal(f.post("/v1/sql", ""), 400), Contains("SELECT"));
  CHECK_THAT(f.refusal(f.post("/v1/sql", R"({"query":"select 1"})", as_json), 400), Contains("query"));
  CHECK_THAT(f.refusal(f.post("/v1/sql", "{", as_json), 400), Contains("JSON"));
  CHECK_THAT(f.refusal(f.post("/v1/sql?format=xml", "select 1"), 400), Contains("xml"));
  CHECK_THAT(f.refusal(f.post("/v1/sql", "select zeroblob(10000000)"), 507), Contains("larger"));
  json many = f.json(f.post("/v1/sql?limit=100000", "with recursive c(x) as (select 1 union all select x + 1 from c limit 50000) select x from c"));
  REQUIRE(many["rows"].size() == 50'000);
  CHECK(many["rows"][49'999][0] == 50'000);
}
