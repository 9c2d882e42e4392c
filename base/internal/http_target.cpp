#include "base/internal/http_target.h"

#include <algorithm>
#include <optional>

namespace skerry::http::internal {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class Plus { as_is, space };  // '+' means a space in a query, and itself in a path

std::optional<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' && plus == Plus::space ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

bool parse_target(std::string_view target, Request& request) {
  size_t question = target.find('?');
  auto path = percent_decode(target.substr(0, question), Plus::as_is);
  if (!path || path->empty() || path->front() != '/') return false;
  request.path = *path;
  if (question == std::string_view::npos) return true;
  std::string_view query = target.substr(question + 1);
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    size_t equals = pair.find('=');
    auto key = percent_decode(pair.substr(0, equals), Plus::space);
    auto value = percent_decode(equals == std::string_view::npos ? "" : pair.substr(equals + 1), Plus::space);
    if (!key || !value) return false;
    request.query[*key] = *value;
  }
  return true;
}

}  // namespace skerry::http::internal
