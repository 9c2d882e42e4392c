// The real store, sync and policy, and a real hub's receiver in memory, over a link that a scenario describes, in simulated time: a month in seconds.
// Threads: one per run.
// Owns: a folder of its own for the store, removed at the end.
// On failure: the store's or the hub's error; what goes wrong within the scenario is part of the report.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "node/simulate/scenario.h"
#include "node/simulate/trace.h"
#include "sync/budget.h"

namespace skerry::simulate {

struct Options {
  uint64_t seed = 1;
  std::vector<TraceStep> trace;   // instead of the scenario's
  size_t points = 400;            // of each curve
};

struct ClassReport {
  uint64_t queued = 0, delivered = 0, waiting = 0;  // records of telemetry, entries of everything else
  double p50_seconds = 0, p90_seconds = 0, p99_seconds = 0, max_seconds = 0;  // from being queued to being at the hub
};

// The same of one load. `floor`: as if everything were at the hub the moment that there is a link, which no sender beats.
struct LoadReport {
  double p50_seconds = 0, p99_seconds = 0, floor_p99_seconds = 0;
};

struct BearerReport {
  sync::BearerUse use;
  uint64_t worst_month_bytes = 0, worst_day_bytes = 0;
  uint64_t monthly_bytes = 0, daily_bytes = 0;      // budgets
};

struct Point {
  double days = 0;
  bool up = true;
  std::map<storage::OutboxClass, uint64_t> backlog_bytes;
  std::map<storage::OutboxClass, double> age_seconds;  // of the oldest that waits
  std::map<std::string, uint64_t> month_bytes;         // by bearer
};

struct Report {
  std::string scenario;
  double days = 0, took_seconds = 0;
  uint64_t records = 0;
  std::map<storage::OutboxClass, ClassReport> classes;
  std::map<std::string, LoadReport> loads;  // by name; of those that are no telemetry
  std::map<std::string, BearerReport> bearers;
  uint64_t lost = 0, duplicates = 0, refused = 0, dropped = 0, wire_bytes = 0, backlog_max = 0;
  uint64_t exchanges = 0, failures = 0, repeated = 0, epochs = 0, reboots = 0;
  double cost = 0;
  std::vector<Point> points;
  std::vector<std::string> broken;  // what was expected and did not come true
};

Result<Report> run(const config::Config& config, const Scenario& scenario, const Options& options);

std::string to_text(const Report& report);
std::string to_text(const Report& a, const std::string& name_a, const Report& b, const std::string& name_b);  // side by side
std::string to_json(const Report& report);
std::string to_svg(const std::vector<std::pair<std::string, const Report*>>& reports);

}  // namespace skerry::simulate
