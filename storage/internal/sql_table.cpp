#include "storage/internal/sql_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "storage/pages.h"

namespace skerry::storage::internal {
namespace {

// Small at first: `limit 10` need not read thousands.
constexpr size_t kPageRowsFirst = 256, kPageRowsMax = 8'192, kPageBytesMax = 512 << 10;
constexpr int kTime = 0;
constexpr double kInt64End = 9223372036854775808.0;  // 2^63

char* sqlite_text(const std::string& text) { return sqlite3_mprintf("%s", text.c_str()); }

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

const char* affinity(FieldType type) {
  switch (type) {
    case FieldType::float64: return "REAL";
    case FieldType::int64:
    case FieldType::boolean: return "INTEGER";
    case FieldType::string: break;
  }
  return "TEXT";
}

struct VirtualTable : sqlite3_vtab {
  explicit VirtualTable(const SqlTable& t) : sqlite3_vtab{}, table(t) {}
  const SqlTable& table;
};

// What xBestIndex tells xFilter: the columns that are used, and per argument a column and an operator.
// As text: "USED;COLUMN OP;COLUMN OP;", USED in hexadecimal.
struct Term {
  int column = 0, op = 0;
};
struct Choice {
  uint64_t used = 0;
  std::vector<Term> terms;

  std::string text() const {
    std::string out = fmt::format("{:x};", used);
    for (const Term& term : terms) out += fmt::format("{} {};", term.column, term.op);
    return out;
  }
  static Choice parse(std::string_view text) {
    Choice out;
    const char* at = text.data();
    const char* const end = at + text.size();
    at = std::from_chars(at, end, out.used, 16).ptr + 1;
    while (at < end) {
      Term& term = out.terms.emplace_back();
      at = std::from_chars(at, end, term.column).ptr + 1;
      at = std::from_chars(at, end, term.op).ptr + 1;
    }
    return out;
  }
};

bool bounds_time(int op) {
  return op == SQLITE_INDEX_CONSTRAINT_EQ || op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE ||
         op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE;
}

// ---- the range of an argument: SQLite checks every row again, so a bound may be too wide, never too narrow

void narrow(TimeRange& range, int op, int64_t value) {
  const int64_t behind = value == INT64_MAX ? value : value + 1;
  const bool from = op != SQLITE_INDEX_CONSTRAINT_LT && op != SQLITE_INDEX_CONSTRAINT_LE;
  const bool to = op != SQLITE_INDEX_CONSTRAINT_GT && op != SQLITE_INDEX_CONSTRAINT_GE;
  if (from) range.from_ns = std::max(range.from_ns, op == SQLITE_INDEX_CONSTRAINT_GT ? behind : value);
  if (to) range.to_ns = std::min(range.to_ns, op == SQLITE_INDEX_CONSTRAINT_LT ? value : behind);
}

void narrow(TimeRange& range, int op, double value) {
  if (!(std::abs(value) < kInt64End / 2)) return;  // far out, or NaN
  if (op != SQLITE_INDEX_CONSTRAINT_LT && op != SQLITE_INDEX_CONSTRAINT_LE) {
    range.from_ns = std::max(range.from_ns, static_cast<int64_t>(std::floor(value)));
  }
  if (op != SQLITE_INDEX_CONSTRAINT_GT && op != SQLITE_INDEX_CONSTRAINT_GE) {
    range.to_ns = std::min(range.to_ns, static_cast<int64_t>(std::ceil(value)) + 1);
  }
}

// ---- a cursor: series after series, each in time order

class Cursor : public sqlite3_vtab_cursor {
 public:
  explicit Cursor(const SqlTable& table) : sqlite3_vtab_cursor{}, table_(table) {}

