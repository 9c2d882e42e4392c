#include "sync/internal/rules.h"

#include <algorithm>

namespace skerry::sync::internal {
namespace {

constexpr int64_t kMinute = 60'000'000'000, kDay = 24 * 60 * kMinute;
constexpr uint32_t kMinutesOfDay = 24 * 60;

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

template <typename T>
bool contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

uint32_t weekday(int64_t day) { return static_cast<uint32_t>(((day % 7) + 7 + 4) % 7); }  // 1970-01-01 was a Thursday

uint32_t length_of(const DayTimes& t) {  // minutes; equal ends are the whole day
  return t.to_minute > t.from_minute ? t.to_minute - t.from_minute : t.to_minute + kMinutesOfDay - t.from_minute;
}

// How long the window has been open at that time, or is until it opens (negative).
int64_t open_since(const TransferWindow& window, int64_t wall_ns) {
  int64_t nearest = -8 * kDay;
  const int64_t today = floor_div(wall_ns, kDay);
  for (int64_t day = today - 1; day <= today + 7; ++day) {
    if (!window.days.empty() && !contains(window.days, weekday(day))) continue;
    const int64_t since = wall_ns - (day * kDay + window.times.from_minute * kMinute);
    if (since >= 0 && since < length_of(window.times) * kMinute) return since;
    if (since < 0) nearest = std::max(nearest, since);
  }
  return nearest;
}

bool same(const std::optional<bool>& wanted, const std::optional<bool>& found) { return !wanted || (found && *found == *wanted); }
bool below(const std::optional<double>& limit, const std::optional<double>& found) { return !limit || (found && *found < *limit); }

double budget_left_share(const BearerPolicy& bearer, const BearerUse& use) {
  const auto cap = static_cast<double>(bearer.monthly_bytes);
  return std::max(0.0, cap - static_cast<double>(use.month_bytes)) / cap;
}

bool link_matches(const RuleWhen& when, const BearerPolicy& bearer, const BearerSituation& state) {
  const LinkFacts& link = state.link;
  const auto goodput = static_cast<uint64_t>(link.goodput);
  return (when.links.empty() || contains(when.links, technology_of(bearer, link))) && (when.bearers.empty() || contains(when.bearers, bearer.name)) &&
         same(when.metered, metered_of(bearer, link)) && same(when.constrained, link.constrained) && same(when.roaming, link.roaming) &&
         (!when.goodput_below || (goodput > 0 && goodput < *when.goodput_below)) && (!when.goodput_above || goodput > *when.goodput_above) &&
         below(when.rsrp_below, link.rsrp_dbm) && below(when.snr_below, link.snr_db) && (!when.rtt_above || link.rtt > *when.rtt_above) &&
         (!when.outage_above || link.last_outage > *when.outage_above) &&
         (!when.budget_left_below || (bearer.monthly_bytes > 0 && budget_left_share(bearer, state.use) < *when.budget_left_below));
}

bool matches(const RuleWhen& when, const Situation& s, const BearerPolicy& bearer, const BearerSituation& state, storage::OutboxClass outbox_class,
             const Waiting& waiting, bool in_window) {
  return (when.classes.empty() || contains(when.classes, outbox_class)) && same(when.in_window, in_window) && same(when.on_mains, s.on_mains) &&
         (!when.backlog_above || waiting.bytes > *when.backlog_above) && (!when.older_than || waiting.age > *when.older_than) &&
         below(when.battery_below, s.battery) && (!when.temperature_above || (s.temperature && *s.temperature > *when.temperature_above)) &&
         (!when.times || within(*when.times, s.wall_ns)) && link_matches(when, bearer, state);
}

template <typename T>
void take(std::optional<T>& target, const std::optional<T>& said) {
  if (!target) target = said;
}

}  // namespace

Technology technology_of(const BearerPolicy& bearer, const LinkFacts& link) {
  return link.technology == Technology::unknown ? bearer.technology.value_or(Technology::unknown) : link.technology;
}

std::optional<bool> metered_of(const BearerPolicy& bearer, const LinkFacts& link) { return bearer.metered ? bearer.metered : link.metered; }

bool within(const DayTimes& times, int64_t wall_ns) { return open_since({.name = "", .times = times}, wall_ns) >= 0; }

OpenWindow open_window(const Policy& policy, const Situation& situation, storage::OutboxClass outbox_class) {
  OpenWindow best;
  for (const TransferWindow& window : policy.windows) {
    if (!window.classes.empty() && !contains(window.classes, outbox_class)) continue;
    const int64_t since = open_since(window, situation.wall_ns);
    if (since >= 0 && situation.revoked.contains(window.name)) {
      best.revoked = window.name;
    } else if (since >= 0) {
      if (best.window != nullptr && best.window->price_per_mb <= window.price_per_mb) continue;
      best.window = &window;
      best.closes_in = Duration(length_of(window.times) * kMinute - since);
    } else if (!situation.revoked.contains(window.name)) {
      best.next_open = std::min(best.next_open.value_or(Duration::max()), Duration(-since));
    }
  }
  return best;
}

Said ask_rules(const Policy& policy, const Situation& situation, size_t bearer, storage::OutboxClass outbox_class, const Waiting& waiting, bool in_window) {
  Said said;
  for (const Rule& rule : policy.rules) {
    if (!matches(rule.when, situation, policy.bearers[bearer], situation.bearers[bearer], outbox_class, waiting, in_window)) continue;
    if (!said.then.send && rule.then.send) said.send_rule = rule.name;
    take(said.then.send, rule.then.send);
    take(said.then.rate_max, rule.then.rate_max);
    take(said.then.batch_max, rule.then.batch_max);
    take(said.then.linger, rule.then.linger);
    take(said.then.compression, rule.then.compression);
  }
  return said;
}

}  // namespace skerry::sync::internal
