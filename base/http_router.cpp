#include <nlohmann/json.hpp>

#include "base/http_server.h"

namespace skerry::http {
namespace {

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    if (path.front() == '/') path.remove_prefix(1);
    size_t end = path.find('/');
    segments.emplace_back(path.substr(0, end));
    if (end == std::string_view::npos) break;
    path.remove_prefix(end);
  }
  return segments;
}

}  // namespace

std::string Request::header(const std::string& lower_case_name) const {
  auto it = headers.find(lower_case_name);
  return it == headers.end() ? "" : it->second;
}

std::string Request::parameter(const std::string& query_name, std::string fallback) const {
  auto it = query.find(query_name);
  return it == query.end() ? fallback : it->second;
}

Response error_response(int status, std::string_view message) {
  nlohmann::json body{{"error", message}};
  Response response;
  response.status = status;
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return response;
}

Response error_response(const Error& error) {
  int status = 500;
  switch (error.code) {
    case Code::invalid:
    case Code::cancelled: status = 400; break;
    case Code::not_found: status = 404; break;
    case Code::exhausted: status = 507; break;
    case Code::unavailable: status = 503; break;
    case Code::corrupt:
    case Code::internal: break;
  }
  Response response = error_response(status, error.message);
  if (status == 503 || status == 507) response.headers.emplace_back("Retry-After", "1");
  return response;
}

void Router::add(std::string method, std::string pattern, Handler handler) {
  routes_.push_back({std::move(method), pattern, split_path(pattern), std::move(handler)});
}

Response Router::handle(Request& request) const {
  const std::vector<std::string> segments = split_path(request.path);
  std::string allowed;
  for (const Route& route : routes_) {
    if (route.segments.size() != segments.size()) continue;
    std::map<std::string, std::string> parameters;
    bool match = true;
    for (size_t i = 0; match && i < segments.size(); ++i) {
      const std::string& pattern = route.segments[i];
      if (pattern.size() > 2 && pattern.front() == '{' && pattern.back() == '}') {
        parameters[pattern.substr(1, pattern.size() - 2)] = segments[i];
        match = !segments[i].empty();
      } else {
        match = pattern == segments[i];
      }
    }
    if (!match) continue;
    if (route.method != request.method) {
      allowed += (allowed.empty() ? "" : ", ") + route.method;
      continue;
    }
    request.path_parameters = std::move(parameters);
    return route.handler(request);
  }
  if (!allowed.empty()) {
    Response response = error_response(405, fmt::format("{} is not allowed here: use {}", request.method, allowed));
    response.headers.emplace_back("Allow", allowed);
    return response;
  }
  return error_response(404, fmt::format("nothing is served at {}", request.path.substr(0, 128)));
}

std::vector<std::pair<std::string, std::string>> Router::routes() const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const Route& route : routes_) out.emplace_back(route.method, route.pattern);
  return out;
}

}  // namespace skerry::http
