// GET /v1/query: records of one series or of all of a name that have the tags, as they are or by buckets; answers of any size in a little
// memory.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <set>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "node/internal/csv_text.h"
#include "node/internal/record_text.h"
#include "node/internal/rest.h"
#include "node/line_protocol.h"
#include "storage/aggregate.h"
#include "storage/pages.h"

namespace skerry::node {
namespace {

using storage::Fields;

constexpr uint64_t kRowsDefault = 1'000, kRowsMax = 100'000;
constexpr size_t kPieceBytes = 128 << 10;  // a client that takes 9 kB/s keeps up with the time that a piece may take
constexpr size_t kLinesAtOnce = 256;
constexpr int kStreamedMax = 16;  // answers at the same time that are longer than a piece: each holds a page while its client reads

enum class Format { json, csv, lines };

struct Part {  // of the answer: one series
  Series series;
  Fields read;     // of the store
  Fields columns;  // of the answer
  storage::TimeRange range;
};

struct Plan {
  std::vector<Part> parts;
  Format format = Format::json;
  bool many = false;  // asked by name: parts say whose they are
  std::string name;
  uint64_t limit = kRowsDefault;
  Duration bucket{0};
  std::vector<storage::Aggregate> functions;  // empty: records as they are
};

std::vector<std::string> names_of(const Fields& fields) {
  std::vector<std::string> out;
  for (const auto& field : fields) out.push_back(field.first);
  return out;
}

// Writes one format. Parts come in order; columns of pages are those of their part.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void begin(std::string&) {}
  virtual void begin_part(const Part&, std::string&) {}
  virtual Status rows(const Batch& page, size_t from, size_t to, std::string& out) = 0;
  virtual void end_part(const std::vector<storage::RolledUp>&, std::string&) {}
  virtual void end(bool /*truncated*/, std::string&) {}
};

class JsonWriter final : public Writer {
 public:
  explicit JsonWriter(const Plan& plan) : many_(plan.many), name_(plan.name) {}

  void begin(std::string& out) override {
    if (!many_) return;
    out += "{\"name\":";
    append_json_string(out, name_);
    out += ",\"results\":[";
  }
  void begin_part(const Part& part, std::string& out) override {
    out += first_part_ ? "{\"series\":" : ",{\"series\":";
    first_part_ = false;
    first_row_ = true;
    append_json_string(out, part.series.text());
    if (many_) {
      out += ",\"tags\":" + nlohmann::json(part.series.tags).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
    out += ",\"fields\":[";
    for (size_t i = 0; i < part.columns.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, part.columns[i].first);
    }
    out += "],\"types\":[";
    for (size_t i = 0; i < part.columns.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, to_string(part.columns[i].second));
    }
    out += "],\"rows\":[";
  }
  Status rows(const Batch& page, size_t from, size_t to, std::string& out) override {
    for (size_t row = from; row < to; ++row) {
      out += first_row_ ? "[\"" : ",[\"";
      first_row_ = false;
      out += format_time(page.times[row]);
      out += '"';
      for (const Column& column : page.columns) {
        out += ',';
        append_json_value(out, column, row);
      }
      out += ']';
    }
    return {};
  }
  void end_part(const std::vector<storage::RolledUp>& stretches, std::string& out) override {
    out += ']';
    for (size_t i = 0; i < stretches.size(); ++i) {
      const auto& [range, resolution_ns] = stretches[i];
      out += fmt::format("{}{{\"from\":\"{}\",\"to\":\"{}\",\"resolution\":\"{}\"}}", i == 0 ? ",\"rolled_up\":[" : ",", format_time(range.from_ns),
                         format_time(range.to_ns), format_duration(Duration(resolution_ns)));
    }
    if (!stretches.empty()) out += ']';
    if (many_) out += '}';
  }
  void end(bool truncated, std::string& out) override {
    out += fmt::format("{},\"truncated\":{}}}\n", many_ ? "]" : "", truncated);
  }

 private:
  const bool many_;
  const std::string name_;
  bool first_part_ = true, first_row_ = true;
};

// One table: the columns of all parts, whose first is the series where there may be several.
class CsvWriter final : public Writer {
 public:
  explicit CsvWriter(const Plan& plan) : many_(plan.many) {
    for (const Part& part : plan.parts) {
      for (const auto& [name, type] : part.columns) {
        if (known_.insert(name).second) columns_.push_back(name);
      }
    }
  }

