#include "node/cli/api.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace skerry::cli {
namespace {

using nlohmann::json;

Result<json> parse(const std::string& url, const std::string& text) {
  json body = json::parse(text, nullptr, false);
  if (body.is_discarded()) return fail(Code::corrupt, "{} did not answer with JSON: is a skerryd listening there?", url);
  return body;
}

Code code_of(int status) {
  switch (status) {
    case 404: return Code::not_found;
    case 503: return Code::unavailable;
    case 507: return Code::exhausted;
    default: return status >= 500 ? Code::internal : Code::invalid;
  }
}

}  // namespace

Result<Api> Api::open(const std::string& url, std::chrono::milliseconds timeout) {
  Api api;
  api.url_ = url;
  SKERRY_ASSIGN(api.client_, http::Client::open(url, {.timeout = timeout}));
  return api;
}

Result<http::Response> Api::exchange(const std::string& method, const std::string& target, const std::string& body,
                                     const http::Client::Sink& sink) {
  http::Headers headers;
  if (method == "POST" && !body.empty() && body.front() == '{') headers.emplace_back("Content-Type", "application/json");
  auto response = client_->request(method, target, body, headers, sink);
  if (!response.ok()) {
    bool nobody = response.error().message.rfind("nobody answers", 0) == 0;
    if (nobody) return fail(Code::unavailable, "no node answers at {}: is skerryd running? start it with ./run", url_);
    return response.error();
  }
  if (response->status >= 300) {
    json parsed = json::parse(response->body, nullptr, false);
    std::string text = parsed.is_object() && parsed.contains("error") && parsed["error"].is_string()
                           ? parsed["error"].get<std::string>()
                           : fmt::format("{} {} was answered with status {}", method, target.substr(0, 128), response->status);
    return Error{code_of(response->status), text};
  }
  return response;
}

Result<json> Api::get(const std::string& target) {
  SKERRY_ASSIGN(const auto response, exchange("GET", target, ""));
  return parse(url_, response.body);
}

Result<json> Api::post(const std::string& target, const json& body) {
  SKERRY_ASSIGN(const auto response, exchange("POST", target, body.is_null() ? "" : body.dump()));
  return parse(url_, response.body);
}

Result<json> Api::send(const std::string& method, const std::string& target, const std::string& body) {
  SKERRY_ASSIGN(const auto response, exchange(method, target, body));
  return parse(url_, response.body);
}

Result<http::Headers> Api::print(const std::string& method, const std::string& target, const std::string& body) {
  auto to_stdout = [](std::string_view piece) {
    if (std::fwrite(piece.data(), 1, piece.size(), stdout) == piece.size()) return Status();
    return Status(fail(Code::unavailable, "cannot write the answer: {}", std::strerror(errno)));
  };
  SKERRY_ASSIGN(auto response, exchange(method, target, body, to_stdout));
  if (std::fflush(stdout) != 0) return fail(Code::unavailable, "cannot write the answer: {}", std::strerror(errno));
  return std::move(response.headers);
}

Status Api::write_lines(const std::string& lines) {
  auto answer = exchange("POST", "/api/v2/write?precision=ns", lines);
  return answer.ok() ? Status() : Status(answer.error());
}

std::string query_string(const std::vector<std::pair<std::string, std::string>>& parameters) {
  std::string out;
  for (const auto& [name, value] : parameters) {
    if (!value.empty()) out += fmt::format("{}{}={}", out.empty() ? '?' : '&', name, http::percent_encode(value));
  }
  return out;
}

}  // namespace skerry::cli
