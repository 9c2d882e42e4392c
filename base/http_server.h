// A small HTTP/1.1 server on Boost.Beast for the node's REST API and the hub, with every limit set from the first day:
// body, header, time to send a request, idle time, connections. Plus the router that both use.
// Threads: the one that calls Server::run() moves all bytes until stop(), and runs direct handlers; handlers run on `handler_threads` others,
// which end with it, and may block. stop() may be called from any thread; handlers that run then are waited for.
// On failure: a request over a limit is refused (400, 408, 413, 431, 503) and its connection closed; a handler that throws
// answers 500; no other connection is touched.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace skerry::http {

struct Request {
  std::string method;                                          // "GET"
  std::string path;                                            // decoded, without the query
  std::map<std::string, std::string> query;                    // decoded
  std::map<std::string, std::string> headers;                  // names in lower case
  std::map<std::string, std::string> path_parameters;          // filled in by the Router
  std::string body;
  std::string peer;                                            // common name of the client's certificate, verified; empty: it showed none

  std::string header(const std::string& lower_case_name) const;
  std::string parameter(const std::string& query_name, std::string fallback = "") const;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// A body that is made while it is sent, so that an answer of any size needs little memory. Lives in the handlers' threads, one call at a
// time; a piece is asked for only when the one before is with the network. Destroyed at the end, or when the client has gone.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // Empty: the end. An error closes the connection without the end, so that the client sees that the body is not whole.
  virtual Result<std::string> next() = 0;
  virtual Headers trailers() const { return {}; }  // sent behind the end
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  Headers headers;
  std::shared_ptr<BodySource> source;  // what follows `body`, if anything does
};

using Handler = std::function<Response(Request&)>;

// Takes the answer of a request, once, from any thread, now or later, but not after the server is gone.
using Reply = std::function<void(Response)>;
// Asked before the handler, in the thread that moves the bytes: so it may neither block nor take more than some hundred microseconds. True:
// the request is taken and `reply` was called or will be. For what is answered faster than it is handed to another thread.
using DirectHandler = std::function<bool(Request&, const Reply&)>;

// The status that an Error becomes: invalid 400, not_found 404, exhausted 507, unavailable 503 with Retry-After,
// cancelled 400, corrupt and internal 500; the body is {"error": message}, as the Open Inference Protocol has it.
Response error_response(const Error& error);
Response error_response(int status, std::string_view message);

// Patterns are paths whose segments may be "{name}": "/v2/models/{model}/infer". A known path with another verb is 405.
class Router {
 public:
  void add(std::string method, std::string pattern, Handler handler);
  Response handle(Request& request) const;
  std::vector<std::pair<std::string, std::string>> routes() const;  // (method, pattern), as added

 private:
  struct Route {
    std::string method, pattern;
    std::vector<std::string> segments;
    Handler handler;
  };
  std::vector<Route> routes_;
};

// HTTPS, version 1.2 or later. PEM files; the certificate's may hold its chain.
struct TlsFiles {
  std::filesystem::path certificate, key;
  std::filesystem::path client_ca;             // given: a client without a certificate of this authority is not let in
};

struct ServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;                           // 0: any free port, see Server::port()
  uint64_t body_bytes_max = 16 << 20;
  uint32_t header_bytes_max = 16 << 10;
  std::chrono::milliseconds request_timeout{15'000};  // from the first byte of a request to its last
  std::chrono::milliseconds idle_timeout{60'000};     // between requests of a connection
  uint32_t connections_max = 512;
  uint32_t handler_threads = 2;                // requests that are handled at the same time
  std::optional<TlsFiles> tls;                 // none: plain HTTP
};

class Server {
 public:
  // Binds and listens. Error: unavailable, naming the address that is in use; invalid, naming the file of `tls` that cannot be used.
  static Result<std::unique_ptr<Server>> open(const ServerOptions& options, Handler handler, DirectHandler direct = {});
  virtual ~Server() = default;
  virtual void run() = 0;
  virtual void stop() = 0;
  virtual uint16_t port() const = 0;
};

}  // namespace skerry::http
