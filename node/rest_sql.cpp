// POST /v1/sql: one SELECT, its rows as JSON or CSV, made while they are sent.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "node/internal/csv_text.h"
#include "node/internal/record_text.h"
#include "node/internal/rest.h"
#include "storage/sql.h"

namespace skerry::node {
namespace {

constexpr uint64_t kRowsDefault = 10'000, kRowsMax = 1'000'000;
constexpr size_t kPieceBytes = 128 << 10;

class SqlSource final : public http::BodySource {
 public:
  SqlSource(std::unique_ptr<storage::SqlStatement> statement, bool json) : statement_(std::move(statement)), json_(json) {}

  Result<std::string> next() override {
    std::string out;
    if (!begun_) begin(out);
    begun_ = true;
    while (!ended_ && out.size() < kPieceBytes) {
      SKERRY_ASSIGN(const bool more, statement_->next(row_));
      if (more) {
        json_ ? json_row(out) : csv_row(out);
        continue;
      }
      ended_ = true;
      truncated_ = statement_->truncated();
      if (json_) out += fmt::format("],\"truncated\":{}}}\n", truncated_);
      statement_.reset();  // its place is free for another one while this is being sent
    }
    return out;
  }
  http::Headers trailers() const override { return truncated_ ? http::Headers{{"Skerry-Truncated", "true"}} : http::Headers{}; }
  bool ended() const { return ended_; }

 private:
  void begin(std::string& out) {
    if (json_) out += "{\"columns\":[";
    for (size_t i = 0; i < statement_->columns().size(); ++i) {
      if (i > 0) out += ',';
      json_ ? append_json_string(out, statement_->columns()[i]) : append_csv_text(out, statement_->columns()[i]);
    }
    out += json_ ? "],\"rows\":[" : "\n";
  }

  void json_row(std::string& out) {
    out += first_ ? "[" : ",[";
    first_ = false;
    for (size_t i = 0; i < row_.size(); ++i) {
      if (i > 0) out += ',';
      if (const auto* integer = std::get_if<int64_t>(&row_[i])) {
        fmt::format_to(std::back_inserter(out), "{}", *integer);
      } else if (const auto* number = std::get_if<double>(&row_[i])) {
        append_json_number(out, *number);
      } else if (const auto* text = std::get_if<std::string>(&row_[i])) {
        append_json_string(out, *text);
      } else {
        out += "null";
      }
    }
    out += ']';
  }

  void csv_row(std::string& out) {
    for (size_t i = 0; i < row_.size(); ++i) {
      if (i > 0) out += ',';
      if (const auto* integer = std::get_if<int64_t>(&row_[i])) {
        fmt::format_to(std::back_inserter(out), "{}", *integer);
      } else if (const auto* number = std::get_if<double>(&row_[i])) {
        fmt::format_to(std::back_inserter(out), "{}", *number);
      } else if (const auto* text = std::get_if<std::string>(&row_[i])) {
        append_csv_text(out, *text);
      }
    }
    out += '\n';
  }

  std::unique_ptr<storage::SqlStatement> statement_;
  const bool json_;
  std::vector<storage::SqlValue> row_;
  bool begun_ = false, ended_ = false, truncated_ = false, first_ = true;
};

// The body: {"sql": "..."} as JSON, the statement itself as anything else.
Result<std::string> statement_of(const http::Request& request) {
  if (request.header("content-type").find("json") == std::string::npos) return request.body;
  SKERRY_ASSIGN(const nlohmann::json body, parse_object(request.body));
  for (const auto& [name, value] : body.items()) {
    if (name != "sql") return fail(Code::invalid, "'{}' is not known here: write {{\"sql\": \"select ...\"}}", name.substr(0, 64));
  }
  return text_member(body, "sql", "");
}

Result<http::Response> sql(const Node& node, const http::Request& request) {
  const std::string format = request.parameter("format", "json");
  if (format != "json" && format != "csv") return fail(Code::invalid, "parameter 'format' is '{}': write json or csv", format.substr(0, 32));
  storage::SqlLimits limits;
  SKERRY_ASSIGN(limits.rows_max, number_parameter(request, "limit", kRowsDefault, kRowsMax));
  SKERRY_ASSIGN(const std::string text, statement_of(request));
  // Work is measured in real time also where records have a simulated one.
  SKERRY_ASSIGN(auto statement, storage::SqlStatement::open(node.store(), system_clock(), text, limits));
  auto source = std::make_shared<SqlSource>(std::move(statement), format == "json");
  http::Response response;
  if (format == "csv") response.content_type = "text/csv; charset=utf-8";
  SKERRY_ASSIGN(response.body, source->next());
  if (source->ended()) {
    response.headers = source->trailers();
  } else {
    response.headers.emplace_back("Trailer", "Skerry-Truncated");
    response.source = source;
  }
  return response;
}

}  // namespace

void add_sql_route(http::Router& router, Node& node) {
  router.add("POST", "/v1/sql", [&node](http::Request& request) {
    auto response = sql(node, request);
    return response.ok() ? std::move(response).value() : http::error_response(response.error());
  });
}

}  // namespace skerry::node
