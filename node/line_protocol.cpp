#include "node/line_protocol.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "base/clock.h"
#include "node/internal/decimal.h"

namespace skerry::node {
namespace {

std::string shown(std::string_view text) {  // for messages: short, one line, printable
  std::string out;
  for (char c : text.substr(0, 40)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return text.size() > 40 ? out + "..." : out;
}

// Offset of the first byte that is not UTF-8 (RFC 3629), or npos. ASCII goes 32 bytes at a time, then eight.
size_t find_invalid_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  size_t n = text.size(), i = 0;
  while (i < n) {
    for (uint64_t words[4]; n - i >= 32; i += 32) {
      std::memcpy(words, p + i, 32);
      if (((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080) != 0) break;
    }
    if (i == n) break;
    uint64_t word;
    if (n - i >= 8 && (std::memcpy(&word, p + i, 8), (word & 0x8080808080808080) == 0)) {
      i += 8;
      continue;
    }
    unsigned char c = p[i];
    if (c < 0x80) {
      ++i;
      continue;
    }
    size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || length > n - i) return i;
    for (size_t k = 1; k < length; ++k) {
      if ((p[i + k] & 0xc0) != 0x80) return i;
    }
    // overlong forms, surrogates, above U+10FFFF
    if ((c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f) || (c == 0xf0 && p[i + 1] < 0x90) ||
        (c == 0xf4 && p[i + 1] > 0x8f)) {
      return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

size_t cell_weight(FieldType type) { return type == FieldType::string ? 4 : 1; }

Column::Values make_values(FieldType type) {
  switch (type) {
    case FieldType::float64: return std::vector<double>{};
    case FieldType::int64: return std::vector<int64_t>{};
    case FieldType::boolean: return std::vector<uint8_t>{};
    case FieldType::string: break;
  }
  return std::vector<std::string>{};
}

const char* kind(FieldType type) {  // as a writer of line protocol thinks of it
  switch (type) {
    case FieldType::float64: return "a float (1 or 1.5)";
    case FieldType::int64: return "an integer (1i)";
    case FieldType::boolean: return "a boolean (true)";
    case FieldType::string: return "a string (\"text\")";
  }
  return "?";
}

// One series of the body while it is read.
struct Builder {
  Batch batch;
  std::vector<std::string_view> raw_names;  // of the columns, as written in the body: comparing is cheaper than unescaping
  std::vector<uint32_t> first_lines;        // where each column was seen first
  size_t row_weight = 0;                    // cells per row
  std::string_view lead;                    // how a line of it began last: measurement, tags and the space after them
  size_t next = 0;                          // the builder of the line that came after such a line last
};

union Cell {  // of a usual line, see Parser::usual_line
  double number;
  int64_t integer;
};

class Parser {
 public:
  Parser(std::string_view body, const LineProtocolOptions& options)
      : begin_(body.data()), at_(begin_), end_(begin_ + body.size()), line_start_(begin_), options_(options) {}

  Result<std::vector<Batch>> parse();

 private:
  bool usual_line();
  Builder* usual_builder(const char*& p);
  const char* usual_fields(const Builder& builder, const char* p);
  Status line();
  Status find_builder(Builder*& builder);
  void follow(size_t builder) {
    builders_[last_builder_].next = builder;
    last_builder_ = builder;
  }
  Result<Series> series_of(const char* key_begin, const char* key_end);
  Status field(Builder& builder, size_t position);
  Status value(Builder& builder, size_t column, const char* where);
  Result<size_t> column_for(Builder& builder, std::string_view raw_name, size_t position, FieldType type, const char* where);
  Status close_row(Builder& builder, size_t fields, int64_t time);
  Result<int64_t> timestamp();

  bool done() const { return at_ == end_; }
  bool at_line_end() const { return done() || *at_ == '\n' || (*at_ == '\r' && (at_ + 1 == end_ || at_[1] == '\n')); }
  void skip_spaces() {
    while (!done() && *at_ == ' ') ++at_;
  }
  // The end of the token at `from`: the first stop, space or end of line that no backslash escapes.
  const char* token_end(const char* from, char stop1, char stop2) const {
    const char* p = from;
    while (p != end_ && *p != stop1 && *p != stop2 && *p != ' ' && *p != '\n') {
      if (*p == '\\' && p + 1 != end_ && is_special(p[1])) ++p;
      ++p;
    }
    return p;
  }
  static bool is_special(char c) { return c == ',' || c == '=' || c == ' '; }
  static std::string unescape(std::string_view raw) {
    std::string out;
    out.reserve(raw.size());
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '\\' && i + 1 < raw.size() && is_special(raw[i + 1])) ++i;
      out += raw[i];
    }
    return out;
  }
  Status check_name(const char* what, std::string_view name, const char* where) const {
    if (name.empty()) return wrong(where, "an empty {}: give it a name", what);
    if (name.size() > kNameBytesMax) {
      return wrong(where, "the {} '{}' has {} bytes: at most {} are allowed", what, shown(name), name.size(), kNameBytesMax);
    }
    for (char c : name) {
      if (static_cast<unsigned char>(c) < 0x20) return wrong(where, "a control character in the {} '{}': leave it out", what, shown(name));
    }
    return {};
  }
  template <typename... Args>
  Error wrong(const char* where, fmt::format_string<Args...> format, Args&&... args) const {
    return fail(Code::invalid, "line {}, column {}: {}", line_, where - line_start_ + 1,
                fmt::format(format, std::forward<Args>(args)...));
  }

  const char* const begin_;
  const char* at_;
  const char* const end_;
  const char* line_start_;
  uint32_t line_ = 1;
  const LineProtocolOptions& options_;
  std::vector<Builder> builders_;
  std::unordered_map<std::string_view, size_t> by_key_;  // measurement and tags as written
  std::unordered_map<std::string, size_t> by_text_;      // Series::text(): the newest builder of a series
  size_t last_builder_ = 0;
  size_t cells_ = 0;
  std::array<Cell, kBatchColumnsMax> row_;  // of a usual line
};

Result<std::vector<Batch>> Parser::parse() {
  size_t bad = find_invalid_utf8({begin_, static_cast<size_t>(end_ - begin_)});
  if (bad != std::string_view::npos) {
    const char* where = begin_ + bad;
    for (const char* p = begin_; p != where; ++p) {
      if (*p == '\n') ++line_, line_start_ = p + 1;
    }
    return wrong(where, "a byte that is not UTF-8 (0x{:02x}): send text as UTF-8", static_cast<unsigned char>(*where));
  }
  while (!done()) {
    if (usual_line()) continue;
    skip_spaces();
    if (!done() && *at_ == '#') {
      const void* newline = std::memchr(at_, '\n', static_cast<size_t>(end_ - at_));
      at_ = newline ? static_cast<const char*>(newline) : end_;
    } else if (!at_line_end()) {
      SKERRY_TRY(line());
    }
    if (!done() && *at_ == '\r') ++at_;
    if (!done()) ++at_;  // the newline
    ++line_;
    line_start_ = at_;
  }
  std::vector<Batch> batches;
  batches.reserve(builders_.size());
  for (Builder& b : builders_) batches.push_back(std::move(b.batch));
  return batches;
}

// The lines of a body mostly look alike: a series that came before, with all its fields in the same order and of the same numeric types,
// and a timestamp. Such a line is read here at a fraction of the cost. False, and nothing has changed, for any other and for every wrong
// one: line() reads that, and is the one place that says what is allowed.
bool Parser::usual_line() {
  if (builders_.empty()) return false;
  const char* p = at_;
  Builder* builder = usual_builder(p);
  if (builder == nullptr || builder->batch.rows() >= kBatchRowsMax || cells_ + builder->row_weight > options_.cells_max) return false;
  p = usual_fields(*builder, p);
  if (p == nullptr) return false;
  int64_t time = 0;
  p = read_integer(p, end_, time);
  if (p == nullptr || (p != end_ && *p != '\n') || __builtin_mul_overflow(time, options_.unit_ns, &time)) return false;
  if (time < options_.time_min_ns || time > options_.time_max_ns) return false;

  Batch& batch = builder->batch;
  batch.times.push_back(time);
  for (size_t i = 0; i < batch.columns.size(); ++i) {
    Column& column = batch.columns[i];
    if (auto* numbers = std::get_if<0>(&column.values)) numbers->push_back(row_[i].number);
    else std::get<1>(column.values).push_back(row_[i].integer);
    if (!column.present.empty()) column.present.push_back(1);
  }
  cells_ += builder->row_weight;
  follow(static_cast<size_t>(builder - builders_.data()));
  at_ = p == end_ ? p : p + 1;
  ++line_;
  line_start_ = at_;
  return true;
}

// Leaves `p` at the first field. A token that is equal up to its closing space is the same token, escapes included.
Builder* Parser::usual_builder(const char*& p) {
  Builder& expected = builders_[builders_[last_builder_].next];
  const std::string_view rest(p, static_cast<size_t>(end_ - p));
  if (!expected.lead.empty() && rest.starts_with(expected.lead)) {
    p += expected.lead.size();
    return &expected;
  }
  const char* const key_end = token_end(p, ' ', ' ');
  if (key_end == end_ || *key_end != ' ') return nullptr;
  auto found = by_key_.find(std::string_view(p, static_cast<size_t>(key_end - p)));
  if (found == by_key_.end()) return nullptr;
  Builder& known = builders_[found->second];
  known.lead = std::string_view(p, static_cast<size_t>(key_end + 1 - p));
  p = key_end + 1;
  return &known;
}

// Reads the fields into row_; the beginning of the timestamp, or nullptr.
const char* Parser::usual_fields(const Builder& builder, const char* p) {
  const std::vector<Column>& columns = builder.batch.columns;
  for (size_t i = 0; i < columns.size(); ++i) {
    const std::string_view name = builder.raw_names[i];
    const std::string_view rest(p, static_cast<size_t>(end_ - p));
    if (rest.size() <= name.size() || !rest.starts_with(name) || rest[name.size()] != '=') return nullptr;
    p += name.size() + 1;
    const FieldType type = columns[i].type();
    if (type == FieldType::float64) {
      const char* stop = read_float(p, end_, row_[i].number);
      if (stop == nullptr) {
        auto [end, code] = std::from_chars(p, end_, row_[i].number);
        if (code != std::errc() || !std::isfinite(row_[i].number)) return nullptr;
        stop = end;
      }
      p = stop;
    } else if (type == FieldType::int64) {
      p = read_integer(p, end_, row_[i].integer);
      if (p == nullptr || p == end_ || *p != 'i') return nullptr;
      ++p;
    } else {
      return nullptr;
    }
    if (p == end_ || *p != (i + 1 < columns.size() ? ',' : ' ')) return nullptr;
    ++p;
  }
  return p;
}

Status Parser::line() {
  const uint32_t first_line = line_;
  const char* const first_start = line_start_;
  Builder* builder = nullptr;
  SKERRY_TRY(find_builder(builder));
  skip_spaces();
  if (at_line_end()) {
    return wrong(at_, "no fields after '{}': write at least one, e.g. temperature value=21.5", shown(builder->batch.series.name));
  }
  size_t fields = 0;
  for (;;) {
    SKERRY_TRY(field(*builder, fields));
    ++fields;
    if (done() || *at_ != ',') break;
    ++at_;
  }
  int64_t time = options_.now_ns;
  if (!at_line_end()) {
    if (*at_ != ' ') return wrong(at_, "'{}' after a value: separate fields by ',' and the timestamp by a space", *at_);
    skip_spaces();
    if (!at_line_end()) {
      SKERRY_ASSIGN(time, timestamp());
      skip_spaces();
      if (!at_line_end()) {
        return wrong(at_, "'{}' after the timestamp: one record per line; escape spaces in names by a backslash", *at_);
      }
    }
  }
  if (time < options_.time_min_ns || time > options_.time_max_ns) {
    line_ = first_line;
    line_start_ = first_start;
    return wrong(first_start, "the time {} is not accepted (from {} to {}): check the precision parameter (ns by default) and the clock",
                 format_time(time), format_time(options_.time_min_ns), format_time(options_.time_max_ns));
  }
  return close_row(*builder, fields, time);
}

// Measurement and tags up to the space before the fields. Lines of one series mostly come with the same bytes.
Status Parser::find_builder(Builder*& builder) {
  const char* const key_begin = at_;
  const char* const key_end = token_end(at_, ' ', ' ');
  std::string_view key(key_begin, static_cast<size_t>(key_end - key_begin));
  if (!key.empty() && key.back() == '\r') {
    return wrong(key_end - 1, "no fields after '{}': write at least one, e.g. temperature value=21.5", shown(key.substr(0, key.size() - 1)));
  }
  at_ = key_end;
  auto found = by_key_.find(key);
  if (found != by_key_.end() && builders_[found->second].batch.rows() < kBatchRowsMax) {
    follow(found->second);
    builder = &builders_[last_builder_];
    return {};
  }
  SKERRY_ASSIGN(Series series, series_of(key_begin, key_end));
  // Other bytes may say the same series: tags in another order. A full batch is followed by another one.
  size_t index = builders_.size();
  auto [same, is_new] = by_text_.try_emplace(series.text(), index);
  if (!is_new && builders_[same->second].batch.rows() < kBatchRowsMax) {
    index = same->second;
  } else {
    if (builders_.size() >= options_.series_max) {
      return wrong(key_begin, "more than {} series in one body: split it", options_.series_max);
    }
    same->second = index;
    builders_.emplace_back().batch.series = std::move(series);
  }
  by_key_[key] = index;
  follow(index);
  builder = &builders_[index];
  return {};
}

Result<Series> Parser::series_of(const char* key_begin, const char* key_end) {
  Series series;
  const char* p = token_end(key_begin, ',', ',');
  series.name = unescape({key_begin, static_cast<size_t>(p - key_begin)});
  SKERRY_TRY(check_name("measurement", series.name, key_begin));
  while (p != key_end) {
    const char* const tag = ++p;
    p = token_end(tag, '=', ',');
    std::string name = unescape({tag, static_cast<size_t>(p - tag)});
    if (p == key_end || *p != '=') return wrong(tag, "the tag '{}' has no value: write tag=value", shown(name));
    const char* const value = ++p;
    p = token_end(value, ',', '=');
    if (p != key_end && *p == '=') return wrong(p, "a second '=' in the tag '{}': escape it as \\=", shown(name));
    std::string text = unescape({value, static_cast<size_t>(p - value)});
    SKERRY_TRY(check_name("tag name", name, tag));
    SKERRY_TRY(check_name("tag value", text, value));
    if (series.tags.size() >= kTagsMax) return wrong(tag, "more than {} tags: at most {} are allowed", kTagsMax, kTagsMax);
    if (!series.tags.emplace(name, std::move(text)).second) return wrong(tag, "the tag '{}' is given twice", shown(name));
  }
  return series;
}

Status Parser::field(Builder& builder, size_t position) {
  const char* const name = at_;
  at_ = token_end(at_, '=', ',');
  std::string_view raw(name, static_cast<size_t>(at_ - name));
  if (done() || *at_ != '=') return wrong(name, "the field '{}' has no value: write name=value", shown(raw));
  if (raw.empty()) return wrong(name, "an empty field name: give it a name");
  ++at_;
  if (at_line_end() || *at_ == ',' || *at_ == ' ') return wrong(at_, "the field '{}' has no value: leave the field out", shown(raw));

  const char* const where = at_;
  if (*at_ == '"') {
    const char* p = ++at_;
    bool escaped = false;
    while (p != end_ && *p != '"') {
      if (*p == '\\' && p + 1 != end_ && (p[1] == '"' || p[1] == '\\')) escaped = true, ++p;
      ++p;
    }
    if (p >= end_) return wrong(where, "the string that begins here has no closing '\"'");
    std::string_view text(at_, static_cast<size_t>(p - at_));
    SKERRY_ASSIGN(size_t column, column_for(builder, raw, position, FieldType::string, name));
    if (text.size() > kStringValueBytesMax) {
      return wrong(where, "a string of {} bytes: at most {} are allowed", text.size(), kStringValueBytesMax);
    }
    auto& values = std::get<3>(builder.batch.columns[column].values);
    if (!escaped) {
      values.emplace_back(text);
    } else {
      std::string out;
      for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\')) ++i;
        out += text[i];
      }
      values.push_back(std::move(out));
    }
    // A string may span lines; the message of a later error still names the line that people count.
    for (const char* q = at_; (q = static_cast<const char*>(std::memchr(q, '\n', static_cast<size_t>(p - q)))) != nullptr; ++q) {
      ++line_;
      line_start_ = q + 1;
    }
    at_ = p + 1;
    return {};
  }

  const char* p = at_;
  while (p != end_ && *p != ',' && *p != ' ' && *p != '\n' && *p != '\r' && *p != '\t') ++p;
  std::string_view text(at_, static_cast<size_t>(p - at_));
  const char first = text.front(), last = text.back();
  if (first == 't' || first == 'T' || first == 'f' || first == 'F') {
    bool yes = text == "t" || text == "T" || text == "true" || text == "True" || text == "TRUE";
    bool no = text == "f" || text == "F" || text == "false" || text == "False" || text == "FALSE";
    if (!yes && !no) return wrong(where, "'{}' is not a value: write true or false, or put a string into double quotes", shown(text));
    SKERRY_ASSIGN(size_t column, column_for(builder, raw, position, FieldType::boolean, name));
    std::get<2>(builder.batch.columns[column].values).push_back(yes ? 1 : 0);
  } else if ((last == 'i' || last == 'u') && (first == '-' || (first >= '0' && first <= '9'))) {
    int64_t number = 0;
    auto [stop, code] = std::from_chars(text.data(), text.data() + text.size() - 1, number);
    if (code == std::errc::result_out_of_range) {
      return wrong(where, "'{}' does not fit into 64 bits with a sign: send it as a float (without {})", shown(text), last);
    }
    if (code != std::errc() || stop != text.data() + text.size() - 1) {
      return wrong(where, "'{}' is not an integer: write digits and {}, or a float without it", shown(text), last);
    }
    if (last == 'u' && number < 0) return wrong(where, "'{}' is unsigned and negative: write i instead of u", shown(text));
    SKERRY_ASSIGN(size_t column, column_for(builder, raw, position, FieldType::int64, name));
    std::get<1>(builder.batch.columns[column].values).push_back(number);
  } else {
    double number = 0;
    auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (code == std::errc::result_out_of_range) return wrong(where, "'{}' is out of the range of a 64-bit float", shown(text));
    if (code != std::errc() || stop != text.data() + text.size()) {
      return wrong(where, "'{}' is not a value: write a number, 1i, true, or a string in double quotes", shown(text));
    }
    if (!std::isfinite(number)) return wrong(where, "'{}' is not a finite number: leave the field out instead", shown(text));
    SKERRY_ASSIGN(size_t column, column_for(builder, raw, position, FieldType::float64, name));
    std::get<0>(builder.batch.columns[column].values).push_back(number);
  }
  at_ = p;
  return {};
}

// The column of a field, made when it is new. Fields mostly come in the same order on each line: look there first.
Result<size_t> Parser::column_for(Builder& builder, std::string_view raw_name, size_t position, FieldType type,
                                  const char* where) {
  Batch& batch = builder.batch;
  size_t index = position;
  if (position >= builder.raw_names.size() || builder.raw_names[position] != raw_name) {
    auto found = std::find(builder.raw_names.begin(), builder.raw_names.end(), raw_name);
    index = static_cast<size_t>(found - builder.raw_names.begin());
  }
  if (index == builder.raw_names.size()) {
    std::string name = unescape(raw_name);
    SKERRY_TRY(check_name("field name", name, where));
    for (index = 0; index < batch.columns.size() && batch.columns[index].name != name; ++index) {
    }
    if (index == batch.columns.size()) {
      if (index >= kBatchColumnsMax) return wrong(where, "more than {} fields in one series: split it into several", kBatchColumnsMax);
      cells_ += batch.rows() * cell_weight(type);
      if (cells_ > options_.cells_max) {
        return wrong(where, "too many records with differing fields in one body: split it");
      }
      Column column{.name = std::move(name), .values = make_values(type)};
      if (batch.rows() > 0) {
        std::visit([&](auto& v) { v.resize(batch.rows()); }, column.values);
        column.present.assign(batch.rows(), 0);
      }
      batch.columns.push_back(std::move(column));
      builder.raw_names.push_back(raw_name);
      builder.first_lines.push_back(line_);
      builder.row_weight += cell_weight(type);
    }
  }
  Column& column = batch.columns[index];
  if (column.type() != type) {
    return wrong(where, "the field '{}' is {} here, but {} on line {}: use one type", shown(column.name), kind(type),
                 kind(column.type()), builder.first_lines[index]);
  }
  if (column.size() > batch.rows()) return wrong(where, "the field '{}' is given twice in one record", shown(column.name));
  if (!column.present.empty()) column.present.push_back(1);
  return index;
}

Status Parser::close_row(Builder& builder, size_t fields, int64_t time) {
  Batch& batch = builder.batch;
  cells_ += builder.row_weight;
  if (cells_ > options_.cells_max) return wrong(line_start_, "too many values in one body: split it");
  const size_t rows = batch.rows() + 1;
  batch.times.push_back(time);
  if (fields == batch.columns.size()) return {};  // none is missing: no field can come twice
  for (Column& column : batch.columns) {
    if (column.size() == rows) continue;
    if (column.present.empty()) column.present.assign(rows - 1, 1);
    column.present.push_back(0);
    std::visit([&](auto& v) { v.resize(rows); }, column.values);
  }
  return {};
}

Result<int64_t> Parser::timestamp() {
  const char* const where = at_;
  const char* p = at_;
  while (p != end_ && *p != ' ' && *p != '\n' && *p != '\r' && *p != '\t') ++p;
  std::string_view text(where, static_cast<size_t>(p - where));
  int64_t units = 0;
  auto [stop, code] = std::from_chars(where, p, units);
  int64_t ns = 0;
  if (code == std::errc::result_out_of_range || (code == std::errc() && stop == p && __builtin_mul_overflow(units, options_.unit_ns, &ns))) {
    return wrong(where, "the timestamp {} is out of range: check the precision parameter (ns by default)", shown(text));
  }
  if (code != std::errc() || stop != p) {
    return wrong(where, "'{}' is not a timestamp: write an integer, or escape spaces in names by a backslash", shown(text));
  }
  at_ = p;
  return ns;
}

// A name as it stands in line protocol. `also` is what must be escaped there besides spaces and commas.
Status append_name(std::string& out, const std::string& name, bool escape_equals) {
  if (name.empty() || name.back() == '\\') {
    return fail(Code::invalid, "line protocol can't carry the name '{}': it is empty or ends in a backslash", shown(name));
  }
  for (char c : name) {
    if (c == ' ' || c == ',' || (c == '=' && escape_equals)) out += '\\';
    out += c;
  }
  return {};
}

void append_value(std::string& out, const Column& column, size_t row) {
  auto to = std::back_inserter(out);
  switch (column.type()) {
    case FieldType::float64: fmt::format_to(to, "{}", std::get<0>(column.values)[row]); return;
    case FieldType::int64: fmt::format_to(to, "{}i", std::get<1>(column.values)[row]); return;
    case FieldType::boolean: out += std::get<2>(column.values)[row] ? 't' : 'f'; return;
    case FieldType::string: break;
  }
  out += '"';
  for (char c : std::get<3>(column.values)[row]) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

}  // namespace

Result<int64_t> parse_precision(std::string_view name) {
  if (name.empty() || name == "ns" || name == "n") return int64_t{1};
  if (name == "us" || name == "u" || name == "µ" || name == "µs") return int64_t{1'000};
  if (name == "ms") return int64_t{1'000'000};
  if (name == "s") return int64_t{1'000'000'000};
  if (name == "m") return int64_t{60'000'000'000};
  if (name == "h") return int64_t{3'600'000'000'000};
  return fail(Code::invalid, "'{}' is not a precision: write ns, us, ms or s", shown(name));
}

Result<std::vector<Batch>> parse_line_protocol(std::string_view body, const LineProtocolOptions& options) {
  return Parser(body, options).parse();
}

Status append_line_protocol(const Batch& batch, std::string& out) { return append_line_protocol(batch, 0, batch.rows(), out); }

Status append_line_protocol(const Batch& batch, size_t from, size_t to, std::string& out) {
  std::string key;
  SKERRY_TRY(append_name(key, batch.series.name, true));
  if (key.front() == '#') return fail(Code::invalid, "line protocol can't carry the name '{}': a line that begins with # is a comment", shown(key));
  for (const auto& [name, value] : batch.series.tags) {
    key += ',';
    SKERRY_TRY(append_name(key, name, true));
    key += '=';
    SKERRY_TRY(append_name(key, value, true));
  }
  std::vector<std::string> names;
  for (const Column& column : batch.columns) SKERRY_TRY(append_name(names.emplace_back(), column.name, true));
  for (size_t row = from; row < to; ++row) {
    out += key;
    char separator = ' ';
    for (size_t i = 0; i < batch.columns.size(); ++i) {
      if (!batch.columns[i].has(row)) continue;
      out += separator;
      out += names[i];
      out += '=';
      append_value(out, batch.columns[i], row);
      separator = ',';
    }
    if (separator == ' ') return fail(Code::invalid, "record {} of {} has no field: leave it out", row, batch.series.text());
    fmt::format_to(std::back_inserter(out), " {}\n", batch.times[row]);
  }
  return {};
}

}  // namespace skerry::node
