#include "base/http_server.h"

#include <utility>  // Boost 1.74's Asio needs std::exchange and does not include it

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/version.hpp>
#include <mutex>
#include <optional>
#include <set>

#include "base/internal/http_target.h"
#include "base/internal/http_tls.h"
#include "base/log.h"

namespace skerry::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using tcp = asio::ip::tcp;

constexpr uint64_t kLingerBytesMax = 4 << 20;  // read and thrown away so that a refused client sees its answer
constexpr auto kLingerTime = std::chrono::seconds(2);
constexpr size_t kReadBytes = 16 << 10;      // at once
constexpr std::chrono::milliseconds kLookMin{10}, kLookMax{1000};  // between two looks at the deadlines

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

using SteadyPoint = std::chrono::steady_clock::time_point;

// One accepted connection, and how long what it waits for may take. One timer looks after all of them: arming one for each step of each
// request would cost more than the request.
struct Connection {
  enum class Late { close, stop_reading };  // the second lets the client still be told why

  explicit Connection(tcp::socket s) : socket(std::move(s)) {}
  void within(std::chrono::milliseconds time, Late then) {
    deadline = std::chrono::steady_clock::now() + time;
    late = then;
  }
  void any_time() { deadline = SteadyPoint::max(); }
  void look(SteadyPoint now) {
    if (now < deadline) return;
    any_time();
    beast::error_code ignored;
    if (late == Late::stop_reading) {
      passed = true;
      socket.cancel(ignored);
    } else {
      socket.close(ignored);
    }
  }

  tcp::socket socket;
  std::optional<asio::ssl::stream<tcp::socket&>> tls;
  std::string peer;  // see Request
  SteadyPoint deadline = SteadyPoint::max();
  Late late = Late::close;
  bool passed = false;
};

// An answer that may come before somebody waits for it, or after, from another thread.
class Answered {
 public:
  using Waiter = std::function<void(Response)>;
  void put(Response response) {
    std::unique_lock lock(mutex_);
    if (!waiter_) {
      response_ = std::move(response);
      return;
    }
    Waiter waiter = std::move(waiter_);
    lock.unlock();
    waiter(std::move(response));
  }
  std::optional<Response> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(response_, std::nullopt);
  }
  void wait(Waiter waiter) {
    std::unique_lock lock(mutex_);
    if (!response_) {
      waiter_ = std::move(waiter);
      return;
    }
    Response response = std::move(*response_);
    lock.unlock();
    waiter(std::move(response));
  }

 private:
  std::mutex mutex_;
  std::optional<Response> response_;
  Waiter waiter_;
};

// Status line and fields. `length`: of the body; none: chunks of it follow, or (before 1.1) all until the connection ends.
std::string header_text(const Response& response, unsigned version, bool keep_alive, std::optional<size_t> length) {
  const auto reason = bhttp::obsolete_reason(static_cast<bhttp::status>(response.status));
  std::string out;
  out.reserve(256);
  fmt::format_to(std::back_inserter(out), "HTTP/1.{} {} {}\r\nServer: skerry\r\n", version % 10, response.status,
                 std::string_view(reason.data(), reason.size()));
  const bool has_body = response.status != 204 && response.status != 304;
  if (!response.content_type.empty() && has_body) fmt::format_to(std::back_inserter(out), "Content-Type: {}\r\n", response.content_type);
  for (const auto& [name, value] : response.headers) fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  if (version >= 11 && !keep_alive) out += "Connection: close\r\n";
  if (version < 11 && keep_alive) out += "Connection: keep-alive\r\n";
  if (length && has_body) fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", *length);
  if (!length && version >= 11) out += "Transfer-Encoding: chunked\r\n";
  return out + "\r\n";
}

