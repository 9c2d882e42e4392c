#include "sync/internal/pipes.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include "base/units.h"
#include "sync/internal/proofs.h"

namespace skerry::sync::internal {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Steady = std::chrono::steady_clock;

constexpr uint64_t kAnswerBytesMax = 1 << 20;
constexpr uint32_t kAnswerHeaderBytesMax = 16 << 10;
constexpr size_t kPieceBytes = 64 << 10;

struct Waiting {                    // a request, written or not, that has no answer yet
  uint64_t ticket = 0;
  std::string bytes;                // head and body
  size_t head = 0, written = 0;
  Steady::time_point deadline;
};

// One connection. Handlers hold it; once `dead` they do nothing.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::io_context& io, const PipeTarget& target, Route r, Lane l, std::vector<Piped>& out)
      : route(std::move(r)), lane(l), token(read_token(target.proofs)), target_(target), resolver_(io), socket_(io), finished_(out) {}

  const Route route;
  const Lane lane;
  const Result<std::string> token;
  bool dead = false;
  std::deque<Waiting> requests;     // the oldest first

  void open() {  // once
    if (std::exchange(asked_, true)) return;
    if (!token.ok()) return end(token.error().message);
    if (target_.tls) {
      if (auto prepared = prepare(tls_, target_.proofs); !prepared.ok()) return end(prepared.error().message);
      secured_.emplace(socket_, tls_);
    }
    error_code not_a_number;
    const auto address = asio::ip::make_address(target_.host, not_a_number);
    uint16_t port = 0;
    if (!not_a_number && std::from_chars(target_.port.data(), target_.port.data() + target_.port.size(), port).ec == std::errc{}) {
      return connect({tcp::endpoint(address, port)}, 0, "");
    }
    resolver_.async_resolve(target_.host, target_.port, [self = shared_from_this()](const error_code& error, const tcp::resolver::results_type& found) {
      if (self->dead) return;
      if (error) return self->end(fmt::format("{} is not found: {}", self->target_.host, error.message()));
      std::vector<tcp::endpoint> all;
      for (const auto& entry : found) all.push_back(entry.endpoint());
      self->connect(std::move(all), 0, "");
    });
  }

  void write() {
    if (!open_ || writing_ || dead) return;
    auto next = std::find_if(requests.begin(), requests.end(), [](const Waiting& w) { return w.written < w.bytes.size(); });
    if (next == requests.end()) return;
    writing_ = true;
    const auto piece = asio::buffer(next->bytes.data() + next->written, std::min(kPieceBytes, next->bytes.size() - next->written));
    with_stream([&](auto& stream) {
      stream.async_write_some(piece, [self = shared_from_this(), ticket = next->ticket](const error_code& error, size_t n) { self->written(ticket, error, n); });
    });
  }

  // Every request on it is told, and the connection is closed.
  void end(const std::string& why) {
    if (dead) return;
    dead = true;
    error_code ignored;
    resolver_.cancel();
    socket_.close(ignored);
    for (Waiting& w : requests) finished_.push_back({w.ticket, 0, why, traffic_of(w)});
    requests.clear();
  }

 private:
  static Traffic traffic_of(const Waiting& w) { return {w.written - std::min(w.written, w.head), 0}; }

  template <typename Use>
  void with_stream(Use use) {
    if (secured_) use(*secured_);
    else use(socket_);
  }

  void connect(std::vector<tcp::endpoint> endpoints, size_t i, const std::string& trouble) {
    if (i >= endpoints.size()) return end(trouble.empty() ? "it has no address" : trouble);
    error_code error;
    socket_.close(error);
    const tcp::endpoint& to = endpoints[i];
    socket_.open(to.protocol(), error);
    if (error) return connect(std::move(endpoints), i + 1, error.message());
    if (auto tied = tie(socket_.native_handle(), to.protocol() == tcp::v6(), route); !tied.ok()) return connect(std::move(endpoints), i + 1, tied.error().message);
    const tcp::endpoint target = to;
    socket_.async_connect(target, [self = shared_from_this(), endpoints = std::move(endpoints), i](const error_code& failed) mutable {
      if (self->dead) return;
      if (failed) return self->connect(std::move(endpoints), i + 1, failed.message());
      self->connected();
    });
  }