  Status filter(const Choice& choice, sqlite3_value** values) {
    streams_.clear();
    range_ = {};
    rowid_ = 0;
    used_ = choice.used;
    std::vector<std::pair<std::string, std::string>> tags;
    bool none = false;
    for (size_t i = 0; i < choice.terms.size(); ++i) {
      const Term& term = choice.terms[i];
      const int type = sqlite3_value_type(values[i]);
      if (type == SQLITE_NULL) none = true;  // nothing compares to NULL
      if (term.column != kTime && type == SQLITE_TEXT) {
        const char* text = reinterpret_cast<const char*>(sqlite3_value_text(values[i]));
        tags.emplace_back(table_.columns[static_cast<size_t>(term.column) - 1].name,
                          std::string(text ? text : "", static_cast<size_t>(sqlite3_value_bytes(values[i]))));
      }
      if (term.column == kTime && type == SQLITE_INTEGER) narrow(range_, term.op, int64_t{sqlite3_value_int64(values[i])});
      if (term.column == kTime && type == SQLITE_FLOAT) narrow(range_, term.op, sqlite3_value_double(values[i]));
    }
    for (const StreamInfo& stream : table_.streams) {
      const bool meant = std::all_of(tags.begin(), tags.end(), [&](const auto& tag) {
        const auto found = stream.series.tags.find(tag.first);
        return found != stream.series.tags.end() && found->second == tag.second;
      });
      const bool touches = stream.records > 0 && stream.last_ns >= range_.from_ns && stream.first_ns < range_.to_ns;
      if (meant && touches && !none) streams_.push_back(&stream);
    }
    stream_ = 0;
    pages_.reset();
    page_ = Batch();
    row_ = 0;
    return settle();
  }

  Status next() {
    ++row_;
    ++rowid_;
    return settle();
  }
  bool eof() const { return stream_ == streams_.size(); }
  int64_t rowid() const { return rowid_; }

  void give(sqlite3_context* context, int index) const {
    if (index == kTime) return sqlite3_result_int64(context, page_.times[row_]);
    const SqlColumn& column = table_.columns[static_cast<size_t>(index) - 1];
    if (column.tag) {
      const auto& tags = streams_[stream_]->series.tags;
      const auto tag = tags.find(column.name);
      if (tag != tags.end()) sqlite3_result_text64(context, tag->second.data(), tag->second.size(), SQLITE_STATIC, SQLITE_UTF8);
      return;
    }
    const int place = places_[static_cast<size_t>(index) - 1];
    if (place < 0) return;
    const Column& values = page_.columns[static_cast<size_t>(place)];
    if (!values.has(row_)) return;
    switch (values.type()) {
      case FieldType::float64: return sqlite3_result_double(context, std::get<0>(values.values)[row_]);
      case FieldType::int64: return sqlite3_result_int64(context, std::get<1>(values.values)[row_]);
      case FieldType::boolean: return sqlite3_result_int(context, std::get<2>(values.values)[row_] != 0);
      case FieldType::string: {
        const std::string& text = std::get<3>(values.values)[row_];
        return sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
      }
    }
  }

 private:
  // On to a row that is there, or to the end.
  Status settle() {
    while (row_ >= page_.rows() && stream_ < streams_.size()) {
      if (!pages_) open_stream();
      SKERRY_ASSIGN(page_, pages_->next(page_rows_));
      page_rows_ = std::min(kPageRowsMax, 2 * page_rows_);
      row_ = 0;
      table_.run.counters.rows_visited += page_.rows();
      if (page_.rows() > 0) break;
      pages_.reset();
      ++stream_;
    }
    return {};
  }

  void open_stream() {
    const StreamInfo& stream = *streams_[stream_];
    std::vector<std::string> fields;
    places_.assign(table_.columns.size(), -1);
    for (size_t i = 0; i < table_.columns.size(); ++i) {
      const SqlColumn& column = table_.columns[i];
      if (column.tag || !is_used(i + 1)) continue;
      const bool has = std::any_of(stream.fields.begin(), stream.fields.end(), [&](const auto& f) { return f.first == column.name; });
      if (!has) continue;
      places_[i] = static_cast<int>(fields.size());
      fields.push_back(column.name);
    }
    if (fields.empty()) fields.push_back(cheapest(stream));  // none would mean all; the times come with any
    table_.run.counters.fields_read += fields.size();
    ++table_.run.counters.scans;
    page_rows_ = kPageRowsFirst;
    pages_.emplace(table_.store, stream.series, range_, std::move(fields), PageLimits{kPageRowsMax, kPageBytesMax});
  }

