#include <catch2/catch.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/random.h"
#include "config/config.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::config;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

std::string all(const Parsed& parsed) {
  std::string out;
  for (const Diagnostic& d : parsed.diagnostics) out += d.text() + "\n";
  return out;
}

Config good(const std::string& toml) {
  Parsed parsed = parse(toml, "etc/node.toml");
  INFO(all(parsed));
  REQUIRE(parsed.diagnostics.empty());
  return parsed.config;
}

// The one complaint about `toml`.
std::string complaint(const std::string& toml) {
  Parsed parsed = parse(toml, "node.toml");
  INFO(toml);
  INFO(all(parsed));
  REQUIRE(parsed.diagnostics.size() == 1);
  return parsed.diagnostics[0].text();
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

}  // namespace

TEST_CASE("config: an empty file is the defaults, with all folders in data_dir") {
  Config c = good("");
  CHECK(c.node.name == "node");
  CHECK(c.node.data_dir == "var");
  CHECK(c.storage.path == storage::Options{}.path);
  CHECK(c.inference.models == inference::Options{}.models);
  CHECK(c.learning.jobs == learning::Options{}.jobs);
  CHECK(c.storage.node == "node");
  CHECK(c.sources.empty());
}

TEST_CASE("config: every kind of value is read") {
  Config c = good(R"(
[node]
name = "pump-house.3"
data_dir = "/srv/skerry"
[http]
port = 0
body_max = "1.5 MiB"
idle_timeout = "250ms"
[storage]
path = "/fast/store"
time_min = "2010-01-01T00:00:00Z"
block_cache = 1048576
[[storage.stream]]
name = "imu*"
durability = "batch"
[[storage.stream]]
name = "*"
sync = false
[[storage.outbox]]
class = "alarm"
ttl = "30d"
[[storage.outbox]]
class = "diagnostics"
quota = "1 MiB"
on_full = "drop_newest"
[inference]
models = "packages"
torch_runtime = "lib/runtime.so"
[learning]
enabled = false
idle_cpu_below = 0.1
busy_cpu_above = 1
[sync]
hub = "https://hub.example:443/skerry"
rate_max = "64 KiB"
[log]
level = "warn"
json = true
)");
  CHECK(c.node.name == "pump-house.3");
  CHECK(c.storage.node == "pump-house.3");
  CHECK(c.node.http.port == 0);
  CHECK(c.node.http.body_bytes_max == 1'572'864);
  CHECK(c.node.http.idle_timeout == 250ms);
  CHECK(c.storage.path == "/fast/store");
  CHECK(c.storage.time_min_ns == 1'262'304'000'000'000'000);
  CHECK(c.storage.block_cache_bytes == 1 << 20);
  REQUIRE(c.storage.streams.size() == 2);
  CHECK(c.storage.streams[0].name == "imu*");
  CHECK(c.storage.streams[0].durability == storage::Durability::batch);
  CHECK(c.storage.streams[0].sync);
  CHECK_FALSE(c.storage.streams[1].sync);
  REQUIRE(c.storage.outbox.size() == 2);
  CHECK(c.storage.outbox[0].outbox_class == storage::OutboxClass::alarm);
  CHECK(c.storage.outbox[0].ttl == 24h * 30);
  CHECK(c.storage.outbox[1].quota_bytes == 1 << 20);
  CHECK(c.storage.outbox[0].on_full == storage::OnFull::drop_oldest);
  CHECK(c.storage.outbox[1].on_full == storage::OnFull::drop_newest);
  CHECK(c.inference.models == "/srv/skerry/packages");
  CHECK(c.inference.torch_runtime == "etc/lib/runtime.so");
  CHECK(c.learning.jobs == "/srv/skerry/jobs");
  CHECK_FALSE(c.learning.enabled);
  CHECK(c.learning.busy_cpu_above == 1.0);
  CHECK(c.sync.hub == "https://hub.example:443/skerry");
  CHECK(c.sync.rate_bytes_per_second == 65536);
  CHECK(c.log.level == log::Level::warn);
  CHECK(c.log.json);
}