class BeastServer final : public Server {
 public:
  BeastServer(const ServerOptions& options, Handler handler, DirectHandler direct)
      : options_(options),
        handler_(std::move(handler)),
        direct_(std::move(direct)),
        look_every_(std::clamp<std::chrono::milliseconds>(std::min(options.request_timeout, options.idle_timeout) / 4, kLookMin, kLookMax)),
        pool_(std::max(1u, options.handler_threads)) {}

  Status listen() {
    if (options_.tls) {
      SKERRY_ASSIGN(tls_, internal::tls_context(*options_.tls));
    }
    beast::error_code error;
    auto address = asio::ip::make_address(options_.address, error);
    if (error) {
      return fail(Code::invalid, "'{}' is not an address: write e.g. 127.0.0.1 or 0.0.0.0", options_.address);
    }
    tcp::endpoint endpoint(address, options_.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return fail(Code::unavailable, "cannot listen on {}:{}: {}; is another instance running? choose another port",
                  options_.address, options_.port, error.message());
    }
    asio::co_spawn(io_, accept_loop(), asio::detached);
    return {};
  }

  void run() override {
    io_.run();
    pool_.stop();
    pool_.join();
  }
  void stop() override { io_.stop(); }
  uint16_t port() const override {
    beast::error_code ignored;
    return acceptor_.local_endpoint(ignored).port();
  }

 private:
  using Late = Connection::Late;
  using Parser = bhttp::request_parser<bhttp::string_body>;

  asio::awaitable<void> accept_loop() {
    while (true) {
      beast::error_code error;
      tcp::socket socket(io_);
      co_await acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
      if (error) {  // e.g. out of file descriptors: give connections time to end
        if (error == asio::error::operation_aborted) co_return;
        log::warn("http", "cannot accept a connection: {}", error.message());
        asio::steady_timer pause(io_, std::chrono::milliseconds(100));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      socket.set_option(tcp::no_delay(true), error);
      socket.non_blocking(true, error);
      bool crowded = connections_.fetch_add(1) >= options_.connections_max;
      asio::co_spawn(io_, serve(std::move(socket), crowded), [this](std::exception_ptr) { --connections_; });
    }
  }

  // Looks after all deadlines, as long as there are connections.
  asio::awaitable<void> watch() {
    beast::error_code error;
    asio::steady_timer timer(io_);
    while (!live_.empty()) {
      timer.expires_after(look_every_);
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
      const SteadyPoint now = std::chrono::steady_clock::now();
      for (Connection* connection : live_) connection->look(now);
    }
    watching_ = false;
  }

  class Registered {
   public:
    Registered(BeastServer& server, Connection& connection) : server_(server), connection_(connection) {
      server_.live_.insert(&connection_);
      if (std::exchange(server_.watching_, true)) return;
      asio::co_spawn(server_.io_, server_.watch(), asio::detached);
    }
    ~Registered() { server_.live_.erase(&connection_); }
    Registered(const Registered&) = delete;

   private:
    BeastServer& server_;
    Connection& connection_;
  };

  asio::awaitable<void> serve(tcp::socket socket, bool crowded) {
    Connection connection(std::move(socket));
    const Registered registered(*this, connection);
    beast::flat_buffer buffer(options_.header_bytes_max + 65536);
    beast::error_code error;
    if (tls_ && (crowded || !co_await shake_hands(connection))) co_return;
    if (crowded) {
      const Response refusal = error_response(503, "too many connections: try again, or raise http.connections_max");
      co_await refuse(connection, refusal);
      co_return;
    }
    while (true) {
      if (buffer.size() == 0) {  // the idle time runs until the first byte, the request time from there to the last
        connection.within(options_.idle_timeout, Late::close);
        co_await read_some(connection, buffer, error);
        if (error) break;
      }
      connection.within(options_.request_timeout, Late::stop_reading);
      Parser parser;
      parser.header_limit(options_.header_bytes_max);
      parser.body_limit(options_.body_bytes_max);
      co_await read_request(connection, buffer, parser, error);
      connection.any_time();
      if (error) {
        if (auto refusal = refusal_for(error, connection.passed)) co_await refuse(connection, *refusal);
        break;
      }
      const bool keep_alive = parser.get().keep_alive(), head = parser.get().method() == bhttp::verb::head;
      const unsigned version = parser.get().version();
      Response response = co_await answer(parser.release(), head, connection.peer);
      if (response.source) {
        if (!co_await send_in_pieces(connection, std::move(response), version, keep_alive, head) || !keep_alive) break;
        continue;
      }
      connection.within(options_.request_timeout, Late::close);
      const std::string header = header_text(response, version, keep_alive, response.body.size());
      const std::string_view body = head ? std::string_view() : std::string_view(response.body);
      co_await send(connection, header, body, error);
      if (error || !keep_alive) break;
    }
    co_await say_goodbye(connection);
  }

  asio::awaitable<bool> shake_hands(Connection& connection) {
    beast::error_code error;
    connection.within(options_.request_timeout, Late::close);
    connection.tls.emplace(connection.socket, *tls_);
    co_await connection.tls->async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      log::warn("http", "a client was not let in: {}", error.message());
      co_return false;
    }
    std::unique_ptr<X509, void (*)(X509*)> certificate(SSL_get_peer_certificate(connection.tls->native_handle()), X509_free);
    connection.peer = internal::common_name(certificate.get());
    co_return true;
  }

