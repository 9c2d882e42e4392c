#include "node/line_protocol.h"

#include <catch2/catch.hpp>
#include <chrono>

#include "base/random.h"

using namespace skerry;
using namespace skerry::node;
using Catch::Matchers::Contains;

namespace {

std::vector<Batch> parse(std::string_view body, LineProtocolOptions options = {.now_ns = 42}) {
  auto batches = parse_line_protocol(body, options);
  INFO(std::string(body.substr(0, 200)));
  if (!batches.ok()) FAIL(batches.error().message);
  return *batches;
}

std::string refusal(std::string_view body, LineProtocolOptions options = {.now_ns = 42}) {
  auto batches = parse_line_protocol(body, options);
  INFO(std::string(body.substr(0, 200)));
  REQUIRE_FALSE(batches.ok());
  CHECK(batches.error().code == Code::invalid);
  return batches.error().message;
}

std::string random_name(Random& random) {
  static const std::vector<std::string> letters = {"a", "B", "7", " ", ",", "=", "\\", "\"", "{", "}", "µ", "雪", "#", "'", "\\ "};
  std::string out;
  for (uint64_t n = 1 + random.below(8); n > 0; --n) out += letters[random.below(letters.size())];
  if (out.back() == '\\') out += 'x';  // the one thing that line protocol can't say
  if (out.front() == '#' || out.front() == ' ') out = "x" + out;
  return out;
}

Batch random_batch(Random& random, int number) {
  Batch batch;
  batch.series.name = fmt::format("s{}{}", number, random_name(random));
  for (uint64_t n = random.below(4); n > 0; --n) batch.series.tags[random_name(random)] = random_name(random);
  size_t rows = 1 + random.below(20), columns = 1 + random.below(5);
  for (size_t r = 0; r < rows; ++r) batch.times.push_back(static_cast<int64_t>(random() >> 2));
  for (size_t c = 0; c < columns; ++c) {
    Column column{.name = fmt::format("f{}{}", c, random_name(random))};
    bool gaps = c > 0 && random.chance(0.5);  // the first column is always there: a record needs a field
    size_t kind = random.below(4);
    std::vector<double> doubles;
    std::vector<int64_t> integers;
    std::vector<uint8_t> booleans;
    std::vector<std::string> strings;
    std::vector<uint8_t> present;
    for (size_t r = 0; r < rows; ++r) {
      bool here = !gaps || random.chance(0.7);
      present.push_back(here);
      doubles.push_back(here ? random.normal() * std::pow(10.0, static_cast<double>(random.below(40)) - 20) : 0);
      integers.push_back(here ? static_cast<int64_t>(random()) : 0);
      booleans.push_back(here && random.chance(0.5));
      strings.push_back(here ? random_name(random) + (random.chance(0.2) ? "\nsecond \\ \" line" : "") : "");
    }
    if (kind == 0) column.values = doubles;
    if (kind == 1) column.values = integers;
    if (kind == 2) column.values = booleans;
    if (kind == 3) column.values = strings;
    if (std::count(present.begin(), present.end(), 0) == static_cast<long>(rows)) present[0] = 1;
    if (std::count(present.begin(), present.end(), 0) > 0) column.present = present;
    batch.columns.push_back(column);
  }
  return batch;
}

std::string without_column(const std::string& message) {
  return message.substr(0, message.find(", column ")) + message.substr(message.find(": "));
}

// Equal up to the order of columns, which follows their first appearance.
void check_same(const Batch& written, const Batch& read) {
  CHECK(written.series == read.series);
  CHECK(written.times == read.times);
  REQUIRE(written.columns.size() == read.columns.size());
  for (const Column& column : written.columns) {
    const Column* other = read.column(column.name);
    REQUIRE(other != nullptr);
    CHECK(column == *other);
  }
}

}  // namespace

TEST_CASE("line protocol: one line becomes one record with its series, fields and time") {
  auto batches = parse("imu,site=north,device=pump-3 ax=1.5,n=-7i,u=7u,on=true,text=\"a b\" 1764000000000000000\n");
  REQUIRE(batches.size() == 1);
  const Batch& batch = batches[0];
  CHECK(batch.series.text() == "imu{device=pump-3,site=north}");
  CHECK(batch.times == std::vector<int64_t>{1764000000000000000});
  CHECK(std::get<0>(batch.column("ax")->values) == std::vector<double>{1.5});
  CHECK(std::get<1>(batch.column("n")->values) == std::vector<int64_t>{-7});
  CHECK(std::get<1>(batch.column("u")->values) == std::vector<int64_t>{7});
  CHECK(std::get<2>(batch.column("on")->values) == std::vector<uint8_t>{1});
  CHECK(std::get<3>(batch.column("text")->values) == std::vector<std::string>{"a b"});
  CHECK(batch.validate().ok());
}

