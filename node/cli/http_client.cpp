#include "node/cli/http_client.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cctype>

namespace skerry::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

constexpr size_t kPieceBytes = 64 << 10;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

}  // namespace

Result<Url> parse_url(const std::string& url) {
  auto wrong = [&](const char* why) {
    return fail(Code::invalid, "'{}' is not a URL of a node ({}): write http://127.0.0.1:8471", url.substr(0, 128), why);
  };
  const std::string scheme = "http://";
  if (url.rfind("https://", 0) == 0) return wrong("https is not supported here");
  if (url.rfind(scheme, 0) != 0) return wrong("it does not begin with http://");
  std::string rest = url.substr(scheme.size());
  Url out;
  size_t slash = rest.find('/');
  if (slash != std::string::npos) {
    out.prefix = rest.substr(slash);
    while (!out.prefix.empty() && out.prefix.back() == '/') out.prefix.pop_back();
    rest.resize(slash);
  }
  size_t colon = std::string::npos;
  if (!rest.empty() && rest.front() == '[') {  // an IPv6 address
    size_t close = rest.find(']');
    if (close == std::string::npos) return wrong("a '[' without ']'");
    out.host = rest.substr(1, close - 1);
    if (close + 1 < rest.size()) colon = close + 1;
    if (colon != std::string::npos && rest[colon] != ':') return wrong("text after ']'");
  } else {
    colon = rest.find(':');
    out.host = rest.substr(0, colon);
  }
  if (colon != std::string::npos) out.port = rest.substr(colon + 1);
  if (out.host.empty()) return wrong("no host");
  bool digits = !out.port.empty() && out.port.size() <= 5 && std::all_of(out.port.begin(), out.port.end(), ::isdigit);
  if (!digits || std::stoul(out.port) == 0 || std::stoul(out.port) > 65535) return wrong("the port is not 1 to 65535");
  for (char c : out.host + out.prefix) {
    if (static_cast<unsigned char>(c) <= 0x20) return wrong("it has spaces or control characters");
  }
  return out;
}

std::string percent_encode(const std::string& text) {
  std::string out;
  for (unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

struct Client::Impl {
  std::string url_base;
  Url url;
  ClientOptions options;
  asio::io_context io{1};
  std::unique_ptr<beast::tcp_stream> stream;
  beast::flat_buffer buffer;

  // Runs the one asynchronous operation that was started: beast's timeouts exist for these only.
  void run() {
    io.restart();
    io.run();
  }

  Error unavailable(const error_code& why) const {
    if (why == asio::error::connection_refused || why == asio::error::host_not_found) {
      return fail(Code::unavailable, "nobody answers at {}: {}", url_base, why.message());
    }
    if (why == beast::error::timeout) {
      return fail(Code::unavailable, "no answer from {} within {} ms", url_base, options.timeout.count());
    }
    return fail(Code::unavailable, "the connection to {} failed: {}", url_base, why.message());
  }

  // A connection that the server closed while it was idle is readable, with nothing to read.
  bool reusable() {
    if (!stream || !stream->socket().is_open()) return false;
    char byte;
    ssize_t n = ::recv(stream->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  Status connect() {
    buffer.clear();
    error_code why;
    asio::ip::tcp::resolver resolver(io);
    auto addresses = resolver.resolve(url.host, url.port, why);
    if (why) return unavailable(why);
    stream = std::make_unique<beast::tcp_stream>(io);
    stream->expires_after(options.timeout);
    stream->async_connect(addresses, [&](error_code code, const auto&) { why = code; });
    run();
    if (why) {
      stream.reset();
      return unavailable(why);
    }
    error_code ignored;
    stream->socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    return {};
  }
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::open(const std::string& url_base, const ClientOptions& options) {
  auto impl = std::make_unique<Impl>();
  SKERRY_ASSIGN(impl->url, parse_url(url_base));
  impl->url_base = url_base;
  impl->options = options;
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Result<Response> Client::request(const std::string& method, const std::string& target, const std::string& body,
                                 const Headers& headers, const Sink& sink) try {
  Impl& c = *impl_;
  if (!c.reusable()) SKERRY_TRY(c.connect());
  beast::http::request<beast::http::string_body> out;
  out.method_string(method);
  out.target(c.url.prefix + target);
  out.version(11);
  out.set(beast::http::field::host, c.url.host + ":" + c.url.port);
  out.set(beast::http::field::user_agent, "skerry");
  for (const auto& [name, value] : headers) out.set(name, value);
  if (!body.empty() || method == "POST" || method == "PUT") {
    out.body() = body;
    out.prepare_payload();
  }
  error_code write_error, read_error;
  c.stream->expires_after(c.options.timeout);
  beast::http::async_write(*c.stream, out, [&](error_code code, size_t) { write_error = code; });
  c.run();
  // A server that refuses a body answers before it has read it, then closes: look for its answer even so.
  beast::http::response_parser<beast::http::buffer_body> parser;
  parser.body_limit(UINT64_MAX);  // held below
  parser.header_limit(64 << 10);
  if (method == "HEAD") parser.skip(true);
  beast::http::async_read_header(*c.stream, c.buffer, parser, [&](error_code code, size_t) { read_error = code; });
  c.run();
  const bool to_sink = sink && parser.get().result_int() < 300;
  std::string text;
  if (!read_error && !to_sink && parser.content_length().value_or(0) > c.options.body_bytes_max) read_error = beast::http::error::body_limit;
  std::string piece(kPieceBytes, '\0');
  while (!read_error && !parser.is_done()) {
    parser.get().body() = {piece.data(), piece.size(), true};
    if (to_sink) c.stream->expires_after(c.options.timeout);
    beast::http::async_read(*c.stream, c.buffer, parser, [&](error_code code, size_t) { read_error = code; });
    c.run();
    if (read_error == beast::http::error::need_buffer) read_error = {};
    const std::string_view got(piece.data(), piece.size() - parser.get().body().size);
    if (to_sink) {
      if (Status taken = sink(got); !taken.ok()) {
        c.stream.reset();
        return taken.error();
      }
    } else if (text.size() + got.size() > c.options.body_bytes_max) {
      read_error = beast::http::error::body_limit;
    } else {
      text += got;
    }
  }
  if (read_error) {
    c.stream.reset();
    if (read_error == beast::http::error::body_limit) {
      return fail(Code::exhausted, "the answer of {} is larger than {} bytes: ask for less", c.url_base,
                  c.options.body_bytes_max);
    }
    return c.unavailable(write_error ? write_error : read_error);
  }
  auto message = parser.release();
  Response response;
  response.status = static_cast<int>(message.result_int());
  response.body = std::move(text);
  response.content_type = std::string(message[beast::http::field::content_type]);
  for (const auto& field : message) {
    response.headers.emplace_back(lower({field.name_string().data(), field.name_string().size()}), std::string(field.value()));
  }
  if (write_error || message.need_eof() || !message.keep_alive()) c.stream.reset();
  return response;
} catch (const std::exception& e) {  // e.g. a header name that beast refuses
  impl_->stream.reset();
  return fail(Code::invalid, "the request {} {} can't be sent: {}", method, target.substr(0, 128), e.what());
}

Result<Response> request(const std::string& url_base, const std::string& method, const std::string& target,
                         const std::string& body, const Headers& headers, std::chrono::milliseconds timeout) {
  SKERRY_ASSIGN(auto client, Client::open(url_base, {.timeout = timeout}));
  Headers all = headers;
  all.emplace_back("Connection", "close");
  return client->request(method, target, body, all);
}

}  // namespace skerry::http
