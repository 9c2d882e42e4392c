// The command line's view of a node's REST API: JSON in, JSON out, errors as people should read them.
// Threads: one.
// On failure: unavailable when no node answers, with the remedy; otherwise the node's own error text.
#pragma once

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "node/cli/http_client.h"

namespace skerry::cli {

class Api {
 public:
  static Result<Api> open(const std::string& url, std::chrono::milliseconds timeout = std::chrono::milliseconds(30'000));

  Result<nlohmann::json> get(const std::string& target);
  Result<nlohmann::json> post(const std::string& target, const nlohmann::json& body);
  Result<nlohmann::json> send(const std::string& method, const std::string& target, const std::string& body);  // as it is
  // The answer as it comes, to stdout, whatever its size. Returns its headers and trailers.
  Result<http::Headers> print(const std::string& method, const std::string& target, const std::string& body = {});
  Status write_lines(const std::string& lines);  // times in nanoseconds
  const std::string& url() const { return url_; }

 private:
  Result<http::Response> exchange(const std::string& method, const std::string& target, const std::string& body,
                                  const http::Client::Sink& sink = {});

  std::string url_;
  std::unique_ptr<http::Client> client_;
};

// "?name=value&..." of the values that are not empty.
std::string query_string(const std::vector<std::pair<std::string, std::string>>& parameters);

}  // namespace skerry::cli
