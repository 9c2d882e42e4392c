// Options of learning; config/ fills them from [learning]. What concerns one model (thresholds, epochs) is in its package.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/clock.h"

namespace skerry::learning {

struct Options {
  bool enabled = true;
  std::filesystem::path jobs = "var/jobs";
  std::filesystem::path worker;                              // skerry-worker; empty: beside the program
  Duration check_interval = std::chrono::seconds(5);
  Duration job_time_max = std::chrono::minutes(30);
  uint64_t job_memory_bytes_max = 2ULL << 30;                // address space is not limited, resident memory is watched
  uint32_t jobs_kept = 5;                                    // finished job folders; older ones are removed
  // idle, with hysteresis: training may start below, and is paused above
  double idle_cpu_below = 0.60, busy_cpu_above = 0.85;       // share of all cores used by others than worker and daemon
  double idle_requests_below = 200, busy_requests_above = 500;  // inferences per second
  double idle_celsius_below = 70, busy_celsius_above = 80;   // of the warmest zone that the system knows
  bool on_battery = false;                                   // train without mains as well
  uint64_t memory_available_min = 256 << 20;                 // below it training does not start, below half of it it is paused
  Duration idle_for = std::chrono::seconds(10);              // must have been idle this long
  // Which labelled windows are held out for the gate: whole stretches of time, never random windows of one recording.
  Duration holdout_stretch = std::chrono::seconds(30);
  double holdout_share = 0.25;
  // Sources of labels, the most trusted first, with commas between; all others are trusted less than these, and alike. Of labels that conflict the
  // more trusted counts, of equally trusted ones the newer.
  std::string trusted_sources;
};

}  // namespace skerry::learning
