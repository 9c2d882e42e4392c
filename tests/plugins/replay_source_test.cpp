#include <catch2/catch.hpp>

#include <map>
#include <set>

#include "plugins/source.h"
#include "tests/plugins/replay_files.h"
#include "tests/support/real_data.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::plugins;
using namespace std::chrono_literals;
using test::SimClock;
using test::TempDir;
using test::write_recordings;
using test::write_text;

namespace {

struct Played {
  std::vector<Batch> batches;
  std::vector<Truth> truths;
  size_t rows = 0, polls = 0;
};

// Polls whenever the source says, until it is finished or `wall` has passed.
Played play(Source& source, SimClock& clock, Duration wall) {
  Played out;
  const WallTime end = clock.now() + wall;
  while (clock.now() <= end) {
    Result<Poll> poll = source.poll(clock.now());
    REQUIRE(poll.ok());
    ++out.polls;
    for (Batch& b : poll->batches) {
      INFO((b.validate().ok() ? "" : b.validate().error().message));
      CHECK(b.validate().ok());
      out.rows += b.rows();
      out.batches.push_back(std::move(b));
    }
    for (Truth& t : poll->truths) out.truths.push_back(std::move(t));
    if (poll->finished) break;
    clock.advance(poll->next);
  }
  return out;
}

Played play_all(const ReplayOptions& options) {
  Result<std::unique_ptr<Source>> source = make_replay_source(options);
  INFO((source.ok() ? "" : source.error().message));
  REQUIRE(source.ok());
  SimClock clock;
  return play(**source, clock, 24h);
}

std::string refusal(const ReplayOptions& options) {
  Result<std::unique_ptr<Source>> source = make_replay_source(options);
  REQUIRE_FALSE(source.ok());
  return source.error().message;
}

ReplayOptions at_once(std::filesystem::path path) {
  ReplayOptions options;
  options.path = std::move(path);
  options.speed = 0;
  return options;
}

double value(const Batch& batch, const std::string& column, size_t row) {
  return batch.column(column)->number(row);
}

}  // namespace

