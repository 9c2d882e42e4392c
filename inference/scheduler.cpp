#include "inference/scheduler.h"

#include <algorithm>
#include <chrono>

namespace skerry::inference {
namespace {

constexpr Duration kQuick = std::chrono::microseconds(500);  // a thread that moves bytes may be kept for so long
constexpr Duration kTimeoutMax = std::chrono::hours(1);
constexpr Duration kLookAgain = std::chrono::milliseconds(50);  // of a caller that waits
constexpr Duration kNothing = std::chrono::seconds(1);

// The rows of all, one after the other, as one request.
std::vector<Tensor> joined(std::vector<std::vector<Tensor>*> parts) {
  std::vector<Tensor> out = std::move(*parts.front());
  for (size_t i = 0; i < out.size(); ++i) {
    for (size_t p = 1; p < parts.size(); ++p) {
      const Tensor& more = (*parts[p])[i];
      out[i].shape[0] += more.shape[0];
      out[i].data.insert(out[i].data.end(), more.data.begin(), more.data.end());
    }
  }
  return out;
}

std::vector<Tensor> rows_of(const std::vector<Tensor>& tensors, int64_t from, int64_t count) {
  std::vector<Tensor> out;
  for (const Tensor& all : tensors) {
    const auto row = all.data.size() / static_cast<size_t>(all.shape[0]);
    const auto begin = all.data.begin() + static_cast<ptrdiff_t>(row * static_cast<size_t>(from));
    Tensor& part = out.emplace_back(Tensor{all.name, all.type, all.shape, {}});
    part.shape[0] = count;
    part.data.assign(begin, begin + static_cast<ptrdiff_t>(row * static_cast<size_t>(count)));
  }
  return out;
}

int64_t milliseconds(Duration duration) { return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count(); }

}  // namespace

Scheduler::Scheduler(Engine& engine, const QueueOptions& options, const Clock& clock)
    : engine_(engine), options_(options), clock_(clock) {}

void Scheduler::submit(Job job, Caller caller, Done done) {
  auto version = engine_.pick(job.model, job.version);
  if (!version.ok()) return done(version.error());
  const SteadyTime now = clock_.steady();
  const Duration timeout = std::min(job.timeout.value_or(options_.timeout), kTimeoutMax);
  Entry entry{std::move(job.model), std::move(version).value(), std::move(job.inputs), now, now + timeout, std::move(done)};
  if (Status good = engine_.check(*entry.version.model, entry.inputs); !good.ok()) {
    entry.version.counters->count_failure(Outcome::other, clock_.steady() - now);
    return entry.done(good.error());
  }
  std::unique_lock lock(mutex_);
  if (stopped_) {
    lock.unlock();
    entry.version.counters->count_failure(Outcome::cancelled, Duration::zero());
    return entry.done(fail(Code::unavailable, "the node is stopping"));
  }
  Queue& queue = queues_[entry.name];
  if (starts_at_once(queue, entry, caller)) {
    queue.running += 1;
    lock.unlock();
    return run_alone(std::move(entry));
  }
  Batch refused;
  enqueue(queue, std::move(entry), job.priority == 0 ? kPriorityDefault : job.priority, refused);
  changed_.notify_all();
  lock.unlock();
  for (Entry& one : refused) refuse(one, fmt::format("{} requests wait for model '{}' already", options_.queue_max, one.name));
  if (listener_) listener_();
}

bool Scheduler::starts_at_once(Queue& queue, const Entry& entry, Caller caller) const {
  if (!queue.entries.empty() || queue.running >= options_.instances || options_.batch_delay > Duration::zero()) return false;
  return caller == Caller::may_block || entry.version.counters->row_estimate() * entry.rows() <= kQuick;
}

// A full queue gives up its last place for what is more urgent.
void Scheduler::enqueue(Queue& queue, Entry entry, uint32_t priority, Batch& refused) {
  const Order order{priority, ++arrivals_};
  if (queue.entries.size() >= options_.queue_max) {
    auto last = queue.entries.empty() ? queue.entries.end() : std::prev(queue.entries.end());
    if (last == queue.entries.end() || last->first < order) {
      refused.push_back(std::move(entry));
      return;
    }
    refused.push_back(std::move(last->second));
    queue.entries.erase(last);
  }
  queue.entries.emplace(order, std::move(entry));
}

Result<Answer> Scheduler::infer(Job job) {
  struct Wait {
    std::optional<Result<Answer>> answer;
  };
  auto wait = std::make_shared<Wait>();
  submit(std::move(job), Caller::may_block, [this, wait](Result<Answer> answer) {
    std::lock_guard lock(mutex_);
    wait->answer = std::move(answer);
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  while (!wait->answer) {
    lock.unlock();
    Duration next = std::min(kLookAgain, expire());
    const bool ran = run_due(next);
    lock.lock();
    if (!ran && !wait->answer) changed_.wait_for(lock, std::min(next, kLookAgain));
  }
  return std::move(*wait->answer);
}

Duration Scheduler::run_once() {
  Duration next = kNothing;
  return run_due(next) ? Duration::zero() : next;
}

// When the first of a queue may start; none while all instances are busy: whoever ends says so.
std::optional<Duration> Scheduler::due_in(const Queue& queue, SteadyTime now) const {
  if (queue.entries.empty() || queue.running >= options_.instances) return std::nullopt;
  if (options_.batch_delay == Duration::zero()) return Duration::zero();
  uint32_t rows = 0;
  SteadyTime oldest = SteadyTime::max();
  for (const auto& [order, entry] : queue.entries) {
    rows += entry.rows();
    oldest = std::min(oldest, entry.arrived);
    if (rows >= options_.together_max) return Duration::zero();
  }
  return std::max(Duration::zero(), oldest + options_.batch_delay - now);
}

// False: nothing was due, and `next` is at most the time until something is.
bool Scheduler::run_due(Duration& next) {
  std::unique_lock lock(mutex_);
  const SteadyTime now = clock_.steady();
  auto at = queues_.upper_bound(last_);
  for (size_t i = 0; i < queues_.size(); ++i, ++at) {
    if (at == queues_.end()) at = queues_.begin();
    const std::optional<Duration> due = due_in(at->second, now);
    if (due && *due > Duration::zero()) next = std::min(next, *due);
    if (!due || *due > Duration::zero()) continue;
    last_ = at->first;
    Batch batch = take(at->second);
    at->second.running += 1;
    lock.unlock();
    run(std::move(batch));
    return true;
  }
  return false;
}

// The first, and what may be answered together with it: the same version, in order, as long as the rows fit.
Scheduler::Batch Scheduler::take(Queue& queue) {
  Batch batch;
  uint32_t rows = 0;
  for (auto at = queue.entries.begin(); at != queue.entries.end();) {
    const bool fits = batch.empty() || (at->second.version.model == batch.front().version.model &&
                                        rows + at->second.rows() <= std::min(options_.together_max, engine_.options().batch_max));
    if (!fits) break;
    rows += at->second.rows();
    batch.push_back(std::move(at->second));
    at = queue.entries.erase(at);
  }
  return batch;
}

void Scheduler::run(Batch batch) {
  const std::string model = batch.front().name;
  const SteadyTime begin = clock_.steady();
  std::erase_if(batch, [&](Entry& entry) { return refused_as_late(entry, begin); });
  if (batch.empty()) return finish(model);
  if (batch.size() == 1) return run_alone(std::move(batch.front()));
  std::vector<std::vector<Tensor>> kept;  // to ask again, each alone, when they can't be answered together
  std::vector<std::vector<Tensor>*> parts;
  for (Entry& entry : batch) kept.push_back(entry.inputs);
  for (Entry& entry : batch) parts.push_back(&entry.inputs);
  std::vector<int64_t> rows;
  for (const Entry& entry : batch) rows.push_back(entry.inputs[0].shape[0]);
  RunTimes times;
  auto outputs = engine_.run(batch.front().version, joined(std::move(parts)), times);
  int64_t from = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (outputs.ok()) {
      answer(batch[i], times, begin, rows_of(*outputs, from, rows[i]));
    } else {
      RunTimes alone;
      const SteadyTime again = clock_.steady();
      answer(batch[i], alone, again, engine_.run(batch[i].version, std::move(kept[i]), alone));
    }
    from += rows[i];
  }
  finish(model);
}

void Scheduler::run_alone(Entry entry) {
  const SteadyTime begin = clock_.steady();
  const std::string model = entry.name;
  if (!refused_as_late(entry, begin)) {
    RunTimes times;
    auto outputs = engine_.run(entry.version, std::move(entry.inputs), times);
    answer(entry, times, begin, std::move(outputs));
  }
  finish(model);
}

void Scheduler::answer(Entry& entry, const RunTimes& times, SteadyTime begin, Result<std::vector<Tensor>> outputs) {
  const SteadyTime now = clock_.steady();
  if (!outputs.ok()) {
    entry.version.counters->count_failure(outcome_of(outputs.error()), now - entry.arrived);
    return entry.done(outputs.error());
  }
  if (now > entry.deadline) {
    return refuse(entry, fmt::format("its answer came {} ms after its time of {} ms", milliseconds(now - entry.deadline),
                                     milliseconds(entry.deadline - entry.arrived)));
  }
  entry.version.counters->count_answer(now - entry.arrived, begin - entry.arrived, times);
  entry.done(Answer{entry.name, entry.version.model->package.info.version, std::move(*outputs)});
}

bool Scheduler::refused_as_late(Entry& entry, SteadyTime now) {
  if (now <= entry.deadline) return false;
  refuse(entry, fmt::format("its time of {} ms was over before its turn came", milliseconds(entry.deadline - entry.arrived)));
  return true;
}

void Scheduler::refuse(Entry& entry, std::string reason) {
  entry.version.counters->count_failure(Outcome::rejected, clock_.steady() - entry.arrived);
  entry.done(fail(Code::unavailable, "the request to '{}' is refused: {}; try again later", entry.name, reason));
}

void Scheduler::finish(const std::string& model) {
  bool more;
  {
    std::lock_guard lock(mutex_);
    Queue& queue = queues_[model];
    queue.running -= 1;
    more = !queue.entries.empty();
    if (more) changed_.notify_all();
  }
  if (more && listener_) listener_();
}

Duration Scheduler::expire() {
  Batch over;
  Duration next = kNothing;
  {
    std::lock_guard lock(mutex_);
    const SteadyTime now = clock_.steady();
    for (auto& [name, queue] : queues_) {
      for (auto at = queue.entries.begin(); at != queue.entries.end();) {
        if (at->second.deadline >= now) {
          next = std::min(next, at->second.deadline - now + std::chrono::microseconds(1));
          ++at;
          continue;
        }
        over.push_back(std::move(at->second));
        at = queue.entries.erase(at);
      }
    }
  }
  for (Entry& entry : over) refused_as_late(entry, SteadyTime::max());
  return next;
}

void Scheduler::stop() {
  Batch all;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    for (auto& [name, queue] : queues_) {
      for (auto& [order, entry] : queue.entries) all.push_back(std::move(entry));
      queue.entries.clear();
    }
  }
  for (Entry& entry : all) {
    entry.version.counters->count_failure(Outcome::cancelled, clock_.steady() - entry.arrived);
    entry.done(fail(Code::unavailable, "the node is stopping"));
  }
}

size_t Scheduler::waiting(const std::string& model) const {
  std::lock_guard lock(mutex_);
  auto at = queues_.find(model);
  return at == queues_.end() ? 0 : at->second.entries.size();
}

}  // namespace skerry::inference
