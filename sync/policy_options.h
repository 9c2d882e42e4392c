// A policy as data: classes with deadlines and limits, bearers with prices and budgets, transfer windows, and ordered rules. config/ reads it
// from TOML ([sync] and its tables); decide() in policy.h gives it its meaning. The default lets everything go as soon as there is a link.
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/types.h"
#include "sync/link.h"

namespace skerry::sync {

inline constexpr double kNoLimit = std::numeric_limits<double>::infinity();

struct ClassPolicy {
  Duration deadline{0};         // an entry should be home by then; zero: none. Never waits for company longer than half of it
  Duration linger{0};           // little that waits does so for this long, or until a batch is full or the radio is awake anyway
  Duration patience{0};         // after waiting this long, metered, constrained, price_max and windows_only no longer hold it; zero: never
  double price_max = kNoLimit;  // per MB
  bool metered = true, constrained = true;  // whether it may go over such a link
  bool windows_only = false;    // only in a transfer window
  bool paced = true;            // spread over the month with the bearer's budget
  double battery_min = 0;       // percent, when not on mains
  double temperature_max = kNoLimit;  // degrees Celsius
};

struct BearerPolicy {
  std::string name = "default";
  std::string device;           // "wwan0"; empty: wherever the routes lead
  std::vector<storage::OutboxClass> classes;  // that may use it; empty: all
  uint32_t mark = 0;            // SO_MARK of its sockets, for routing rules; 0: none
  uint8_t dscp = 0;             // a hint to the network
  std::optional<Technology> technology;       // said here when nobody can find out
  std::optional<bool> metered;
  double price_per_mb = 0;
  double roaming_factor = 1;
  uint64_t monthly_bytes = 0, daily_bytes = 0;  // budgets; 0: none
  uint32_t reset_day = 1;       // of the month, when the monthly budget begins anew; at midnight UTC
  bool pace = true;             // the monthly budget is given out evenly
  double pace_slack = 0.07;     // share of the month that may be spent ahead
  double alarm_reserve = 0.05;  // share of each budget that only alarms may use
  Duration tail{0};             // the radio stays awake this long after an exchange: what goes then is nearly free
  Duration settle{0};           // after a change of the link all but alarms wait this long
  Duration probe_interval{0};   // HELLO when nothing is sent; zero: the one of sync
};

struct DayTimes {               // [from, to) in minutes of the day, UTC; over midnight when from > to
  uint32_t from_minute = 0, to_minute = 0;
  bool operator==(const DayTimes&) const = default;
};

// As 3GPP's background data transfer (TS 23.503 6.1.2.4): a time in which the network is cheap, until its owner revokes it.
struct TransferWindow {
  std::string name;
  DayTimes times;
  std::vector<uint32_t> days;   // 0: Sunday; empty: every day, by the day on which it begins
  std::vector<storage::OutboxClass> classes;  // empty: all
  double price_per_mb = 0;      // instead of the bearer's
  uint64_t rate_max = 0;        // bytes per second; 0: none
};

enum class Send : uint8_t { now, wait, never };

// All that is given must hold. What is not known of a link matches nothing.
struct RuleWhen {
  std::vector<storage::OutboxClass> classes;
  std::vector<Technology> links;
  std::vector<std::string> bearers;
  std::optional<bool> metered, constrained, roaming, in_window, on_mains;
  std::optional<uint64_t> goodput_below, goodput_above;  // bytes per second
  std::optional<uint64_t> backlog_above;                 // bytes of the class
  std::optional<double> rsrp_below, snr_below;           // dBm, dB
  std::optional<double> battery_below, temperature_above;
  std::optional<double> budget_left_below;               // share of the monthly budget
  std::optional<Duration> rtt_above, older_than, outage_above;
  std::optional<DayTimes> times;
};

// The first rule that matches and says something of a matter decides that matter; the rest falls through to the next.
struct RuleThen {
  std::optional<Send> send;     // now: nothing but budgets and rate caps holds it
  std::optional<uint64_t> rate_max, batch_max;
  std::optional<Duration> linger;
  std::optional<int> compression;
};

struct Rule {
  std::string name;             // appears in reasons
  RuleWhen when;
  RuleThen then;
};

struct Policy {
  std::string preset;           // that it is based on; empty: none
  std::array<ClassPolicy, std::size(storage::kOutboxClasses)> classes;  // in kOutboxClasses order
  std::vector<BearerPolicy> bearers = {BearerPolicy{}};  // the first that a class may use now is taken
  std::vector<TransferWindow> windows;
  std::vector<Rule> rules;
  Duration turn = std::chrono::minutes(10);   // a class of which nothing went for so long goes next, behind alarms only
  Duration batch_time = std::chrono::milliseconds(1500);  // a batch is what the link carries in this time
};

constexpr size_t index_of(storage::OutboxClass outbox_class) {  // in kOutboxClasses
  size_t i = 0;
  while (i + 1 < std::size(storage::kOutboxClasses) && storage::kOutboxClasses[i] != outbox_class) ++i;
  return i;
}
inline const ClassPolicy& of(const Policy& policy, storage::OutboxClass c) { return policy.classes[index_of(c)]; }
inline ClassPolicy& of(Policy& policy, storage::OutboxClass c) { return policy.classes[index_of(c)]; }

}  // namespace skerry::sync