TEST_CASE("config: sources of every type are read, and replayed files lie beside the config") {
  Config c = good(R"(
[[source]]
type = "host"
rate_hz = 2
[[source]]
type = "replay"
name = "person-4"
path = "../data/motionsense"
speed = 20
stream = "imu"
tags = { site = "north", "floor" = "2" }
select = { subject = "4" }
start = "2026-01-01T00:00:00Z"
operator_share = 0.5
[[source]]
type = "simulate"
machine = "pump-7"
seed = 9
state_length = "8s"
script = ["normal", "bearing"]
)");
  REQUIRE(c.sources.size() == 3);
  CHECK(c.sources[0].name == "host");
  CHECK(std::get<plugins::HostOptions>(c.sources[0].options).rate_hz == 2.0);
  const auto& replay = std::get<plugins::ReplayOptions>(c.sources[1].options);
  CHECK(c.sources[1].name == "person-4");
  CHECK(c.sources[1].operator_share == 0.5);
  CHECK(replay.labels);
  CHECK(replay.path == "data/motionsense");
  CHECK(replay.speed == 20);
  CHECK(replay.stream == "imu");
  CHECK(replay.tags == std::map<std::string, std::string>{{"site", "north"}, {"floor", "2"}});
  CHECK(replay.select.at("subject") == "4");
  CHECK(replay.start_ns == 1'767'225'600'000'000'000);
  const auto& pump = std::get<plugins::PumpOptions>(c.sources[2].options);
  CHECK(pump.machine == "pump-7");
  CHECK(pump.seed == 9);
  CHECK(pump.state_length == 8s);
  CHECK(pump.script == std::vector<std::string>{"normal", "bearing"});
  CHECK_FALSE(pump.labels);  // nobody plays the operator
}

TEST_CASE("config: ten mistakes are ten complaints, each with its line and a remedy") {
  const std::string toml = R"([node]
name = "two words"
[htpp]
port = 1
[http]
prot = 8471
port = 70000
body_max = "64 MiX"
idle_timeout = 60
[storage]
sync_interval = "soon"
hub = "http://x"
[[storage.stream]]
name = "a"
durability = "always"
[sync]
enabled = "yes"
)";
  Parsed parsed = parse(toml, "node.toml");
  INFO(all(parsed));
  const std::vector<std::pair<uint32_t, std::string>> wanted = {
      {2, "'two words' is not a name: use 1 to 64 letters"},
      {3, "unknown table [htpp]: did you mean [http]?"},
      {6, "unknown key 'prot' in [http]: did you mean 'port'?"},
      {7, "http.port: 70000 is out of range: choose 0 to 65535"},
      {8, "http.body_max: '64 MiX' is not a size: write e.g. \"64 MiB\""},
      {9, "http.idle_timeout: expected a duration like \"250ms\", \"30s\" or \"48h\", found a whole number"},
      {11, "storage.sync_interval: 'soon' is not a duration"},
      {12, "unknown key 'hub' in [storage]: it belongs to [sync]"},
      {15, "storage.stream.durability: 'always' is not a choice: write one of \"batch\", \"interval\", \"os\""},
      {17, "sync.enabled: expected true or false, found a text"},
  };
  REQUIRE(parsed.diagnostics.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    CHECK(parsed.diagnostics[i].line == wanted[i].first);
    CHECK(parsed.diagnostics[i].column >= 1);
    CHECK_THAT(parsed.diagnostics[i].message, Contains(wanted[i].second));
    CHECK(parsed.diagnostics[i].text().rfind(fmt::format("node.toml:{}:", wanted[i].first), 0) == 0);
  }
}

TEST_CASE("config: the position is that of the value") {
  Parsed parsed = parse("[http]\n  port = -1\n", "node.toml");
  REQUIRE(parsed.diagnostics.size() == 1);
  CHECK(parsed.diagnostics[0].line == 2);
  CHECK(parsed.diagnostics[0].column == 10);
}

