// Policies as owners write them: what each part of a policy makes of a situation.
#include <catch2/catch.hpp>

#include "config/config.h"
#include "sync/policy.h"

using namespace skerry;
using namespace skerry::sync;
using namespace std::chrono_literals;
using storage::OutboxClass;

namespace {

const SteadyTime kNow{100'000s};

Policy policy_of(const std::string& toml) {
  auto parsed = config::parse_policy(toml, "policy.toml");
  for (const auto& d : parsed.diagnostics) FAIL(d.text());
  return parsed.policy;
}

// Everything waits, 100 kB and an hour old each, over bearers that are online and long settled.
Situation everything(const Policy& policy, const char* when = "2026-11-23T12:00:00Z") {
  Situation s{.now = kNow, .wall_ns = *parse_time(when)};
  for (size_t i = 0; i < policy.bearers.size(); ++i) s.bearers.push_back({.online = true});
  for (OutboxClass c : storage::kOutboxClasses) {
    s.backlog.push_back({.outbox_class = c, .last_seq = 100, .entries = 100, .bytes = 100'000, .oldest_ns = s.wall_ns - 3'600'000'000'000});
  }
  for (auto& h : s.history) h.turn_at = kNow;
  return s;
}

void set_waiting(Situation& s, OutboxClass c, uint64_t bytes, Duration age) {
  for (auto& b : s.backlog) {
    if (b.outbox_class == c) b = {.outbox_class = c, .last_seq = 1, .entries = 1, .bytes = bytes, .oldest_ns = s.wall_ns - age.count()};
  }
}

ClassDecision of(const Policy& policy, const Situation& s, OutboxClass c) {
  for (const auto& d : decide(policy, s)) {
    if (d.outbox_class == c) return d;
  }
  throw std::logic_error("no decision about the class");
}

bool sends(const Policy& policy, const Situation& s, OutboxClass c) { return of(policy, s, c).send; }

}  // namespace

TEST_CASE("policy: over a metered card telemetry goes, models and diagnostics wait for an unmetered link") {
  const Policy policy = policy_of("[sync]\npreset = \"lte-metered\"\n");
  Situation s = everything(policy);
  CHECK(sends(policy, s, OutboxClass::alarm));
  CHECK(sends(policy, s, OutboxClass::telemetry));
  CHECK(of(policy, s, OutboxClass::model).blocked_by == Gate::metered);
  CHECK(of(policy, s, OutboxClass::model).reason == "model goes over unmetered links only (any way in 167h 0m); default is metered: yes");
  const Policy unmetered = policy_of("[sync]\npreset = \"lte-metered\"\n[[sync.bearer]]\nmetered = false\n");
  CHECK(sends(unmetered, s, OutboxClass::model));
  set_waiting(s, OutboxClass::model, 100'000, 8 * 24h);  // patience has its end
  CHECK(sends(policy, s, OutboxClass::model));
}

TEST_CASE("policy: the month's budget is given out evenly, may be spent a little ahead, and leaves alarms a reserve") {
  const Policy policy = policy_of("[[sync.bearer]]\nmonthly = \"300 MB\"\npace_slack = 0.1\nalarm_reserve = 0.1\n");
  Situation s = everything(policy, "2026-11-16T00:00:00Z");  // half of November
  s.bearers[0].use.month_bytes = 160'000'000;
  CHECK(sends(policy, s, OutboxClass::telemetry));           // of (0.5 + 0.1) * 270 MB
  s.bearers[0].use.month_bytes = 162'000'000;
  const auto paced = of(policy, s, OutboxClass::telemetry);
  CHECK(paced.blocked_by == Gate::pace);
  REQUIRE(paced.not_before);
  CHECK(*paced.not_before - s.now < 1h);
  CHECK(sends(policy, s, OutboxClass::alarm));
  s.bearers[0].use.month_bytes = 270'000'000;
  CHECK(of(policy, s, OutboxClass::telemetry).blocked_by == Gate::budget_month);
  CHECK(of(policy, s, OutboxClass::telemetry).not_before == s.now + 15 * 24h);
  CHECK(sends(policy, s, OutboxClass::alarm));
  s.bearers[0].use.month_bytes = 300'000'000;
  CHECK_FALSE(sends(policy, s, OutboxClass::alarm));
  CHECK_FALSE(decide_hello(policy, s).send);
}

TEST_CASE("policy: bulk does not spend the month ahead") {
  const Policy policy = policy_of("[[sync.bearer]]\nmonthly = \"300 MB\"\npace_slack = 0.1\n");
  Situation s = everything(policy, "2026-11-16T00:00:00Z");
  s.bearers[0].use.month_bytes = 145'000'000;
  CHECK(sends(policy, s, OutboxClass::telemetry));
  CHECK(of(policy, s, OutboxClass::model).blocked_by == Gate::pace);
}

TEST_CASE("policy: patience lifts wishes, not the pace: old logs do not spend the month of the telemetry") {
  const Policy policy = policy_of("[sync.class.diagnostics]\nmetered = false\npatience = \"1s\"\n[[sync.bearer]]\nmetered = true\nmonthly = \"300 MB\"\n");
  Situation s = everything(policy, "2026-11-16T00:00:00Z");
  s.bearers[0].use.month_bytes = 140'000'000;
  CHECK(sends(policy, s, OutboxClass::diagnostics));
  s.bearers[0].use.month_bytes = 150'000'000;
  CHECK(of(policy, s, OutboxClass::diagnostics).blocked_by == Gate::pace);
  CHECK(sends(policy, s, OutboxClass::telemetry));
}

TEST_CASE("policy: little waits for company, rides in a radio's tail, and goes at the latest after its time") {
  const Policy policy = policy_of("[sync.class.telemetry]\nlinger = \"60s\"\n[sync.class.diagnostics]\nlinger = \"1h\"\n[[sync.bearer]]\ntail = \"10s\"\n");
  Situation s = everything(policy);
  set_waiting(s, OutboxClass::telemetry, 500, 10s);
  set_waiting(s, OutboxClass::diagnostics, 500, 10s);
  const auto lingers = of(policy, s, OutboxClass::telemetry);
  CHECK(lingers.blocked_by == Gate::linger);
  CHECK(lingers.not_before == s.now + 50s);
  s.bearers[0].woken_at = s.now - 5s;
  CHECK(sends(policy, s, OutboxClass::diagnostics));
  CHECK(of(policy, s, OutboxClass::diagnostics).rides);
  s.bearers[0].woken_at = s.now - 11s;
  CHECK_FALSE(sends(policy, s, OutboxClass::diagnostics));
  set_waiting(s, OutboxClass::telemetry, 500, 61s);
  CHECK(sends(policy, s, OutboxClass::telemetry));
  set_waiting(s, OutboxClass::telemetry, 10 << 20, 1s);  // a whole batch
  CHECK(sends(policy, s, OutboxClass::telemetry));
}

TEST_CASE("policy: a clock that was put back makes nothing wait for ever") {
  const Policy policy = policy_of("[sync.class.telemetry]\nlinger = \"60s\"\n");
  Situation s = everything(policy);
  set_waiting(s, OutboxClass::telemetry, 500, -24h * 365);  // queued a year ahead
  s.history[index_of(OutboxClass::telemetry)].turn_at = kNow - 61s;
  CHECK(sends(policy, s, OutboxClass::telemetry));
}

TEST_CASE("policy: in a transfer window bulk goes, at the window's price, until it is revoked") {
  const Policy policy = policy_of(
      "[sync.class.model]\nwindows_only = true\nprice_max = 0.1\n[[sync.bearer]]\nprice_per_mb = 5\n"
      "[[sync.window]]\nname = \"night\"\ntimes = \"23:00-05:00\"\ndays = [\"mon\"]\nclasses = [\"model\"]\nprice_per_mb = 0.05\n");
  Situation day = everything(policy, "2026-11-23T12:00:00Z");  // a Monday
  CHECK(of(policy, day, OutboxClass::model).not_before == day.now + 11h);
  const Situation night = everything(policy, "2026-11-24T02:00:00Z");  // Tuesday, in Monday's window
  CHECK(sends(policy, night, OutboxClass::model));
  Situation revoked = night;
  revoked.revoked = {"night"};
  CHECK_FALSE(sends(policy, revoked, OutboxClass::model));
  CHECK(sends(policy, night, OutboxClass::telemetry));  // has no limit of price
  const Situation tuesday = everything(policy, "2026-11-25T02:00:00Z");
  CHECK_FALSE(sends(policy, tuesday, OutboxClass::model));
}

TEST_CASE("policy: roaming multiplies the price") {
  const Policy policy = policy_of("[sync.class.telemetry]\nprice_max = 1\n[[sync.bearer]]\nprice_per_mb = 0.5\nroaming_factor = 10\n");
  Situation s = everything(policy);
  CHECK(sends(policy, s, OutboxClass::telemetry));
  s.bearers[0].link.roaming = true;
  CHECK(of(policy, s, OutboxClass::telemetry).reason == "a MB costs 5 on default (roaming), telemetry goes up to 1");
}

TEST_CASE("policy: the first rule that matches and says something of a matter decides that matter") {
  const Policy policy = policy_of(
      "[[sync.rule]]\nname = \"big\"\nwhen = { class = \"telemetry\", backlog_above = \"50 kB\" }\nthen = { batch_max = \"10 kB\" }\n"
      "[[sync.rule]]\nname = \"weak\"\nwhen = { rsrp_below = -110 }\nthen = { send = \"wait\", batch_max = \"1 kB\" }\n"
      "[[sync.rule]]\nname = \"not over 2G\"\nwhen = { link = \"2g-3g\", class = [\"model\", \"diagnostics\"] }\nthen = { send = \"never\" }\n");
  Situation s = everything(policy);
  CHECK(of(policy, s, OutboxClass::telemetry).bytes_max == 10'000);
  CHECK(of(policy, s, OutboxClass::label).bytes_max > 10'000);
  s.bearers[0].link.rsrp_dbm = -120;
  CHECK(of(policy, s, OutboxClass::telemetry).reason == "rule 'weak' says: wait");
  s.bearers[0].link.rsrp_dbm = -100;
  s.bearers[0].link.technology = Technology::legacy;
  CHECK(of(policy, s, OutboxClass::model).never);
  CHECK(sends(policy, s, OutboxClass::telemetry));
}

TEST_CASE("policy: a rule that says now is held by budgets alone") {
  const Policy policy = policy_of(
      "[sync]\npreset = \"lte-metered\"\n[[sync.rule]]\nwhen = { class = \"diagnostics\" }\nthen = { send = \"now\" }\n[[sync.bearer]]\nmonthly = \"1 MB\"\n");
  Situation s = everything(policy);
  CHECK(sends(policy, s, OutboxClass::diagnostics));
  s.bearers[0].use.month_bytes = 990'000;
  CHECK_FALSE(sends(policy, s, OutboxClass::diagnostics));
}

TEST_CASE("policy: after a change of the link bulk waits until it has settled, alarms do not") {
  const Policy policy = policy_of("[sync]\npreset = \"5g-nsa\"\n");
  Situation s = everything(policy);
  s.bearers[0].link.technology = Technology::nr_nsa;
  s.bearers[0].link.stable_since = s.now - 1s;
  CHECK(sends(policy, s, OutboxClass::alarm));
  CHECK(of(policy, s, OutboxClass::telemetry).not_before == s.now + 4s);
  s.bearers[0].link.stable_since = s.now - 6s;
  CHECK(sends(policy, s, OutboxClass::model));
  s.bearers[0].link.technology = Technology::lte;  // worse: at once
  CHECK_FALSE(sends(policy, s, OutboxClass::model));
}

TEST_CASE("policy: an empty battery and a hot device keep bulk back") {
  const Policy policy = policy_of("[sync]\npreset = \"5g-sa\"\n");
  Situation s = everything(policy);
  s.battery = 10;
  CHECK(of(policy, s, OutboxClass::model).blocked_by == Gate::battery);
  s.on_mains = true;
  CHECK(sends(policy, s, OutboxClass::model));
  s.temperature = 90;
  CHECK(of(policy, s, OutboxClass::model).blocked_by == Gate::temperature);
  CHECK(sends(policy, s, OutboxClass::telemetry));
}

TEST_CASE("policy: a class goes over the first bearer that may take it now, and a slice takes only its own") {
  const Policy policy = policy_of("[sync]\npreset = \"ship\"\n");
  Situation s = everything(policy);
  s.bearers[0].link.up = false;  // at sea
  CHECK(of(policy, s, OutboxClass::alarm).bearer == 1);
  CHECK(sends(policy, s, OutboxClass::alarm));
  CHECK_FALSE(sends(policy, s, OutboxClass::model));
  CHECK(of(policy, s, OutboxClass::telemetry).blocked_by == Gate::link);
  s.bearers[0].link.up = true;   // in the harbour
  CHECK(of(policy, s, OutboxClass::telemetry).bearer == 0);
  CHECK(sends(policy, s, OutboxClass::telemetry));
  CHECK(sends(policy, s, OutboxClass::model));
}

TEST_CASE("policy: small measured goodput makes small batches, a dear link hard compression") {
  const Policy policy = policy_of("[sync]\nbatch_time = \"2s\"\n[[sync.bearer]]\nprice_per_mb = 1\n");
  Situation s = everything(policy);
  s.batch_bytes_max = 1 << 20;
  s.bearers[0].link.goodput = s.bearers[0].link.goodput_low = 10'000;
  CHECK(of(policy, s, OutboxClass::telemetry).bytes_max == 20'000);
  CHECK(of(policy, s, OutboxClass::telemetry).compression == 9);
  s.cpu_idle = 0.1;
  CHECK(of(policy, s, OutboxClass::telemetry).compression == 3);
}

TEST_CASE("policy: explain lists every condition of every bearer, with what would have to be true") {
  const Policy policy = policy_of("[sync]\npreset = \"satellite\"\n");
  const Situation s = everything(policy);
  for (const auto& d : decide(policy, s, Explain::yes)) {
    if (d.outbox_class != OutboxClass::model) continue;
    size_t failing = 0;
    for (const Condition& c : d.conditions) {
      CHECK_FALSE(c.text.empty());
      failing += !c.holds;
    }
    CHECK(failing == 1);
    CHECK(d.conditions.size() > 8);
  }
}
