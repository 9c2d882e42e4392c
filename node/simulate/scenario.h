// A scenario of `skerry simulate` as data: what the node produces, how its link behaves, what goes wrong when, and what must hold at the end.
// config/ reads it from TOML; run() in simulate.h plays it.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/types.h"
#include "sync/link.h"

namespace skerry::simulate {

// Something that the node queues regularly. Telemetry: records of a stream; everything else: entries of `bytes` random bytes.
struct Load {
  std::string name = "sensor";  // of the stream
  storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
  Duration interval = std::chrono::seconds(1);  // between two records or entries; with `random` their mean
  uint32_t batch = 10;          // records that are handed over together
  uint32_t fields = 3;
  uint64_t bytes = 200;
  bool random = false;
};

struct LinkShape {              // of the uplink when nothing else is said
  sync::Technology technology = sync::Technology::lte;
  uint64_t rate = 625'000;      // bytes per second
  Duration rtt = std::chrono::milliseconds(60);
  double loss = 0;              // share of exchanges of which nothing is heard
  double packet_loss = 0;       // share of packets, which TCP sends again (tcp.h)
  bool roaming = false;
};

enum class EventKind : uint8_t { outage, radio, lost_acks, slow_hub, hub_errors, disk_full, clock_jump, reboot, revoke_window, battery };

struct Event {
  EventKind kind = EventKind::outage;
  Duration at{0};               // after the begin
  Duration length{0};
  Duration every{0};            // again and again; zero: once
  double chance = 1;            // that it happens at all, each time
  bool visible = false;         // outage: the system sees that the carrier is gone
  std::string bearer;           // outage, radio: empty: all
  LinkShape link;               // radio
  Duration delay = std::chrono::seconds(5);  // slow_hub: of each answer
  Duration jump{0};             // clock_jump: of the wall clock
  std::string window;           // revoke_window
  double percent = 10;          // battery
};

struct ExpectClass {
  std::optional<Duration> freshness_p50_max, freshness_p99_max;  // from being queued to being at the hub
  std::optional<double> delivered_min;                           // share
};

struct Expect {
  std::optional<uint64_t> lost_max = 0;         // records or entries that the node took and neither it nor the hub has
  std::optional<uint64_t> duplicates_max = 0;   // that the hub took twice
  std::optional<uint64_t> refused_max;          // that the node did not take
  std::optional<bool> budget_kept = true;       // no bearer over its budget in any month or day
  std::optional<uint64_t> bytes_max, backlog_max;
  std::optional<double> cost_max;
  std::map<storage::OutboxClass, ExpectClass> classes;
};

struct Scenario {
  std::string name = "scenario";
  int64_t start_ns = 1'767'225'600'000'000'000;  // 2026-01-01
  Duration length = std::chrono::hours(24 * 30);
  LinkShape link;
  std::string trace;            // a file with a link trace, or "driving"; empty: none
  std::vector<Load> loads;
  std::vector<Event> events;
  Expect expect;
};

}  // namespace skerry::simulate