  void connected() {
    error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    if (!secured_) return opened();
    error_code not_a_number;
    asio::ip::make_address(target_.host, not_a_number);
    if (not_a_number) SSL_set_tlsext_host_name(secured_->native_handle(), target_.host.c_str());  // RFC 6066: names only
    secured_->set_verify_callback(asio::ssl::host_name_verification(target_.host));
    secured_->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](const error_code& error) {
      if (self->dead) return;
      if (error) return self->end("no secure connection: " + explained(error.message()));
      self->opened();
    });
  }

  void opened() {
    open_ = true;
    expect_answer();
    write();
    read();
  }

  void expect_answer() {
    parser_.emplace();
    parser_->header_limit(kAnswerHeaderBytesMax);
    parser_->body_limit(kAnswerBytesMax);
    parser_->eager(true);
  }

  void written(uint64_t ticket, const error_code& error, size_t n) {
    writing_ = false;
    if (dead) return;
    auto request = std::find_if(requests.begin(), requests.end(), [&](const Waiting& w) { return w.ticket == ticket; });
    if (request != requests.end()) request->written += n;
    if (error) return end(error.message());
    write();
  }

  void read() {
    with_stream([&](auto& stream) {
      stream.async_read_some(buffer_.prepare(kPieceBytes / 4), [self = shared_from_this()](const error_code& error, size_t n) { self->came(error, n); });
    });
  }

  void came(const error_code& error, size_t n) {
    if (dead) return;
    buffer_.commit(n);
    while (buffer_.size() > 0) {
      error_code bad;
      buffer_.consume(parser_->put(buffer_.data(), bad));
      if (bad == http::error::need_more) break;
      if (bad) return end(fmt::format("its answer cannot be read: {}", bad.message()));
      if (!parser_->is_done()) continue;
      if (!answered()) return;
    }
    if (error) {
      error_code bad;
      if (parser_->got_some()) parser_->put_eof(bad);  // a body that ends with the connection
      if (!bad && parser_->is_done() && !answered()) return;
      return end(error == asio::error::eof || error == asio::ssl::error::stream_truncated ? "the connection was closed" : explained(error.message()));
    }
    read();
  }

  // False: the connection has ended.
  bool answered() {
    if (requests.empty()) return end("it answers what nobody asked"), false;
    Waiting& w = requests.front();
    auto message = parser_->release();
    const bool whole = w.written == w.bytes.size(), goes_on = whole && message.result_int() == 200 && message.keep_alive();
    if (message.result_int() == 200 && !whole) return end("it answers before it has the request"), false;
    Traffic traffic = traffic_of(w);
    traffic.received = message.body().size();
    finished_.push_back({w.ticket, static_cast<int>(message.result_int()), std::move(message.body()), traffic});
    requests.pop_front();
    if (!goes_on) return end("the connection was closed"), false;
    expect_answer();
    return true;
  }

  const PipeTarget& target_;
  tcp::resolver resolver_;
  tcp::socket socket_;
  asio::ssl::context tls_{asio::ssl::context::tls_client};
  std::optional<asio::ssl::stream<tcp::socket&>> secured_;
  std::vector<Piped>& finished_;
  std::optional<http::response_parser<http::string_body>> parser_;
  boost::beast::flat_buffer buffer_;
  bool asked_ = false, open_ = false, writing_ = false;
};

}  // namespace

struct Pipes::Impl {
  Impl(PipeTarget t, Duration d) : target(std::move(t)), timeout(d) {}
  ~Impl() {
    for (auto& c : connections) c->end("the end");
    io.poll();
  }

  const PipeTarget target;
  const Duration timeout;
  std::vector<Piped> finished;      // outlives the connections and their handlers
  asio::io_context io{1};
  std::vector<std::shared_ptr<Connection>> connections;

  bool busy() const {
    return std::any_of(connections.begin(), connections.end(), [](const auto& c) { return !c->requests.empty(); });
  }
  void forget_dead() {
    connections.erase(std::remove_if(connections.begin(), connections.end(), [](const auto& c) { return c->dead; }), connections.end());
  }

  Connection& connection(const Route& route, Lane lane) {
    for (auto& c : connections) {
      if (c->lane == lane && c->route == route) return *c;
    }
    connections.push_back(std::make_shared<Connection>(io, target, route, lane, finished));
    return *connections.back();
  }

