#include "storage/sql.h"

#include <catch2/catch.hpp>

#include "tests/storage/make.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using Catch::Matchers::Contains;

namespace {

constexpr int64_t kStart = 1'764'000'000'000'000'000;
constexpr int64_t kSecond = 1'000'000'000;

std::string text_of(const SqlValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return "null";
}

class SqlFixture {
 public:
  SqlFixture() : store_(Store::open({.path = dir_.path()}, system_clock()).value()) {}

  void write(const Batch& batch) {
    auto receipt = store_->commit({.batches = {batch}});
    if (!receipt.ok()) FAIL(receipt.error().message);
  }
  // Rows as "a|b;c|d", or the error's message.
  std::string ask(const std::string& sql, const SqlLimits& limits = {}) {
    code = {};
    auto statement = SqlStatement::open(*store_, system_clock(), sql, limits);
    if (!statement.ok()) return refused(statement.error());
    std::string out;
    std::vector<SqlValue> row;
    while (true) {
      auto more = (*statement)->next(row);
      if (!more.ok()) return refused(more.error());
      if (!*more) break;
      if (!out.empty()) out += ';';
      for (size_t i = 0; i < row.size(); ++i) out += (i > 0 ? "|" : "") + text_of(row[i]);
    }
    counters = (*statement)->counters();
    truncated = (*statement)->truncated();
    return out;
  }
  const Store& store() const { return *store_; }

  std::optional<Code> code;
  SqlCounters counters;
  bool truncated = false;

