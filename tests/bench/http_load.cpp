#include "tests/bench/http_load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>

namespace skerry::bench {
namespace {

using Steady = std::chrono::steady_clock;
constexpr int kPatienceMs = 20'000;

class Connection {
 public:
  static Result<std::unique_ptr<Connection>> open(uint16_t port) {
    std::unique_ptr<Connection> out(new Connection);
    out->fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (out->fd_ < 0 || ::connect(out->fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      return fail(Code::unavailable, "nobody listens on port {}", port);
    }
    const int one = 1;
    ::setsockopt(out->fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return out;
  }
  ~Connection() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  Steady::time_point asked() const { return asked_; }
  const std::string& answer() const { return buffer_; }

  Status ask(const std::string& request) {
    buffer_.clear();
    asked_ = Steady::now();
    for (size_t sent = 0; sent < request.size();) {
      const ssize_t n = ::send(fd_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return fail(Code::unavailable, "the server closed the connection");
      sent += static_cast<size_t>(n);
    }
    return {};
  }
  // After the socket became readable. True: the answer is whole.
  Result<bool> read() {
    char piece[65536];
    const ssize_t n = ::recv(fd_, piece, sizeof piece, 0);
    if (n <= 0) return fail(Code::unavailable, "the server closed the connection");
    buffer_.append(piece, static_cast<size_t>(n));
    const size_t header = buffer_.find("\r\n\r\n");
    if (header == std::string::npos) return false;
    return buffer_.size() >= header + 4 + length(std::string_view(buffer_).substr(0, header));
  }
  bool good() const { return buffer_.starts_with("HTTP/1.1 200"); }

 private:
  Connection() = default;
  static size_t length(std::string_view header) {
    constexpr std::string_view kNames[] = {"\r\nContent-Length: ", "\r\ncontent-length: "};
    for (std::string_view name : kNames) {
      const size_t at = header.find(name);
      if (at == std::string_view::npos) continue;
      size_t value = 0;
      std::from_chars(header.data() + at + name.size(), header.data() + header.size(), value);
      return value;
    }
    return 0;
  }
  int fd_ = -1;
  std::string buffer_;
  Steady::time_point asked_;
};

}  // namespace

std::string http_post(const std::string& target, const std::string& headers, const std::string& body) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}Content-Length: {}\r\n\r\n{}", target, headers, body.size(), body);
}

Result<LoadOutcome> run_load(const Load& load) {
  std::vector<std::unique_ptr<Connection>> connections(load.connections);
  std::vector<pollfd> ready;
  for (auto& connection : connections) {
    SKERRY_ASSIGN(connection, Connection::open(load.port));
    SKERRY_TRY(connection->ask(load.request));
    ready.push_back({connection->fd(), POLLIN, 0});
  }
  LoadOutcome outcome;
  uint32_t answers = 0;
  auto begin = Steady::now();
  while (answers < load.warm_up + load.answers) {
    if (::poll(ready.data(), ready.size(), kPatienceMs) <= 0) return fail(Code::unavailable, "no answer within {} ms", kPatienceMs);
    for (size_t i = 0; i < ready.size(); ++i) {
      if (ready[i].revents == 0) continue;
      SKERRY_ASSIGN(const bool whole, connections[i]->read());
      if (!whole) continue;
      const auto now = Steady::now();
      if (!connections[i]->good()) {
        outcome.failed += 1;
        outcome.last_failure = connections[i]->answer().substr(0, 400);
      }
      if (++answers == load.warm_up) begin = now;
      if (answers > load.warm_up) outcome.micros.push_back(std::chrono::duration<double, std::micro>(now - connections[i]->asked()).count());
      SKERRY_TRY(connections[i]->ask(load.request));
    }
  }
  outcome.seconds = std::chrono::duration<double>(Steady::now() - begin).count();
  return outcome;
}

}  // namespace skerry::bench
