#include "sync/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/units.h"
#include "sync/internal/rules.h"

namespace skerry::sync {
namespace {

using internal::OpenWindow;
using internal::Said;
using internal::Waiting;
using storage::OutboxClass;

constexpr uint64_t kPieceBytesMin = 4096;    // smaller batches cost more in headers than they carry
constexpr uint64_t kPieceBytes = 16 << 10, kPiecesPerWindow = 16;
constexpr uint32_t kFlightsMax = 16, kUrgentFlightsMax = 4;  // batches on their way over one bearer
constexpr uint64_t kAnswerBytes = 600;       // on the wire
constexpr uint64_t kHelloBytes = 3000;       // on the wire, both ways
constexpr double kSlowLink = 256 << 10, kFastLink = 4 << 20;  // bytes per second
constexpr double kBusyCpu = 0.3;             // idle share below which the hard compressor is too dear

const char* yes_no(bool yes) { return yes ? "yes" : "no"; }

// Under a rate cap: how much of the budget must be there before a batch of the class goes. About a second's worth, so that a slow link
// is neither nibbled at nor waits minutes for a full bucket.
double tokens_needed(const Situation& s, uint64_t waiting) {
  const double second = std::max<double>(kPieceBytesMin, static_cast<double>(s.token_rate));
  return std::min({static_cast<double>(waiting), static_cast<double>(s.token_burst), second});
}

uint64_t exchange_bytes(uint64_t payload) { return wire_bytes(payload + 256) + kAnswerBytes; }

// The largest payload whose exchange fits.
uint64_t payload_within(uint64_t wire) {
  if (wire <= exchange_bytes(0)) return 1;
  return std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(wire - exchange_bytes(0)) / 1.045));
}

bool is_bulk(OutboxClass c) { return c == OutboxClass::backlog || c == OutboxClass::model || c == OutboxClass::diagnostics; }

// What a budget leaves to a class, and what of it pacing has given out so far.
struct Left {
  uint64_t month = UINT64_MAX, day = UINT64_MAX, pace = UINT64_MAX;
  double usable_month = 0;
  Period period;
  uint64_t least() const { return std::min({month, day, pace}); }
};

uint64_t minus(double a, uint64_t b) { return a <= static_cast<double>(b) ? 0 : static_cast<uint64_t>(a) - b; }

double slack_of(const BearerPolicy& bearer, OutboxClass c) { return is_bulk(c) ? 0 : bearer.pace_slack; }

Left left_of(const BearerPolicy& bearer, const BearerUse& use, OutboxClass c, int64_t wall_ns) {
  Left left;
  const double share = c == OutboxClass::alarm ? 1.0 : 1.0 - bearer.alarm_reserve;
  if (bearer.daily_bytes > 0) left.day = minus(share * static_cast<double>(bearer.daily_bytes), use.day_bytes);
  if (bearer.monthly_bytes == 0) return left;
  left.usable_month = share * static_cast<double>(bearer.monthly_bytes);
  left.month = minus(left.usable_month, use.month_bytes);
  left.period = month_of(wall_ns, bearer.reset_day);
  const double elapsed = static_cast<double>(wall_ns - left.period.from_ns) / static_cast<double>(left.period.to_ns - left.period.from_ns);
  if (bearer.pace) left.pace = minus(left.usable_month * std::min(1.0, elapsed + slack_of(bearer, c)), use.month_bytes);
  return left;
}

// How long until pacing has given out enough for `bytes` more.
Duration until_paced(const Left& left, const BearerUse& use, double slack, uint64_t bytes, int64_t wall_ns) {
  const double share = static_cast<double>(use.month_bytes + bytes) / left.usable_month - slack;
  const auto at = left.period.from_ns + static_cast<int64_t>(share * static_cast<double>(left.period.to_ns - left.period.from_ns));
  return Duration(std::clamp<int64_t>(at - wall_ns, 1'000'000, left.period.to_ns - left.period.from_ns));
}

storage::OutboxStatus left_of_it(storage::OutboxStatus status, const OnTheWay& flying) {
  if (flying.entries == 0) return status;
  status.acked_seq = std::min(status.last_seq, std::max(status.acked_seq, flying.last_seq));
  status.bytes -= std::min(status.bytes, flying.bytes);
  status.entries -= std::min(status.entries, flying.entries);
  status.oldest_ns = std::max(status.oldest_ns, flying.queued_ns);
  return status;
}

