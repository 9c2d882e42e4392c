// What one version of a model has done since start: requests by how they ended, and where their time went. The parts are those of the Open
// Inference Protocol's statistics extension.
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>

#include "base/clock.h"
#include "base/result.h"

namespace skerry::inference {

// How a request ended, by the names of Triton's metric nv_inference_request_failure.
enum class Outcome : uint8_t { answered, rejected, cancelled, model_failed, other };

struct BatchStatistics {  // of runs with one number of rows
  uint64_t executions = 0, input_ns = 0, infer_ns = 0, output_ns = 0;
};

struct EngineStatistics {
  uint64_t requests = 0, failures = 0;                      // failures are among the requests
  uint64_t rejected = 0, cancelled = 0, model_failures = 0;  // are among the failures
  uint64_t rows = 0, executions = 0;                        // answered rows, runs of the model
  uint64_t compute_ns = 0;                                  // of all runs
  uint64_t failed_ns = 0;                                   // of failed requests, from their arrival
  uint64_t request_ns = 0, queue_ns = 0, input_ns = 0, infer_ns = 0, output_ns = 0;  // of answered requests
  int64_t last_ns = 0;
  std::map<uint32_t, BatchStatistics> batches;  // by rows
};

// One run of the model, shared by all requests that were answered together.
struct RunTimes {
  Duration input{}, infer{}, output{};
  Duration sum() const { return input + infer + output; }
};

// Of a run that failed: what the caller sent, or the model.
inline Outcome outcome_of(const Error& error) { return error.code == Code::invalid ? Outcome::other : Outcome::model_failed; }

class Counters {
 public:
  void count_run(uint32_t rows, const RunTimes& times, int64_t now_ns);
  void count_answer(Duration since_arrival, Duration queued, const RunTimes& times);
  void count_failure(Outcome outcome, Duration since_arrival);
  EngineStatistics get() const;
  // Of the last runs, weighted towards the newest: what a row will probably take.
  void expect_row(Duration row) { row_ns_.store(row.count(), std::memory_order_relaxed); }  // what the warm-up took
  Duration row_estimate() const { return Duration(row_ns_.load(std::memory_order_relaxed)); }

 private:
  std::atomic<int64_t> row_ns_{0};
  mutable std::mutex mutex_;
  EngineStatistics statistics_;  // guarded by mutex_
};

}  // namespace skerry::inference
