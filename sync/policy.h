// The policy's decisions: what may go now, per class, over which bearer and in which portions, and why not for the rest. A pure function of
// policy, link snapshot, backlog, budgets and time: it can be tried, simulated and explained.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/types.h"
#include "sync/budget.h"
#include "sync/options.h"
#include "sync/policy_options.h"

namespace skerry::sync {

struct BearerSituation {              // of the policy's bearers, in their order
  LinkFacts link;
  bool online = false;                // the last exchange with the hub over it succeeded
  SteadyTime retry_at{};              // while offline: the next probe
  BearerUse use;
  std::optional<SteadyTime> woken_at; // the radio was last woken by an exchange that did not ride
  uint64_t window = 0;                // payload that may be on its way at once, as the rate control found; 0: not known
  uint64_t on_the_way = 0;            // payload that is
  uint32_t flights = 0, urgent_flights = 0;  // batches on their way: of all classes but alarms, of alarms
};

// What of a class was sent and is not answered yet: it waits in the outbox and must not go again.
struct OnTheWay {
  uint64_t last_seq = 0, bytes = 0, entries = 0;
  int64_t queued_ns = 0;              // of the last of it
};

struct ClassHistory {
  SteadyTime turn_at{};               // something of it went last, or it began to wait
  std::optional<SteadyTime> sent_at;
  uint64_t sent_bytes = 0;            // then
};

struct Situation {
  bool enabled = true;
  bool held = false;                  // somebody said "do not send" (skerry sync hold)
  SteadyTime now{};
  int64_t wall_ns = 0;
  std::vector<BearerSituation> bearers;
  std::vector<storage::OutboxStatus> backlog;
  std::array<ClassHistory, std::size(storage::kOutboxClasses)> history;
  std::array<OnTheWay, std::size(storage::kOutboxClasses)> on_the_way;
  double tokens = kNoLimit;           // bytes left under the rate cap of the whole uplink
  uint64_t token_rate = 0;            // bytes per second that it grows by; 0: no cap
  uint64_t token_burst = 0;
  uint64_t batch_bytes_max = 256 << 10;
  std::optional<double> battery, temperature;  // percent, degrees Celsius
  std::optional<bool> on_mains;
  std::optional<double> cpu_idle;     // share
  std::set<std::string> revoked;      // windows that the network took back
};

// What must hold for a class to go over a bearer, in the order in which it is looked at.
enum class Gate : uint8_t {
  enabled, waiting, held, slice, rule_never, link, reachable, budget_month, budget_day, rule_wait, settle, metered, constrained, price, window,
  pace, battery, temperature, rate, tokens, flights, linger
};
const char* to_string(Gate gate);

struct Condition {
  Gate gate = Gate::enabled;
  bool holds = false;
  std::string bearer;                 // empty: of the class, whatever the bearer
  std::string text;                   // how it is, and what it would have to be
};

struct ClassDecision {
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  bool send = false;
  bool never = false;                 // not over any bearer there is
  std::optional<SteadyTime> not_before;  // when it may change by time alone; not known: when something else changes
  size_t bearer = 0;                  // index; where it goes, or would go first
  uint64_t bytes_max = 0;             // of a batch, before compression
  uint64_t wire_left = 0;             // what budgets allow on the wire, at least one byte when `send`
  int compression = 3;                // level of zstd
  bool rides = false;                 // in the tail of somebody else's exchange
  Gate blocked_by = Gate::waiting;    // unless `send`
  std::string reason;
  std::vector<Condition> conditions;  // only when asked to explain
};

// Whether and where a HELLO may go.
struct HelloDecision {
  bool send = false;
  size_t bearer = 0;
  std::optional<SteadyTime> not_before;
};

enum class Explain : uint8_t { no, yes };

// In sending order. Classes with nothing waiting say so.
std::vector<ClassDecision> decide(const Policy& policy, const Situation& situation, Explain explain = Explain::no);
// When the hub has to be asked for its watermarks: over the first bearer that may carry any class that waits, or any at all.
HelloDecision decide_hello(const Policy& policy, const Situation& situation);

}  // namespace skerry::sync