// One class on one bearer. Conditions are looked at in the order of the gates; the first that fails is the reason.
class Judge {
 public:
  Judge(const Policy& policy, const Situation& situation, OutboxClass c, size_t bearer, const storage::OutboxStatus& status, Explain explain)
      : policy_(policy), s_(situation), class_(c), rule_(of(policy, c)), bearer_(policy.bearers[bearer]), state_(situation.bearers[bearer]),
        status_(left_of_it(status, situation.on_the_way[index_of(c)])), explain_(explain) {
    d_.outbox_class = c;
    d_.bearer = bearer;
  }

  ClassDecision judge() {
    general();
    if (d_.blocked_by == Gate::waiting && failed_) return finish();  // nothing more to be said of nothing
    waiting_ = {status_.bytes, age()};
    window_ = internal::open_window(policy_, s_, class_);
    said_ = internal::ask_rules(policy_, s_, d_.bearer, class_, waiting_, window_.window != nullptr);
    forced_ = said_.then.send == Send::now;
    spared_ = forced_ || (rule_.patience > Duration::zero() && waiting_.age >= rule_.patience);
    d_.bytes_max = portion();
    link();
    budgets();
    preferences();
    device();
    rates();
    room();
    company();
    return finish();
  }

 private:
  template <typename Text>
  void require(Gate gate, bool holds, Text text, std::optional<SteadyTime> at = {}) {
    if (!holds && !failed_) {
      d_.blocked_by = gate;
      d_.reason = text();
    }
    if (!holds) {
      if (!at) unknown_ = true;
      if (at) latest_ = std::max(latest_, *at);
      failed_ = true;
    }
    if (explain_ == Explain::yes) d_.conditions.push_back({gate, holds, gate <= Gate::held ? "" : bearer_.name, text()});
  }

  Duration age() const {
    const Duration by_wall(s_.wall_ns - status_.oldest_ns);
    const Duration by_steady = s_.now - s_.history[index_of(class_)].turn_at;
    return by_wall >= Duration::zero() ? by_wall : std::max(Duration::zero(), by_steady);  // the clock was put back
  }

  void general() {
    require(Gate::enabled, s_.enabled, [&] { return std::string(s_.enabled ? "sync is switched on" : "sync is switched off: set sync.enabled"); });
    const bool waits = status_.last_seq > status_.acked_seq;
    require(Gate::waiting, waits, [&] {
      const OnTheWay& flying = s_.on_the_way[index_of(class_)];
      if (!waits && flying.entries > 0) return fmt::format("{} in {} entries on their way, nothing else waiting", format_bytes(flying.bytes), flying.entries);
      return waits ? fmt::format("{} waiting in {} entries", format_bytes(status_.bytes), status_.entries) : std::string("nothing waiting");
    });
    require(Gate::held, !s_.held, [&] { return std::string(s_.held ? "held by hand" : "not held by hand"); });
  }

  void link() {
    const bool mine = bearer_.classes.empty() || std::find(bearer_.classes.begin(), bearer_.classes.end(), class_) != bearer_.classes.end();
    require(Gate::slice, mine, [&] { return fmt::format("bearer {} is {}for {}", bearer_.name, mine ? "" : "not ", storage::to_string(class_)); });
    const bool barred = said_.then.send == Send::never;
    require(Gate::rule_never, !barred, [&] {
      return barred ? fmt::format("rule '{}' says: never over {}", said_.send_rule, bearer_.name) : std::string("no rule bars it");
    });
    require(Gate::link, state_.link.up, [&] {
      return fmt::format("{} {} a carrier and a route", bearer_.name, state_.link.up ? "has" : "needs");
    });
    require(Gate::reachable, state_.online, [&] {
      if (state_.online) return std::string("the hub answers");
      return s_.now < state_.retry_at ? fmt::format("offline: next try in {}", format_duration(state_.retry_at - s_.now)) : "offline: trying now";
    }, std::max(s_.now, state_.retry_at));
  }

