#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/http_server.h"

using namespace skerry;
using namespace std::chrono_literals;

namespace {

// A bare socket, so that a test can say things no client library would.
class Raw {
 public:
  explicit Raw(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  Raw(const Raw&) = delete;
  ~Raw() { ::close(fd_); }
  bool send(const std::string& text) { return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()); }
  // Until `end` was seen, the peer closed, or 5 s passed.
  std::string receive(const std::string& end = "") {
    std::string out;
    char buffer[4096];
    pollfd waiting{fd_, POLLIN, 0};
    while (::poll(&waiting, 1, 5000) == 1) {
      ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      out.append(buffer, static_cast<size_t>(n));
      if (!end.empty() && out.find(end) != std::string::npos) break;
    }
    return out;
  }

 private:
  int fd_;
};

// Counts up; what became of it is told to the test.
struct Fate {
  std::atomic<int> made{0};
  std::atomic<bool> gone{false};
};
class Counting final : public http::BodySource {
 public:
  Counting(Fate& fate, int pieces, size_t bytes, bool fails) : fate_(fate), pieces_(pieces), bytes_(bytes), fails_(fails) {}
  ~Counting() override { fate_.gone = true; }
  Result<std::string> next() override {
    if (fate_.made == pieces_ && fails_) return fail(Code::corrupt, "a piece that can't be read");
    if (fate_.made == pieces_) return std::string();
    return fmt::format("piece {}{};", fate_.made++, std::string(bytes_, '.'));
  }
  http::Headers trailers() const override { return {{"Pieces", std::to_string(fate_.made)}}; }