  asio::awaitable<void> say_goodbye(Connection& connection) {
    beast::error_code error;
    if (connection.tls) {
      connection.within(kLingerTime, Late::close);
      co_await connection.tls->async_shutdown(asio::redirect_error(asio::use_awaitable, error));
    }
    connection.socket.shutdown(tcp::socket::shutdown_send, error);
  }

  asio::awaitable<size_t> receive(Connection& connection, asio::mutable_buffer into, beast::error_code& error) {
    auto token = asio::redirect_error(asio::use_awaitable, error);
    if (connection.tls) co_return co_await connection.tls->async_read_some(into, token);
    co_return co_await connection.socket.async_read_some(into, token);
  }

  template <typename Buffers>
  asio::awaitable<void> transmit(Connection& connection, const Buffers& buffers, beast::error_code& error) {
    auto token = asio::redirect_error(asio::use_awaitable, error);
    if (connection.tls) co_await asio::async_write(*connection.tls, buffers, token);
    else co_await asio::async_write(connection.socket, buffers, token);
  }

  asio::awaitable<void> read_some(Connection& connection, beast::flat_buffer& buffer, beast::error_code& error) {
    const size_t room = std::min(buffer.max_size() - buffer.size(), kReadBytes);
    if (room == 0) {
      error = bhttp::error::buffer_overflow;
      co_return;
    }
    const asio::mutable_buffer space = buffer.prepare(room);
    size_t n = 0;
    if (connection.tls) n = co_await receive(connection, space, error);
    else n = co_await connection.socket.async_read_some(space, asio::redirect_error(asio::use_awaitable, error));
    buffer.commit(n);
  }

  asio::awaitable<void> read_request(Connection& connection, beast::flat_buffer& buffer, Parser& parser, beast::error_code& error) {
    parser.eager(true);
    bool told = false;
    while (true) {
      buffer.consume(parser.put(buffer.data(), error));
      if (error == bhttp::error::need_more) error = {};
      if (error || parser.is_done()) co_return;
      if (parser.is_header_done() && !told && beast::iequals(parser.get()[bhttp::field::expect], "100-continue")) {
        told = true;
        co_await send(connection, "HTTP/1.1 100 Continue\r\n\r\n", "", error);
        if (error) co_return;
      }
      co_await read_some(connection, buffer, error);
      if (error == asio::error::eof) error = bhttp::error::partial_message;
      if (error) co_return;
    }
  }