  void budgets() {
    left_ = left_of(bearer_, state_.use, class_, s_.wall_ns);
    need_ = exchange_bytes(std::min(waiting_.bytes, kPieceBytesMin));
    if (bearer_.monthly_bytes > 0) {
      const Duration until(left_.period.to_ns - s_.wall_ns);
      require(Gate::budget_month, left_.month >= need_, [&] {
        return fmt::format("{} of the month's {} used on {}, {} left for {}: it begins anew in {}", format_bytes(state_.use.month_bytes),
                           format_bytes(bearer_.monthly_bytes), bearer_.name, format_bytes(left_.month), storage::to_string(class_), format_duration(until));
      }, s_.now + until);
    }
    if (bearer_.daily_bytes > 0) {
      const Duration until(day_of(s_.wall_ns).to_ns - s_.wall_ns);
      require(Gate::budget_day, left_.day >= need_, [&] {
        return fmt::format("{} of the day's {} used on {}, {} left for {}: it begins anew in {}", format_bytes(state_.use.day_bytes),
                           format_bytes(bearer_.daily_bytes), bearer_.name, format_bytes(left_.day), storage::to_string(class_), format_duration(until));
      }, s_.now + until);
    }
    d_.wire_left = left_.least();
  }

  // What the owner would rather not, but may after enough patience.
  void preferences() {
    const bool alarm = class_ == OutboxClass::alarm;
    require(Gate::rule_wait, said_.then.send != Send::wait || (spared_ && !forced_), [&] {
      return said_.then.send == Send::wait ? fmt::format("rule '{}' says: wait{}", said_.send_rule, patience_text()) : "no rule makes it wait";
    });
    if (bearer_.settle > Duration::zero() && !alarm && !forced_) {
      const SteadyTime settled = state_.link.stable_since + bearer_.settle;
      require(Gate::settle, s_.now >= settled, [&] {
        return s_.now >= settled ? std::string("the link is settled") : fmt::format("the link changed: settled in {}", format_duration(settled - s_.now));
      }, settled);
    }
    const bool cheap_now = window_.window != nullptr;
    const std::optional<bool> metered = internal::metered_of(bearer_, state_.link);
    if (!rule_.metered) {
      require(Gate::metered, !metered.value_or(false) || cheap_now || spared_, [&] {
        return fmt::format("{} goes over unmetered links only{}; {} is metered: {}", storage::to_string(class_), patience_text(), bearer_.name,
                           metered ? yes_no(*metered) : "not known");
      });
    }
    if (!rule_.constrained) {
      const auto constrained = state_.link.constrained;
      require(Gate::constrained, !constrained.value_or(false) || spared_, [&] {
        return fmt::format("{} goes over unconstrained links only{}; {} is constrained: {}", storage::to_string(class_), patience_text(), bearer_.name,
                           constrained ? yes_no(*constrained) : "not known");
      });
    }
    if (rule_.price_max < kNoLimit) {
      require(Gate::price, price() <= rule_.price_max || spared_, [&] {
        return fmt::format("a MB costs {:g} on {}{}, {} goes up to {:g}{}", price(), bearer_.name, state_.link.roaming.value_or(false) ? " (roaming)" : "",
                           storage::to_string(class_), rule_.price_max, patience_text());
      }, window_.next_open ? std::optional(s_.now + *window_.next_open) : std::nullopt);
    }
    if (rule_.windows_only) {
      require(Gate::window, cheap_now || spared_, [&] { return window_text(); },
              window_.next_open ? std::optional(s_.now + *window_.next_open) : std::nullopt);
    }
    if (left_.pace != UINT64_MAX && rule_.paced && !alarm && !forced_ && !cheap_now) {
      const Duration until = left_.pace >= need_ ? Duration::zero()
                                                 : until_paced(left_, state_.use, slack_of(bearer_, class_), need_, s_.wall_ns);
      require(Gate::pace, left_.pace >= need_, [&] {
        return left_.pace >= need_ ? fmt::format("the month's pace leaves {}", format_bytes(left_.pace))
                                   : fmt::format("{} used on {}: the month's pace leaves room for the next {} in {}", format_bytes(state_.use.month_bytes),
                                                 bearer_.name, format_bytes(need_), format_duration(until));
      }, s_.now + until);
    } else {
      d_.wire_left = std::min(left_.month, left_.day);
    }
  }

