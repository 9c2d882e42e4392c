// The uplink over HTTP. Batches go through internal/pipes, several at a time. A HELLO goes through cpprestsdk, which only this file knows. The
// library has no bound on what a peer may send and none on the whole time of an exchange, and it ends the process when a failed task is never
// looked at; so here every task is looked at, and a watch on the calling thread cuts the socket when time or size is up.
#define _TURN_OFF_PLATFORM_STRING  // a macro named U
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <cpprest/http_client.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pplx/threadpool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "base/units.h"
#include "sync/internal/pipes.h"
#include "sync/internal/proofs.h"
#include "sync/internal/socket_watch.h"
#include "sync/uplink.h"

namespace skerry::sync {
namespace {

namespace http = web::http;

constexpr uint64_t kAnswerBytesMax = 1 << 20;   // of a body: a hub's answers are some hundred bytes
constexpr uint64_t kSocketBytesMax = kAnswerBytesMax + (256 << 10);  // with headers, chunk framing and TLS
constexpr size_t kMessageCharsMax = 300;        // of a refusal, as shown to people
constexpr auto kWatchInterval = std::chrono::milliseconds(10);
constexpr size_t kLibraryThreads = 2;           // its default is 40

// What the library's threads and the caller share. The last of them to let go frees it, so a task that ends after the call
// has returned finds everything it touches.
struct Exchange {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  int status = 0;
  std::string body, error;
  bool abandoned = false;  // nobody waits any more
  uint64_t sent = 0, received = 0;