  // Mostly all of it goes at once, and nobody has to wait. What is sent has a name where this is awaited: g++ 12 destroys some temporaries
  // of such expressions twice.
  asio::awaitable<void> send(Connection& connection, std::string_view header, std::string_view body, beast::error_code& error) {
    const std::array<asio::const_buffer, 2> both{asio::buffer(header), asio::buffer(body)};
    if (connection.tls) {
      co_await transmit(connection, both, error);
      co_return;
    }
    size_t sent = connection.socket.write_some(both, error);
    if (error && error != asio::error::would_block && error != asio::error::try_again) co_return;
    error = {};
    if (sent == header.size() + body.size()) co_return;
    const std::array<asio::const_buffer, 2> rest{both[0] + sent, both[1] + (sent - std::min(sent, header.size()))};
    co_await transmit(connection, rest, error);
  }

  std::optional<Response> refusal_for(const beast::error_code& error, bool too_late) {
    if (too_late) return error_response(408, "the request did not arrive in time");
    if (error == bhttp::error::body_limit) {
      return error_response(413, fmt::format("the body is larger than {} bytes: send it in parts, or raise http.body_bytes_max",
                                             options_.body_bytes_max));
    }
    if (error == bhttp::error::header_limit || error == bhttp::error::buffer_overflow) {
      return error_response(431, fmt::format("the header is larger than {} bytes", options_.header_bytes_max));
    }
    if (error.category() == make_error_code(bhttp::error::bad_method).category() && error != bhttp::error::end_of_stream &&
        error != bhttp::error::partial_message) {
      return error_response(400, fmt::format("this is not HTTP/1.1: {}", error.message()));
    }
    return std::nullopt;  // the peer went away
  }

  // Answers, then reads on for a moment: a close with unread bytes would reset the connection and take the answer with it.
  asio::awaitable<void> refuse(Connection& connection, const Response& refusal) {
    beast::error_code error;
    connection.within(kLingerTime, Late::close);
    const std::string header = header_text(refusal, 11, false, refusal.body.size());
    co_await send(connection, header, refusal.body, error);
    if (error) co_return;
    if (!connection.tls) connection.socket.shutdown(tcp::socket::shutdown_send, error);
    std::string waste(65536, '\0');
    for (uint64_t drained = 0; drained < kLingerBytesMax;) {
      const size_t n = co_await receive(connection, asio::buffer(waste), error);
      if (error) break;
      drained += n;
    }
  }

  asio::awaitable<Response> answer(bhttp::request<bhttp::string_body> request, bool head, const std::string& peer) {
    Request ours;
    ours.peer = peer;
    ours.method = head ? "GET" : std::string(request.method_string());
    Response response;
    auto target = request.target();
    if (!internal::parse_target(std::string_view(target.data(), target.size()), ours)) {
      response = error_response(400, "the request target is not a valid path");
    } else {
      for (const auto& field : request) {
        auto name = field.name_string(), value = field.value();
        ours.headers[lower({name.data(), name.size()})] = std::string(value.data(), value.size());
      }
      ours.body = std::move(request.body());
      response = co_await handle(ours);
    }
    co_return response;
  }

  // There and back: `work` runs in the pool, the coroutine goes on in the thread of run().
  template <typename Answer, typename Work>
  asio::awaitable<Answer> in_pool(Work work) {
    auto hand_over = [this, &work](auto done) {
      asio::post(pool_, [this, &work, done = std::move(done)]() mutable {
        Answer answer = work();
        asio::post(io_, [done = std::move(done), answer = std::move(answer)]() mutable { done(std::move(answer)); });
      });
    };
    co_return co_await asio::async_initiate<decltype(asio::use_awaitable), void(Answer)>(hand_over, asio::use_awaitable);
  }

  asio::awaitable<Response> handle(Request& request) {
    if (direct_) {
      auto answered = std::make_shared<Answered>();
      if (take_directly(request, answered)) {
        if (auto response = answered->take()) co_return std::move(*response);
        co_return co_await later(answered);
      }
    }
    co_return co_await in_pool<Response>([this, &request] { return call_handler(request); });
  }

