// Hubs that are none: what an address may answer instead. Whatever comes, a call ends in its time, in bounded memory, with an Error.
#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <thread>

#include "tests/support/chaos_proxy.h"
#include "tests/sync/make.h"
#include "tests/sync/served_hub.h"

using namespace skerry;
using namespace skerry::sync;
using namespace skerry::sync::test;
using namespace std::chrono_literals;
using skerry::test::ChaosProxy;
using skerry::test::SimClock;

namespace {

// Accepts connections one after another, reads the head of a request, writes what it is told to, for as long as the client listens.
class RawServer {
 public:
  using Script = std::function<bool(int round, std::string& out)>;  // false: close

  explicit RawServer(Script script) : script_(std::move(script)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(listener_, 16) == 0);
    REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~RawServer() {
    stop_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string url;
  std::atomic<int> accepted{0};

 private:
  void serve() {
    while (!stop_) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      ++accepted;
      timeval patience{0, 200'000};
      ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
      char buffer[4096];
      (void)!::recv(fd, buffer, sizeof(buffer), 0);
      std::string out;
      for (int round = 0; !stop_ && script_(round, out); ++round) {
        if (!out.empty() && ::send(fd, out.data(), out.size(), MSG_NOSIGNAL) < 0) break;
        out.clear();
      }
      ::close(fd);
    }
  }

  Script script_;
  int listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

std::string answer(int status, const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body;
}

RawServer::Script once(std::string bytes) {
  return [bytes](int round, std::string& out) {
    if (round == 0) out = bytes;
    return round == 0;
  };
}

Options to(const std::string& url, Duration timeout = 1s) {
  Options options;
  options.hub = url;
  options.request_timeout = timeout;
  return options;
}

Error error_of(const std::string& url, Duration timeout = 1s) {
  auto uplink = make_http_uplink(to(url, timeout));
  auto reply = uplink->hello(hello_of(1, 1));
  REQUIRE_FALSE(reply.ok());
  return reply.error();
}

long peak_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("http uplink: an address that cannot be one is invalid, not an exception") {
  for (const char* url : {"", "nonsense", "ftp://x", "http://", "127.0.0.1:8470", "http://127.0.0.1:99999", "http://[::", "http://a b/"}) {
    CAPTURE(url);
    const Error error = error_of(url);
    CHECK((error.code == Code::invalid || error.code == Code::unavailable));
    CHECK_FALSE(error.message.empty());
  }
}

TEST_CASE("http uplink: nobody listening is unavailable and names the hub") {
  const Error error = error_of("http://127.0.0.1:1");
  CHECK(error.code == Code::unavailable);
  CHECK(error.message.find("127.0.0.1:1") != std::string::npos);
  CHECK(error_of("http://no-such-host.invalid", 5s).code == Code::unavailable);
}

TEST_CASE("http uplink: statuses say whether to come back") {
  for (int status : {500, 502, 503, 504, 507, 407, 408, 429, 301, 302, 307, 304}) {
    CAPTURE(status);
    RawServer server(once(answer(status, "", "Location: http://127.0.0.1:1/\r\n")));
    CHECK(error_of(server.url).code == Code::unavailable);
    CHECK(server.accepted == 1);  // no redirect is followed, nothing is tried twice
  }
  for (int status : {400, 401, 403, 404, 413}) {
    CAPTURE(status);
    RawServer server(once(answer(status, "{\"error\": \"wrong \x01 node\"}")));
    const Error error = error_of(server.url);
    CHECK(error.code == (status == 401 || status == 403 ? Code::unavailable : Code::invalid));  // who is not let in has sent nothing wrong
    CHECK(error.message.find("node") != std::string::npos);
    CHECK(error.message.find('\x01') == std::string::npos);
  }
  RawServer strange(once(answer(204, "")));
  CHECK(error_of(strange.url).code == Code::corrupt);
}

TEST_CASE("http uplink: a login page, half an answer and no HTTP at all are told apart from a hub") {
  RawServer login(once(answer(200, "<html>Please log in</html>", "Content-Type: text/html; charset=odd\r\n")));
  CHECK(error_of(login.url).code == Code::corrupt);
  RawServer half(once("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nSKRY"));
  CHECK_FALSE(error_of(half.url).message.empty());
  RawServer noise(once("\x16\x03\x01 this is not HTTP\r\n\r\n"));
  CHECK_FALSE(error_of(noise.url).message.empty());
  RawServer silent_close(once(""));
  CHECK(error_of(silent_close.url).code == Code::unavailable);
  RawServer gzip(once(answer(200, "\x1f\x8b junk", "Content-Encoding: gzip\r\n")));
  CHECK_FALSE(error_of(gzip.url).message.empty());
  RawServer chunk(once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx"));
  CHECK_FALSE(error_of(chunk.url).message.empty());
  RawServer length(once("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx"));
  CHECK_FALSE(error_of(length.url).message.empty());
}

TEST_CASE("http uplink: a long refusal is shown short") {
  RawServer server(once(answer(400, std::string(500'000, 'x'))));
  CHECK(error_of(server.url).message.size() < 1000);
}

TEST_CASE("http uplink: an endless answer costs neither memory nor time") {
  struct Case {
    const char* name;
    std::string head, more;
  };
  const std::string megabyte(1 << 20, 'x');
  const Case cases[] = {
      {"a body of ten gigabytes", "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", megabyte},
      {"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "100000\r\n" + megabyte + "\r\n"},
      {"a body until the end of the connection", "HTTP/1.1 200 OK\r\n\r\n", megabyte},
      {"headers without end", "HTTP/1.1 200 OK\r\n", "X-Header: " + std::string(60'000, 'h') + "\r\n"},
      {"one header without end", "HTTP/1.1 200 OK\r\nX: ", megabyte},
      {"a refusal without end", "HTTP/1.1 400 No\r\nContent-Length: 10000000000\r\n\r\n", megabyte},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    RawServer server([&](int round, std::string& out) {
      out = round == 0 ? c.head : c.more;
      return true;
    });
    const long before = peak_kib();
    const auto start = std::chrono::steady_clock::now();
    const Error error = error_of(server.url, 5s);
    CHECK(error.code == Code::unavailable);
    CHECK(std::chrono::steady_clock::now() - start < 6s);
    CHECK(peak_kib() - before < 200'000);  // some milliseconds at memory speed, not gigabytes
  }
}

TEST_CASE("http uplink: batches tell a hub from what is none, too") {
  struct Case {
    const char* name;
    std::string head, more;
    Code code;
  };
  const std::string megabyte(1 << 20, 'x');
  const Case cases[] = {
      {"an error of the hub", answer(503, "later"), "", Code::unavailable},
      {"a refusal", answer(400, "never"), "", Code::invalid},
      {"no content", answer(204, ""), "", Code::corrupt},
      {"a login page", answer(200, "<html>Please log in</html>", "Content-Type: text/html\r\n"), "", Code::corrupt},
      {"a redirect", answer(302, "", "Location: http://127.0.0.1:1/\r\n"), "", Code::unavailable},
      {"half an answer", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nSKRY", "", Code::unavailable},
      {"no HTTP", "\x16\x03\x01 this is not HTTP\r\n\r\n", "", Code::unavailable},
      {"nothing", "", "", Code::unavailable},
      {"a bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx", "", Code::unavailable},
      {"more answers than questions", answer(200, "a") + answer(200, "b") + answer(200, "c"), "", Code::corrupt},
      {"a body of ten gigabytes", "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", megabyte, Code::unavailable},
      {"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "100000\r\n" + megabyte + "\r\n", Code::unavailable},
      {"headers without end", "HTTP/1.1 200 OK\r\n", "X-Header: " + std::string(60'000, 'h') + "\r\n", Code::unavailable},
      {"one header without end", "HTTP/1.1 200 OK\r\nX: ", megabyte, Code::unavailable},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    RawServer server([&](int round, std::string& out) {
      out = round == 0 ? c.head : c.more;
      return round == 0 || !c.more.empty();
    });
    auto uplink = make_http_uplink(to(server.url, 5s));
    auto reply = deliver(*uplink, batch_of(1, 1));
    REQUIRE_FALSE(reply.ok());
    INFO(reply.error().message);
    CHECK(reply.error().code == c.code);
    CHECK(uplink->answers(Duration::zero()).empty());  // told once
  }
}

TEST_CASE("http uplink: a refusal ends the batches behind it, each told once") {
  std::atomic<bool> all_begun{false};
  RawServer server([&](int round, std::string& out) {  // answers when there is something behind the first, and keeps the connection
    std::this_thread::sleep_for(1ms);
    if (round == 0) {
      while (!all_begun) std::this_thread::sleep_for(1ms);
      out = answer(400, "not this one");
    }
    return true;
  });
  auto uplink = make_http_uplink(to(server.url, 20s));
  for (uint64_t ticket = 1; ticket <= 3; ++ticket) (void)uplink->begin(ticket, batch_of(ticket, ticket), Lane::bulk);
  all_begun = true;
  std::map<uint64_t, Code> told;
  while (told.size() < 3) {
    for (const Answer& a : uplink->answers(1s)) {
      REQUIRE_FALSE(a.reply.ok());
      CHECK(told.emplace(a.ticket, a.reply.error().code).second);
    }
  }
  CHECK(told[1] == Code::invalid);
  CHECK(told[2] == Code::unavailable);
  CHECK(told[3] == Code::unavailable);
}

TEST_CASE("http uplink: what is given up is told once, and the next batch gets a fresh connection") {
  skerry::test::SimClock clock;
  ServedHub hub(clock);
  auto proxy = ChaosProxy::start("127.0.0.1", hub.port());
  REQUIRE(proxy.ok());
  auto uplink = make_http_uplink(to((*proxy)->url(), 30s));
  REQUIRE(uplink->hello(hello_of(1, 9)).ok());
  (*proxy)->blackhole();
  for (uint64_t ticket = 1; ticket <= 3; ++ticket) (void)uplink->begin(ticket, batch_of(ticket, ticket), Lane::bulk);
  CHECK(uplink->answers(50ms).empty());
  CHECK(uplink->give_up().size() == 3);
  CHECK(uplink->give_up().empty());
  (*proxy)->pass();
  auto reply = deliver(*uplink, batch_of(1, 2));
  REQUIRE(reply.ok());
  CHECK(reply->watermark == 2);
}

TEST_CASE("http uplink: an answer that drips in for ever ends with the timeout") {
  for (const char* head : {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "HTTP/1.1 200 OK\r\nX: ", ""}) {
    RawServer server([&](int round, std::string& out) {
      if (round > 0) std::this_thread::sleep_for(20ms);
      out = round == 0 ? head : "x";
      return true;
    });
    const auto start = std::chrono::steady_clock::now();
    CHECK(error_of(server.url, 500ms).code == Code::unavailable);
    CHECK(std::chrono::steady_clock::now() - start < 3s);
  }
}

TEST_CASE("http uplink: a hub that never answers is given up after the timeout, and the next one gets a fresh connection") {
  skerry::test::SimClock clock;
  ServedHub hub(clock);
  auto proxy = ChaosProxy::start("127.0.0.1", hub.port());
  REQUIRE(proxy.ok());
  auto uplink = make_http_uplink(to((*proxy)->url(), 1s));
  (*proxy)->blackhole();
  auto silence = uplink->hello(hello_of(1, 1));
  REQUIRE_FALSE(silence.ok());
  CHECK(silence.error().code == Code::unavailable);
  (*proxy)->pass();
  REQUIRE(uplink->hello(hello_of(1, 1)).ok());
  (*proxy)->hang_responses(1);
  const uint64_t connections = (*proxy)->accepted();
  REQUIRE_FALSE(deliver(*uplink, batch_of(1, 1)).ok());
  CHECK((*proxy)->accepted() == connections + 1);  // that of batches, and nothing was tried again by itself
  CHECK((*proxy)->swallowed() == 1);
  auto again = deliver(*uplink, batch_of(1, 1));
  REQUIRE(again.ok());
  CHECK(again->outcome == BatchOutcome::duplicate);
}

TEST_CASE("http uplink: requests and answers that are cut anywhere leave one whole batch at the hub") {
  skerry::test::SimClock clock;
  ServedHub hub(clock);
  auto proxy = ChaosProxy::start("127.0.0.1", hub.port());
  REQUIRE(proxy.ok());
  auto uplink = make_http_uplink(to((*proxy)->url(), 2s));
  REQUIRE(uplink->hello(hello_of(1, 99)).ok());
  uint64_t seq = 1;
  for (uint64_t bytes : {1, 50, 150, 300, 500}) {
    for (bool answers : {false, true}) {
      (*proxy)->reset_connections();
      if (answers) {
        (*proxy)->cut_response_after(bytes > 150 ? 60 : bytes);
      } else {
        (*proxy)->cut_request_after(bytes);
      }
      (void)deliver(*uplink, batch_of(seq, seq)).ok();
      (*proxy)->pass();
      auto reply = deliver(*uplink, batch_of(seq, seq));
      INFO((reply.ok() ? "" : reply.error().message));
      REQUIRE(reply.ok());
      CHECK(reply->watermark == seq);
      ++seq;
    }
  }
  auto nodes = hub.receiver().nodes();
  REQUIRE(nodes.ok());
  CHECK(nodes->front().entries == seq - 1);
}

TEST_CASE("http uplink: destroyed in the middle of trouble, nothing of it is missed later") {
  RawServer server([](int, std::string& out) {
    out = "HTTP/1.1 200 OK\r\nX: ";
    std::this_thread::sleep_for(5ms);
    return true;
  });
  for (int i = 0; i < 20; ++i) {
    auto uplink = make_http_uplink(to(server.url, 10ms));
    CHECK_FALSE(uplink->hello(hello_of(1, 1)).ok());
  }
  std::this_thread::sleep_for(100ms);  // tasks that end now must find what they touch
}

TEST_CASE("http uplink: a whole outbox goes over a bad link to the real hub, each record once") {
  skerry::test::SimClock clock;
  skerry::test::FakeCloud unused(clock);
  ServedHub hub(clock);
  auto proxy = ChaosProxy::start("127.0.0.1", hub.port());
  REQUIRE(proxy.ok());
  Options options = to((*proxy)->url(), 2s);
  options.batch_bytes_max = 2000;
  Node node(clock, unused, options);
  node.syncer = std::make_unique<Syncer>(*node.store, make_http_uplink(options), options, clock, 5, Environment{});
  for (int i = 0; i < 30; ++i) node.ingest(50);
  Random random(Catch::rngSeed());
  for (int i = 0; i < 60 && node.waiting() > 0; ++i) {
    switch (random.below(5)) {
      case 0: (*proxy)->swallow_responses(1); break;
      case 1: (*proxy)->down(); break;
      case 2: (*proxy)->cut_request_after(1 + random.below(1500)); break;
      default: (*proxy)->pass();
    }
    for (int k = 0; k < 3; ++k) clock.advance(node.syncer->step());
  }
  (*proxy)->pass();
  REQUIRE(node.run_until_quiet());
  std::set<std::string> held;
  uint64_t records = 0;
  REQUIRE(hub.receiver().entries("pump-1", OutboxClass::telemetry, [&](uint64_t, const storage::OutboxItem& entry) {
    auto block = storage::decode_block(*Series::parse(entry.subject), entry.payload);
    REQUIRE(block.ok());
    for (int64_t time : block->times) held.insert(entry.subject + "@" + std::to_string(time));
    records += block->rows();
    return true;
  }).ok());
  CHECK(held == node.committed);
  CHECK(records == node.committed.size());
}

TEST_CASE("http uplink: a bearer's device ties its sockets, and one that is not there carries nothing") {
  SimClock clock;
  ServedHub hub(clock);
  sync::Options options;
  options.hub = hub.url();
  options.request_timeout = 2s;
  auto uplink = make_http_uplink(options);
  uplink->use({.bearer = "lan", .device = "lo", .dscp = 10});
  auto over_loopback = uplink->hello(hello_of(1, 9));
  if (!over_loopback.ok() && over_loopback.error().message.find("cannot be set") != std::string::npos) {
    WARN("skipped: " << over_loopback.error().message);
    return;
  }
  INFO((over_loopback.ok() ? "" : over_loopback.error().message));
  CHECK(over_loopback.ok());
  CHECK(deliver(*uplink, batch_of(1, 3)).ok());
  uplink->use({.bearer = "sim", .device = "skerry-none"});
  const auto nowhere = uplink->hello(hello_of(1, 9));
  REQUIRE_FALSE(nowhere.ok());
  CHECK(nowhere.error().code == Code::unavailable);
  CHECK(nowhere.error().message.find("device skerry-none") != std::string::npos);
  uplink->use({});
  CHECK(uplink->hello(hello_of(1, 9)).ok());
  uplink->link_changed();
  CHECK(uplink->hello(hello_of(1, 9)).ok());
}