  void device() {
    if (rule_.battery_min > 0 && !forced_) {
      const bool enough = s_.on_mains.value_or(false) || s_.battery.value_or(100) >= rule_.battery_min;
      require(Gate::battery, enough, [&] {
        return fmt::format("battery at {}, {} needs {:g} % or mains", s_.battery ? fmt::format("{:.0f} %", *s_.battery) : "no known charge",
                           storage::to_string(class_), rule_.battery_min);
      });
    }
    if (rule_.temperature_max < kNoLimit && !forced_) {
      const bool cool = s_.temperature.value_or(-kNoLimit) <= rule_.temperature_max;
      require(Gate::temperature, cool, [&] {
        return fmt::format("the device has {}, {} goes up to {:g} °C", s_.temperature ? fmt::format("{:.0f} °C", *s_.temperature) : "no known temperature",
                           storage::to_string(class_), rule_.temperature_max);
      });
    }
  }

  void rates() {
    if (const uint64_t rate = rate_max(); rate > 0) {
      const ClassHistory& history = s_.history[index_of(class_)];
      SteadyTime due = s_.now;
      if (history.sent_at) due = *history.sent_at + Duration(static_cast<int64_t>(1e9 * static_cast<double>(history.sent_bytes) / static_cast<double>(rate)));
      require(Gate::rate, s_.now >= due, [&] {
        return s_.now >= due ? fmt::format("within {}/s", format_bytes(rate)) : fmt::format("{}/s for {}: next in {}", format_bytes(rate),
                                                                                           storage::to_string(class_), format_duration(due - s_.now));
      }, due);
    }
    if (s_.token_rate == 0) return;
    const double short_of = tokens_needed(s_, waiting_.bytes) - s_.tokens;
    const bool enough = short_of <= 0 && s_.tokens > 0;
    const double seconds = std::max(short_of, 1.0) / static_cast<double>(s_.token_rate);
    require(Gate::tokens, enough, [&] {
      return enough ? fmt::format("within the rate cap {}/s", format_bytes(s_.token_rate))
                    : fmt::format("rate cap {}/s: {:.1f} s until the next batch", format_bytes(s_.token_rate), seconds);
    }, s_.now + Duration(static_cast<int64_t>(seconds * 1e9) + 1));
  }

  // As much on its way as the link carries in batch_time, and alarms beside it: so nothing waits long behind what was sent.
  void room() {
    if (class_ == OutboxClass::alarm) {
      require(Gate::flights, state_.urgent_flights < kUrgentFlightsMax, [&] { return fmt::format("{} batches of alarms on their way, up to {}", state_.urgent_flights, kUrgentFlightsMax); });
      return;
    }
    const bool fits = state_.flights == 0 || (state_.flights < kFlightsMax && state_.on_the_way + std::min(d_.bytes_max, waiting_.bytes) / 2 <= window());
    require(Gate::flights, fits, [&] {
      return fmt::format("{} on their way in {} batches, {} carries {} at a time", format_bytes(state_.on_the_way), state_.flights, bearer_.name, format_bytes(window()));
    });
  }

  // Little waits for more, unless the radio is awake anyway.
  void company() {
    Duration linger = said_.then.linger.value_or(rule_.linger);
    if (rule_.deadline > Duration::zero()) linger = std::min(linger, rule_.deadline / 2);
    if (forced_ || linger == Duration::zero()) return;
    const bool full = waiting_.bytes >= d_.bytes_max;
    const bool awake = bearer_.tail > Duration::zero() && state_.woken_at && s_.now - *state_.woken_at < bearer_.tail;
    const bool waited = waiting_.age >= linger;
    d_.rides = awake && !full && !waited;
    require(Gate::linger, full || awake || waited, [&] {
      if (full) return std::string("a whole batch waits");
      if (waited) return fmt::format("waited {} for company", format_duration(waiting_.age));
      if (awake) return fmt::format("rides while the radio of {} is awake", bearer_.name);
      return fmt::format("{} of a batch of {}: waits for company, at most {} more", format_bytes(waiting_.bytes), format_bytes(d_.bytes_max),
                         format_duration(linger - waiting_.age));
    }, s_.now + (linger - waiting_.age));
  }