  std::string head_of(size_t body_bytes, const std::string& token) const {
    const bool ordinary = target.port == (target.tls ? "443" : "80"), v6 = target.host.find(':') != std::string::npos;
    return fmt::format("POST {} HTTP/1.1\r\nHost: {}{}{}{}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n{}{}{}\r\n", target.path, v6 ? "[" : "",
                       target.host, v6 ? "]" : "", ordinary ? "" : ":" + target.port, body_bytes,
                       token.empty() ? "" : "Authorization: Bearer ", token, token.empty() ? "" : "\r\n");
  }

  Steady::time_point first_deadline() const {
    Steady::time_point first = Steady::time_point::max();
    for (const auto& c : connections) {
      if (!c->requests.empty()) first = std::min(first, c->requests.front().deadline);
    }
    return first;
  }

  void end_the_late() {
    for (auto& c : connections) {
      if (!c->requests.empty() && Steady::now() >= c->requests.front().deadline) c->end(fmt::format("nothing within {}", format_duration(timeout)));
    }
  }
};

Pipes::Pipes(PipeTarget target, Duration timeout) : impl_(std::make_unique<Impl>(std::move(target), timeout)) {}
Pipes::~Pipes() = default;

void Pipes::begin(const Route& route, Lane lane, uint64_t ticket, std::string body) {
  impl_->io.restart();
  impl_->io.poll();  // a connection that the hub closed meanwhile is found now
  impl_->forget_dead();
  Connection& c = impl_->connection(route, lane);
  Waiting request{.ticket = ticket, .bytes = impl_->head_of(body.size(), c.token.ok() ? *c.token : ""), .deadline = Steady::now() + impl_->timeout};
  request.head = request.bytes.size();
  request.bytes += body;
  c.requests.push_back(std::move(request));
  c.open();
  c.write();
}

void Pipes::prepare(const Route& route, Lane lane) {
  impl_->io.restart();
  impl_->io.poll();
  impl_->forget_dead();
  impl_->connection(route, lane).open();
}

std::vector<Piped> Pipes::wait(Duration at_most) {
  const auto end = Steady::now() + at_most;
  impl_->io.restart();
  impl_->io.poll();
  while (impl_->finished.empty() && impl_->busy()) {
    const auto now = Steady::now();
    impl_->end_the_late();
    if (now >= end || !impl_->finished.empty()) break;
    impl_->io.restart();
    impl_->io.run_one_until(std::min(end, impl_->first_deadline()));
  }
  impl_->forget_dead();
  return std::exchange(impl_->finished, {});
}

std::vector<Piped> Pipes::give_up() {
  for (auto& c : impl_->connections) {
    if (!c->requests.empty()) c->end("given up");
  }
  impl_->forget_dead();
  return std::exchange(impl_->finished, {});
}

void Pipes::close_idle() {
  for (auto& c : impl_->connections) {
    if (c->requests.empty()) c->end("");
  }
  impl_->forget_dead();
}

Status tie(int fd, bool ipv6, const Route& route) {
  auto failed = [&](const std::string& what, const char* remedy) {
    return fail(Code::unavailable, "bearer {}: {} cannot be set on a socket: {}{}", route.bearer, what, std::strerror(errno), remedy);
  };
  if (!route.device.empty() && ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, route.device.c_str(), static_cast<socklen_t>(route.device.size() + 1)) != 0) {
    return failed("device " + route.device, "");
  }
  if (route.mark != 0 && ::setsockopt(fd, SOL_SOCKET, SO_MARK, &route.mark, sizeof(route.mark)) != 0) {
    return failed("mark", ": give skerryd CAP_NET_ADMIN, or leave mark out");
  }
  const int traffic_class = route.dscp << 2;
  const int level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, option = ipv6 ? IPV6_TCLASS : IP_TOS;
  if (route.dscp != 0 && ::setsockopt(fd, level, option, &traffic_class, sizeof(traffic_class)) != 0) return failed("dscp", "");
  return {};
}

bool is_tied(const Route& route) { return !route.device.empty() || route.mark != 0 || route.dscp != 0; }

}  // namespace skerry::sync::internal