  void begin(std::string& out) override {
    out += many_ ? "series,time" : "time";
    for (const std::string& name : columns_) {
      out += ',';
      append_csv_text(out, name);
    }
    out += '\n';
  }
  void begin_part(const Part& part, std::string&) override {
    series_.clear();
    if (many_) {
      append_csv_text(series_, part.series.text());
      series_ += ',';
    }
    places_.clear();
    for (const std::string& name : columns_) {
      auto at = std::find_if(part.columns.begin(), part.columns.end(), [&](const auto& c) { return c.first == name; });
      places_.push_back(static_cast<size_t>(at - part.columns.begin()));
    }
  }
  Status rows(const Batch& page, size_t from, size_t to, std::string& out) override {
    for (size_t row = from; row < to; ++row) {
      out += series_;
      out += format_time(page.times[row]);
      for (size_t place : places_) {
        out += ',';
        if (place < page.columns.size()) append_csv_value(out, page.columns[place], row);
      }
      out += '\n';
    }
    return {};
  }

 private:
  const bool many_;
  std::set<std::string> known_;
  std::vector<std::string> columns_;
  std::vector<size_t> places_;  // of columns_ in the part
  std::string series_;
};

// Records without any value, which line protocol can't say, are left out; so are values that are no finite number.
class LineWriter final : public Writer {
 public:
  Status rows(const Batch& page, size_t from, size_t to, std::string& out) override {
    for (size_t row = from; row < to;) {
      size_t end = row;
      while (end < to && has_value(page, end)) ++end;
      SKERRY_TRY(append_line_protocol(page, row, end, out));
      row = end + 1;
    }
    return {};
  }

 private:
  static bool has_value(const Batch& page, size_t row) {
    return std::any_of(page.columns.begin(), page.columns.end(), [&](const Column& c) { return c.has(row); });
  }
};

std::unique_ptr<Writer> writer_of(const Plan& plan) {
  switch (plan.format) {
    case Format::json: return std::make_unique<JsonWriter>(plan);
    case Format::csv: return std::make_unique<CsvWriter>(plan);
    case Format::lines: break;
  }
  return std::make_unique<LineWriter>();
}

void drop_what_is_not_finite(Batch& page) {
  for (Column& column : page.columns) {
    auto* doubles = std::get_if<0>(&column.values);
    if (doubles == nullptr) continue;
    for (size_t i = 0; i < doubles->size(); ++i) {
      if (std::isfinite((*doubles)[i])) continue;
      if (column.present.empty()) column.present.assign(doubles->size(), 1);
      column.present[i] = 0;
    }
  }
}

std::atomic<int> streamed{0};

// The text of the answer, piece by piece.
class RecordsSource final : public http::BodySource {
 public:
  RecordsSource(const storage::Store& store, Plan plan) : store_(store), plan_(std::move(plan)), writer_(writer_of(plan_)) {}
  ~RecordsSource() override {
    if (counted_) --streamed;
  }

  // To be called before the answer is streamed.
  Status take_place() {
    counted_ = true;
    if (++streamed <= kStreamedMax) return {};
    return fail(Code::unavailable, "{} long answers are being sent already: try again when one has ended, or ask with a smaller limit", kStreamedMax);
  }

  Result<std::string> next() override {
    std::string out;
    if (!begun_) writer_->begin(out);
    begun_ = true;
    while (out.size() < kPieceBytes && !ended_) SKERRY_TRY(step(out));
    return out;
  }
  http::Headers trailers() const override {
    return truncated_ ? http::Headers{{"Skerry-Truncated", "true"}} : http::Headers{};
  }

  bool ended() const { return ended_; }

 private:
  Status step(std::string& out) {
    if (row_ < page_.rows()) return write_rows(out);
    if (!pages_) return begin_part(out);
    // One more than may be given tells whether there are more.
    SKERRY_ASSIGN(page_, pages_(given_ < plan_.limit ? plan_.limit - given_ + 1 : 1));
    row_ = 0;
    if (plan_.format == Format::lines) drop_what_is_not_finite(page_);
    if (page_.rows() > 0) return {};
    end_part(out);
    ++part_;
    pages_ = nullptr;
    return {};
  }

  Status write_rows(std::string& out) {
    if (given_ == plan_.limit) {
      truncated_ = true;
      end_part(out);
      end(out);
      return {};
    }
    const size_t rows = std::min({page_.rows() - row_, kLinesAtOnce, static_cast<size_t>(plan_.limit - given_)});
    SKERRY_TRY(writer_->rows(page_, row_, row_ + rows, out));
    row_ += rows;
    given_ += rows;
    return {};
  }

  void end_part(std::string& out) {
    const Part& part = plan_.parts[part_];
    const bool asked = plan_.format == Format::json;
    writer_->end_part(asked ? store_.rolled_up(part.series, part.range).value_or({}) : std::vector<storage::RolledUp>(), out);
  }

