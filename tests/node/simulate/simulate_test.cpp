// Stories of a month: each a scenario as a user writes it, judged by its own expectations and by the report.
#include "node/simulate/simulate.h"

#include <catch2/catch.hpp>

#include "base/log.h"

using namespace skerry;
using namespace skerry::simulate;
using storage::OutboxClass;

namespace {

config::Config node_of(const std::string& toml) {
  auto parsed = config::parse(toml, "node.toml");
  for (const auto& d : parsed.diagnostics) FAIL(d.text());
  return parsed.config;
}

Scenario scenario_of(const std::string& toml) {
  auto parsed = config::parse_scenario(toml, "scenario.toml");
  for (const auto& d : parsed.diagnostics) FAIL(d.text());
  return parsed.scenario;
}

Report play(const std::string& node, const std::string& scenario, uint64_t seed = 7) {
  log::configure({.level = log::Level::off});
  auto report = run(node_of(node), scenario_of(scenario), {.seed = seed, .trace = {}});
  log::configure({});
  if (!report.ok()) FAIL(report.error().message);
  return *report;
}

std::string all(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& line : lines) out += line + "\n";
  return out;
}

constexpr const char* kDay = "[scenario]\nlength = \"1d\"\n[[load]]\nname = \"pump\"\ninterval = \"1s\"\n";

}  // namespace