  static std::string cheapest(const StreamInfo& stream) {
    auto number = std::find_if(stream.fields.begin(), stream.fields.end(), [](const auto& f) { return f.second != FieldType::string; });
    return number != stream.fields.end() ? number->first : stream.fields.front().first;
  }

  // The last bit stands for all columns that have none of their own.
  bool is_used(size_t column) const { return (used_ >> std::min<size_t>(column, 63)) & 1; }

  const SqlTable& table_;
  TimeRange range_;
  uint64_t used_ = 0;
  std::vector<const StreamInfo*> streams_;
  size_t stream_ = 0, row_ = 0, page_rows_ = kPageRowsFirst;
  int64_t rowid_ = 0;
  std::optional<Pages> pages_;
  Batch page_;
  std::vector<int> places_;  // of the table's columns in the page; -1: not there
};

// ---- what SQLite calls

const VirtualTable& of(const sqlite3_vtab* vtab) { return *static_cast<const VirtualTable*>(vtab); }

int connect(sqlite3* db, void* table, int, const char* const*, sqlite3_vtab** out, char** error) {
  const SqlTable& t = *static_cast<const SqlTable*>(table);
  t.run.declaring = true;
  const int code = sqlite3_declare_vtab(db, t.declaration().c_str());
  t.run.declaring = false;
  if (code != SQLITE_OK) {
    *error = sqlite_text(fmt::format("{} cannot be a table: {}", t.streams.front().series.name, sqlite3_errmsg(db)));
    return code;
  }
  *out = new VirtualTable(t);
  return SQLITE_OK;
}

int disconnect(sqlite3_vtab* vtab) {
  delete static_cast<VirtualTable*>(vtab);
  return SQLITE_OK;
}

int best_index(sqlite3_vtab* vtab, sqlite3_index_info* info) {
  const SqlTable& table = of(vtab).table;
  Choice choice;
  choice.used = info->colUsed;
  double share = 1;
  bool one_time = false;
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& c = info->aConstraint[i];
    if (!c.usable || c.iColumn < 0) continue;
    const bool time = c.iColumn == kTime && bounds_time(c.op);
    const bool tag = c.iColumn > 0 && table.columns[static_cast<size_t>(c.iColumn) - 1].tag && c.op == SQLITE_INDEX_CONSTRAINT_EQ &&
                     std::string_view(sqlite3_vtab_collation(info, i)) == "BINARY";
    if (!time && !tag) continue;
    choice.terms.push_back({c.iColumn, c.op});
    info->aConstraintUsage[i].argvIndex = static_cast<int>(choice.terms.size());  // not omitted: SQLite checks again
    one_time |= time && c.op == SQLITE_INDEX_CONSTRAINT_EQ;
    share *= tag ? 1.0 / static_cast<double>(table.streams.size()) : 0.25;
  }
  double rows = 0;
  for (const StreamInfo& stream : table.streams) rows += static_cast<double>(stream.records);
  rows = one_time ? static_cast<double>(table.streams.size()) : std::max(1.0, rows * share);
  info->estimatedRows = static_cast<sqlite3_int64>(rows);
  info->estimatedCost = rows + (one_time ? 1000 : 100);  // a point means reading the block around it
  info->orderByConsumed = table.streams.size() == 1 && info->nOrderBy == 1 && info->aOrderBy[0].iColumn == kTime && !info->aOrderBy[0].desc;
  info->idxStr = sqlite_text(choice.text());
  info->needToFreeIdxStr = 1;
  return info->idxStr != nullptr ? SQLITE_OK : SQLITE_NOMEM;
}

int open(sqlite3_vtab* vtab, sqlite3_vtab_cursor** out) {
  *out = new Cursor(of(vtab).table);
  return SQLITE_OK;
}

int close(sqlite3_vtab_cursor* cursor) {
  delete static_cast<Cursor*>(cursor);
  return SQLITE_OK;
}

int answer(sqlite3_vtab_cursor* cursor, const Status& status) {
  if (status.ok()) return SQLITE_OK;
  of(cursor->pVtab).table.run.failure = status.error();
  return SQLITE_ERROR;
}

int filter(sqlite3_vtab_cursor* cursor, int, const char* choice, int, sqlite3_value** values) {
  return answer(cursor, static_cast<Cursor*>(cursor)->filter(Choice::parse(choice), values));
}

int next(sqlite3_vtab_cursor* cursor) { return answer(cursor, static_cast<Cursor*>(cursor)->next()); }
int eof(sqlite3_vtab_cursor* cursor) { return static_cast<Cursor*>(cursor)->eof(); }

int column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int index) {
  static_cast<Cursor*>(cursor)->give(context, index);
  return SQLITE_OK;
}