  ClassDecision finish() {
    d_.send = !failed_;
    if (!d_.send) {
      d_.never = d_.blocked_by == Gate::slice || d_.blocked_by == Gate::rule_never;
      if (!unknown_) d_.not_before = latest_;
      return std::move(d_);
    }
    const uint64_t fits = payload_within(d_.wire_left);
    d_.bytes_max = std::max<uint64_t>(1, std::min(d_.bytes_max, fits));
    d_.compression = said_.then.compression.value_or(compression());
    d_.reason = fmt::format("{} waiting in {} entries{}", format_bytes(status_.bytes), status_.entries, d_.rides ? ", rides while the radio is awake" : "");
    return std::move(d_);
  }

  uint64_t portion() const {
    uint64_t bytes = std::min(s_.batch_bytes_max, said_.then.batch_max.value_or(UINT64_MAX));
    if (state_.window > 0) bytes = std::min(bytes, std::max(kPieceBytesMin, piece_of(state_.window)));
    if (state_.link.goodput_low > 0) {
      const double carried = state_.link.goodput_low * std::chrono::duration<double>(policy_.batch_time).count();
      bytes = std::min(bytes, std::max<uint64_t>(kPieceBytesMin, static_cast<uint64_t>(std::min(carried, 1e15))));
    }
    if (s_.tokens < static_cast<double>(bytes)) bytes = static_cast<uint64_t>(std::max(1.0, s_.tokens));
    return std::max<uint64_t>(bytes, 1);
  }

  // A window goes in several batches, so that the link does not idle while an answer is on its way; where bytes cost, in as few as possible.
  uint64_t piece_of(uint64_t window) const { return costs() || window <= kPieceBytes ? window : std::max(kPieceBytes, window / kPiecesPerWindow); }

  uint64_t window() const { return state_.window > 0 ? std::max(kPieceBytesMin, state_.window) : s_.batch_bytes_max; }

  bool costs() const { return price() > 0 || internal::metered_of(bearer_, state_.link).value_or(false) || bearer_.monthly_bytes > 0; }

  int compression() const {
    const double goodput = state_.link.goodput;
    if (costs() || (goodput > 0 && goodput < kSlowLink)) return s_.cpu_idle.value_or(1) > kBusyCpu ? 9 : 3;
    return goodput > kFastLink ? 1 : 3;
  }

  double price() const {
    if (window_.window != nullptr) return window_.window->price_per_mb;
    return bearer_.price_per_mb * (state_.link.roaming.value_or(false) ? bearer_.roaming_factor : 1);
  }

  uint64_t rate_max() const {
    const uint64_t by_rule = said_.then.rate_max.value_or(0), by_window = window_.window != nullptr ? window_.window->rate_max : 0;
    return by_rule == 0 || by_window == 0 ? std::max(by_rule, by_window) : std::min(by_rule, by_window);
  }

  std::string patience_text() const {
    if (rule_.patience == Duration::zero()) return "";
    return waiting_.age < rule_.patience ? fmt::format(" (any way in {})", format_duration(rule_.patience - waiting_.age)) : " (it has waited enough)";
  }

  std::string window_text() const {
    if (window_.window != nullptr) return fmt::format("window '{}' is open for {}", window_.window->name, format_duration(*window_.closes_in));
    const std::string again = window_.next_open ? fmt::format("the next opens in {}", format_duration(*window_.next_open)) : "none is configured";
    if (!window_.revoked.empty()) return fmt::format("window '{}' was revoked: {}{}", window_.revoked, again, patience_text());
    return fmt::format("goes in transfer windows only: {}{}", again, patience_text());
  }

  const Policy& policy_;
  const Situation& s_;
  const OutboxClass class_;
  const ClassPolicy& rule_;
  const BearerPolicy& bearer_;
  const BearerSituation& state_;
  const storage::OutboxStatus status_;  // less what is on its way
  const Explain explain_;
  Waiting waiting_;
  OpenWindow window_;
  Said said_;
  Left left_;
  uint64_t need_ = 0;
  bool forced_ = false, spared_ = false, failed_ = false, unknown_ = false;
  SteadyTime latest_{};
  ClassDecision d_;
};

// Sooner is better; what time alone does not change comes last, what never goes behind it.
bool better(const ClassDecision& a, const ClassDecision& b) {
  if (a.never != b.never) return b.never;
  if (a.not_before.has_value() != b.not_before.has_value()) return a.not_before.has_value();
  return a.not_before && *a.not_before < *b.not_before;
}

