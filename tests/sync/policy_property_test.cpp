// What no policy may do, whatever the link, the backlog and the budgets: each over 100,000 seeded cases.
#include <catch2/catch.hpp>

#include "base/random.h"
#include "config/config.h"
#include "sync/policy.h"

using namespace skerry;
using namespace skerry::sync;
using namespace std::chrono_literals;
using storage::OutboxClass;

namespace {

constexpr int kCases = 100'000;
constexpr int64_t kWall = 1'764'000'000'000'000'000;

const std::vector<Policy>& preset_policies() {
  static const std::vector<Policy> all = [] {
    std::vector<Policy> out = {Policy{}};
    for (const std::string& name : config::presets()) {
      auto parsed = config::parse_policy(config::preset(name), name);
      if (!parsed.diagnostics.empty()) throw std::logic_error(parsed.diagnostics[0].text());
      out.push_back(parsed.policy);
    }
    return out;
  }();
  return all;
}

bool bulk(OutboxClass c) { return c == OutboxClass::model || c == OutboxClass::backlog || c == OutboxClass::diagnostics; }

Policy random_policy(Random& random) {
  Policy policy = preset_policies()[random.below(preset_policies().size())];
  for (BearerPolicy& b : policy.bearers) {
    if (random.chance(0.6)) b.monthly_bytes = 1 + random.below(200'000'000);
    if (random.chance(0.3)) b.daily_bytes = 1 + random.below(5'000'000);
    b.reset_day = 1 + static_cast<uint32_t>(random.below(31));
    b.price_per_mb = random.uniform(0, 2);
    b.roaming_factor = random.uniform(1, 5);
    b.alarm_reserve = random.uniform(0, 0.5);
  }
  for (ClassPolicy& c : policy.classes) {
    if (random.chance(0.4)) c.price_max = random.uniform(0, 3);
    if (random.chance(0.3)) c.patience = Duration(static_cast<int64_t>(random.below(48)) * 3'600'000'000'000);
  }
  return policy;
}

Situation random_situation(Random& random, const Policy& policy) {
  Situation s{.now = SteadyTime{1'000'000s}, .wall_ns = kWall + static_cast<int64_t>(random.below(90 * 86400)) * 1'000'000'000};
  for (const BearerPolicy& b : policy.bearers) {
    BearerSituation state{.online = random.chance(0.9), .retry_at = s.now + std::chrono::seconds(random.below(60))};
    state.link.up = random.chance(0.95);
    state.link.technology = static_cast<Technology>(random.below(9));
    if (random.chance(0.5)) state.link.metered = random.chance(0.5);
    if (random.chance(0.5)) state.link.roaming = random.chance(0.3);
    if (random.chance(0.3)) state.link.constrained = random.chance(0.5);
    state.link.stable_since = s.now - std::chrono::seconds(random.below(20));
    if (random.chance(0.7)) state.link.goodput = state.link.goodput_low = random.uniform(100, 2e7);
    state.window = random.chance(0.5) ? 4096 + random.below(1 << 22) : 0;
    state.use.month_bytes = random.below(b.monthly_bytes + b.monthly_bytes / 8 + 1);
    state.use.day_bytes = random.below(b.daily_bytes + 1);
    if (random.chance(0.5)) state.woken_at = s.now - std::chrono::seconds(random.below(30));
    s.bearers.push_back(state);
  }
  for (OutboxClass c : storage::kOutboxClasses) {
    storage::OutboxStatus status{.outbox_class = c};
    if (random.chance(0.7)) {
      status.last_seq = 1 + random.below(1000);
      status.entries = status.last_seq;
      status.bytes = 1 + random.below(10'000'000);
      status.oldest_ns = s.wall_ns - static_cast<int64_t>(random.below(40 * 86400)) * 1'000'000'000;
    }
    s.backlog.push_back(status);
    s.history[index_of(c)].turn_at = s.now - std::chrono::seconds(random.below(100'000));
  }
  if (random.chance(0.5)) s.battery = random.uniform(0, 100);
  if (random.chance(0.5)) s.temperature = random.uniform(-20, 100);
  return s;
}

const ClassDecision& of_class(const std::vector<ClassDecision>& all, OutboxClass c) {
  return *std::find_if(all.begin(), all.end(), [&](const ClassDecision& d) { return d.outbox_class == c; });
}

uint64_t bulk_bytes(const std::vector<ClassDecision>& all) {
  uint64_t bytes = 0;
  for (const auto& d : all) bytes += bulk(d.outbox_class) && d.send ? d.bytes_max : 0;
  return bytes;
}

// Runs `check` over seeded cases; the seed is in the message of a failure.
template <typename Check>
void over_cases(Check check) {
  for (int i = 0; i < kCases; ++i) {
    const uint64_t seed = Catch::rngSeed() * 1'000'000ULL + static_cast<uint64_t>(i);
    Random random(seed);
    const Policy policy = random_policy(random);
    const Situation s = random_situation(random, policy);
    if (std::string wrong = check(random, policy, s); !wrong.empty()) FAIL("case " << seed << ": " << wrong);
  }
  SUCCEED();
}

}  // namespace

TEST_CASE("policy: what may go never exceeds a budget, and alarms always have their reserve") {
  over_cases([](Random&, const Policy& policy, const Situation& s) -> std::string {
    for (const ClassDecision& d : decide(policy, s)) {
      if (!d.send) continue;
      const BearerPolicy& b = policy.bearers[d.bearer];
      const BearerUse& use = s.bearers[d.bearer].use;
      const double share = d.outbox_class == OutboxClass::alarm ? 1 : 1 - b.alarm_reserve;
      if (b.monthly_bytes > 0 && static_cast<double>(use.month_bytes + d.wire_left) > share * static_cast<double>(b.monthly_bytes) + 1) return "over the month";
      if (b.daily_bytes > 0 && static_cast<double>(use.day_bytes + d.wire_left) > share * static_cast<double>(b.daily_bytes) + 1) return "over the day";
      if (d.bytes_max > 1 && wire_bytes(d.bytes_max + 256) > d.wire_left) return "a batch larger than what is left";
    }
    return "";
  });
}

TEST_CASE("policy: an alarm is never behind anything else") {
  over_cases([](Random&, const Policy& policy, const Situation& s) -> std::string {
    const auto all = decide(policy, s);
    if (all.size() != std::size(storage::kOutboxClasses)) return "not every class has a decision";
    return all.front().outbox_class == OutboxClass::alarm ? "" : "something stands before the alarm";
  });
}

TEST_CASE("policy: a worse link never sends more bulk") {
  over_cases([](Random& random, const Policy& policy, const Situation& s) -> std::string {
    Situation worse = s;
    for (BearerSituation& b : worse.bearers) {
      const double factor = random.uniform();
      b.link.goodput *= factor;
      b.link.goodput_low *= factor;
      b.window = b.window == 0 ? 0 : std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(b.window) * factor));
      if (random.chance(0.1)) b.link.up = false;
      if (random.chance(0.1)) b.online = false;
      if (random.chance(0.2)) b.link.constrained = true;
      if (random.chance(0.2)) b.link.stable_since = s.now;
    }
    // Less of a batch is full sooner: that is no more bytes, only the same ones earlier. So each class that goes is asked for its portion.
    const auto before = decide(policy, s), after = decide(policy, worse);
    for (OutboxClass c : storage::kOutboxClasses) {
      const ClassDecision &was = of_class(before, c), &is = of_class(after, c);
      if (!bulk(c) || !is.send) continue;
      if (was.send && is.bearer == was.bearer && is.bytes_max > was.bytes_max) return "more of a class";
      if (!was.send && was.blocked_by != Gate::linger) return "a class that did not go before";
    }
    return "";
  });
}

TEST_CASE("policy: when the price goes up, no more goes") {
  over_cases([](Random& random, const Policy& policy, const Situation& s) -> std::string {
    Policy dearer = policy;
    for (BearerPolicy& b : dearer.bearers) b.price_per_mb += random.uniform(0, 3);
    if (policy.bearers.size() > 1) return "";  // another bearer may then be the first choice
    return bulk_bytes(decide(dearer, s)) > bulk_bytes(decide(policy, s)) ? "more bulk for more money" : "";
  });
}

TEST_CASE("policy: nothing starves: a class that may go and had no turn for long is behind alarms and others like it only") {
  over_cases([](Random&, const Policy& policy, const Situation& s) -> std::string {
    auto overdue = [&](OutboxClass c) { return s.now - s.history[index_of(c)].turn_at >= policy.turn; };
    const auto all = decide(policy, s);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].send || !overdue(all[i].outbox_class) || all[i].outbox_class == OutboxClass::alarm) continue;
      for (size_t k = 0; k < i; ++k) {
        if (all[k].send && all[k].outbox_class != OutboxClass::alarm && !overdue(all[k].outbox_class)) return "overtaken";
      }
    }
    return "";
  });
}