 private:
  Fate& fate_;
  const int pieces_;
  const size_t bytes_;
  const bool fails_;
};

class Serving {
 public:
  explicit Serving(http::ServerOptions options = {}) {
    router_.add("GET", "/hello/{name}", [](http::Request& r) {
      http::Response response;
      response.body = "hello " + r.path_parameters["name"] + r.parameter("mark", "");
      return response;
    });
    router_.add("POST", "/size", [](http::Request& r) {
      http::Response response;
      response.body = "size=" + std::to_string(r.body.size());
      return response;
    });
    router_.add("GET", "/throw", [](http::Request&) -> http::Response { throw std::runtime_error("boom"); });
    router_.add("GET", "/stream/{pieces}/{bytes}", [this](http::Request& r) {
      http::Response response;
      response.body = "first;";
      response.source = std::make_shared<Counting>(fate, std::stoi(r.path_parameters["pieces"]), std::stoul(r.path_parameters["bytes"]),
                                                   !r.parameter("fails").empty());
      return response;
    });
    auto server = http::Server::open(options, [this](http::Request& r) { return router_.handle(r); });
    REQUIRE(server.ok());
    server_ = std::move(*server);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Serving() {
    server_->stop();
    thread_.join();
  }
  uint16_t port() const { return server_->port(); }
  Fate fate;  // of the newest source

 private:
  http::Router router_;
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("http: requests are routed, and two go over one connection") {
  Serving serving;
  Raw client(serving.port());
  REQUIRE(client.send("GET /hello/a%20b?mark=%21 HTTP/1.1\r\nHost: x\r\n\r\n"));
  CHECK(client.receive("hello a b!").find("200 OK") != std::string::npos);
  REQUIRE(client.send("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"));
  CHECK(client.receive("size=3").find("size=3") != std::string::npos);
}

TEST_CASE("http: an unknown path is 404, a wrong verb is 405 and names the right one, a handler that throws is 500") {
  Serving serving;
  auto ask = [&](const std::string& line) {
    Raw client(serving.port());
    client.send(line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return client.receive();
  };
  CHECK(ask("GET /nothing").find("404") != std::string::npos);
  std::string wrong_verb = ask("DELETE /hello/x");
  CHECK(wrong_verb.find("405") != std::string::npos);
  CHECK(wrong_verb.find("Allow: GET") != std::string::npos);
  CHECK(ask("GET /throw").find("500") != std::string::npos);
  CHECK(ask("GET /%zz").find("400") != std::string::npos);
}

TEST_CASE("http: a body made in pieces comes in chunks with its trailer, and the connection goes on") {
  Serving serving;
  Raw client(serving.port());
  REQUIRE(client.send("GET /stream/3/0 HTTP/1.1\r\nHost: x\r\n\r\n"));
  const std::string answer = client.receive("Pieces: 3\r\n\r\n");
  CHECK(answer.find("Transfer-Encoding: chunked") != std::string::npos);
  CHECK(answer.find("6\r\nfirst;\r\n8\r\npiece 0;\r\n8\r\npiece 1;\r\n8\r\npiece 2;\r\n0\r\nPieces: 3\r\n\r\n") != std::string::npos);
  REQUIRE(client.send("GET /hello/again HTTP/1.1\r\nHost: x\r\n\r\n"));
  CHECK(client.receive("hello again").find("200 OK") != std::string::npos);
}

TEST_CASE("http: a body made in pieces for HTTP/1.0 ends with the connection, and for HEAD is not made") {
  Serving serving;
  Raw old(serving.port());
  REQUIRE(old.send("GET /stream/2/0 HTTP/1.0\r\n\r\n"));
  std::string answer = old.receive();
  CHECK(answer.find("chunked") == std::string::npos);
  CHECK(answer.find("\r\n\r\nfirst;piece 0;piece 1;") != std::string::npos);
  serving.fate.made = 0;
  Raw head(serving.port());
  REQUIRE(head.send("HEAD /stream/2/0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  CHECK(head.receive().find("first") == std::string::npos);
  CHECK(serving.fate.made == 0);
}

TEST_CASE("http: a source that fails cuts the body off, so that nobody takes it for whole") {
  Serving serving;
  Raw client(serving.port());
  REQUIRE(client.send("GET /stream/2/0?fails=1 HTTP/1.1\r\nHost: x\r\n\r\n"));
  std::string answer = client.receive();
  CHECK(answer.find("piece 1;") != std::string::npos);
  CHECK(answer.find("\r\n0\r\n") == std::string::npos);
}

TEST_CASE("http: nothing is made ahead of a client that does not read, and a client that goes away ends the source") {
  Serving serving;
  {
    Raw client(serving.port());
    REQUIRE(client.send("GET /stream/1000000/100000 HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.receive("piece 0");
    int before = -1;
    for (int i = 0; i < 100 && before != serving.fate.made; ++i) {  // until the sockets' buffers are full
      before = serving.fate.made;
      std::this_thread::sleep_for(100ms);
    }
    CHECK(serving.fate.made == before);
    CHECK(serving.fate.made < 1000);  // 100 MB
    CHECK_FALSE(serving.fate.gone);
  }
  for (int i = 0; i < 100 && !serving.fate.gone; ++i) std::this_thread::sleep_for(50ms);
  CHECK(serving.fate.gone);
}

TEST_CASE("http: a body over the limit is refused before it is read") {
  http::ServerOptions options;
  options.body_bytes_max = 1000;
  Serving serving(options);
  Raw announced(serving.port());
  announced.send("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
  CHECK(announced.receive().find("413") != std::string::npos);
  Raw chunked(serving.port());
  chunked.send("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + std::string(2048, 'x') + "\r\n0\r\n\r\n");
  CHECK(chunked.receive().find("413") != std::string::npos);
}

TEST_CASE("http: a header over the limit and a request that is no HTTP are refused") {
  http::ServerOptions options;
  options.header_bytes_max = 2000;
  Serving serving(options);
  Raw large(serving.port());
  large.send("GET /hello/x HTTP/1.1\r\nHost: x\r\nX-Long: " + std::string(5000, 'a') + "\r\n\r\n");
  CHECK(large.receive().find("431") != std::string::npos);
  Raw nonsense(serving.port());
  nonsense.send("\x16\x03\x01 this is TLS perhaps\r\n\r\n");
  CHECK(nonsense.receive().find("400") != std::string::npos);
}

TEST_CASE("http: a half-sent request times out and harms nobody else") {
  http::ServerOptions options;
  options.request_timeout = 200ms;
  Serving serving(options);
  Raw half(serving.port());
  half.send("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  Raw other(serving.port());
  other.send("GET /hello/you HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(other.receive("hello you").find("200 OK") != std::string::npos);
  CHECK(half.receive().find("408") != std::string::npos);
}

TEST_CASE("http: connections over the limit get 503 and room is made when others leave") {
  http::ServerOptions options;
  options.connections_max = 1;
  Serving serving(options);
  auto first = std::make_unique<Raw>(serving.port());
  first->send("GET /hello/1 HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(first->receive("hello 1").find("200") != std::string::npos);
  CHECK(Raw(serving.port()).receive().find("503") != std::string::npos);
  first.reset();
  std::string answer;
  for (int i = 0; i < 200 && answer.find("hello 2") == std::string::npos; ++i) {
    Raw second(serving.port());
    second.send("GET /hello/2 HTTP/1.1\r\nHost: x\r\n\r\n");
    answer = second.receive("hello 2");
  }
  CHECK(answer.find("200 OK") != std::string::npos);
}

TEST_CASE("http: a port in use is an error that names it") {
  Serving serving;
  http::ServerOptions options;
  options.port = serving.port();
  auto second = http::Server::open(options, [](http::Request&) { return http::Response{}; });
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().message.find(std::to_string(serving.port())) != std::string::npos);
}