 private:
  std::string refused(const Error& error) {
    code = error.code;
    return error.message;
  }
  skerry::test::TempDir dir_;
  std::unique_ptr<Store> store_;
};

// imu{device=a}, imu{device=b}: 10,000 records each at 50 Hz, v and n; room: t every second.
void fill(SqlFixture& f) {
  for (const char* device : {"a", "b"}) {
    Batch batch = storage::test::imu(device, kStart, 10'000);
    std::vector<int64_t> n(10'000);
    for (size_t i = 0; i < n.size(); ++i) n[i] = static_cast<int64_t>(i) * (device[0] == 'a' ? 1 : -1);
    batch.columns.push_back({"n", std::move(n), {}});
    f.write(batch);
  }
  Batch room;
  room.series = {"room", {}};
  std::vector<double> t;
  std::vector<uint8_t> on;
  for (int i = 0; i < 200; ++i) {
    room.times.push_back(kStart + i * kSecond);
    t.push_back(i);
    on.push_back(i % 2);
  }
  room.columns = {{"t", std::move(t), {}}, {"on", std::move(on), {}}};
  f.write(room);
}

}  // namespace

TEST_CASE("sql: where, order, group and join over what the store holds") {
  SqlFixture f;
  fill(f);
  CHECK(f.ask("select count(*), min(time), max(n), sum(ax) from imu") == fmt::format("20000|{}|9999|{}", kStart, 2 * 0.25 * 9999 * 10000 / 2));
  CHECK(f.ask("select device, count(*), min(n) from imu group by device order by device desc") == "b|10000|-9999;a|10000|0");
  CHECK(f.ask("select n, ax from imu where device = 'a' and n between 3 and 5 order by n desc") == "5|1.25;4|1;3|0.75");
  CHECK(f.ask("select t, \"on\" from room order by time desc limit 2") == "199|1;198|0");
  CHECK(f.ask("select room.t, imu.n from room join imu on imu.time = room.time where imu.device = 'b' and room.t < 3") == "0|0;1|-50;2|-100");
  CHECK(f.ask("select time_text(bucket(time, '1m')), count(*) from room group by 1 limit 1") == "2025-11-24T16:00:00Z|60");
  CHECK(f.ask("select time_ns('2025-11-24T16:00:00Z') = " + std::to_string(kStart)) == "1");
  CHECK(f.ask("with w as (select t, lag(t) over (order by time) as before from room) select max(t - before) from w") == "1");
  CHECK(f.ask("select count(*) from room where \"on\"") == "100");
  CHECK(f.ask("select 1; -- nothing more\n") == "1");
}

TEST_CASE("sql: bounds on time and equal tags are pushed down, and only named fields are read") {
  SqlFixture f;
  fill(f);
  auto visited = [&](const std::string& sql, const std::string& answer) {
    INFO(sql);
    CHECK(f.ask(sql) == answer);
    return f.counters.rows_visited;
  };
  const std::string from = std::to_string(kStart + 10 * kSecond), to = std::to_string(kStart + 12 * kSecond);
  CHECK(visited("select count(*) from imu", "20000") == 20'000);
  CHECK(visited("select count(*) from imu where device = 'a'", "10000") == 10'000);
  CHECK(visited("select count(*) from imu where time >= " + from + " and time < " + to, "200") == 200);
  CHECK(visited("select count(*) from imu where time > " + from + " and time <= " + to + " and device = 'b'", "100") == 100);
  CHECK(visited("select count(*) from imu where time = " + from, "2") == 2);
  CHECK(visited("select count(*) from imu where time in (" + from + "," + to + ")", "4") == 4);
  CHECK(visited("select count(*) from imu where time between time_ns('2025-11-24T16:00:10Z') and " + to + ".5", "202") <= 204);
  CHECK(visited("select count(*) from imu where device = 'nobody'", "0") == 0);
  CHECK(visited("select count(*) from imu where time < 5", "0") == 0);
  CHECK(visited("select count(*) from imu where time > 9223372036854775807", "0") == 0);
  CHECK(visited("select count(*) from imu where time > 1e300", "0") <= 20'000);
  CHECK(visited("select count(*) from imu where time > null", "0") == 0);
  CHECK(visited("select count(*) from imu where device = 'A' collate nocase", "10000") == 20'000);
  CHECK(visited("select count(*) from imu where device in ('a', 'b')", "20000") == 20'000);
  CHECK(visited("select n from imu where device = 'a' limit 3", "0;1;2") <= 256);
  CHECK(visited("select n from room join imu on imu.time = room.time and device = 'a' where room.t = 7", "350") <= 201);

  f.ask("select max(ax) from imu where device = 'a'");
  CHECK(f.counters.fields_read == 1);
  f.ask("select * from imu where device = 'a'");
  CHECK(f.counters.fields_read == 3);
}

TEST_CASE("sql: rows come in order of time where one series is asked, without sorting") {
  SqlFixture f;
  fill(f);
  f.ask("select t from room order by time limit 1");
  CHECK(f.counters.rows_visited == 200);  // all of the first page, which is smaller than a page
  CHECK_THAT(f.ask("explain query plan select t from room order by time"), !Contains("ORDER BY"));
  CHECK_THAT(f.ask("explain query plan select ax from imu order by time"), Contains("ORDER BY"));
}

TEST_CASE("sql: whatever is not a SELECT is refused") {
  SqlFixture f;
  fill(f);
  for (const char* sql : {"insert into room(time, t) values (1, 2)", "delete from room", "update room set t = 0", "drop table room", "create table x(a)",
                          "create view v as select 1", "attach 'x.db' as x", "attach ':memory:' as x", "detach main", "pragma temp_store", "pragma_table_info",
                          "select * from pragma_database_list", "vacuum", "vacuum into 'x.db'", "begin", "savepoint s", "reindex", "analyze",
                          "create virtual table x using room", "select load_extension('x.so')", "select 1; select 2", "select 1; drop table room",
                          "", "  -- nothing", "selekt 1", "select nope from room", "select * from rooms", "select time_ns('yesterday')",
                          "select bucket(1, '0s')", "select bucket(1, 'soon')"}) {
    INFO(sql);
    const std::string said = f.ask(sql);
    INFO(said);
    CHECK(f.code == Code::invalid);
    CHECK_FALSE(said.empty());
  }
  CHECK_THAT(f.ask("select * from rooms"), Contains("imu, room"));
  CHECK_THAT(f.ask("drop table room"), Contains("only SELECT") || Contains("may not be dropped"));
  CHECK_THAT(f.ask("select 1; select 2"), Contains("one at a time"));
  CHECK_THAT(f.ask(std::string("select 1\0, 2", 12)), Contains("zero byte"));
  CHECK_THAT(f.ask("select '" + std::string(70'000, 'x') + "'"), Contains("bytes"));
  CHECK(f.ask("select count(*) from room") == "200");
}

TEST_CASE("sql: a statement that would run for ever, or grow, meets a limit that says so") {
  SqlFixture f;
  fill(f);
  const SqlLimits brief{.time_max = std::chrono::milliseconds(100)};
  CHECK_THAT(f.ask("with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c", brief), Contains("ended after"));
  CHECK(f.code == Code::exhausted);
  CHECK_THAT(f.ask("select count(*) from imu a, imu b, imu c where a.n + b.n + c.n = 1", brief), Contains("ended after"));
  for (const char* sql : {"select length(zeroblob(1000000000))", "select length(hex(zeroblob(200000)))"}) {
    INFO(sql);
    f.ask(sql, brief);
    CHECK(f.code == Code::exhausted);
  }
  CHECK(f.ask("select length(printf('%*c', 100000000, 'x'))") == "null");  // SQLite's own answer to a text that would be too long
  CHECK_THAT(f.ask("with recursive c(x) as (select 1 union all select x + 1 from c limit 1000000) "
                   "select x, randomblob(1000) from c order by 2"), Contains("memory"));
  CHECK(f.code == Code::exhausted);
  CHECK_THAT(f.ask("with recursive c(x) as (select zeroblob(200000) union all select zeroblob(200000 + random() % 1000) from c) "
                   "select count(distinct x || random()) from c"), Contains("memory") || Contains("ended after"));
  CHECK(f.code == Code::exhausted);
  std::string deep = "1";
  for (int i = 0; i < 500; ++i) deep = "(" + deep + "+1)";
  f.ask("select " + deep);
  CHECK(f.code == Code::invalid);
  CHECK(f.ask("select count(*) from imu") == "20000");  // and the next one is well
}

TEST_CASE("sql: at most so many rows, and it says when there are more") {
  SqlFixture f;
  fill(f);
  CHECK(f.ask("select t from room", {.rows_max = 3}) == "0;1;2");
  CHECK(f.truncated);
  CHECK(f.ask("select t from room limit 3", {.rows_max = 3}) == "0;1;2");
  CHECK_FALSE(f.truncated);
}

TEST_CASE("sql: at most so many statements at once; one that ends makes room") {
  SqlFixture f;
  fill(f);
  std::vector<std::unique_ptr<SqlStatement>> open;
  for (uint32_t i = 0; i < kSqlStatementsMax; ++i) open.push_back(SqlStatement::open(f.store(), system_clock(), "select * from imu").value());
  CHECK_THAT(f.ask("select 1"), Contains("try again"));
  CHECK(f.code == Code::unavailable);
  open.pop_back();
  CHECK(f.ask("select 1") == "1");
}

TEST_CASE("sql: odd names are tables and columns when quoted, and those that collide get a number") {
  SqlFixture f;
  auto write = [&](const Series& series, const std::vector<std::string>& fields) {
    Batch batch;
    batch.series = series;
    batch.times = {kStart};
    for (size_t i = 0; i < fields.size(); ++i) batch.columns.push_back({fields[i], std::vector<double>{static_cast<double>(i + 1)}, {}});
    f.write(batch);
  };
  write({"a \"b\"; drop", {{"x y", "1'"}}}, {"select", "it's", "p\"q"});
  write({"imu", {{"v", "tag"}}}, {"v", "V", "time"});
  write({"IMU", {}}, {"w"});
  write({"sqlite_master", {}}, {"w"});
  CHECK(f.ask("select \"select\", \"it's\", \"p\"\"q\" from \"a \"\"b\"\"; drop\" where \"x y\" = '1'''") == "1|2|3");
  CHECK(f.ask("select w from imu") == "1");  // IMU comes first
  CHECK(f.ask("select v, \"v#2\", \"V#3\", \"time#2\", time from \"imu#2\"") == fmt::format("tag|1|2|3|{}", kStart));
  CHECK(f.ask("select w from \"sqlite_master#2\"") == "1");
}

TEST_CASE("sql: series of one name with other tags and fields are one table, with NULL where they have none") {
  SqlFixture f;
  Batch a = storage::test::values("m", {{kStart, 1}, {kStart + 1, 2}});
  a.series.tags = {{"site", "n"}};
  a.columns.push_back({"s", std::vector<std::string>{"x", ""}, {1, 0}});
  f.write(a);
  Batch b = storage::test::values("m", {{kStart, 3}});
  b.series.tags = {{"room", "k"}};
  b.columns[0].name = "other";
  f.write(b);
  CHECK(f.ask("select site, room, v, s, other from m order by time, room desc") == "null|k|null|null|3;n|null|1|x|null;n|null|2|null|null");
  CHECK(f.ask("select count(*) from m where site is null") == "1");
}

TEST_CASE("sql: many series of one name, page by page, over batches that overlap") {
  SqlFixture f;
  Random random(Catch::rngSeed());
  std::map<std::string, std::map<int64_t, double>> truth;
  for (int round = 0; round < 40; ++round) {
    const std::string device = std::to_string(random.below(5));
    std::map<int64_t, double> rows;
    for (int i = 0; i < 1000; ++i) rows[kStart + static_cast<int64_t>(random.below(20'000)) * 1'000'000] = static_cast<double>(random.below(1000));
    Batch batch = storage::test::values("m", {rows.begin(), rows.end()});
    batch.series.tags = {{"device", device}};
    f.write(batch);
    for (const auto& [time, value] : rows) truth[device][time] = value;
  }
  for (int round = 0; round < 20; ++round) {
    const int64_t from = kStart + static_cast<int64_t>(random.below(20'000)) * 1'000'000, to = from + static_cast<int64_t>(random.below(10'000)) * 1'000'000;
    std::string expected;
    for (const auto& [device, rows] : truth) {
      int64_t count = 0;
      double sum = 0;
      for (auto at = rows.lower_bound(from); at != rows.end() && at->first <= to; ++at) ++count, sum += at->second;
      if (count > 0) expected += fmt::format("{}{}|{}|{}", expected.empty() ? "" : ";", device, count, sum);
    }
    CHECK(f.ask(fmt::format("select device, count(*), sum(v) from m where time >= {} and time <= {} group by device order by device", from, to)) == expected);
  }
}