int rowid(sqlite3_vtab_cursor* cursor, sqlite3_int64* out) {
  *out = static_cast<Cursor*>(cursor)->rowid();
  return SQLITE_OK;
}

// Without xCreate: the module's name is the table's.
sqlite3_module module_of_tables() {
  sqlite3_module module{};
  module.xConnect = connect;
  module.xBestIndex = best_index;
  module.xDisconnect = disconnect;
  module.xOpen = open;
  module.xClose = close;
  module.xFilter = filter;
  module.xNext = next;
  module.xEof = eof;
  module.xColumn = column;
  module.xRowid = rowid;
  return module;
}
const sqlite3_module kModule = module_of_tables();

}  // namespace

std::string free_name(const std::string& name, std::set<std::string>& taken) {
  auto lower = [](std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;  // as SQLite: ASCII only
    return text;
  };
  std::string out = name;
  for (int number = 2; !taken.insert(lower(out)).second; ++number) out = fmt::format("{}#{}", name, number);
  return out;
}

SqlTable::SqlTable(const Store& s, SqlRun& r, std::vector<StreamInfo> of_one_name)
    : store(s), run(r), streams(std::move(of_one_name)) {
  std::set<std::string> tags, fields, taken = {"time"};
  for (const StreamInfo& stream : streams) {
    for (const auto& [key, value] : stream.series.tags) tags.insert(key);
  }
  for (const std::string& tag : tags) columns.push_back({free_name(tag, taken), tag, true});
  for (const StreamInfo& stream : streams) {
    for (const auto& [field, type] : stream.fields) {
      if (fields.insert(field).second) columns.push_back({free_name(field, taken), field, false});
    }
  }
}

std::string SqlTable::declaration() const {
  std::map<std::string, FieldType> types;
  std::set<std::string> mixed;
  for (const StreamInfo& stream : streams) {
    for (const auto& [name, type] : stream.fields) {
      if (types.emplace(name, type).first->second != type) mixed.insert(name);
    }
  }
  std::string out = "create table t(time INTEGER";
  for (const SqlColumn& column : columns) {
    const char* type = column.tag ? "TEXT" : mixed.contains(column.name) ? "" : affinity(types.at(column.name));
    out += fmt::format(",{} {}", quoted(column.sql_name), type);
  }
  return out + ")";
}

Status add_table(sqlite3* db, const std::string& name, std::unique_ptr<SqlTable> table) {
  const int code = sqlite3_create_module_v2(db, name.c_str(), &kModule, table.release(), [](void* t) { delete static_cast<SqlTable*>(t); });
  if (code != SQLITE_OK) return fail(Code::internal, "SQLite does not take the table {}: {}", name, sqlite3_errmsg(db));
  return {};
}

}  // namespace skerry::storage::internal