TEST_CASE("policy: time alone brings a class to go when the decision says so") {
  int told = 0;
  over_cases([&](Random&, const Policy& policy, const Situation& s) -> std::string {
    for (const ClassDecision& d : decide(policy, s)) {
      if (d.send || !d.not_before || *d.not_before <= s.now || d.blocked_by == Gate::reachable) continue;
      Situation later = s;
      const Duration wait = *d.not_before - s.now;
      later.now += wait;
      later.wall_ns += wait.count();
      for (size_t i = 0; i < later.bearers.size(); ++i) Ledger::roll(later.bearers[i].use, later.wall_ns, policy.bearers[i].reset_day);
      const auto then = decide(policy, later);
      const ClassDecision& now_decided = of_class(then, d.outbox_class);
      ++told;
      // Later another condition may be the one: but not the same one for the same reason, unless it was near.
      if (!now_decided.send && now_decided.blocked_by == d.blocked_by && now_decided.not_before && *now_decided.not_before > later.now + 2h &&
          d.blocked_by == Gate::linger) {
        return "still waits for company";
      }
    }
    return "";
  });
  CHECK(told > 1000);
}

TEST_CASE("policy: explaining changes nothing, and every decision has its reason among its conditions") {
  over_cases([](Random& random, const Policy& policy, const Situation& s) -> std::string {
    if (random.chance(0.8)) return "";
    const auto plain = decide(policy, s), explained = decide(policy, s, Explain::yes);
    for (size_t i = 0; i < plain.size(); ++i) {
      if (plain[i].send != explained[i].send || plain[i].reason != explained[i].reason || plain[i].bytes_max != explained[i].bytes_max) return "differs";
      if (plain[i].reason.empty()) return "no reason";
      const auto& all = explained[i].conditions;
      const bool named = std::any_of(all.begin(), all.end(), [&](const Condition& c) { return !c.holds && c.text == explained[i].reason; });
      if (!plain[i].send && !named) return "the reason is not among the conditions: " + plain[i].reason;
    }
    return "";
  });
}