  bool take_directly(Request& request, const std::shared_ptr<Answered>& answered) {
    try {
      return direct_(request, [answered](Response response) { answered->put(std::move(response)); });
    } catch (const std::exception& e) {
      log::error("http", "{} {} failed: {}", request.method, request.path, e.what());
      answered->put(error_response(500, fmt::format("internal error: {}", e.what())));
      return true;
    }
  }

  // The answer of somebody else's thread; the coroutine goes on in the one of run().
  asio::awaitable<Response> later(std::shared_ptr<Answered> answered) {
    auto start = [this, &answered](auto done) {
      auto held = std::make_shared<decltype(done)>(std::move(done));
      answered->wait([this, held](Response response) {
        asio::post(io_, [held, response = std::move(response)]() mutable { (*held)(std::move(response)); });
      });
    };
    co_return co_await asio::async_initiate<decltype(asio::use_awaitable), void(Response)>(start, asio::use_awaitable);
  }

  // True: the whole answer is out. The version before 1.1 knows no chunks: there the end is the connection's.
  asio::awaitable<bool> send_in_pieces(Connection& connection, Response response, unsigned version, bool keep_alive, bool head) {
    beast::error_code error;
    const bool chunked = version >= 11;
    connection.within(options_.request_timeout, Late::close);
    const std::string header = header_text(response, version, keep_alive && chunked, std::nullopt);
    co_await send(connection, header, "", error);
    if (error || head) co_return !error && chunked;
    std::string piece = std::move(response.body);
    while (true) {
      connection.within(options_.request_timeout, Late::close);
      if (!piece.empty() && chunked) {
        const auto chunk = bhttp::make_chunk(asio::buffer(piece));
        co_await transmit(connection, chunk, error);
      }
      if (!piece.empty() && !chunked) {
        const auto whole = asio::buffer(piece);
        co_await transmit(connection, whole, error);
      }
      if (error) co_return false;
      connection.any_time();
      Result<std::string> next = co_await in_pool<Result<std::string>>([&response] { return call_source(*response.source); });
      if (!next.ok()) {
        log::warn("http", "an answer was cut off: {}", next.error().message);
        co_return false;
      }
      piece = std::move(*next);
      if (piece.empty()) break;
    }
    if (!chunked) co_return false;
    bhttp::fields trailers;
    for (const auto& [name, value] : response.source->trailers()) trailers.set(name, value);
    connection.within(options_.request_timeout, Late::close);
    const auto last = bhttp::make_chunk_last(trailers);
    co_await transmit(connection, last, error);
    co_return !error;
  }

  static Result<std::string> call_source(BodySource& source) {
    try {
      return source.next();
    } catch (const std::exception& e) {
      return fail(Code::internal, "{}", e.what());
    }
  }

  Response call_handler(Request& request) const {
    try {
      return handler_(request);
    } catch (const std::exception& e) {
      log::error("http", "{} {} failed: {}", request.method, request.path, e.what());
      return error_response(500, fmt::format("internal error: {}", e.what()));
    }
  }

  const ServerOptions options_;
  const Handler handler_;
  const DirectHandler direct_;
  const std::chrono::milliseconds look_every_;
  std::unique_ptr<asio::ssl::context> tls_;  // null: plain HTTP
  // Both belong to the thread of run(); before io_, as its coroutines leave the set when they end with it.
  std::set<Connection*> live_;
  bool watching_ = false;
  // One thread moves bytes: with several, Asio hands its reactor from one to the other several times per request, and each time is a
  // chance to wait for whatever else the core is doing.
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  asio::thread_pool pool_;  // after io_: its tasks hold coroutines of io_
  std::atomic<uint32_t> connections_{0};
};

}  // namespace

Result<std::unique_ptr<Server>> Server::open(const ServerOptions& options, Handler handler, DirectHandler direct) {
  auto server = std::make_unique<BeastServer>(options, std::move(handler), std::move(direct));
  SKERRY_TRY(server->listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace skerry::http
