#include "tests/support/chaos_proxy.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <future>
#include <set>
#include <thread>
#include <utility>

namespace skerry::test {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

enum class Mode { pass, down, blackhole };

void reset(tcp::socket& socket) {  // a RST rather than a FIN: what a dying link or a kill -9 looks like
  error_code ignored;
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
}

}  // namespace

// Everything below runs on the one thread of `io`; only the counters are read from outside.
struct ChaosProxy::Impl {
  struct Connection;

  asio::io_context io;
  tcp::acceptor acceptor{io};
  std::string host;
  uint16_t target = 0, port = 0;
  Mode mode = Mode::pass;
  int swallow = 0, hang = 0;
  uint64_t cut_request = 0, cut_response = 0, bytes_per_second = 0;
  std::set<std::shared_ptr<Connection>> connections;
  std::atomic<uint64_t> accepted{0}, swallowed{0}, cut{0}, up{0}, down{0};
  std::thread thread;

  struct Connection : std::enable_shared_from_this<Connection> {
    struct Direction {
      explicit Direction(asio::io_context& io) : timer(io) {}
      std::array<char, 16384> buffer;
      uint64_t forwarded = 0;
      asio::steady_timer timer;
    };

    Connection(Impl& owner, tcp::socket accepted_socket)
        : proxy(owner), client(std::move(accepted_socket)), server(owner.io), to_server(owner.io), to_client(owner.io) {}

    Impl& proxy;
    tcp::socket client, server;
    Direction to_server, to_client;
    bool client_mute = false;  // an answer was hung: the client hears nothing any more

    void start() {
      if (proxy.mode == Mode::blackhole) return swallow_input();
      error_code bad;
      auto address = asio::ip::make_address(proxy.host, bad);
      if (bad) return close();
      server.async_connect({address, proxy.target}, [self = shared_from_this()](error_code error) {
        if (error) return self->close();
        self->pump(self->client, self->server, self->to_server, false);
        self->pump(self->server, self->client, self->to_client, true);
      });
    }

    void swallow_input() {
      client.async_read_some(asio::buffer(to_server.buffer), [self = shared_from_this()](error_code error, size_t) {
        if (error) return self->close();
        self->swallow_input();
      });
    }

    void pump(tcp::socket& from, tcp::socket& to, Direction& way, bool answer) {
      from.async_read_some(asio::buffer(way.buffer), [self = shared_from_this(), &from, &to, &way, answer](error_code error, size_t n) {
        if (error == asio::error::eof) return self->end_of(from, to);
        if (error) return self->close();
        self->forward(from, to, way, answer, n);
      });
    }

    void forward(tcp::socket& from, tcp::socket& to, Direction& way, bool answer, size_t n) {
      if (answer && client_mute) return pump(from, to, way, answer);
      if (answer && proxy.swallow > 0) {
        --proxy.swallow;
        ++proxy.swallowed;
        return close();
      }
      if (answer && proxy.hang > 0) {
        --proxy.hang;
        ++proxy.swallowed;
        client_mute = true;
        return pump(from, to, way, answer);
      }
      uint64_t& limit = answer ? proxy.cut_response : proxy.cut_request;
      bool last = limit != 0 && way.forwarded + n >= limit;
      if (last) {
        n = limit - std::min<uint64_t>(way.forwarded, limit);
        limit = 0;
      }
      way.forwarded += n;
      (answer ? proxy.down : proxy.up) += n;
      asio::async_write(to, asio::buffer(way.buffer.data(), n),
                        [self = shared_from_this(), &from, &to, &way, answer, last, n](error_code error, size_t) {
                          if (last) {
                            ++self->proxy.cut;
                            return self->close_gently(answer);
                          }
                          if (error) return self->close();
                          self->pause(from, to, way, answer, n);
                        });
    }

    void pause(tcp::socket& from, tcp::socket& to, Direction& way, bool answer, size_t n) {
      if (proxy.bytes_per_second == 0) return pump(from, to, way, answer);
      way.timer.expires_after(std::chrono::microseconds(n * 1'000'000 / proxy.bytes_per_second));
      way.timer.async_wait([self = shared_from_this(), &from, &to, &way, answer](error_code error) {
        if (!error) self->pump(from, to, way, answer);
      });
    }

    // One side has finished sending: tell the other, keep its answer flowing.
    void end_of(tcp::socket& from, tcp::socket& to) {
      error_code ignored;
      to.shutdown(tcp::socket::shutdown_send, ignored);
      if (&from == &server) close();
    }