  Status begin_part(std::string& out) {
    if (part_ == plan_.parts.size()) {
      end(out);
      return {};
    }
    const Part& part = plan_.parts[part_];
    writer_->begin_part(part, out);
    if (plan_.functions.empty()) {
      pages_ = [pages = storage::Pages(store_, part.series, part.range, names_of(part.read), {})](uint64_t rows_max) mutable {
        return pages.next(rows_max);
      };
    } else {
      storage::AggregateQuery query{part.series, part.range, plan_.bucket, names_of(part.read), plan_.functions};
      pages_ = [pages = storage::BucketPages(store_, std::move(query))](uint64_t) mutable { return pages.next(); };
    }
    return {};
  }

  void end(std::string& out) {
    writer_->end(truncated_, out);
    ended_ = true;
  }

  const storage::Store& store_;
  const Plan plan_;
  const std::unique_ptr<Writer> writer_;
  std::function<Result<Batch>(uint64_t)> pages_;  // of the part; empty between parts
  Batch page_;
  size_t part_ = 0, row_ = 0;
  uint64_t given_ = 0;
  bool begun_ = false, ended_ = false, truncated_ = false, counted_ = false;
};

// ---- what was asked

Status check_names(const http::Request& request) {
  for (const auto& [name, value] : request.query) {
    if (std::find(std::begin(kQueryParameters), std::end(kQueryParameters), name) != std::end(kQueryParameters)) continue;
    if (name.starts_with("tag.") && name.size() > 4) continue;
    return fail(Code::invalid, "parameter '{}' is not known here: there are {}", name.substr(0, 64), fmt::join(kQueryParameters, ", "));
  }
  return {};
}

Result<Format> format_of(const http::Request& request) {
  const std::string text = request.parameter("format", "json");
  if (text == "json") return Format::json;
  if (text == "csv") return Format::csv;
  if (text == "lines") return Format::lines;
  return fail(Code::invalid, "parameter 'format' is '{}': write json, csv or lines", text.substr(0, 32));
}

Result<bool> flag_of(const http::Request& request, const char* name) {
  const std::string text = request.parameter(name, "false");
  if (text == "true" || text == "false") return text == "true";
  return fail(Code::invalid, "parameter '{}' is '{}': write true or false", name, text.substr(0, 32));
}

Result<std::vector<std::string>> names_in(const http::Request& request) {
  std::vector<std::string> out;
  const std::string names = request.parameter("fields");
  for (size_t at = 0; at < names.size();) {
    const size_t comma = std::min(names.find(',', at), names.size());
    std::string name = names.substr(at, comma - at);
    if (std::find(out.begin(), out.end(), name) != out.end()) {
      return fail(Code::invalid, "parameter 'fields' names '{}' twice: once is enough", name.substr(0, 64));
    }
    if (!name.empty()) out.push_back(std::move(name));
    at = comma + 1;
    if (out.size() > kBatchColumnsMax) return fail(Code::invalid, "more than {} fields: ask for fewer", kBatchColumnsMax);
  }
  return out;
}

Result<std::map<std::string, std::string>> tags_in(const http::Request& request) {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : request.query) {
    if (!name.starts_with("tag.")) continue;
    if (request.parameter("name").empty()) {
      return fail(Code::invalid, "parameter '{}' goes with 'name': write name=imu&tag.device=pump-3", name.substr(0, 64));
    }
    out.emplace(name.substr(4), value);
  }
  return out;
}

bool has_tags(const Series& series, const std::map<std::string, std::string>& tags) {
  return std::all_of(tags.begin(), tags.end(), [&](const auto& tag) {
    const auto found = series.tags.find(tag.first);
    return found != series.tags.end() && found->second == tag.second;
  });
}

// The series that are meant. Error: invalid, not_found.
Result<std::vector<storage::StreamInfo>> find_streams(const storage::Store& store, const http::Request& request, bool& many) {
  const std::string text = request.parameter("series"), name = request.parameter("name");
  if (text.empty() == name.empty()) {
    return fail(Code::invalid, "parameter 'series' is missing, or 'name' with tag.KEY=VALUE instead of it: GET /v1/streams lists them");
  }
  many = text.empty();
  SKERRY_ASSIGN(const auto tags, tags_in(request));
  SKERRY_ASSIGN(auto streams, store.streams());
  if (many) {
    std::erase_if(streams, [&](const auto& s) { return s.series.name != name || !has_tags(s.series, tags); });
    if (!streams.empty()) return streams;
    return fail(Code::not_found, "no series is named {} and has those tags: GET /v1/streams lists them", name.substr(0, 128));
  }
  auto series = Series::parse(text);
  if (!series.ok()) return fail(Code::invalid, "parameter 'series': {}", series.error().message);
  std::erase_if(streams, [&](const auto& s) { return s.series != *series; });
  if (!streams.empty()) return streams;
  return fail(Code::not_found, "no stream {}: nothing was ever written to it", text.substr(0, 256));
}