TEST_CASE("config: what is unknown is an error with the way out") {
  CHECK_THAT(complaint("[storage]\nwirte_buffer = \"8 MiB\"\n"), Contains("did you mean 'write_buffer'?"));
  CHECK_THAT(complaint("[learning]\nholdout_shaer = 0.2\n"), Contains("did you mean 'holdout_share'?"));
  CHECK_THAT(complaint("[log]\ncolour = true\n"), Contains("known are level, json, lines_per_minute_max"));
  CHECK_THAT(complaint("[weather]\nx = 1\n"), Contains("unknown table [weather]: known are"));
  CHECK_THAT(complaint("port = 8471\n"), Contains("'port' stands outside of any table: it belongs to [http]"));
  CHECK_THAT(complaint("[[storage.strema]]\nname = \"x\"\n"), Contains("unknown key 'strema' in [storage]"));
  CHECK_THAT(complaint("[[source]]\ntype = \"host\"\nmachine = \"x\"\n"),
             Contains("it belongs to sources of type \"simulate\""));
  CHECK_THAT(complaint("[[source]]\ntype = \"simluate\"\n"), Contains("did you mean \"simulate\"?"));
  CHECK_THAT(complaint("[[source]]\nname = \"x\"\n"),
             Contains("node.toml:1:1: source: 'type' is missing: write type = \"host\""));
  CHECK_THAT(complaint("[[source]]\ntype = 5\n"), Contains("write type = \"host\""));
  CHECK_THAT(complaint("[[source]]\ntype = \"simulate\"\nscript = [\"normal\", \"baering\"]\n"),
             Contains("'baering' is not a condition") && Contains("perhaps \"bearing\""));
}

TEST_CASE("config: wrong shapes are named") {
  CHECK_THAT(complaint("node = 5\n"), Contains("begin it with a line [node]") || Contains("outside"));
  CHECK_THAT(complaint("[[http]]\nport = 1\n"), Contains("begin it with a line [http]"));
  CHECK_THAT(complaint("[source]\ntype = \"host\"\n"), Contains("write [[source]] with double brackets"));
  CHECK_THAT(complaint("[storage.stream]\nname = \"x\"\n"),
             Contains("write [[storage.stream]] with double brackets"));
  CHECK_THAT(complaint("source = [1]\n"), Contains("expected [[source]] tables, found a whole number"));
  CHECK_THAT(complaint("[http]\nport = 1.5\n"), Contains("expected a whole number, found a number"));
  CHECK_THAT(complaint("[http]\nport = 2026-01-01\n"), Contains("found a date"));
  CHECK_THAT(complaint("[learning]\nholdout_share = nan\n"), Contains("out of range"));
  CHECK_THAT(complaint("[[source]]\ntype = \"replay\"\npath = \"x.csv\"\ntags = { a = 1 }\n"),
             Contains("'a': expected a text in quotes"));
}

TEST_CASE("config: values out of their range are named with the range") {
  CHECK_THAT(complaint("[http]\nbody_max = \"2 GiB\"\n"), Contains("2 GiB is out of range: choose 1 KiB to 1 GiB"));
  CHECK_THAT(complaint("[storage]\nblock_cache = -1\n"), Contains("expected a size"));
  CHECK_THAT(complaint("[sync]\nprobe_interval = \"1ms\"\n"), Contains("1ms is out of range: choose 100ms to 1d"));
  CHECK_THAT(complaint("[[source]]\ntype = \"host\"\nrate_hz = 50\n"),
             Contains("50 is out of range: choose 1 to 10"));
  CHECK_THAT(complaint("[[source]]\ntype = \"simulate\"\noperator_share = 1.5\n"), Contains("choose 0 to 1"));
  CHECK_THAT(complaint("[http]\naddress = \"localhost\"\n"),
             Contains("is not an IP address: write e.g. \"127.0.0.1\""));
  for (const char* hub :
       {"hub:8470", "http://", "http://:80", "ftp://x", "http://x:0", "http://x:99999", "http://x y"}) {
    CHECK_THAT(complaint(fmt::format("[sync]\nhub = \"{}\"\n", hub)), Contains("is not an address of a hub"));
  }
  for (const char* hub : {"http://127.0.0.1:8470", "https://hub.example/x", "http://[::1]:80", "http://[::1]"}) {
    good(fmt::format("[sync]\nhub = \"{}\"\n", hub));
  }
}