TEST_CASE("line protocol: good lines are read as InfluxDB reads them") {
  SECTION("escapes in measurement, tags and field names") {
    auto b = parse(R"(my\ room\,a,tag\ one=v\=1\,2 field\ x\=y=1 5)")[0];
    CHECK(b.series.name == "my room,a");
    CHECK(b.series.tags == std::map<std::string, std::string>{{"tag one", "v=1,2"}});
    CHECK(b.columns[0].name == "field x=y");
  }
  SECTION("a backslash before anything else is itself") {
    auto b = parse(R"(a\b,t=c:\\x v="C:\path\\ \"q\" \n" 5)")[0];
    CHECK(b.series.name == R"(a\b)");
    CHECK(b.series.tags["t"] == R"(c:\\x)");
    CHECK(std::get<3>(b.columns[0].values)[0] == R"(C:\path\ "q" \n)");
  }
  SECTION("a missing timestamp is now, also before spaces and at the end of the body") {
    for (const char* body : {"a v=1", "a v=1\n", "a v=1 ", "a v=1  \n", "a v=1\r\n", "a v=1\r", "  a v=1\n"}) {
      CHECK(parse(body)[0].times == std::vector<int64_t>{42});
    }
  }
  SECTION("comments and blank lines are skipped") {
    auto b = parse("# temperature\n\n   \n  # more\r\n\r\na v=1 7\n#end");
    REQUIRE(b.size() == 1);
    CHECK(b[0].times == std::vector<int64_t>{7});
  }
  SECTION("an empty body has no records") {
    CHECK(parse("").empty());
    CHECK(parse("\n\n").empty());
    CHECK(parse("# only this").empty());
  }
  SECTION("booleans in all their spellings") {
    auto b = parse("a v=t 1\na v=T 2\na v=true 3\na v=True 4\na v=TRUE 5\na v=f 6\na v=F 7\na v=false 8\na v=False 9\na v=FALSE 10")[0];
    CHECK(std::get<2>(b.columns[0].values) == std::vector<uint8_t>{1, 1, 1, 1, 1, 0, 0, 0, 0, 0});
  }
  SECTION("numbers") {
    auto b = parse("a v=1 1\na v=-1.5e3 2\na v=.5 3\na v=0 4\na v=1.7976931348623157e308 5")[0];
    CHECK(std::get<0>(b.columns[0].values) == std::vector<double>{1, -1500, 0.5, 0, 1.7976931348623157e308});
    auto i = parse("a v=9223372036854775807i 1\na v=-9223372036854775808i 2\na v=0u 3")[0];
    CHECK(std::get<1>(i.columns[0].values) == std::vector<int64_t>{INT64_MAX, INT64_MIN, 0});
  }
  SECTION("a string may hold commas, spaces, equals signs and line breaks") {
    auto b = parse("a v=\"x, y=1\nsecond\",w=2 5\na v=\"\",w=3 6")[0];
    CHECK(std::get<3>(b.columns[0].values) == std::vector<std::string>{"x, y=1\nsecond", ""});
    CHECK(b.times == std::vector<int64_t>{5, 6});
  }
  SECTION("equal series are one batch, however their tags are ordered and escaped") {
    auto b = parse("a,x=1,y=2 v=1 1\na,y=2,x=1 v=2 2\nb v=3 3\na,x=1,y=2 v=4 4");
    REQUIRE(b.size() == 2);
    CHECK(b[0].times == std::vector<int64_t>{1, 2, 4});
    CHECK(b[1].series.name == "b");
  }
  SECTION("a field that a line leaves out is absent, before it first comes and after") {
    auto b = parse("a x=1 1\na y=2i 2\na x=3,y=4i 3\na y=5i,x=6 4\na z=true 5")[0];
    REQUIRE(b.validate().ok());
    CHECK(b.column("x")->present == std::vector<uint8_t>{1, 0, 1, 1, 0});
    CHECK(b.column("y")->present == std::vector<uint8_t>{0, 1, 1, 1, 0});
    CHECK(b.column("z")->present == std::vector<uint8_t>{0, 0, 0, 0, 1});
    CHECK(std::get<0>(b.column("x")->values)[3] == 6);
    CHECK(std::get<1>(b.column("y")->values)[3] == 5);
  }
  SECTION("text beyond ASCII") { CHECK(parse("wärme,ort=雪 µ=1 1")[0].series.text() == "wärme{ort=雪}"); }
}

