// What a node meets on its way to the hub, with real sockets between two network namespaces: whatever answers, or does not, is named in
// /v1/sync, nothing is lost, and the real hub gets everything at last, once.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/random.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/records.h"
#include "tests/support/temp_dir.h"
#include "tests/support/two_hosts.h"

using namespace skerry;
using namespace skerry::e2e;
using test::Host;
using test::TwoHosts;

namespace {

using Steady = std::chrono::steady_clock;

constexpr milliseconds kLimit{60'000};

sockaddr_in any_address(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  address.sin_port = htons(port);
  return address;
}

// A loop on a listening socket of one host, in a thread of its own.
class Listener {
 public:
  Listener(const TwoHosts& hosts, Host host, int type, uint16_t port) {
    const TwoHosts::On on(hosts, host);
    fd_ = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    const sockaddr_in address = any_address(port);
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    if (type == SOCK_STREAM) REQUIRE(::listen(fd_, 16) == 0);
  }
  virtual ~Listener() { ::close(fd_); }

 protected:
  void start() {
    thread_ = std::thread([this] {
      while (!stop_) {
        pollfd waits{fd_, POLLIN, 0};
        if (::poll(&waits, 1, 20) > 0) serve(fd_);
      }
    });
  }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  virtual void serve(int fd) = 0;

 private:
  int fd_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Answers every connection with the same bytes; empty: never answers and keeps it open.
class Impostor final : public Listener {
 public:
  Impostor(const TwoHosts& hosts, Host host, uint16_t port, std::string answer) : Listener(hosts, host, SOCK_STREAM, port), answer_(std::move(answer)) { start(); }
  ~Impostor() override {
    stop();
    for (int fd : kept_) ::close(fd);
  }

 private:
  void serve(int listening) override {
    const int fd = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    if (answer_.empty()) {
      kept_.push_back(fd);
      return;
    }
    timeval patience{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    char request[16'384];
    (void)!::recv(fd, request, sizeof(request), 0);
    (void)!::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
    ::shutdown(fd, SHUT_WR);
    while (::recv(fd, request, sizeof(request), 0) > 0) {  // a reset would take the answer away from it
    }
    ::close(fd);
  }

  const std::string answer_;
  std::vector<int> kept_;
};

// A name server that says one address for every name, or nothing (RFC 1035).
class NameServer final : public Listener {
 public:
  NameServer(const TwoHosts& hosts, Host host) : Listener(hosts, host, SOCK_DGRAM, 53) { start(); }
  ~NameServer() override { stop(); }
  void say(const char* address) { address_ = address == nullptr ? 0 : ::inet_addr(address); }
  std::atomic<int> asked{0};

 private:
  void serve(int fd) override {
    unsigned char message[512];
    sockaddr_in from{};
    socklen_t size = sizeof(from);
    ssize_t n = ::recvfrom(fd, message, sizeof(message) - 16, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 17) return;
    ++asked;
    size_t end = 12;
    while (end < static_cast<size_t>(n) && message[end] != 0) end += message[end] + 1u;
    end += 5;  // the name's end, type, class
    const uint32_t address = address_;
    if (end > static_cast<size_t>(n) || address == 0) return;
    const bool ipv4 = message[end - 3] == 1;
    message[2] = 0x81;
    message[3] = 0x80;
    message[7] = ipv4 ? 1 : 0;                        // answers
    std::fill(message + 8, message + 12, uint8_t{0});  // no more sections
    if (ipv4) {
      const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4};
      std::copy(std::begin(record), std::end(record), message + end);
      std::copy_n(reinterpret_cast<const unsigned char*>(&address), 4, message + end + sizeof(record));
      end += sizeof(record) + 4;
    }
    ::sendto(fd, message, end, 0, reinterpret_cast<sockaddr*>(&from), size);
  }

  std::atomic<uint32_t> address_{0};
};

std::string http_answer(const std::string& status, const std::string& headers, const std::string& body) {
  return fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{}", status, headers, body.size(), body);
}

Batch records(int64_t from, size_t count) {
  static const int64_t base = system_clock().now_ns() - int64_t{7'200'000'000'000};
  Batch batch;
  batch.series = {"probe", {{"device", "a"}}};
  std::vector<double> values;
  for (size_t i = 0; i < count; ++i) {
    batch.times.push_back(base + (from + static_cast<int64_t>(i)) * 1000);
    values.push_back(static_cast<double>(from) + static_cast<double>(i) / 8);
  }
  batch.columns = {{"x", values, {}}};
  return batch;
}

// A node on the near host, whose hub will be on the far one.
struct Crossing {
  explicit Crossing(const std::string& hub_name) : hub(folder / "hub", TwoHosts::kFar), hub_name_(hub_name) {}

  // False, said aloud: this machine gives no namespaces.
  bool start() {
    auto made = TwoHosts::make(1);
    if (!made.ok()) {
      std::cout << "SKIPPED: " << made.error().message << "\n";
      return false;
    }
    if (!resolv_conf.empty()) {
      auto mounts = run_program("/usr/bin/unshare", {"--mount", "mount", "--bind", "/dev/null", "/etc/resolv.conf"}, folder.path(), milliseconds(20'000));
      if (!mounts.ok() || mounts->exit.code != 0) {
        std::cout << "SKIPPED: a process cannot have an /etc/resolv.conf of its own here (needs CAP_SYS_ADMIN and util-linux)\n";
        return false;
      }
    }
    hosts = *std::move(made);
    near.emplace(*hosts, Host::near);
    DaemonOptions options;
    options.hub = fmt::format("http://{}:{}", hub_name_, hub.port());
    options.sync = "request_timeout = \"500ms\"\nbackoff_min = \"20ms\"\nbackoff_max = \"100ms\"\nprobe_interval = \"100ms\"\n";
    options.learning = "enabled = false\n";
    options.resolv_conf = resolv_conf;
    daemon.emplace(folder / "node", options);
    const Status started = daemon->start();
    INFO((started.ok() ? "" : started.error().message));
    REQUIRE(started.ok());
    auto opened = http::Client::open(daemon->url(), {.timeout = milliseconds(10'000)});
    REQUIRE(opened.ok());
    client = *std::move(opened);
    return true;
  }

  nlohmann::json sync() {
    auto answer = client->request("GET", "/v1/sync", "");
    REQUIRE(answer.ok());
    return nlohmann::json::parse(answer->body);
  }
  void write(size_t count) {
    const Batch batch = records(static_cast<int64_t>(written), count);
    written += count;
    std::string why;
    const Written taken = write_lines(*client, to_line_protocol(batch), &why);
    INFO(why);
    REQUIRE(taken == Written::acknowledged);
    sent.add(batch);
  }
  bool until(const std::function<bool()>& holds) {
    const auto end = Steady::now() + kLimit;
    while (!holds()) {
      if (Steady::now() > end) return false;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return true;
  }
  // More failures than now, and the last is named so.
  void expect_named(const std::string& part) {
    const uint64_t before = sync()["failures"];
    std::string last;
    const bool named = until([&] {
      const auto now = sync();
      last = now["last_error"];
      return now["failures"].get<uint64_t>() > before && last.find(part) != std::string::npos;
    });
    INFO("'" << part << "' is expected in: " << last);
    CHECK(named);
  }
  void expect_everything_at_the_hub() {
    {
      const TwoHosts::On far(*hosts, Host::far);
      const Status started = hub.start();
      INFO((started.ok() ? "" : started.error().message));
      REQUIRE(started.ok());
    }
    CHECK(until([&] {
      const auto now = view(*client);
      return now.ok() && now->outbox_entries == 0;
    }));
    CHECK(sync()["last_error"] == "");
    auto exit = daemon->terminate();
    REQUIRE(exit.has_value());
    CHECK(exit->text() == "exit code 0");
    hub.terminate();
    auto held = read_hub_store(hub.store(), "island");
    REQUIRE(held.ok());
    const Difference difference = compare(sent, {}, held->records);
    INFO(difference.text());
    CHECK(difference.none());
  }

  test::TempDir folder;
  std::unique_ptr<TwoHosts> hosts;
  std::optional<TwoHosts::On> near;
  Hub hub;
  std::string resolv_conf;
  std::optional<Daemon> daemon;
  std::unique_ptr<http::Client> client;
  RecordSet sent;
  size_t written = 0;

 private:
  const std::string hub_name_;
};

}  // namespace

TEST_CASE("uplink faults: portals, redirects, errors, garbage and silence are named, and cost nothing but time") {
  Crossing crossing(TwoHosts::kFar);
  if (!crossing.start()) return;
  Random random(5);
  std::string garbage(40'000, '\0');
  for (char& c : garbage) c = static_cast<char>(random.below(256));
  const std::string page = "<!DOCTYPE html><html><body>Welcome to the harbour's WiFi. Please log in.</body></html>";
  struct Fault {
    const char* named;
    std::string answer;
  };
  const std::vector<Fault> faults = {
      {"captive portal", http_answer("200 OK", "Content-Type: text/html\r\n", page)},
      {"captive portal", http_answer("302 Found", "Location: http://login.example/\r\n", "")},
      {"answers 500", http_answer("500 Internal Server Error", "", "out of luck")},
      {"answers 503", http_answer("503 Service Unavailable", "Retry-After: 1\r\n", page)},
      {"no answer from", garbage},
      {"no answer from", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"},
      {"answers with", http_answer("200 OK", "", garbage)},
      {"nothing within", ""},
  };
  crossing.write(20);
  for (const Fault& fault : faults) {
    INFO("fault: " << fault.answer.substr(0, 40));
    const Impostor impostor(*crossing.hosts, Host::far, crossing.hub.port(), fault.answer);
    crossing.write(20);
    crossing.expect_named(fault.named);
  }
  crossing.expect_named("no answer from");  // nobody listens
  crossing.expect_everything_at_the_hub();
}

TEST_CASE("uplink faults: a connection that is half open is given up, whichever half is lost") {
  Crossing crossing(TwoHosts::kFar);
  if (!crossing.start()) return;
  {
    const TwoHosts::On far(*crossing.hosts, Host::far);
    REQUIRE(crossing.hub.start().ok());
  }
  for (const Host lost : {Host::near, Host::far}) {
    crossing.write(20);
    REQUIRE(crossing.until([&] { return crossing.sync()["online"] == true; }));
    crossing.hosts->set(lost, {.up = false});
    crossing.write(20);
    crossing.expect_named("nothing within");
    crossing.hosts->set(test::Line{});
  }
  REQUIRE(crossing.hub.terminate());
  crossing.expect_everything_at_the_hub();
}

TEST_CASE("uplink faults: names that are never answered, or answered wrongly, hold up nothing") {
  Crossing crossing("hub.example");
  crossing.resolv_conf = "nameserver 198.18.0.2\n";
  if (!crossing.start()) return;
  NameServer names(*crossing.hosts, Host::far);
  crossing.write(20);
  crossing.expect_named("nothing within");
  CHECK(names.asked > 0);
  crossing.write(20);  // and the node still takes records
  names.say("198.18.0.77");  // an address that nobody has
  crossing.expect_named("no answer from");
  {
    const Impostor elsewhere(*crossing.hosts, Host::near, crossing.hub.port(), http_answer("200 OK", "Content-Type: text/html\r\n", "<html>parked</html>"));
    names.say(TwoHosts::kNear);
    crossing.expect_named("captive portal");
  }
  names.say(TwoHosts::kFar);
  crossing.expect_everything_at_the_hub();
}