TEST_CASE("config: keys that contradict each other are found") {
  CHECK_THAT(complaint("[[storage.stream]]\nname = \"a\"\n[[storage.stream]]\nname = \"a\"\n"),
             Contains("node.toml:4:8: a second rule for the stream 'a'"));
  CHECK_THAT(complaint("[[storage.stream]]\nname = \"*\"\n[[storage.stream]]\nname = \"a\"\n"),
             Contains("comes after \"*\", so it never applies: move it up"));
  CHECK_THAT(complaint("[[storage.stream]]\nname = \"a*b\"\n"), Contains("'*' may only stand at the end"));
  CHECK_THAT(complaint("[[storage.stream]]\nsync = false\n"), Contains("'name' is missing"));
  CHECK_THAT(complaint("[[storage.outbox]]\nttl = \"1h\"\n"), Contains("'class' is missing"));
  CHECK_THAT(complaint("[[storage.outbox]]\nclass = \"alarm\"\non_full = \"roll_up\"\n"), Contains("on_full"));  // for streams only
  CHECK_THAT(complaint("[[storage.outbox]]\nclass = \"alarm\"\n[[storage.outbox]]\nclass = \"alarm\"\n"),
             Contains("node.toml:4:9: a second rule for this class"));
  CHECK_THAT(complaint("[[source]]\ntype = \"host\"\n[[source]]\ntype = \"host\"\n"),
             Contains("node.toml:3:1: two sources are named 'host'"));
  CHECK_THAT(complaint("[[source]]\ntype = \"replay\"\n"), Contains("'path' is missing"));
  CHECK_THAT(complaint("[sync]\nbackoff_min = \"5m\"\n"),
             Contains("node.toml:2:15: sync.backoff_min must not be larger than backoff_max"));
  CHECK_THAT(complaint("[learning]\nidle_cpu_below = 0.9\nbusy_cpu_above = 0.8\n"),
             Contains("learning.idle_cpu_below must not be larger than busy_cpu_above"));
}

TEST_CASE("config: a syntax error is one complaint with its position") {
  Parsed parsed = parse("[node]\nname = \"x\nport = 5\nx = = 3\n", "node.toml");
  REQUIRE(parsed.diagnostics.size() == 1);
  CHECK(parsed.diagnostics[0].line == 2);
  CHECK_THAT(parsed.diagnostics[0].message, Contains("not valid TOML"));
  CHECK_THAT(complaint("[node]\nname = \"a\"\nname = \"b\"\n"), Contains("node.toml:3:"));
  CHECK_THAT(complaint("x = \"\xff\xfe\"\n"), Contains("not valid TOML"));
}

TEST_CASE("config: characters beyond ASCII stand in quotes and comments only") {
  Config c = good(
      "# Pumpenhaus \xC3\xA4\n[[source]] # \xE2\x82\xAC \"\ntype = \"replay\"\npath = "
      "\"a\\\"\xC3\xA9.csv\"\nstream = '\xC3\xA9'\n");
  CHECK(std::get<plugins::ReplayOptions>(c.sources[0].options).stream == "\xC3\xA9");
  CHECK_THAT(complaint("[node]\n\xC3\xA9 = 1\n"), Contains("node.toml:2:1:") && Contains("outside of quotes"));
  CHECK_THAT(complaint("[node]\nname = \xC3\xA9\n"), Contains("node.toml:2:8:") && Contains("outside of quotes"));
  CHECK_THAT(complaint("[node]\nname = \"a\" \xEF\xB7\x90\n"), Contains("outside of quotes"));
  CHECK_THAT(complaint("[node]\nname = \"\"\"a\\\n \xC3\xA9\"\"\"\n"), Contains("of several lines"));
  CHECK_THAT(complaint("[node]\nname = \"never closed\n\xC3\xA9\n"),
             Contains("outside of quotes") || Contains("not valid"));
  CHECK_THAT(complaint("[log]\nlevel = 1979-05-27Tx\n"), Contains("not valid TOML"));
  good("\xEF\xBB\xBF[node]\nname = \"\"\"a\"\"\"\n# \xC3\xA9\n");
}