TEST_CASE("simulate: a quiet day arrives whole and fresh") {
  const Report r = play("", kDay);
  INFO(to_text(r));
  CHECK(r.broken.empty());
  CHECK(r.records >= 86'390);
  CHECK(r.classes.at(OutboxClass::telemetry).delivered + r.classes.at(OutboxClass::telemetry).waiting == r.records);
  CHECK(r.classes.at(OutboxClass::telemetry).p99_seconds < 1);
  CHECK(r.lost == 0);
}

TEST_CASE("simulate: the same seed gives the same run, another seed another") {
  const std::string stormy = std::string(kDay) + "[link]\nloss = 0.05\n[[event]]\nkind = \"outage\"\nat = \"1h\"\nevery = \"3h\"\nfor = \"20m\"\nchance = 0.5\n";
  Report a = play("", stormy), b = play("", stormy), c = play("", stormy, 8);
  a.took_seconds = b.took_seconds = 0;
  CHECK(to_json(a) == to_json(b));  // to the last byte on the wire and point of each curve
  CHECK(c.failures != a.failures);
}

TEST_CASE("simulate: outages, lost answers, reboots, a full disk and clocks that jump lose nothing and double nothing") {
  const Report r = play("", std::string(kDay) +
                                "[link]\nloss = 0.02\n"
                                "[[event]]\nkind = \"outage\"\nat = \"1h\"\nfor = \"2h\"\n"
                                "[[event]]\nkind = \"lost_acks\"\nat = \"4h\"\nevery = \"2h\"\nfor = \"3m\"\n"
                                "[[event]]\nkind = \"reboot\"\nat = \"5h\"\nevery = \"4h\"\nfor = \"1m\"\n"
                                "[[event]]\nkind = \"disk_full\"\nat = \"10h\"\nfor = \"20m\"\n"
                                "[[event]]\nkind = \"clock_jump\"\nat = \"12h\"\njump = \"3h\"\n"
                                "[[event]]\nkind = \"clock_jump\"\nat = \"14h\"\njump = \"-3h\"\n"
                                "[[event]]\nkind = \"hub_errors\"\nat = \"16h\"\nfor = \"30m\"\n");
  INFO(to_text(r));
  CHECK(r.broken.empty());
  CHECK(r.lost == 0);
  CHECK(r.duplicates == 0);
  CHECK(r.reboots == 5);
  CHECK(r.refused > 0);        // while the disk was full
  CHECK(r.repeated > 0);
  CHECK(r.classes.at(OutboxClass::telemetry).waiting < 100);
}

TEST_CASE("simulate: a budget is kept over the months, and alarms go also when telemetry may not") {
  const Report r = play("[sync]\npreset = \"lte-metered\"\n[[sync.bearer]]\nmonthly = \"2 MB\"\nalarm_reserve = 0.2\n",
                        "[scenario]\nlength = \"45d\"\nstart = \"2026-01-20T00:00:00Z\"\n"
                        "[[load]]\nname = \"pump\"\ninterval = \"10s\"\nfields = 4\n"
                        "[[load]]\nname = \"fault\"\nclass = \"alarm\"\ninterval = \"12h\"\nrandom = true\n"
                        "[expect.class.alarm]\nfreshness_p99_max = \"10s\"\ndelivered_min = 1.0\n");
  INFO(to_text(r));
  INFO(all(r.broken));
  CHECK(r.broken.empty());
  CHECK(r.bearers.at("default").worst_month_bytes <= 2'000'000);
  CHECK(r.bearers.at("default").worst_month_bytes > 1'000'000);
  CHECK(r.classes.at(OutboxClass::telemetry).waiting > 0);  // the budget is too small for all
}

TEST_CASE("simulate: what is expected and does not come true is named") {
  const Report r = play("", std::string(kDay) + "[[event]]\nkind = \"outage\"\nat = \"12h\"\nfor = \"20h\"\n[expect]\nbacklog_max = \"1 kB\"\n"
                                                "[expect.class.telemetry]\ndelivered_min = 0.99\nfreshness_p50_max = \"1ms\"\n");
  REQUIRE(r.broken.size() == 3);
  CHECK(all(r.broken).find("telemetry delivered: 0.") != std::string::npos);
  CHECK(all(r.broken).find("backlog: ") != std::string::npos);
}

TEST_CASE("simulate: a drive with outages and all radios stays within its card") {
  const Report r = play("[sync]\npreset = \"lte-metered\"\n[[sync.bearer]]\nmonthly = \"50 MB\"\n",
                        "[scenario]\nlength = \"3d\"\ntrace = \"driving\"\n[[load]]\nname = \"pump\"\n[[load]]\nname = \"fault\"\nclass = \"alarm\"\ninterval = \"2h\"\nrandom = true\n"
                        "[expect.class.alarm]\ndelivered_min = 0.9\n");
  INFO(to_text(r));
  CHECK(r.broken.empty());
  CHECK(r.classes.at(OutboxClass::telemetry).max_seconds > 120);  // it waited for links
  CHECK(r.points.size() >= 399);
}

TEST_CASE("simulate: while the cheap bearer is dead the dear one serves, and trying the cheap one again costs it nothing") {
  const Report r = play("[sync]\n[sync.class.telemetry]\nlinger = \"60s\"\n[[sync.bearer]]\nname = \"lan\"\n[[sync.bearer]]\nname = \"sim\"\nprice_per_mb = 1\nprobe_interval = \"6h\"\n",
                        std::string(kDay) + "[[event]]\nkind = \"outage\"\nbearer = \"lan\"\nat = \"4h\"\nfor = \"12h\"\n[expect.class.telemetry]\ndelivered_min = 0.999\n");
  INFO(to_text(r));
  CHECK(r.broken.empty());
  const auto& lan = r.bearers.at("lan").use.purposes;
  const auto& sim = r.bearers.at("sim").use.purposes;
  CHECK(sim.at("telemetry").exchanges > 600);
  CHECK(sim.at("telemetry").exchanges < 800);
  CHECK(lan.at("telemetry").exchanges > 600);  // before, and after it was back
  CHECK(sim.at("control").exchanges < 10);
  CHECK(r.classes.at(OutboxClass::telemetry).p99_seconds < 80);
}

TEST_CASE("simulate: reports can be read by machines and drawn") {
  const Report r = play("", "[scenario]\nname = \"a <b> & c\"\nlength = \"1h\"\n[[event]]\nkind = \"outage\"\nat = \"10m\"\nfor = \"10m\"\n");
  const std::string json = to_json(r), svg = to_svg({{"", &r}}), two = to_svg({{"A", &r}, {"B", &r}});
  const auto& telemetry = r.classes.at(OutboxClass::telemetry);
  CHECK(telemetry.delivered + telemetry.waiting == 3600);  // what was sent in the last moment is on its way
  CHECK(telemetry.delivered >= 3590);
  CHECK(json.find(fmt::format("\"delivered\": {}", telemetry.delivered)) != std::string::npos);
  CHECK(svg.starts_with("<svg"));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(two.find("telemetry B") != std::string::npos);
  CHECK(to_text(r, "a.toml", r, "b.toml").find("B is b.toml") != std::string::npos);
}
