// A small blocking HTTP/1.1 client on Boost.Beast, for the command line and for tests: one request, or many over one connection.
// Threads: a Client belongs to one thread.
// On failure: unavailable names the URL and what happened (nobody listens, no answer in time, connection cut); exhausted when the
// answer is larger than the limit. An HTTP error status is an answer, not an Error.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/http_server.h"
#include "base/result.h"

namespace skerry::http {

struct Url {
  std::string host, port = "80", prefix;  // prefix: path before the target, without a slash at its end
};
// "http://host:port", "http://[::1]:8471/prefix". Error: invalid.
Result<Url> parse_url(const std::string& url);
std::string percent_encode(const std::string& text);  // for one path segment or query value (RFC 3986)

struct ClientOptions {
  std::chrono::milliseconds timeout{10'000};  // of a whole exchange, connecting included; of each piece when it goes to a sink
  uint64_t body_bytes_max = 256 << 20;
};

// Keeps its connection alive between requests; connects again when the server closed it meanwhile.
class Client {
 public:
  static Result<std::unique_ptr<Client>> open(const std::string& url_base, const ClientOptions& options = {});
  ~Client();
  // `target` is path and query, e.g. "/v1/query?series=imu". Header names of the Response are in lower case.
  // With a sink, the body of a success goes there piece by piece and not into the Response; its error ends the exchange.
  using Sink = std::function<Status(std::string_view)>;
  Result<Response> request(const std::string& method, const std::string& target, const std::string& body = {},
                           const Headers& headers = {}, const Sink& sink = {});

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One exchange over a connection of its own.
Result<Response> request(const std::string& url_base, const std::string& method, const std::string& target,
                         const std::string& body = {}, const Headers& headers = {},
                         std::chrono::milliseconds timeout = std::chrono::milliseconds(10'000));

}  // namespace skerry::http