TEST_CASE("config: hostile files are bounded") {
  CHECK_THAT(complaint(std::string(2 << 20, '#')), Contains("at most 1048576 are read"));
  CHECK_THAT(complaint("x = " + std::string(100'000, '[')), Contains("not valid TOML"));
  CHECK_THAT(complaint("x = " + std::string(100, '[') + std::string(100, ']')), Contains("levels deep"));
  std::string tables = "[a";
  for (int i = 0; i < 5000; ++i) tables += ".a";
  CHECK(parse(tables + "]\n", "node.toml").diagnostics.size() == 1);
  std::string many = "[http]\n";
  for (int i = 0; i < 20'000; ++i) many += fmt::format("k{} = 1\n", i);
  Parsed parsed = parse(many, "node.toml");
  CHECK(parsed.diagnostics.size() == 1000);
}

TEST_CASE("config: load names a missing file, and lists every complaint") {
  test::TempDir dir;
  Result<Config> missing = load(dir / "none.toml");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().code == Code::not_found);
  CHECK_THAT(missing.error().message, Contains("none.toml"));
  std::ofstream(dir / "bad.toml") << "[http]\nport = -1\nprot = 2\n";
  Result<Config> bad = load(dir / "bad.toml");
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().code == Code::invalid);
  CHECK_THAT(bad.error().message, Contains("bad.toml:2:8:") && Contains("bad.toml:3:1:"));
  std::ofstream(dir / "huge.toml") << std::string(2 << 20, '#');
  Result<Config> huge = load(dir / "huge.toml");
  REQUIRE_FALSE(huge.ok());
  CHECK(huge.error().code == Code::invalid);
}

TEST_CASE("config: the reference parses back to the defaults") {
  Config c = good(reference());
  Config d = good("");
  CHECK(c.node.name == d.node.name);
  CHECK(c.node.http.body_bytes_max == d.node.http.body_bytes_max);
  CHECK(c.node.http.idle_timeout == d.node.http.idle_timeout);
  CHECK(c.storage.path == d.storage.path);
  CHECK(c.storage.time_min_ns == d.storage.time_min_ns);
  CHECK(c.storage.wal_bytes_max == d.storage.wal_bytes_max);
  CHECK(c.learning.job_memory_bytes_max == d.learning.job_memory_bytes_max);
  CHECK(c.learning.busy_requests_above == d.learning.busy_requests_above);
  CHECK(c.sync.backoff_max == d.sync.backoff_max);
  CHECK(c.log.level == d.log.level);
  CHECK(c.sources.empty());
}

TEST_CASE("config: the examples of the reference parse, too, and are the defaults of their structs") {
  std::istringstream lines(reference());
  std::string toml, line;
  while (std::getline(lines, line)) {
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') line.erase(0, 1);
    toml += line + "\n";
  }
  Config c = good(toml);
  REQUIRE(c.sources.size() == 3);
  REQUIRE(c.storage.streams.size() == 1);
  CHECK(c.storage.streams[0].durability == storage::StreamRule{}.durability);
  const auto& pump = std::get<plugins::PumpOptions>(c.sources[2].options);
  CHECK(pump.state_length == plugins::PumpOptions{}.state_length);
  CHECK(pump.start_ns == 0);
  CHECK(std::get<plugins::ReplayOptions>(c.sources[1].options).batch == plugins::ReplayOptions{}.batch);
}

TEST_CASE("config: config/reference.toml is up to date") {
  INFO("write it anew: skerry check-config --reference > config/reference.toml");
  CHECK(read("config/reference.toml") == reference());
}

TEST_CASE("config: quickstart.toml is good") {
  Result<Config> c = load("config/quickstart.toml");
  INFO((c.ok() ? "" : c.error().message));
  REQUIRE(c.ok());
  CHECK(c->node.http.port == 8471);
  CHECK(c->sync.hub == "http://127.0.0.1:8470");
  CHECK(c->storage.path == "var/quickstart/store");
  REQUIRE(c->sources.size() == 2);
  CHECK(std::get<plugins::HostOptions>(c->sources[0].options).rate_hz == 2.0);
  CHECK(std::get<plugins::PumpOptions>(c->sources[1].options).labels);
}

TEST_CASE("config: a damaged file never crashes, and every complaint has a position") {
  const std::string original = read("config/quickstart.toml");
  Random random(Catch::rngSeed());
  for (int i = 0; i < 300; ++i) {
    std::string damaged = original;
    for (uint64_t n = 1 + random.below(4); n > 0; --n)
      damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
    Parsed parsed = parse(damaged, "node.toml");
    for (const Diagnostic& d : parsed.diagnostics) {
      CHECK(d.line >= 1);
      CHECK_FALSE(d.message.empty());
    }
  }
}

TEST_CASE("config: every preset is good, and what is shown of it reads back to the same") {
  REQUIRE(presets().size() == 7);
  for (const std::string& name : presets()) {
    INFO(name);
    const ParsedPolicy by_name = parse_policy("[sync]\npreset = \"" + name + "\"\n", "p.toml");
    REQUIRE(by_name.diagnostics.empty());
    const std::string shown = show_policy(by_name.policy);
    const ParsedPolicy again = parse_policy(shown, "shown.toml");
    REQUIRE(again.diagnostics.empty());
    CHECK(show_policy(again.policy) == shown.substr(shown.find('\n') + 1));
  }
  CHECK(preset("none").empty());
}

TEST_CASE("config: a policy's own rules come before those of its preset, its bearers begin as the preset's") {
  const ParsedPolicy parsed = parse_policy(
      "[sync]\npreset = \"lte-metered\"\n[sync.class.telemetry]\nlinger = \"5s\"\n[[sync.bearer]]\nname = \"sim\"\nmonthly = \"1 GB\"\n"
      "[[sync.rule]]\nname = \"mine\"\nwhen = { class = [\"model\"], times = \"22:00-06:00\" }\nthen = { send = \"now\" }\n", "p.toml");
  REQUIRE(parsed.diagnostics.empty());
  const sync::Policy& p = parsed.policy;
  CHECK(p.rules.front().name == "mine");
  CHECK(p.rules.size() > 1);
  CHECK(p.rules.front().when.times == sync::DayTimes{22 * 60, 6 * 60});
  REQUIRE(p.bearers.size() == 1);
  CHECK(p.bearers[0].name == "sim");
  CHECK(p.bearers[0].monthly_bytes == 1'000'000'000);
  CHECK(p.bearers[0].tail == 10s);
  CHECK(of(p, storage::OutboxClass::telemetry).linger == 5s);
  CHECK(of(p, storage::OutboxClass::telemetry).deadline == 5min);
}

TEST_CASE("config: mistakes of a policy are named with place and remedy") {
  auto said = [](const std::string& toml) {
    std::string out;
    for (const Diagnostic& d : parse_policy(toml, "p.toml").diagnostics) out += d.text() + "\n";
    return out;
  };
  CHECK_THAT(said("[sync]\npreset = \"lte-meterd\"\n"), Contains("p.toml:2:10") && Contains("perhaps \"lte-metered\""));
  CHECK_THAT(said("[sync]\nhub = \"http://x\"\n"), Contains("unknown key 'hub' in a policy"));
  CHECK_THAT(said("[sync.class.gossip]\n"), Contains("'gossip' is not a class"));
  CHECK_THAT(said("[[sync.bearer]]\nreset_day = 32\n"), Contains("out of range"));
  CHECK_THAT(said("[[sync.window]]\nname = \"night\"\n"), Contains("'times' is missing"));
  CHECK_THAT(said("[[sync.window]]\nname = \"night\"\ntimes = \"1am\"\n"), Contains("write e.g. \"22:00-06:00\""));
  CHECK_THAT(said("[[sync.rule]]\nwhen = { link = \"6g\" }\nthen = { send = \"now\" }\n"), Contains("'6g' is not a choice"));
  CHECK_THAT(said("[[sync.rule]]\nwhen = {}\n"), Contains("'then' is missing"));
  CHECK_THAT(said("[[sync.rule]]\nwhen = { bearer = \"sat\" }\nthen = { send = \"never\" }\n"), Contains("a bearer 'sat' that does not exist"));
  CHECK_THAT(said("[sync.class.telemetry]\nprice_max = -1\n"), Contains("out of range"));
}

TEST_CASE("config: the scenarios of the examples are good") {
  const ParsedScenario parsed = parse_scenario(read(std::string(SKERRY_SOURCE_DIR) + "/config/scenarios/outage.toml"), "outage.toml");
  for (const Diagnostic& d : parsed.diagnostics) FAIL(d.text());
  CHECK(parsed.scenario.loads.size() == 3);
  CHECK(parsed.scenario.events.size() == 6);
  CHECK(load(std::string(SKERRY_SOURCE_DIR) + "/config/scenarios/lte.toml").ok());
  ParsedScenario wrong = parse_scenario("[scenario]\nlenght = \"1d\"\n[[event]]\nfor = \"2h\"\nevery = \"1h\"\n[weather]\n", "s.toml");
  CHECK(wrong.diagnostics.size() == 4);
}
