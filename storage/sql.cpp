#include "storage/sql.h"

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "base/units.h"
#include "storage/aggregate.h"
#include "storage/internal/sql_table.h"

namespace skerry::storage {
namespace {

using internal::SqlRun;
using internal::SqlTable;

constexpr int kStepsBetweenLooks = 2'000;         // of SQLite's machine, between looks at the clock
constexpr int kValueBytesMax = 256 << 10;         // also keeps functions that are quadratic in it short
constexpr int kTablesShown = 12;

std::atomic<uint32_t> statements{0};

// One of the places for statements that run at once.
class Place {
 public:
  static Result<Place> take() {
    Place place;
    place.held_ = true;
    if (statements.fetch_add(1) < kSqlStatementsMax) return place;
    return fail(Code::unavailable, "{} SQL statements are running already: try again when one has ended", kSqlStatementsMax);
  }
  Place(Place&& other) noexcept : held_(std::exchange(other.held_, false)) {}
  Place& operator=(Place&& other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  Place() = default;
  ~Place() {
    if (held_) --statements;
  }

 private:
  bool held_ = false;
};

// Reading is allowed, and nothing else.
int authorize(void* run, int action, const char*, const char* name, const char*, const char*) {
  if (static_cast<const SqlRun*>(run)->declaring) return SQLITE_OK;
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE: return SQLITE_OK;
    case SQLITE_FUNCTION: return std::string_view(name) == "load_extension" ? SQLITE_DENY : SQLITE_OK;
    default: return SQLITE_DENY;
  }
}

// ---- functions of our own

std::string_view text_of(sqlite3_value* value) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(value));
  return text == nullptr ? std::string_view() : std::string_view(text, static_cast<size_t>(sqlite3_value_bytes(value)));
}

void give_error(sqlite3_context* context, const std::string& message) { sqlite3_result_error(context, message.c_str(), -1); }