// The fields of a series that are read: those of the names that it has, or all.
Fields choose(const storage::StreamInfo& stream, const std::vector<std::string>& names, const Plan& plan) {
  Fields out;
  for (const std::string& name : names) {
    for (const auto& field : stream.fields) {
      if (field.first == name) out.push_back(field);
    }
  }
  if (!names.empty()) return out;
  for (const auto& field : stream.fields) {
    if (storage::takes(plan.functions, field.second)) out.push_back(field);
  }
  return out;
}

Status add_parts(Plan& plan, const std::vector<storage::StreamInfo>& streams, const std::vector<std::string>& names,
                 storage::TimeRange range, bool last) {
  std::set<std::string> found;
  for (const auto& stream : streams) {
    Part part{stream.series, choose(stream, names, plan), {}, range};
    for (const auto& field : part.read) found.insert(field.first);
    if (part.read.empty()) continue;
    part.columns = part.read;
    if (!plan.functions.empty()) {
      SKERRY_ASSIGN(part.columns, storage::aggregate_fields(plan.functions, part.read));
    }
    if (last) part.range = {stream.last_ns, stream.last_ns + 1};
    plan.parts.push_back(std::move(part));
  }
  for (const std::string& name : names) {
    if (!found.contains(name)) {
      return fail(Code::not_found, "{} has no field '{}': it has {}", streams.front().series.text(), name.substr(0, 64),
                  fmt::join(names_of(streams.front().fields), ", "));
    }
  }
  if (plan.parts.empty()) return fail(Code::invalid, "there are only strings, of which there are count, first and last: ask for those");
  return {};
}

Result<Plan> plan_of(const storage::Store& store, const http::Request& request) {
  SKERRY_TRY(check_names(request));
  Plan plan;
  plan.name = request.parameter("name");
  SKERRY_ASSIGN(plan.format, format_of(request));
  SKERRY_ASSIGN(const storage::TimeRange range, range_parameters(request));
  if (request.parameter("limit") == "all") {
    plan.limit = UINT64_MAX - 1;
  } else {
    SKERRY_ASSIGN(plan.limit, number_parameter(request, "limit", kRowsDefault, kRowsMax, "or all"));
  }
  SKERRY_ASSIGN(const auto names, names_in(request));
  const std::string functions = request.parameter("aggregate"), bucket = request.parameter("bucket");
  if (!functions.empty()) {
    SKERRY_ASSIGN(plan.functions, storage::parse_aggregates(functions));
  }
  if (!bucket.empty()) {
    auto length = parse_duration(bucket);
    if (!length.ok() || *length <= Duration::zero()) {
      return fail(Code::invalid, "parameter 'bucket' is '{}': write a length like 10s, 1m or 1h", bucket.substr(0, 32));
    }
    if (plan.functions.empty()) return fail(Code::invalid, "parameter 'bucket' goes with 'aggregate': write e.g. aggregate=mean,max");
    plan.bucket = *length;
  }
  SKERRY_ASSIGN(const bool last, flag_of(request, "last"));
  if (last && (!plan.functions.empty() || range != storage::TimeRange{})) {
    return fail(Code::invalid, "parameter 'last' is the newest record of all: leave out from, to and aggregate");
  }
  SKERRY_ASSIGN(const auto streams, find_streams(store, request, plan.many));
  SKERRY_TRY(add_parts(plan, streams, names, range, last));
  return plan;
}

Result<http::Response> query(const storage::Store& store, const http::Request& request) {
  SKERRY_ASSIGN(Plan plan, plan_of(store, request));
  http::Response response;
  if (plan.format == Format::csv) response.content_type = "text/csv; charset=utf-8";
  if (plan.format == Format::lines) response.content_type = "text/plain; charset=utf-8";
  auto source = std::make_shared<RecordsSource>(store, std::move(plan));
  // What goes wrong at once has a status of its own, and a short answer a length.
  SKERRY_ASSIGN(response.body, source->next());
  if (source->ended()) {
    response.headers = source->trailers();
  } else {
    SKERRY_TRY(source->take_place());
    response.headers.emplace_back("Trailer", "Skerry-Truncated");
    response.source = source;
  }
  return response;
}

}  // namespace

void add_record_routes(http::Router& router, Node& node) {
  router.add("GET", "/v1/query", [&node](http::Request& request) {
    auto response = query(node.store(), request);
    return response.ok() ? std::move(response).value() : http::error_response(response.error());
  });
}

}  // namespace skerry::node