  // Throwing ends the exchange. The library repeats a request by itself when a kept-alive connection dies under it: what goes over the
  // link is for the Syncer to decide, and to count.
  void progress(http::message_direction::direction direction, uint64_t bytes) {
    std::lock_guard lock(mutex);
    if (abandoned) throw std::runtime_error("given up");
    if (direction == http::message_direction::upload) {
      if (bytes < sent) throw std::runtime_error("the connection was lost");
      sent = bytes;
    } else {
      received = bytes;
      if (bytes > kAnswerBytesMax) throw std::runtime_error("the answer is too large");
    }
  }
  void finish(std::string problem) {
    std::lock_guard lock(mutex);
    error = std::move(problem);
    done = true;
    changed.notify_all();
  }
};

std::string printable(std::string text) {
  text.resize(std::min(text.size(), kMessageCharsMax));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

// What a hub never answers with, and everything between a node and its hub that wants to be talked to does.
bool is_web_page(std::string_view body) {
  const size_t begin = body.substr(0, 256).find_first_not_of(" \t\r\n\xef\xbb\xbf");
  return begin != std::string_view::npos && body[begin] == '<';
}

using PlainSocket = boost::asio::ip::tcp::socket;

int descriptor(http::client::native_handle handle, bool tls) {  // what the handle is, the library's documentation of it says
  return tls ? static_cast<boost::asio::ssl::stream<PlainSocket&>*>(handle)->lowest_layer().native_handle()
             : static_cast<PlainSocket*>(handle)->native_handle();
}

using internal::is_tied;
using internal::Piped;
using internal::Pipes;
using internal::tie;

Status can_tie(const Route& route) {
  if (!is_tied(route)) return {};
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(Code::unavailable, "no socket for bearer {}: {}", route.bearer, std::strerror(errno));
  Status tied = tie(fd, false, route);
  ::close(fd);
  return tied;
}

// The library opens a socket when it connects, unless it is open already: so it is opened here, of IPv4, and tied.
void open_tied(PlainSocket::lowest_layer_type& socket, const Route& route) {
  boost::system::error_code error;
  if (!is_tied(route) || socket.is_open()) return;
  socket.open(boost::asio::ip::tcp::v4(), error);
  if (error) return;
  if (auto tied = tie(socket.native_handle(), false, route); !tied.ok()) ::shutdown(socket.native_handle(), SHUT_RDWR);
}

void limit_library_threads() {
  static std::once_flag once;
  std::call_once(once, [] {
    try {
      crossplat::threadpool::initialize_with_threads(kLibraryThreads);
    } catch (const std::exception&) {  // already started by other code of this process: its size stays
    }
  });
}

class HttpUplink final : public Uplink {
 public:
  explicit HttpUplink(const Options& options) : options_(options) { limit_library_threads(); }

  Result<HelloReply> hello(const Hello& message) override {
    if (has_waiting(message) && (pipes_ || make_pipes().ok())) pipes_->prepare(route_, Lane::bulk);  // one round trip less until its first batch
    auto answered = post("/v1/sync/hello", encode(message));
    if (!answered.ok() && pipes_) pipes_->close_idle();  // or it would wait in the back-off of a connect that nobody answered
    SKERRY_ASSIGN(const std::string answer, std::move(answered));
    return is_web_page(answer) ? portal(Code::corrupt, "a web page") : checked(decode_hello_reply(answer));
  }
  Result<RangeReply> range(const RangeAsk& message) override {
    SKERRY_ASSIGN(std::string answer, post("/v1/sync/range", encode(message)));
    return checked(decode_range_reply(answer));
  }
  Result<ChunkReply> chunk(const ChunkAsk& message) override {
    SKERRY_ASSIGN(std::string answer, post("/v1/sync/chunk", encode(message)));
    return checked(decode_chunk_reply(answer));
  }
  uint64_t begin(uint64_t ticket, Batch message, Lane lane) override {
    if (!pipes_) {
      if (auto made = make_pipes(); !made.ok()) {
        refused_.push_back(no_answer(ticket, made.error()));
        return 0;
      }
    }
    std::string body = encode(message);
    const uint64_t bytes = body.size();
    pipes_->begin(route_, lane, ticket, std::move(body));
    return bytes;
  }
  std::vector<Answer> answers(Duration at_most) override {
    std::vector<Answer> all = std::exchange(refused_, {});
    if (pipes_) tell(pipes_->wait(all.empty() ? at_most : Duration::zero()), all);
    return all;
  }
  std::vector<Answer> give_up() override {
    std::vector<Answer> all = std::exchange(refused_, {});
    if (pipes_) tell(pipes_->give_up(), all);
    return all;
  }
  Traffic traffic() const override { return traffic_; }
  void use(const Route& route) override {
    if (route != route_) client_.reset();
    route_ = route;
  }
  void link_changed() override {
    client_.reset();
    if (pipes_) pipes_->close_idle();
  }

 private:
  Status make_pipes() {
    try {
      SKERRY_ASSIGN(const web::uri uri, address());
      const bool tls = uri.scheme() == "https";
      const int port = uri.port() > 0 ? uri.port() : tls ? 443 : 80;
      std::string path = uri.path();
      while (!path.empty() && path.back() == '/') path.pop_back();
      std::string host = uri.host();
      if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
      pipes_.emplace(internal::PipeTarget{host, std::to_string(port), path + "/v1/sync/batch", tls, options_.proofs}, options_.request_timeout);
    } catch (const std::exception& e) {
      return bad_address(e.what());
    }
    return {};
  }

  Result<web::uri> address() const {  // throws what the library throws
    const web::uri uri(options_.hub);
    if (uri.scheme() != "http" && uri.scheme() != "https") return bad_address("it is neither http nor https");
    if (uri.host().empty()) return bad_address("it names no host");
    return uri;
  }
  Error bad_address(const char* why) const { return fail(Code::invalid, "the hub's address '{}' cannot be used: {}. Write http://HOST:PORT", options_.hub, why); }

  void tell(std::vector<Piped> piped, std::vector<Answer>& all) {
    for (Piped& p : piped) {
      traffic_.sent += p.traffic.sent;
      traffic_.received += p.traffic.received;
      all.push_back({p.ticket, reply_of(p), p.traffic});
    }
  }
  Result<BatchReply> reply_of(const Piped& p) {
    if (p.status == 0) return fail(Code::unavailable, "no answer from {}: {}", options_.hub, printable(p.text));
    if (p.status != 200) return refusal(p.status, printable(p.text));
    return is_web_page(p.text) ? portal(Code::corrupt, "a web page") : checked(decode_batch_reply(p.text));
  }

  // An answer that makes no sense is `corrupt` whatever is wrong with it: the caller can change nothing about it.
  template <typename T>
  Result<T> checked(Result<T> decoded) {
    if (decoded.ok()) return decoded;
    client_.reset();
    return fail(Code::corrupt, "{} answers with {}", options_.hub, decoded.error().message);
  }

  Status connect() {
    if (client_) return {};
    SKERRY_TRY(can_tie(route_));
    try {
      http::client::http_client_config config;
      // Twice the time that the watch allows: the library answers its own timeout by a second try, which the watch does not.
      config.set_timeout(std::chrono::duration_cast<std::chrono::milliseconds>(options_.request_timeout * 2) + std::chrono::seconds(1));
      config.set_max_redirects(0);
      config.set_proxy(web::web_proxy(web::web_proxy::disabled));
      socket_ = std::make_shared<internal::SocketWatch>();
      opened_ = std::make_shared<std::atomic<void*>>(nullptr);
      SKERRY_ASSIGN(const web::uri uri, address());
      tls_ = uri.scheme() == "https";
      config.set_nativehandle_options([opened = opened_, route = route_, tls = tls_](http::client::native_handle handle) {
        opened->store(handle);
        if (tls) open_tied(static_cast<boost::asio::ssl::stream<PlainSocket&>*>(handle)->lowest_layer(), route);
        else open_tied(*static_cast<PlainSocket*>(handle), route);
      });
      if (tls_) {
        boost::asio::ssl::context tried(boost::asio::ssl::context::tls_client);  // where an error can be told
        SKERRY_TRY(internal::prepare(tried, options_.proofs));
        config.set_ssl_context_callback([proofs = options_.proofs](boost::asio::ssl::context& context) { (void)internal::prepare(context, proofs); });
      }
      SKERRY_ASSIGN(token_, internal::read_token(options_.proofs));
      client_ = std::make_unique<http::client::http_client>(uri, config);
    } catch (const std::exception& e) {
      client_.reset();
      return bad_address(e.what());
    }
    return {};
  }

  Result<std::string> post(const char* path, std::string body) {
    SKERRY_TRY(connect());
    auto exchange = std::make_shared<Exchange>();
    pplx::cancellation_token_source cancel;
    socket_->begin();
    try {
      start(exchange, path, std::move(body), cancel.get_token());
    } catch (const std::exception& e) {
      exchange->finish(e.what());
    }
    std::string verdict = watch(*exchange);
    std::unique_lock lock(exchange->mutex);
    exchange->abandoned = true;
    traffic_.sent += exchange->sent;
    traffic_.received += exchange->received;
    if (verdict.empty()) verdict = exchange->error;
    if (!verdict.empty()) {
      lock.unlock();
      cancel.cancel();
      socket_->cut();
      client_.reset();  // the next try gets a fresh connection
      return fail(Code::unavailable, "no answer from {}: {}", options_.hub, printable(internal::explained(verdict)));
    }
    if (exchange->status == 200) return std::move(exchange->body);
    client_.reset();
    return refusal(exchange->status, printable(exchange->body));
  }

  void start(const std::shared_ptr<Exchange>& exchange, const char* path, std::string body, const pplx::cancellation_token& token) {
    http::http_request request(http::methods::POST);
    request.set_request_uri(path);
    request.set_body(std::move(body), "application/octet-stream");
    if (!token_.empty()) request.headers().add("Authorization", "Bearer " + token_);
    request.set_progress_handler([exchange, socket = socket_, opened = opened_, tls = tls_](
                                     http::message_direction::direction direction, uint64_t bytes) {
      // The library shows a connection before its socket is open. The first progress of an upload comes on the thread that has just written
      // the head of the request to it: open, and alive for as long as this handler runs.
      if (void* handle = direction == http::message_direction::upload ? opened->exchange(nullptr) : nullptr) {
        socket->watch(descriptor(handle, tls));
      }
      exchange->progress(direction, bytes);
    });
    client_->request(request, token)
        .then([exchange](http::http_response response) {
          exchange->status = response.status_code();
          return response.extract_vector();
        })
        .then([exchange](pplx::task<std::vector<unsigned char>> finished) {  // task-based: it sees every failure before it
          try {
            const std::vector<unsigned char> bytes = finished.get();
            exchange->body.assign(bytes.begin(), bytes.end());
            exchange->finish("");
          } catch (const std::exception& e) {
            exchange->finish(*e.what() ? e.what() : "the exchange failed");
          } catch (...) {
            exchange->finish("the exchange failed");
          }
        });
  }

  // Waits until the exchange is done, or says why it must not go on.
  std::string watch(Exchange& exchange) const {
    const auto deadline = std::chrono::steady_clock::now() + options_.request_timeout;
    std::unique_lock lock(exchange.mutex);
    while (!exchange.changed.wait_for(lock, kWatchInterval, [&] { return exchange.done; })) {
      if (std::chrono::steady_clock::now() >= deadline) return fmt::format("nothing within {}", format_duration(options_.request_timeout));
      if (socket_->received() > kSocketBytesMax) return fmt::format("its answer has more than {}", format_bytes(kAnswerBytesMax));
    }
    return {};
  }

  Error portal(Code code, const std::string& with) {
    link_changed();  // connections that are kept open lead to it even when it is gone
    return fail(code, "{} answers with {}: a captive portal stands before it (log in there), or sync.hub is no hub", options_.hub, with);
  }
  Error refusal(int status, const std::string& message) {
    if (status == 401 || status == 403) {  // of the device, not of what it sends
      return fail(Code::unavailable, "{} does not let this node in ({}): {}", options_.hub, status, message);
    }
    if (status >= 300 && status < 400) return portal(Code::unavailable, fmt::format("{}, a redirect", status));
    const bool later = status >= 500 || status == 407 || status == 408 || status == 429;
    if (later) return fail(Code::unavailable, "{} answers {}: {}", options_.hub, status, message);
    if (status >= 400) return fail(Code::invalid, "{} refuses with {}: {}", options_.hub, status, message);
    return fail(Code::corrupt, "{} answers {}: this is not a Skerry hub, correct sync.hub", options_.hub, status);
  }

  const Options options_;
  Route route_;
  Traffic traffic_;
  std::optional<Pipes> pipes_;
  std::vector<Answer> refused_;                        // without having been sent
  std::unique_ptr<http::client::http_client> client_;  // null after a failure
  std::shared_ptr<internal::SocketWatch> socket_;
  std::shared_ptr<std::atomic<void*>> opened_;         // the newest connection, until its socket is watched
  bool tls_ = false;
  std::string token_;
};

}  // namespace

std::unique_ptr<Uplink> make_http_uplink(const Options& options) { return std::make_unique<HttpUplink>(options); }

}  // namespace skerry::sync