TEST_CASE("line protocol: precision scales timestamps, by the names of both versions") {
  for (auto [name, unit] : std::vector<std::pair<std::string, int64_t>>{
           {"", 1}, {"ns", 1}, {"n", 1}, {"us", 1'000}, {"u", 1'000}, {"µ", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}) {
    auto parsed = parse_precision(name);
    REQUIRE(parsed.ok());
    CHECK(*parsed == unit);
    CHECK(parse("a v=1 3", {.unit_ns = *parsed})[0].times[0] == 3 * unit);
  }
  REQUIRE_FALSE(parse_precision("fortnight").ok());
  CHECK_THAT(parse_precision("fortnight").error().message, Contains("fortnight") && Contains("ms"));
  CHECK_THAT(refusal("a v=1 1764000000000000000", {.unit_ns = 1'000'000}), Contains("precision"));
}

TEST_CASE("line protocol: a bad line is refused with its line, its column and the remedy") {
  struct Bad {
    std::string body, line, column, says;
  };
  const std::vector<Bad> table = {
      {"a v=1 1\nb\n", "line 2", "column 2", "no fields after"},
      {"a v=1 1\nb \r\n", "line 2", "column 3", "no fields after"},
      {"b\r\n", "line 1", "column 2", "no fields after"},
      {",x=1 v=1", "line 1", "column 1", "empty measurement"},
      {"a,x v=1", "line 1", "column 3", "tag=value"},
      {"a,x= v=1", "line 1", "column 5", "empty tag value"},
      {"a,=x v=1", "line 1", "column 3", "empty tag name"},
      {"a,x=1,x=2 v=1", "line 1", "column 7", "given twice"},
      {"a,x=1=2 v=1", "line 1", "column 6", "escape"},
      {"a, v=1", "line 1", "column 3", "no value"},
      {"a v", "line 1", "column 3", "no value"},
      {"a v=", "line 1", "column 5", "leave the field out"},
      {"a v=,w=1", "line 1", "column 5", "leave the field out"},
      {"a =1", "line 1", "column 3", "empty field name"},
      {"a v=1,", "line 1", "column 7", "no value"},
      {"a v=1,v=2", "line 1", "column 7", "given twice"},
      {"a v=hello", "line 1", "column 5", "double quotes"},
      {"a v=tru", "line 1", "column 5", "true or false"},
      {"a v=\"open 1", "line 1", "column 5", "closing"},
      {"a v=\"open\\\"", "line 1", "column 5", "closing"},
      {"a v=\"x\"y 1", "line 1", "column 8", "after a value"},
      {"a v=NaN", "line 1", "column 5", "finite"},
      {"a v=nan", "line 1", "column 5", "finite"},
      {"a v=inf", "line 1", "column 5", "finite"},
      {"a v=-Infinity", "line 1", "column 5", "finite"},
      {"a v=1e400", "line 1", "column 5", "range"},
      {"a v=0x10", "line 1", "column 5", "not a value"},
      {"a v=1.5i", "line 1", "column 5", "not an integer"},
      {"a v=9223372036854775808i", "line 1", "column 5", "64 bits"},
      {"a v=18446744073709551615u", "line 1", "column 5", "64 bits"},
      {"a v=-1u", "line 1", "column 5", "negative"},
      {"a v=1 12x", "line 1", "column 7", "not a timestamp"},
      {"a v=1 1.5", "line 1", "column 7", "not a timestamp"},
      {"a v=1 99999999999999999999", "line 1", "column 7", "precision"},
      {"a v=1 1 2", "line 1", "column 9", "one record per line"},
      {"a b c=1 1", "line 1", "column 3", "no value"},
      {"a v=1 1\na v=2i 2", "line 2", "column 3", "an integer (1i) here, but a float (1 or 1.5) on line 1"},
      {"a v=1 1\n\n#\na v=\"s\" 2", "line 4", "column 3", "on line 1"},
      {"a\tv=1 1", "line 1", "column 1", ""},
      {"a v=\"two\nlines\",w=? 1", "line 2", "column 10", "not a value"},
      {std::string("a\0b v=1", 7), "line 1", "column 1", "control character"},
      {"a v=1 1\nb\xff v=1", "line 2", "column 2", "UTF-8"},
      {"a v=\"\xed\xa0\x80\"", "line 1", "column 6", "UTF-8"},
      {"a v=\"\xc0\x80\"", "line 1", "column 6", "UTF-8"},
  };
  for (const Bad& bad : table) {
    std::string message = refusal(bad.body);
    CHECK_THAT(message, Contains(bad.line + ","));
    CHECK_THAT(message, Contains(bad.column + ":"));
    CHECK_THAT(message, Contains(bad.says));
  }
}

TEST_CASE("line protocol: names, strings, tags, fields and series are bounded") {
  CHECK_THAT(refusal(std::string(300, 'm') + " v=1"), Contains("300 bytes"));
  CHECK_THAT(refusal("a," + std::string(300, 't') + "=1 v=1"), Contains("300 bytes"));
  CHECK_THAT(refusal("a v=\"" + std::string(kStringValueBytesMax + 1, 'x') + "\""), Contains("65537 bytes"));
  std::string many = "a";
  for (size_t i = 0; i <= kTagsMax; ++i) many += fmt::format(",t{}=1", i);
  CHECK_THAT(refusal(many + " v=1"), Contains("32 tags"));
  std::string wide = "a f=1";
  for (size_t i = 0; i < kBatchColumnsMax; ++i) wide += fmt::format(",f{}=1", i);
  CHECK_THAT(refusal(wide), Contains("256 fields"));
  CHECK_THAT(refusal("a v=1\nb v=1\nc v=1", {.series_max = 2}), Contains("line 3,") && Contains("split"));
}

TEST_CASE("line protocol: a small body can't claim a large table") {
  // Each record has one of 200 fields: as columns 200 times larger than what was sent.
  std::string body;
  for (int i = 0; i < 100'000; ++i) body += fmt::format("a f{}=1 {}\n", i % 200, i);
  CHECK_THAT(refusal(body), Contains("split it"));
  LineProtocolOptions small{.cells_max = 100};
  CHECK_THAT(refusal("a x=1 1\na y=2 2\n" + body, small), Contains("split it"));
}

TEST_CASE("line protocol: times before and after what the store takes are refused with the precision as remedy") {
  LineProtocolOptions options{.now_ns = 1'764'000'000'000'000'000,
                              .time_min_ns = 946'684'800'000'000'000,
                              .time_max_ns = 1'764'086'400'000'000'000};
  CHECK_THAT(refusal("a v=1 1764000000000000000\na v=1 1764000000\n", options),
             Contains("line 2,") && Contains("1970-01-01T00:00:01.764Z") && Contains("precision"));
  CHECK_THAT(refusal("a v=1 7258118400000000000", options), Contains("2200-01-01") && Contains("clock"));
  CHECK(parse("a v=1", options)[0].times[0] == options.now_ns);
}

TEST_CASE("line protocol: any batch written is read back equal") {
  const uint64_t seed = Catch::rngSeed();
  INFO("seed " << seed);
  Random random(seed);
  for (int round = 0; round < 300; ++round) {
    std::vector<Batch> batches;
    std::string body;
    for (uint64_t n = 1 + random.below(4); n > 0; --n) {
      batches.push_back(random_batch(random, static_cast<int>(n)));
      REQUIRE(append_line_protocol(batches.back(), body).ok());
    }
    INFO(body);
    auto read = parse_line_protocol(body, {});
    if (!read.ok()) FAIL(read.error().message);
    REQUIRE(read->size() == batches.size());
    for (size_t i = 0; i < batches.size(); ++i) check_same(batches[i], (*read)[i]);
  }
}

TEST_CASE("line protocol: what it can't say is refused when written") {
  std::string out;
  Batch batch{.series = {.name = "ends\\"}, .times = {1}, .columns = {{.name = "v", .values = std::vector<double>{1}}}};
  CHECK_FALSE(append_line_protocol(batch, out).ok());
  batch.series.name = "#a";
  CHECK_FALSE(append_line_protocol(batch, out).ok());
  batch.series.name = "a";
  CHECK(append_line_protocol(batch, out).ok());
  batch.columns[0].present = {0};
  CHECK_FALSE(append_line_protocol(batch, out).ok());
}

TEST_CASE("line protocol: random bytes never do harm") {
  Random random(Catch::rngSeed());
  const std::string letters = "a,= \\\"\n\r\t1i.u-etf#\0\xc3\xa4";
  for (int round = 0; round < 20'000; ++round) {
    std::string body;
    for (uint64_t n = random.below(40); n > 0; --n) body += letters[random.below(letters.size())];
    auto batches = parse_line_protocol(body, {});
    if (!batches.ok()) continue;
    for (const Batch& batch : *batches) CHECK(batch.validate().ok());
  }
}

TEST_CASE("line protocol: lines of the usual form and lines that begin with a space, which never are, are read alike") {
  // A space keeps a line from the short way. Bodies are of usual lines, some of them changed in one place.
  const uint64_t seed = Catch::rngSeed();
  INFO("seed " << seed);
  Random random(seed);
  const std::vector<std::string> keys = {"a", "b,t=1", "b,t=2", "b,t=1,u=2", "b,u=2,t=1", "a\\ b", "a\\", "c,t=x\\=y"};
  const std::string letters = "0123456789.-+eE,= \\\"itfu#\t";
  auto number = [&]() -> std::string {
    switch (random.below(8)) {
      case 0: return fmt::format("{}", random.normal() * 1e3);
      case 1: return fmt::format("{}", static_cast<int64_t>(random()));
      case 2: return fmt::format("{:.{}f}", random.normal(), random.below(24));
      case 3: return fmt::format("{}e{}", random.below(1000), static_cast<int>(random.below(700)) - 350);
      case 4: return fmt::format("-0.{:0{}}", random.below(10), 1 + random.below(25));
      case 5: return std::vector<std::string>{"-", ".5", "5.", "+1", "00012", "9007199254740993", "9223372036854775808", "inf", "nan"}[random.below(9)];
      default: return fmt::format("{}.{:02}", random.below(100), random.below(100));
    }
  };
  size_t good = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> lines;
    const size_t fields = 1 + random.below(3);
    for (uint64_t n = 2 + random.below(12); n > 0; --n) {
      std::string line = keys[random.below(random.chance(0.5) ? 2 : keys.size())];
      for (size_t f = 0; f < fields; ++f) {
        if (f > 0 && random.chance(0.03)) continue;
        const std::string value = random.chance(0.9) ? fmt::format("{}.{:02}", random.below(100), random.below(100)) : number();
        line += fmt::format("{}f{}={}", f == 0 ? " " : ",", f, f == 2 ? fmt::format("{}i", random.below(1000)) : value);
      }
      if (random.chance(0.95)) line += fmt::format(" {}", random.chance(0.95) ? random() >> 2 : random());
      if (random.chance(0.02)) line[random.below(line.size())] = letters[random.below(letters.size())];
      lines.push_back(line);
    }
    const bool closed = random.chance(0.5);
    std::string usual, unusual;
    for (size_t i = 0; i < lines.size(); ++i) {
      const std::string end = i + 1 < lines.size() || closed ? "\n" : "";
      usual += lines[i] + end;
      unusual += " " + lines[i] + end;
    }
    LineProtocolOptions options{.now_ns = 42, .series_max = 6, .cells_max = random.chance(0.1) ? 20u : 1000u};
    if (random.chance(0.2)) options.time_max_ns = INT64_MAX / 3;
    auto one = parse_line_protocol(usual, options), other = parse_line_protocol(unusual, options);
    INFO(usual);
    REQUIRE(one.ok() == other.ok());
    if (one.ok()) {
      ++good;
      CHECK(*one == *other);
    } else {
      CHECK(without_column(one.error().message) == without_column(other.error().message));
    }
  }
  CHECK(good > 300);
}

TEST_CASE("line protocol: a number is the closest double, however many digits it has") {
  Random random(Catch::rngSeed());
  std::string body;
  std::vector<double> expected;
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = fmt::format("{}{}.{:0{}}", random.chance(0.5) ? "-" : "", random.below(1 << random.below(30)),
                                         random() >> (1 + random.below(60)), 1 + random.below(19));
    expected.push_back(std::strtod(text.c_str(), nullptr));
    body += fmt::format("a v={} {}\n", text, i);
  }
  CHECK(std::get<0>(parse(body)[0].columns[0].values) == expected);
}
