// A client that asks for answers all the time, at a fixed rate, on a thread of its own: what it saw of a swap, of a training, of a crash.
// A request's latency counts from when it was due, so a stall is not hidden by the requests that it delayed.
// Threads: start, stop and the counters from one owner.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "learning/job.h"

namespace skerry::e2e {

struct VersionScore {
  uint64_t asked = 0, correct = 0;
};

struct Visit {                       // since the last take()
  uint64_t requests = 0, failures = 0;
  std::string first_failure;
  std::map<uint32_t, VersionScore> versions;
  std::vector<double> latencies_ms;
  double percentile(double p) const; // of latencies_ms; 0 when there are none
};

class Visitor {
 public:
  // Asks `url` about windows of `set` in turn. per_second 0: without a pause.
  Visitor(std::string url, std::string model, const learning::ExampleSet& set, double per_second);
  ~Visitor() { stop(); }
  void stop();
  Visit take();

 private:
  void run();

  const std::string url_, model_;
  const double per_second_;
  std::vector<std::string> bodies_;
  std::vector<int32_t> labels_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards visit_
  Visit visit_;
  std::thread thread_;
};

}  // namespace skerry::e2e