    // After a cut the side that received the part must be able to read it, so it gets a FIN; the other gets a RST.
    void close_gently(bool answer) {
      error_code ignored;
      (answer ? client : server).close(ignored);
      close();
    }

    void close() {
      reset(client);
      reset(server);
      to_server.timer.cancel();
      to_client.timer.cancel();
      proxy.connections.erase(shared_from_this());
    }
  };

  void accept() {
    acceptor.async_accept([self = this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error) {
        ++self->accepted;
        if (self->mode == Mode::down) {
          reset(socket);
        } else {
          auto connection = std::make_shared<Connection>(*self, std::move(socket));
          self->connections.insert(connection);
          connection->start();
        }
      }
      self->accept();
    });
  }

  void reset_all() {
    auto open = connections;
    for (const auto& connection : open) connection->close();
  }

  // Runs `change` on the proxy's thread and waits for it.
  template <typename F>
  void change(F change) {
    std::promise<void> done;
    asio::post(io, [&] {
      change();
      done.set_value();
    });
    done.get_future().wait();
  }
};

Result<std::unique_ptr<ChaosProxy>> ChaosProxy::start(std::string target_host, uint16_t target_port, uint16_t listen_port) {
  auto impl = std::make_shared<Impl>();
  impl->host = target_host == "localhost" ? "127.0.0.1" : std::move(target_host);
  impl->target = target_port;
  try {
    tcp::endpoint endpoint(asio::ip::address_v4::loopback(), listen_port);
    impl->acceptor.open(endpoint.protocol());
    impl->acceptor.set_option(asio::socket_base::reuse_address(true));
    impl->acceptor.bind(endpoint);
    impl->acceptor.listen();
    impl->port = impl->acceptor.local_endpoint().port();
  } catch (const std::exception& e) {
    return fail(Code::unavailable, "the proxy cannot listen on port {}: {}", listen_port, e.what());
  }
  impl->accept();
  impl->thread = std::thread([impl = impl.get()] { impl->io.run(); });
  return std::unique_ptr<ChaosProxy>(new ChaosProxy(std::move(impl)));
}

ChaosProxy::ChaosProxy(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ChaosProxy::~ChaosProxy() {
  impl_->change([this] {
    error_code ignored;
    impl_->acceptor.close(ignored);
    impl_->reset_all();
  });
  impl_->thread.join();  // no work is left: run() returns by itself
}

uint16_t ChaosProxy::port() const { return impl_->port; }
std::string ChaosProxy::url() const { return "http://127.0.0.1:" + std::to_string(impl_->port); }

void ChaosProxy::pass() {
  impl_->change([this] {
    impl_->mode = Mode::pass;
    impl_->swallow = impl_->hang = 0;
    impl_->cut_request = impl_->cut_response = impl_->bytes_per_second = 0;
  });
}
void ChaosProxy::down() {
  impl_->change([this] {
    impl_->mode = Mode::down;
    impl_->reset_all();
  });
}
void ChaosProxy::blackhole() {
  impl_->change([this] {
    impl_->mode = Mode::blackhole;
    impl_->reset_all();
  });
}
void ChaosProxy::swallow_responses(int n) {
  impl_->change([=, this] { impl_->swallow = n; });
}
void ChaosProxy::hang_responses(int n) {
  impl_->change([=, this] { impl_->hang = n; });
}
void ChaosProxy::cut_request_after(uint64_t bytes) {
  impl_->change([=, this] { impl_->cut_request = bytes; });
}
void ChaosProxy::cut_response_after(uint64_t bytes) {
  impl_->change([=, this] { impl_->cut_response = bytes; });
}
void ChaosProxy::rate(uint64_t bytes_per_second) {
  impl_->change([=, this] { impl_->bytes_per_second = bytes_per_second; });
}
void ChaosProxy::retarget(uint16_t target_port) {
  impl_->change([=, this] { impl_->target = target_port; });
}
void ChaosProxy::reset_connections() {
  impl_->change([this] { impl_->reset_all(); });
}

uint64_t ChaosProxy::accepted() const { return impl_->accepted; }
uint64_t ChaosProxy::swallowed() const { return impl_->swallowed; }
uint64_t ChaosProxy::cut() const { return impl_->cut; }
uint64_t ChaosProxy::bytes_up() const { return impl_->up; }
uint64_t ChaosProxy::bytes_down() const { return impl_->down; }

}  // namespace skerry::test