ClassDecision decide_class(const Policy& policy, const Situation& s, OutboxClass c, const storage::OutboxStatus& status, Explain explain) {
  std::optional<ClassDecision> best;
  std::vector<Condition> conditions;
  for (size_t bearer = 0; bearer < policy.bearers.size(); ++bearer) {
    ClassDecision d = Judge(policy, s, c, bearer, status, explain).judge();
    for (Condition& condition : d.conditions) {
      if (bearer == 0 || !condition.bearer.empty()) conditions.push_back(std::move(condition));
    }
    const bool taken = !best || (!best->send && (d.send || better(d, *best)));
    if (taken) best = std::move(d);
    if (best->send && explain == Explain::no) break;
  }
  best->conditions = std::move(conditions);
  return *std::move(best);
}

bool overdue(const Policy& policy, const Situation& s, const ClassDecision& d) {
  return d.send && d.outbox_class != OutboxClass::alarm && s.now - s.history[index_of(d.outbox_class)].turn_at >= policy.turn;
}

// A class that had no turn for long goes next, behind alarms; the others keep their order.
void give_turns(const Policy& policy, const Situation& s, std::vector<ClassDecision>& decisions) {
  auto begin = decisions.begin();
  while (begin != decisions.end() && begin->outbox_class == OutboxClass::alarm) ++begin;
  std::stable_partition(begin, decisions.end(), [&](const ClassDecision& d) { return overdue(policy, s, d); });
}

}  // namespace

const char* to_string(Gate gate) {
  static constexpr const char* kNames[] = {"enabled", "waiting",     "held",   "slice",   "rule_never", "link",  "reachable",
                                           "budget_month", "budget_day", "rule_wait", "settle", "metered", "constrained", "price",
                                           "window", "pace", "battery", "temperature", "rate", "tokens", "flights", "linger"};
  return kNames[static_cast<size_t>(gate)];
}

std::vector<ClassDecision> decide(const Policy& policy, const Situation& situation, Explain explain) {
  SKERRY_CHECK(!policy.bearers.empty() && situation.bearers.size() == policy.bearers.size(), "a situation has the policy's bearers");
  std::vector<ClassDecision> decisions;
  for (OutboxClass c : storage::kOutboxClasses) {
    auto status = std::find_if(situation.backlog.begin(), situation.backlog.end(), [&](const auto& s) { return s.outbox_class == c; });
    const storage::OutboxStatus none{.outbox_class = c};
    decisions.push_back(decide_class(policy, situation, c, status == situation.backlog.end() ? none : *status, explain));
  }
  give_turns(policy, situation, decisions);
  const ClassDecision* first = nullptr;
  for (ClassDecision& d : decisions) {
    if (!d.send) continue;
    if (first != nullptr) d.reason += fmt::format(", after {}", storage::to_string(first->outbox_class));
    if (first == nullptr) first = &d;
  }
  return decisions;
}

HelloDecision decide_hello(const Policy& policy, const Situation& s) {
  HelloDecision decision;
  if (!s.enabled || s.held) return decision;
  auto waits = [&](OutboxClass c) {
    return std::any_of(s.backlog.begin(), s.backlog.end(), [&](const auto& b) { return b.outbox_class == c && b.last_seq > b.acked_seq; });
  };
  const bool alarm = waits(OutboxClass::alarm);
  const bool any = std::any_of(std::begin(storage::kOutboxClasses), std::end(storage::kOutboxClasses), waits);
  for (size_t i = 0; i < policy.bearers.size(); ++i) {
    const BearerPolicy& bearer = policy.bearers[i];
    const BearerSituation& state = s.bearers[i];
    const bool useful = !any || bearer.classes.empty() || std::any_of(bearer.classes.begin(), bearer.classes.end(), waits);
    const Left left = left_of(bearer, state.use, alarm ? OutboxClass::alarm : OutboxClass::telemetry, s.wall_ns);
    if (!useful || !state.link.up || std::min(left.month, left.day) < kHelloBytes) continue;
    if (state.online || s.now >= state.retry_at) return {true, i, s.now};
    decision.not_before = std::min(decision.not_before.value_or(SteadyTime::max()), state.retry_at);
  }
  return decision;
}

}  // namespace skerry::sync