TEST_CASE("replay: a CSV file is typed by its content and keeps its spacing in time") {
  TempDir dir;
  write_text(dir / "Plant.csv",
             "\xEF\xBB\xBFtimestamp,level,on,note\r\n2026-01-01T00:00:00Z,1,true,\"a, \"\"b\"\"\"\r\n\r\n"
             "2026-01-01 00:00:00.5,NaN,false,\r\n2026-01-01T01:00:02+01:00,3.5,,c\r\n");
  Played p = play_all(at_once(dir / "Plant.csv"));
  REQUIRE(p.rows == 3);
  const Batch& b = p.batches.at(0);
  CHECK(b.series.text() == "plant");
  CHECK(b.times[1] - b.times[0] == 500'000'000);
  CHECK(b.times[2] - b.times[0] == 2'000'000'000);
  CHECK(b.column("level")->type() == FieldType::float64);
  CHECK(b.column("on")->type() == FieldType::boolean);
  CHECK(std::get<std::vector<std::string>>(b.column("note")->values)[0] == "a, \"b\"");
  CHECK_FALSE(b.column("level")->has(1));
  CHECK_FALSE(b.column("on")->has(2));
  CHECK_FALSE(b.column("note")->has(1));
  CHECK(value(b, "level", 2) == 3.5);
}

TEST_CASE("replay: numeric times are seconds, milliseconds, microseconds or nanoseconds by their size") {
  TempDir dir;
  for (const char* text :
       {"time,x\n0,1\n0.02,2\n", "time,x\n1700000000,1\n1700000000.02,2\n",
        "time,x\n1700000000000,1\n1700000000020,2\n", "x,time\n1,1700000000000000\n2,1700000000020000\n"}) {
    write_text(dir / "n.csv", text);
    Played p = play_all(at_once(dir / "n.csv"));
    INFO(text);
    REQUIRE(p.rows == 2);
    CHECK(p.batches[0].times[1] - p.batches[0].times[0] == Approx(20'000'000).margin(200));
  }
}

TEST_CASE("replay: rows that begin with a row number without a name are understood") {
  TempDir dir;
  write_text(dir / "o.csv",
             "\"date\",\"t\"\n\"140\",\"2015-02-02 14:19:00\",23.7\n\"141\",\"2015-02-02 14:20:00\",23.8\n");
  Played p = play_all(at_once(dir / "o.csv"));
  REQUIRE(p.rows == 2);
  REQUIRE(p.batches[0].columns.size() == 1);
  CHECK(value(p.batches[0], "t", 1) == 23.8);
}

TEST_CASE("replay: a wrong CSV file is refused with its line and a remedy") {
  TempDir dir;
  const std::map<std::string, std::string> cases = {
      {"", "is empty"},
      {"time,x\n", "no rows"},
      {"time,x\n0,1\n1\n", "bad.csv:3: 1 fields where the other rows have 2"},
      {"time,x\n0,1,2,3\n", "bad.csv:2: 4 fields, but the header names 2"},
      {"time,x\nyesterday,1\n", "bad.csv:2: 'yesterday' is not a time"},
      {"time,x\n0,1\nsoon,2\n", "bad.csv:3: 'soon' is not a time"},
      {"time,x\n1e300,1\n", "not a time"},
      {"time,x\n0,\"never closed\n", "line 2: a quoted field never ends"},
      {"time,x,x\n0,1,2\n", "two columns are named 'x'"},
      {"time,x\n0,\n1,\n", "no column with values"},
      {"time,x\n0," + std::string(2 << 20, 'a') + "\n", "line 2: a row of more than"},
      {"time,x\n0," + std::string(70'000, 'a') + "\n", "at most 65536"},
  };
  for (const auto& [text, wanted] : cases) {
    write_text(dir / "bad.csv", text);
    CHECK_THAT(refusal(at_once(dir / "bad.csv")), Catch::Contains(wanted));
  }
  CHECK_THAT(refusal(at_once(dir / "missing.csv")),
             Catch::Contains("missing.csv") && Catch::Contains("name a .csv file"));
  write_text(dir / "good.csv", "time,x\n0,1\n");
  ReplayOptions options = at_once(dir / "good.csv");
  options.labels = true;
  CHECK_THAT(refusal(options), Catch::Contains("need a folder"));
  options = at_once(dir / "good.csv");
  options.speed = -1;
  CHECK_THAT(refusal(options), Catch::Contains("out of range"));
}

TEST_CASE("replay: a folder plays its recordings one after another with a gap between them") {
  TempDir dir;
  write_recordings(dir / "Tiny");
  ReplayOptions options = at_once(dir / "Tiny/");
  options.labels = true;
  options.tags = {{"site", "north"}};
  options.start_ns = 1'700'000'000'000'000'000;
  Played p = play_all(options);
  REQUIRE(p.batches.size() == 3);
  CHECK(p.rows == 210);
  CHECK(p.batches[0].series.text() == "tiny{site=north,subject=1}");
  CHECK(p.batches[2].series.text() == "tiny{site=north,subject=2}");
  CHECK(p.batches[0].times.front() == options.start_ns);
  CHECK(p.batches[0].times.back() == options.start_ns + 99 * 20'000'000LL);
  CHECK(p.batches[1].times.front() - p.batches[0].times.back() == 10'020'000'000LL);
  CHECK(value(p.batches[1], "a", 0) == 50.0);
  CHECK(value(p.batches[1], "b", 49) == -149.0);
  REQUIRE(p.truths.size() == 3);
  CHECK(p.truths[1].label == "sit");
  CHECK(p.truths[1].series == p.batches[1].series.text());
  CHECK(p.truths[1].from_ns == p.batches[1].times.front());
  CHECK(p.truths[1].to_ns == p.batches[1].times.back() + 1);
}

TEST_CASE("replay: C and Fortran order, and every type, give the same values") {
  TempDir dir;
  write_recordings(dir / "r");
  auto play_with = [&](const std::string& npy) {
    write_text(dir / "r/data.npy", npy);
    write_text(dir / "r/index.csv", "offset,length\n1,3\n");
    Played p = play_all(at_once(dir / "r"));
    REQUIRE(p.rows == 3);
    std::vector<double> out;
    for (size_t i = 0; i < 3; ++i) {
      out.push_back(value(p.batches[0], "a", i));
      out.push_back(value(p.batches[0], "b", i));
    }
    return out;
  };
  const std::vector<double> wanted = {1.5, -4, 2.5, -6, 3.5, -8};
  auto header = [](const char* type, const char* order) {
    return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': (4, 2), }}", type, order);
  };
  CHECK(play_with(test::npy_bytes(header("<i2", "False"), test::bytes_of<int16_t>({1, -2, 3, -4, 5, -6, 7, -8}))) ==
        wanted);
  CHECK(play_with(test::npy_bytes(header("<i2", "True"), test::bytes_of<int16_t>({1, 3, 5, 7, -2, -4, -6, -8}))) ==
        wanted);
  CHECK(play_with(test::npy_bytes(header("<i4", "False"), test::bytes_of<int32_t>({1, -2, 3, -4, 5, -6, 7, -8}),
                                  2)) == wanted);
  CHECK(play_with(test::npy_bytes(header("<f4", "True"), test::bytes_of<float>({1, 3, 5, 7, -2, -4, -6, -8}))) ==
        wanted);
  CHECK(play_with(test::npy_bytes(header("<f8", "False"), test::bytes_of<double>({1, -2, 3, -4, 5, -6, 7, -8}))) ==
        wanted);
}

TEST_CASE("replay: values that are not finite are absent") {
  TempDir dir;
  write_recordings(dir / "r");
  write_text(dir / "r/data.npy", test::npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }",
                                                 test::bytes_of<float>({1, NAN, INFINITY, 4})));
  write_text(dir / "r/index.csv", "offset,length\n0,2\n");
  Played p = play_all(at_once(dir / "r"));
  REQUIRE(p.rows == 2);
  CHECK(p.batches[0].column("a")->has(0));
  CHECK_FALSE(p.batches[0].column("a")->has(1));
  CHECK_FALSE(p.batches[0].column("b")->has(0));
}

TEST_CASE("replay: select keeps the recordings that match") {
  TempDir dir;
  write_recordings(dir / "r");
  ReplayOptions options = at_once(dir / "r");
  options.select = {{"subject", "2"}};
  CHECK(play_all(options).rows == 60);
  options.select = {{"subject", "1, 2"}, {"activity", "walk"}};
  CHECK(play_all(options).rows == 160);
  options.select = {{"subject", "7"}};
  CHECK_THAT(refusal(options), Catch::Contains("no recording") && Catch::Contains("check the values of select"));
  options.select = {{"person", "1"}};
  CHECK_THAT(refusal(options),
             Catch::Contains("cannot select by 'person'") && Catch::Contains("subject, activity"));
}

TEST_CASE("replay: the label is the activity, else the label's name, else its text") {
  TempDir dir;
  write_recordings(dir / "r");
  write_text(dir / "r/index.csv", "label,offset,length\n1,0,5\n7,5,5\n");
  ReplayOptions options = at_once(dir / "r");
  Result<std::vector<Recording>> recordings = read_recordings(options);
  REQUIRE(recordings.ok());
  CHECK(recordings->at(0).label == "sit");
  CHECK(recordings->at(1).label == "7");
}

TEST_CASE("replay: a folder that lies about itself is refused with a remedy") {
  TempDir dir;
  const std::string good_meta = R"({"columns": ["a", "b"], "rate_hz": 50})";
  struct Wrong {
    const char* file;
    std::string content, wanted;
  };
  const std::vector<Wrong> cases = {
      {"index.csv", "offset,length\n200,11\n", "index.csv:2: offset 200 and length 11 leave the array of 210 rows"},
      {"index.csv", "offset,length\n0,5\n18446744073709551615,5\n", "index.csv:3: offset 18446744073709551615"},
      {"index.csv", "offset,length\n5,18446744073709551614\n", "leave the array"},
      {"index.csv", "offset,length\n-1,5\n", "offset is '-1': a whole number of rows, 0 or more"},
      {"index.csv", "offset,length\n1.5,5\n", "offset is '1.5'"},
      {"index.csv", "offset,length\n0,0\n", "length 0"},
      {"index.csv", "offset,subject\n0,5\n", "column 'length' is missing"},
      {"index.csv", "offset,length\n0,5,6\n", "index.csv:2: 3 fields"},
      {"index.csv", "", "column 'offset' is missing"},
      {"meta.json", "not json", "not a JSON object"},
      {"meta.json", R"({"columns": ["a"], "rate_hz": 50})", "must name the 2 columns"},
      {"meta.json", R"({"columns": ["a", "a"], "rate_hz": 50})", "different names"},
      {"meta.json", R"({"columns": ["a", 1], "rate_hz": 50})", "must name the 2 columns"},
      {"meta.json", R"({"columns": ["a", "b"]})", "rate_hz is missing"},
      {"meta.json", R"({"columns": ["a", "b"], "rate_hz": -5})", "rate_hz must be between"},
      {"meta.json", R"({"columns": ["a", "b"], "rate_hz": 50, "scale": [1]})", "one number per column"},
      {"meta.json", std::string(100'000, '['), "not a JSON object"},
      {"second.npy", "x", "2 .npy files: exactly one"},
  };
  for (const Wrong& wrong : cases) {
    std::filesystem::remove_all(dir / "r");
    write_recordings(dir / "r");
    write_text(dir / "r" / wrong.file, wrong.content);
    CHECK_THAT(refusal(at_once(dir / "r")), Catch::Contains(wrong.wanted));
  }
  std::filesystem::remove_all(dir / "r");
  write_recordings(dir / "r");
  std::filesystem::remove(dir / "r/index.csv");
  CHECK_THAT(refusal(at_once(dir / "r")), Catch::Contains("index.csv"));
}

TEST_CASE("replay: a hostile .npy header is refused") {
  TempDir dir;
  const std::string data = test::bytes_of<int16_t>({1, 2, 3, 4});
  auto dictionary = [](const std::string& shape, const std::string& type = "<i2") {
    return "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not an .npy file"},
      {"\x93NUMPY", "not an .npy file"},
      {test::npy_bytes(dictionary("(2, 2)"), data, 3), "version 3"},
      {test::npy_bytes(dictionary("(2, 2)"), data).substr(0, 40), "cut short"},
      {std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12) + std::string(100, ' '), "claims 4294967295 bytes"},
      {test::npy_bytes(dictionary("(1000000, 2)"), data), "says 1000000 x 2 values, but 8 bytes"},
      {test::npy_bytes(dictionary("(1, 2)"), data), "says 1 x 2 values, but 8 bytes"},
      {test::npy_bytes(dictionary("(9223372036854775807, 9223372036854775807)"), data), "damaged or cut short"},
      {test::npy_bytes(dictionary("(99999999999999999999, 2)"), data), "header is damaged"},
      {test::npy_bytes(dictionary("(-2, 2)"), data), "header is damaged"},
      {test::npy_bytes(dictionary("(4,)"), data), "it has 1 dimensions"},
      {test::npy_bytes(dictionary("(0, 2)"), ""), "says 0 x 2"},
      {test::npy_bytes(dictionary("(2, 2)", ">i2"), data), "type '>i2'"},
      {test::npy_bytes(dictionary("(2, 2)", "|O"), data), "type '|O'"},
      {test::npy_bytes("{'descr': '<i2', 'shape': (2, 2), }", data), "header is damaged"},
      {test::npy_bytes("{'descr': '<i2', 'descr': '<i2', 'fortran_order': False, 'shape': (2, 2), }", data),
       "header is damaged"},
      {test::npy_bytes("__import__('os')", data), "header is damaged"},
  };
  for (const auto& [bytes, wanted] : cases) {
    write_recordings(dir / "r");
    write_text(dir / "r/data.npy", bytes);
    CHECK_THAT(refusal(at_once(dir / "r")), Catch::Contains("data.npy") && Catch::Contains(wanted));
  }
}

TEST_CASE("replay: an array that is cut short while it plays is an error, and its place is kept") {
  TempDir dir;
  write_recordings(dir / "r");
  ReplayOptions options;
  options.path = dir / "r";
  Result<std::unique_ptr<Source>> source = make_replay_source(options);
  REQUIRE(source.ok());
  SimClock clock;
  CHECK((*source)->poll(clock.now())->batches.empty());
  clock.advance(1s);
  CHECK((*source)->poll(clock.now())->batches.size() == 1);
  const auto whole = std::filesystem::file_size(dir / "r/data.npy");
  std::filesystem::resize_file(dir / "r/data.npy", 200);
  clock.advance(1s);
  Result<Poll> poll = (*source)->poll(clock.now());
  REQUIRE_FALSE(poll.ok());
  CHECK_THAT(poll.error().message, Catch::Contains("become shorter"));
  std::filesystem::resize_file(dir / "r/data.npy", whole);
  poll = (*source)->poll(clock.now());
  REQUIRE(poll.ok());
  CHECK(poll->batches.at(0).rows() == 50);
}

TEST_CASE("replay: N times speed takes an N-th of the time") {
  TempDir dir;
  write_recordings(dir / "r");
  const double speed = GENERATE(1.0, 20.0);
  ReplayOptions options;
  options.path = dir / "r";
  options.speed = speed;
  Result<std::unique_ptr<Source>> source = make_replay_source(options);
  REQUIRE(source.ok());
  SimClock clock;
  const WallTime begin = clock.now();
  Played p = play(**source, clock, 1h);
  CHECK(p.rows == 210);
  // 100 + 50 + 60 rows of 20 ms and two gaps, to the last record.
  const double record_seconds = 2.0 + 10 + 1.0 + 10 + 59 * 0.02;
  CHECK(std::chrono::duration<double>(clock.now() - begin).count() ==
        Approx(record_seconds / speed).epsilon(0.001));
  CHECK(p.batches[0].rows() == 50);  // a second of record time
  CHECK(p.batches[0].times.front() == begin.time_since_epoch().count());
}

TEST_CASE("replay: a CSV at twice the speed hands over half a second of wall time at a time") {
  TempDir dir;
  std::string text = "time,x\n";
  for (int i = 0; i < 100; ++i) text += fmt::format("{},{}\n", i * 0.1, i);
  write_text(dir / "s.csv", text);
  ReplayOptions options;
  options.path = dir / "s.csv";
  options.speed = 2;
  Result<std::unique_ptr<Source>> source = make_replay_source(options);
  REQUIRE(source.ok());
  SimClock clock;
  const WallTime begin = clock.now();
  Played p = play(**source, clock, 1h);
  CHECK(p.rows == 100);
  CHECK(p.batches.size() == 10);
  CHECK(std::chrono::duration<double>(clock.now() - begin).count() == Approx(5.0).epsilon(0.01));
}

TEST_CASE("replay: a clock that is set back neither stalls nor repeats") {
  TempDir dir;
  write_recordings(dir / "r");
  ReplayOptions options;
  options.path = dir / "r";
  Result<std::unique_ptr<Source>> source = make_replay_source(options);
  REQUIRE(source.ok());
  SimClock clock;
  REQUIRE((*source)->poll(clock.now())->batches.empty());
  clock.advance(500ms);
  clock.jump_wall(-1h);
  Played p = play(**source, clock, 2h);
  CHECK(p.rows == 210);
  std::set<int64_t> times;
  for (const Batch& b : p.batches) times.insert(b.times.begin(), b.times.end());
  CHECK(times.size() == 210);
}

TEST_CASE("replay: as fast as possible needs no time and ends now, not in the future") {
  TempDir dir;
  write_recordings(dir / "r");
  Result<std::unique_ptr<Source>> source = make_replay_source(at_once(dir / "r"));
  REQUIRE(source.ok());
  SimClock clock;
  const WallTime begin = clock.now();
  Played p = play(**source, clock, 1h);
  CHECK(p.rows == 210);
  CHECK(clock.now() == begin);
  CHECK(p.batches.back().times.back() == begin.time_since_epoch().count());
}

TEST_CASE("replay: a poll is bounded however long the source was not asked") {
  TempDir dir;
  std::string text = "time,x\n";
  for (int i = 0; i < 100'000; ++i) text += fmt::format("{},1\n", i);
  write_text(dir / "long.csv", text);
  ReplayOptions options;
  options.path = dir / "long.csv";
  Result<std::unique_ptr<Source>> source = make_replay_source(options);
  REQUIRE(source.ok());
  SimClock clock;
  CHECK((*source)->poll(clock.now())->batches.empty());
  clock.advance(48h);
  Result<Poll> poll = (*source)->poll(clock.now());
  REQUIRE(poll.ok());
  CHECK(poll->batches.size() <= 64);
  CHECK(poll->next == Duration::zero());
  CHECK_FALSE(poll->finished);
}

TEST_CASE("replay: read_recordings gives each recording whole, with times from its own first record") {
  TempDir dir;
  write_recordings(dir / "r");
  ReplayOptions options;
  options.path = dir / "r";
  options.select = {{"subject", "1"}};
  Result<std::vector<Recording>> recordings = read_recordings(options);
  REQUIRE(recordings.ok());
  REQUIRE(recordings->size() == 2);
  const Recording& second = recordings->at(1);
  CHECK(second.label == "sit");
  CHECK(second.index.at("trial") == "2");
  CHECK(second.records.series.text() == "r{subject=1}");
  CHECK(second.records.rows() == 50);
  CHECK(second.records.times.front() == 0);
  CHECK(second.records.times[1] == 20'000'000);
  CHECK(value(second.records, "a", 0) == 50);
}

TEST_CASE("replay: the Occupancy files are read in full") {
  const std::filesystem::path data = test::real_data("occupancy");
  if (data.empty()) return;
  const std::map<std::string, size_t> rows = {
      {"datatraining.txt", 8143}, {"datatest.txt", 2665}, {"datatest2.txt", 9752}};
  for (const auto& [file, count] : rows) {
    Played p = play_all(at_once(data / file));
    CHECK(p.rows == count);
    CHECK(p.batches[0].columns.size() == 6);
  }
  Played p = play_all(at_once(data / "datatraining.txt"));
  CHECK(p.batches[0].times[1] - p.batches[0].times[0] == 59'000'000'000);
  CHECK(value(p.batches[0], "HumidityRatio", 0) == 0.00479298817650529);
  CHECK(value(p.batches[0], "Occupancy", 0) == 1);
}

TEST_CASE("replay: the NAB files are read in full") {
  const std::filesystem::path data = test::real_data("nab");
  if (data.empty()) return;
  CHECK(play_all(at_once(data / "data/realKnownCause/nyc_taxi.csv")).rows == 10320);
  CHECK(play_all(at_once(data / "data/realKnownCause/machine_temperature_system_failure.csv")).rows == 22695);
  size_t files = 0, rows = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data / "data")) {
    if (entry.path().extension() != ".csv") continue;
    ++files;
    rows += play_all(at_once(entry.path())).rows;
  }
  CHECK(files == 58);
  CHECK(rows == 365'558);  // NAB's own count, in its paper
}

TEST_CASE("replay: MotionSense has 360 recordings, 1,412,865 rows and gravity of one g") {
  const std::filesystem::path data = test::real_data("motionsense");
  if (data.empty()) return;
  ReplayOptions options;
  options.path = data;
  Result<std::vector<Recording>> recordings = read_recordings(options);
  REQUIRE(recordings.ok());
  CHECK(recordings->size() == 360);
  size_t rows = 0;
  double worst = 0;
  for (const Recording& r : *recordings) {
    rows += r.records.rows();
    for (size_t i = 0; i < r.records.rows(); i += 97) {
      double sum = 0;
      for (const char* axis : {"gravity.x", "gravity.y", "gravity.z"})
        sum += std::pow(value(r.records, axis, i), 2);
      worst = std::max(worst, std::abs(sum - 1));
    }
  }
  CHECK(rows == 1'412'865);
  CHECK(worst < 0.001);  // columns and order are right
  CHECK(recordings->front().records.series.text() == "motionsense{subject=1}");
}

TEST_CASE("replay: one person of MotionSense streams in index order") {
  const std::filesystem::path data = test::real_data("motionsense");
  if (data.empty()) return;
  ReplayOptions options = at_once(data);
  options.select = {{"subject", "4"}};
  options.stream = "imu";
  options.labels = true;
  Played p = play_all(options);
  CHECK(p.truths.size() == 15);
  CHECK(p.batches[0].series.text() == "imu{subject=4}");
  CHECK(std::is_sorted(p.batches.begin(), p.batches.end(),
                       [](const Batch& a, const Batch& b) { return a.times.front() < b.times.front(); }));
}
