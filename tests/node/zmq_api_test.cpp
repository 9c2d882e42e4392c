#include "node/zmq_api.h"

#include <cstring>
#include <future>
#include <zmq.hpp>

#include "tests/node/rest_fixture.h"

using namespace skerry;
using namespace skerry::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

// A node that answers over ZeroMQ, and a client's socket.
class Bus {
 public:
  explicit Bus(node::ZmqOptions options = {.enabled = true, .ipc = "infer.sock", .tcp = "127.0.0.1:0", .message_bytes_max = 64 << 10}) {
    auto opened = node::ZmqApi::open(options, fixture.dir().path(), fixture.node());
    if (!opened.ok()) FAIL(opened.error().message);
    api = std::move(opened).value();
    serving = std::thread([this] {
      while (!stop) api->step(std::chrono::milliseconds(5));
    });
  }
  ~Bus() {
    stop = true;
    serving.join();
    fixture.node().scheduler().stop();
  }
  std::string endpoint(const std::string& kind) const {
    const std::string& all = api->endpoints();
    const size_t at = all.find(kind + "://");
    return all.substr(at, all.find(' ', at) - at);
  }
  zmq::socket_t connect(zmq::socket_type type, const std::string& kind = "ipc") {
    zmq::socket_t socket(context, type);
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::rcvtimeo, 10'000);
    socket.connect(endpoint(kind));
    return socket;
  }

  RestFixture fixture;
  zmq::context_t context;
  std::unique_ptr<node::ZmqApi> api;
  std::atomic<bool> stop{false};
  std::thread serving;
};

using Frames = std::vector<std::string>;

void send(zmq::socket_t& socket, const Frames& frames) {
  for (size_t i = 0; i < frames.size(); ++i) {
    socket.send(zmq::buffer(frames[i]), i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
  }
}

Frames receive(zmq::socket_t& socket) {
  Frames frames;
  for (bool more = true; more;) {
    zmq::message_t frame;
    if (!socket.recv(frame)) return frames;
    more = frame.more();
    frames.push_back(frame.to_string());
  }
  return frames;
}

std::string raw_ones(size_t count = 8) {
  const std::vector<float> ones(count, 1.0f);
  return {reinterpret_cast<const char*>(ones.data()), ones.size() * sizeof(float)};
}

json request(bool binary) {
  json input = {{"name", "input"}, {"shape", {1, 2, 4}}, {"datatype", "FP32"}};
  if (!binary) input["data"] = std::vector<int>(8, 1);
  return {{"model", "toy"}, {"id", "a"}, {"inputs", {input}}, {"parameters", {{"binary_data_output", binary}}}};
}

}  // namespace

TEST_CASE("ZeroMQ: a request in frames is answered in frames, over ipc and tcp, to REQ and DEALER") {
  Bus bus;
  for (const char* kind : {"ipc", "tcp"}) {
    for (auto type : {zmq::socket_type::req, zmq::socket_type::dealer}) {
      auto socket = bus.connect(type, kind);
      send(socket, {request(true).dump(), raw_ones()});
      Frames answer = receive(socket);
      REQUIRE(answer.size() == 2);
      const json header = json::parse(answer[0]);
      CHECK(header["model_name"] == "toy");
      CHECK(header["model_version"] == "1");
      CHECK(header["id"] == "a");
      CHECK(header["outputs"][0]["parameters"]["binary_data_size"] == 12);
      std::vector<float> scores(3);
      REQUIRE(answer[1].size() == 12);
      std::memcpy(scores.data(), answer[1].data(), 12);
      CHECK(scores == std::vector<float>{1, 2, 3});

      json text = request(false);
      text["version"] = "1";
      send(socket, {text.dump()});
      answer = receive(socket);
      REQUIRE(answer.size() == 1);
      CHECK(json::parse(answer[0])["outputs"][0]["data"] == json{1.0, 2.0, 3.0});
    }
  }
  CHECK(bus.fixture.node().engine().statistics("toy", 1).requests == 8);  // the same statistics as REST's
}