void time_text(sqlite3_context* context, int, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return;
  const std::string text = format_time(sqlite3_value_int64(arguments[0]));
  sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void time_ns(sqlite3_context* context, int, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return;
  const auto time = parse_time(std::string(text_of(arguments[0]).substr(0, 64)));
  if (!time.ok()) return give_error(context, "time_ns: " + time.error().message);
  sqlite3_result_int64(context, *time);
}

void bucket(sqlite3_context* context, int, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return;
  const auto length = parse_duration(text_of(arguments[1]).substr(0, 32));
  if (!length.ok() || *length <= Duration::zero()) return give_error(context, "bucket: write a length like '10s', '1m' or '1h'");
  sqlite3_result_int64(context, bucket_start(sqlite3_value_int64(arguments[0]), *length));
}

// ---- a statement

class Statement final : public SqlStatement {
 public:
  Statement(const Clock& clock, const SqlLimits& limits, Place place) : clock_(clock), limits_(limits), place_(std::move(place)) {}
  ~Statement() override {
    sqlite3_finalize(statement_);
    sqlite3_close_v2(db_);
  }

  Status start(const Store& store, std::string_view text) {
    if (text.size() > limits_.statement_bytes_max) {
      return fail(Code::invalid, "a statement of {} bytes: at most {} are allowed", text.size(), limits_.statement_bytes_max);
    }
    if (text.find('\0') != std::string_view::npos) return fail(Code::invalid, "a zero byte in the statement: leave it out");
    SKERRY_TRY(connect());
    SKERRY_TRY(add_tables(store));
    begin_work();
    const char* tail = nullptr;
    const int code = sqlite3_prepare_v3(db_, text.data(), static_cast<int>(text.size()), 0, &statement_, &tail);
    if (code != SQLITE_OK) return failure(code);
    if (statement_ == nullptr) return fail(Code::invalid, "there is no statement: write a SELECT");
    SKERRY_TRY(check_rest(std::string_view(tail, static_cast<size_t>(text.data() + text.size() - tail))));
    if (sqlite3_column_count(statement_) == 0 || !sqlite3_stmt_readonly(statement_)) return fail(Code::invalid, "only SELECT is allowed");
    for (int i = 0; i < sqlite3_column_count(statement_); ++i) columns_.emplace_back(sqlite3_column_name(statement_, i));
    return {};
  }

  const std::vector<std::string>& columns() const override { return columns_; }
  bool truncated() const override { return truncated_; }
  SqlCounters counters() const override { return run_.counters; }

  Result<bool> next(std::vector<SqlValue>& row) override {
    if (ended_) return false;
    begin_work();
    const int code = sqlite3_step(statement_);
    spent_ += clock_.steady() - work_began_;
    if (code == SQLITE_ROW && given_ < limits_.rows_max) {
      ++given_;
      row.clear();
      for (int i = 0; i < static_cast<int>(columns_.size()); ++i) row.push_back(value(i));
      return true;
    }
    ended_ = true;
    if (code != SQLITE_ROW && code != SQLITE_DONE) return failure(code);
    truncated_ = code == SQLITE_ROW;
    return false;
  }

 private:
  Status connect() {
    // SQLite's limit is one for the process, and nothing else here uses SQLite.
    static std::once_flag once;
    std::call_once(once, [] { sqlite3_hard_heap_limit64(static_cast<sqlite3_int64>(kSqlMemoryMax)); });
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(":memory:", &db_, flags, nullptr) != SQLITE_OK) {
      return fail(Code::exhausted, "SQLite cannot begin: {}; try again when other statements have ended", db_ ? sqlite3_errmsg(db_) : "no memory");
    }
    sqlite3_extended_result_codes(db_, 0);
    for (const auto& [option, value] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1}, std::pair{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                                        std::pair{SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, std::pair{SQLITE_DBCONFIG_ENABLE_VIEW, 0},
                                        std::pair{SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0}}) {
      sqlite3_db_config(db_, option, value, nullptr);
    }
    // Sorting spills into memory, which is limited, and not into files, which are not.
    sqlite3_exec(db_, "PRAGMA temp_store=MEMORY", nullptr, nullptr, nullptr);
    for (const auto& [limit, value] : {std::pair{SQLITE_LIMIT_LENGTH, kValueBytesMax}, std::pair{SQLITE_LIMIT_EXPR_DEPTH, 100},
                                       std::pair{SQLITE_LIMIT_COMPOUND_SELECT, 32}, std::pair{SQLITE_LIMIT_VDBE_OP, 100'000},
                                       std::pair{SQLITE_LIMIT_ATTACHED, 0}, std::pair{SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 128},
                                       std::pair{SQLITE_LIMIT_TRIGGER_DEPTH, 1}, std::pair{SQLITE_LIMIT_WORKER_THREADS, 0}}) {
      sqlite3_limit(db_, limit, value);
    }
    const int pure = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    sqlite3_create_function(db_, "time_text", 1, pure, nullptr, time_text, nullptr, nullptr);
    sqlite3_create_function(db_, "time_ns", 1, pure, nullptr, time_ns, nullptr, nullptr);
    sqlite3_create_function(db_, "bucket", 2, pure, nullptr, bucket, nullptr, nullptr);
    sqlite3_set_authorizer(db_, authorize, &run_);
    sqlite3_progress_handler(db_, kStepsBetweenLooks, [](void* self) { return static_cast<Statement*>(self)->look_at_clock(); }, this);
    return {};
  }

  Status add_tables(const Store& store) {
    SKERRY_ASSIGN(auto streams, store.streams());
    std::map<std::string, std::vector<StreamInfo>> by_name;
    for (StreamInfo& stream : streams) by_name[stream.series.name].push_back(std::move(stream));
    std::set<std::string> taken = {"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"};
    for (auto& [name, of_name] : by_name) {
      tables_.push_back(internal::free_name(name, taken));
      SKERRY_TRY(internal::add_table(db_, tables_.back(), std::make_unique<SqlTable>(store, run_, std::move(of_name))));
    }
    return {};
  }

  // Only blanks and comments may follow.
  Status check_rest(std::string_view rest) {
    if (rest.empty()) return {};
    sqlite3_stmt* second = nullptr;
    const int code = sqlite3_prepare_v3(db_, rest.data(), static_cast<int>(rest.size()), 0, &second, nullptr);
    const bool blank = code == SQLITE_OK && second == nullptr;
    sqlite3_finalize(second);
    return blank ? Status() : Status(fail(Code::invalid, "there is more than one statement: send them one at a time"));
  }

  void begin_work() { work_began_ = clock_.steady(); }
  int look_at_clock() const { return spent_ + (clock_.steady() - work_began_) > limits_.time_max; }

  SqlValue value(int i) const {
    switch (sqlite3_column_type(statement_, i)) {
      case SQLITE_INTEGER: return int64_t{sqlite3_column_int64(statement_, i)};
      case SQLITE_FLOAT: return sqlite3_column_double(statement_, i);
      case SQLITE_NULL: return std::monostate();
      case SQLITE_TEXT: {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, i));
        return std::string(text ? text : "", text ? static_cast<size_t>(sqlite3_column_bytes(statement_, i)) : 0);
      }
      default: break;
    }
    const auto* bytes = static_cast<const uint8_t*>(sqlite3_column_blob(statement_, i));
    std::string out;
    for (int at = 0; bytes != nullptr && at < sqlite3_column_bytes(statement_, i); ++at) out += fmt::format("{:02x}", bytes[at]);
    return out;
  }

  Error failure(int code) {
    if (run_.failure) return *std::exchange(run_.failure, std::nullopt);
    const std::string said = sqlite3_errmsg(db_);
    switch (code) {
      case SQLITE_INTERRUPT:
        return fail(Code::exhausted, "the statement was ended after {} of work: narrow the time, name tags, or aggregate less",
                    format_duration(limits_.time_max));
      case SQLITE_NOMEM:
        return fail(Code::exhausted, "the statement needs more memory than there is for SQL ({}): narrow the time, or sort and group less",
                    format_bytes(kSqlMemoryMax));
      case SQLITE_TOOBIG:
        return fail(Code::exhausted, "a text, row or statement is larger than {} bytes: select fewer columns, or build shorter texts", kValueBytesMax);
      case SQLITE_AUTH: return fail(Code::invalid, "{}: only SELECT is allowed", said);
      default: break;
    }
    if (said.starts_with("no such table")) return fail(Code::invalid, "{}: there are {}", said, known_tables());
    return fail(Code::invalid, "{}", said);
  }

  std::string known_tables() const {
    if (tables_.empty()) return "none yet, nothing was written";
    std::string out;
    for (size_t i = 0; i < tables_.size() && i < kTablesShown; ++i) out += (i == 0 ? "" : ", ") + tables_[i];
    return tables_.size() > kTablesShown ? out + ", ..." : out;
  }

  const Clock& clock_;
  const SqlLimits limits_;
  const Place place_;
  SqlRun run_;  // outlives the tables, which the connection owns
  sqlite3* db_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  std::vector<std::string> tables_, columns_;
  SteadyTime work_began_{};
  Duration spent_{0};
  uint64_t given_ = 0;
  bool ended_ = false, truncated_ = false;
};

}  // namespace

Result<std::unique_ptr<SqlStatement>> SqlStatement::open(const Store& store, const Clock& clock, std::string_view statement,
                                                         const SqlLimits& limits) {
  SKERRY_ASSIGN(Place place, Place::take());
  auto out = std::make_unique<Statement>(clock, limits, std::move(place));
  SKERRY_TRY(out->start(store, statement));
  return std::unique_ptr<SqlStatement>(std::move(out));
}

}  // namespace skerry::storage
