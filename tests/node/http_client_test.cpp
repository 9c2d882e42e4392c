#include "node/cli/http_client.h"

#include <catch2/catch.hpp>
#include <thread>

using namespace skerry;
using Catch::Matchers::Contains;

namespace {

// A server that answers with what it was asked, until the end of the test.
class Echo {
 public:
  explicit Echo(http::ServerOptions options = {}) {
    server_ = http::Server::open(options, [this](http::Request& r) {
                ++requests_;
                http::Response response;
                response.body = r.method + " " + r.path + " " + r.body;
                response.headers.emplace_back("X-Given", r.header("x-mine"));
                return response;
              }).value();
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Echo() {
    server_->stop();
    thread_.join();
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", server_->port()); }
  int requests() const { return requests_; }

 private:
  std::atomic<int> requests_{0};
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("http client: URLs are read, and refused with an example") {
  auto url = http::parse_url("http://node.example:8471/prefix/");
  REQUIRE(url.ok());
  CHECK(url->host == "node.example");
  CHECK(url->port == "8471");
  CHECK(url->prefix == "/prefix");
  CHECK(http::parse_url("http://[::1]:8471")->host == "::1");
  CHECK(http::parse_url("http://node")->port == "80");
  for (const char* bad : {"", "node:8471", "https://node", "http://", "http://:80", "http://node:0", "http://node:99999", "http://node:x",
                          "http://[::1", "http://a b", "http://a\r\nX: y"}) {
    auto refused = http::parse_url(bad);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::invalid);
    CHECK_THAT(refused.error().message, Contains("http://127.0.0.1:8471"));
  }
  CHECK(http::percent_encode("imu{a=b c}/ü") == "imu%7Ba%3Db%20c%7D%2F%C3%BC");
}

TEST_CASE("http client: one exchange carries method, target, body and headers") {
  Echo echo;
  auto response = http::request(echo.url(), "POST", "/a/b?c=d", "hello", {{"X-Mine", "42"}});
  REQUIRE(response.ok());
  CHECK(response->status == 200);
  CHECK(response->body == "POST /a/b hello");
  bool found = false;
  for (const auto& [name, value] : response->headers) found = found || (name == "x-given" && value == "42");
  CHECK(found);
}

TEST_CASE("http client: a connection is kept, and made anew when the server has closed it") {
  http::Client* client = nullptr;
  std::unique_ptr<http::Client> owned;
  std::string url;
  uint16_t port = 0;
  {
    Echo echo;
    url = echo.url();
    port = static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
    owned = http::Client::open(url).value();
    client = owned.get();
    for (int i = 0; i < 3; ++i) CHECK(client->request("GET", "/").ok());
    CHECK(echo.requests() == 3);
  }
  CHECK_FALSE(client->request("GET", "/").ok());  // nobody there
  Echo again({.port = port});
  CHECK(client->request("GET", "/").ok());
}

TEST_CASE("http client: nobody listening is unavailable and names the URL") {
  std::string url;
  {
    Echo echo;
    url = echo.url();
  }
  auto refused = http::request(url, "GET", "/");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::unavailable);
  CHECK_THAT(refused.error().message, Contains(url) && Contains("nobody answers"));
}

TEST_CASE("http client: an answer that is too large is refused") {
  Echo echo;
  auto client = http::Client::open(echo.url(), {.body_bytes_max = 100}).value();
  auto refused = client->request("POST", "/", std::string(1000, 'x'));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::exhausted);
}

TEST_CASE("http client: a refusal before the whole body was read arrives") {
  Echo echo({.body_bytes_max = 1000});
  auto answer = http::request(echo.url(), "POST", "/", std::string(3 << 20, 'x'));
  REQUIRE(answer.ok());
  CHECK(answer->status == 413);
}

TEST_CASE("http client: a body goes to a sink piece by piece, whatever its size, and a sink may end it") {
  class Zeros final : public http::BodySource {
   public:
    Result<std::string> next() override { return std::string(left_-- > 0 ? 100'000 : 0, '0'); }
    http::Headers trailers() const override { return {{"X-End", "yes"}}; }

   private:
    int left_ = 100;
  };
  auto server = http::Server::open({}, [](http::Request& r) {
                  if (r.path == "/wrong") return http::error_response(400, "no");
                  http::Response response;
                  response.source = std::make_shared<Zeros>();
                  return response;
                }).value();
  std::thread thread([&] { server->run(); });
  auto client = http::Client::open(fmt::format("http://127.0.0.1:{}", server->port()), {.body_bytes_max = 1 << 20}).value();
  size_t bytes = 0, largest = 0;
  auto sink = [&](std::string_view piece) {
    bytes += piece.size();
    largest = std::max(largest, piece.size());
    return Status();
  };
  auto answer = client->request("GET", "/", "", {}, sink);
  REQUIRE(answer.ok());
  CHECK(bytes == 10'000'000);
  CHECK(largest < 1'000'000);
  CHECK(answer->body.empty());
  CHECK(std::count(answer->headers.begin(), answer->headers.end(), std::pair<std::string, std::string>{"x-end", "yes"}) == 1);
  auto wrong = client->request("GET", "/wrong", "", {}, sink);
  REQUIRE(wrong.ok());
  CHECK_THAT(wrong->body, Contains("no"));
  auto ended = client->request("GET", "/", "", {}, [](std::string_view) { return Status(fail(Code::cancelled, "enough")); });
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().message == "enough");
  auto whole = client->request("GET", "/");
  REQUIRE_FALSE(whole.ok());
  CHECK(whole.error().code == Code::exhausted);
  server->stop();
  thread.join();
}