TEST_CASE("ZeroMQ: what makes no sense is answered with an error, and the socket goes on") {
  Bus bus;
  auto socket = bus.connect(zmq::socket_type::dealer);
  auto refused = [&](const Frames& frames) {
    send(socket, frames);
    const Frames answer = receive(socket);
    REQUIRE(answer.size() == 1);
    const json body = json::parse(answer[0]);
    INFO(answer[0]);
    REQUIRE(body.contains("error"));
    return fmt::format("{} {}", body["status"].get<int>(), body["error"].get<std::string>());
  };
  json bad;
  CHECK_THAT(refused({"{"}), Contains("400") && Contains("JSON"));
  CHECK_THAT(refused({std::string("\xff\0\x01", 3)}), Contains("400"));
  CHECK_THAT(refused({"[]"}), Contains("object"));
  CHECK_THAT(refused({"{}"}), Contains("model"));
  (bad = request(true))["model"] = "none";
  CHECK_THAT(refused({bad.dump(), raw_ones()}), Contains("404") && Contains("none"));
  (bad = request(true))["version"] = "nine";
  CHECK_THAT(refused({bad.dump(), raw_ones()}), Contains("version"));
  (bad = request(true))["version"] = 9;
  CHECK_THAT(refused({bad.dump(), raw_ones()}), Contains("404"));
  CHECK_THAT(refused({request(true).dump()}), Contains("no 'data'"));
  CHECK_THAT(refused({request(true).dump(), raw_ones(7)}), Contains("28 raw bytes") && Contains("32"));
  CHECK_THAT(refused({request(true).dump(), raw_ones(), "x"}), Contains("left over"));
  CHECK_THAT(refused(Frames(40, "x")), Contains("frame"));
  CHECK_THAT(refused({" "}), Contains("JSON"));
  send(socket, {request(true).dump(), raw_ones()});
  CHECK(receive(socket).size() == 2);
}

TEST_CASE("ZeroMQ: a frame beyond the limit cuts its sender off, and nobody else") {
  Bus bus;
  auto other = bus.connect(zmq::socket_type::dealer), hostile = bus.connect(zmq::socket_type::dealer);
  send(hostile, {std::string(1 << 20, ' ')});
  send(other, {request(true).dump(), raw_ones()});
  CHECK(receive(other).size() == 2);
  hostile.set(zmq::sockopt::rcvtimeo, 100);
  CHECK(receive(hostile).empty());
  CHECK(bus.api->messages() == 1);
}

TEST_CASE("ZeroMQ: many callers get each their own answer") {
  Bus bus;
  std::vector<std::future<int>> callers;
  for (int c = 0; c < 4; ++c) {
    callers.push_back(std::async(std::launch::async, [&bus, c] {
      auto socket = bus.connect(zmq::socket_type::req);
      int right = 0;
      for (int i = 0; i < 50; ++i) {
        json text = request(false);
        text["id"] = fmt::format("{}-{}", c, i);
        send(socket, {text.dump()});
        const Frames answer = receive(socket);
        right += answer.size() == 1 && json::parse(answer[0])["id"] == text["id"] ? 1 : 0;
      }
      return right;
    }));
  }
  for (auto& caller : callers) CHECK(caller.get() == 50);
}

TEST_CASE("ZeroMQ: an endpoint that can't be had is named") {
  RestFixture f;
  auto opened = node::ZmqApi::open({.enabled = true, .ipc = "no/such/folder/x.sock"}, f.dir().path(), f.node());
  REQUIRE_FALSE(opened.ok());
  CHECK_THAT(opened.error().message, Contains("x.sock") && Contains("[zeromq]"));
  CHECK(node::ZmqApi::open({.enabled = true, .ipc = "", .tcp = ""}, f.dir().path(), f.node()).error().code == Code::invalid);
}
