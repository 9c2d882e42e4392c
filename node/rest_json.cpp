#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "node/internal/rest.h"

namespace skerry::node {
namespace {

// simdjson has checked syntax, numbers and UTF-8, and bounded the depth.
nlohmann::json convert(const simdjson::dom::element& element) {
  using simdjson::dom::element_type;
  switch (element.type()) {
    case element_type::OBJECT: {
      auto out = nlohmann::json::object();
      for (auto [key, value] : simdjson::dom::object(element)) out[std::string(key)] = convert(value);
      return out;
    }
    case element_type::ARRAY: {
      auto out = nlohmann::json::array();
      for (auto value : simdjson::dom::array(element)) out.push_back(convert(value));
      return out;
    }
    case element_type::INT64:  // nlohmann calls unsigned what is not negative
      return int64_t(element) < 0 ? nlohmann::json(int64_t(element)) : nlohmann::json(static_cast<uint64_t>(int64_t(element)));
    case element_type::UINT64: return uint64_t(element);
    case element_type::DOUBLE: return double(element);
    case element_type::STRING: return std::string(std::string_view(element));
    case element_type::BOOL: return bool(element);
    case element_type::NULL_VALUE: break;
  }
  return nullptr;
}

}  // namespace

Result<nlohmann::json> parse_object(std::string_view body) try {
  if (body.size() > kSmallBodyBytesMax) {
    return fail(Code::invalid, "the body has {} bytes: at most {} are allowed here", body.size(), kSmallBodyBytesMax);
  }
  simdjson::dom::parser parser(kSmallBodyBytesMax);
  if (parser.allocate(std::max<size_t>(body.size(), 64), kJsonDepthMax) != simdjson::SUCCESS) {
    return fail(Code::unavailable, "not enough memory for the body: try again");
  }
  simdjson::dom::element root;
  auto code = parser.parse(body.data(), body.size()).get(root);
  if (code != simdjson::SUCCESS) return fail(Code::invalid, "the body is not JSON: {}", simdjson::error_message(code));
  if (!root.is_object()) return fail(Code::invalid, "the body is not a JSON object: write {{...}}");
  return convert(root);
} catch (const std::exception& e) {
  return fail(Code::invalid, "the body can't be read: {}", e.what());
}

http::Response json_response(const nlohmann::json& body, int status) {
  http::Response response;
  response.status = status;
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return response;
}

void append_json_string(std::string& out, std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; });
  if (plain) {  // as names nearly always are
    out += '"';
    out += text;
    out += '"';
    return;
  }
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<std::string> text_member(const nlohmann::json& object, const char* name, const std::string& fallback) {
  auto at = object.find(name);
  if (at == object.end()) return fallback;
  if (!at->is_string()) return fail(Code::invalid, "'{}' must be a string", name);
  return at->get<std::string>();
}

Result<int64_t> time_member(const nlohmann::json& object, const char* name) {
  auto at = object.find(name);
  if (at == object.end()) return fail(Code::invalid, "'{}' is missing: write a time like 2026-11-23T08:04:16Z or nanoseconds", name);
  if (at->is_number_unsigned() && at->get<uint64_t>() > INT64_MAX) return fail(Code::invalid, "'{}' is out of range", name);
  if (at->is_number_integer()) return at->get<int64_t>();
  if (!at->is_string()) return fail(Code::invalid, "'{}' must be a time like 2026-11-23T08:04:16Z or an integer of nanoseconds", name);
  auto time = parse_time(at->get<std::string>());
  if (!time.ok()) return fail(Code::invalid, "'{}': {}", name, time.error().message);
  return *time;
}

}  // namespace skerry::node
