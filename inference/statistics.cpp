#include "inference/statistics.h"

#include <algorithm>

namespace skerry::inference {
namespace {

// Of the past against the newest run: what took longer was mostly the machine's other work, and counts less.
constexpr int64_t kWeightSlower = 32, kWeightFaster = 4;

uint64_t ns(Duration duration) { return static_cast<uint64_t>(std::max<int64_t>(0, duration.count())); }

}  // namespace

void Counters::count_run(uint32_t rows, const RunTimes& times, int64_t now_ns) {
  const int64_t row = times.sum().count() / std::max<uint32_t>(rows, 1), before = row_ns_.load(std::memory_order_relaxed);
  row_ns_.store(before == 0 ? row : before + (row - before) / (row > before ? kWeightSlower : kWeightFaster), std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  statistics_.executions += 1;
  statistics_.rows += rows;
  statistics_.compute_ns += ns(times.sum());
  statistics_.last_ns = now_ns;
  BatchStatistics& batch = statistics_.batches[rows];
  batch.executions += 1;
  batch.input_ns += ns(times.input);
  batch.infer_ns += ns(times.infer);
  batch.output_ns += ns(times.output);
}

void Counters::count_answer(Duration since_arrival, Duration queued, const RunTimes& times) {
  std::lock_guard lock(mutex_);
  statistics_.requests += 1;
  statistics_.request_ns += ns(since_arrival);
  statistics_.queue_ns += ns(queued);
  statistics_.input_ns += ns(times.input);
  statistics_.infer_ns += ns(times.infer);
  statistics_.output_ns += ns(times.output);
}

void Counters::count_failure(Outcome outcome, Duration since_arrival) {
  std::lock_guard lock(mutex_);
  statistics_.requests += 1;
  statistics_.failures += 1;
  statistics_.failed_ns += ns(since_arrival);
  if (outcome == Outcome::rejected) statistics_.rejected += 1;
  if (outcome == Outcome::cancelled) statistics_.cancelled += 1;
  if (outcome == Outcome::model_failed) statistics_.model_failures += 1;
}

EngineStatistics Counters::get() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace skerry::inference
