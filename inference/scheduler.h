// The queues in front of the engine, one per model: bounded, by priority, with a deadline per request. A request that meets an idle model
// runs at once on its caller's thread; only when all instances of the model are busy it waits, and what waits together may be answered
// together (dynamic batching), row for row as if each had come alone. A request is answered by the version that it met on arrival.
// Threads: all functions from any thread. Starts none: run_once() and expire() are called by the owner's loops.
// On failure: a full queue refuses (unavailable: try again), as does a deadline that passes before the answer is there. One request of a
// batch that the model can't answer does not touch the others.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "inference/engine.h"

namespace skerry::inference {

inline constexpr uint32_t kPriorityDefault = 100;  // 1 is the highest, 0 means this one

struct Job {
  std::string model;
  std::optional<uint32_t> version;  // none: the serving one
  std::vector<Tensor> inputs;
  uint32_t priority = 0;
  std::optional<Duration> timeout;  // from its arrival; none: the option's
};

class Scheduler {
 public:
  using Done = std::function<void(Result<Answer>)>;
  enum class Caller { may_block, must_not_block };  // the second runs only what will probably take well under a millisecond

  Scheduler(Engine& engine, const QueueOptions& options, const Clock& clock);

  // `done` is called once, before this returns or later from whichever thread answers; never with a lock held.
  void submit(Job job, Caller caller, Done done);
  // Waits for the answer, and answers others meanwhile when no loop does.
  Result<Answer> infer(Job job);

  // Answers one batch that waits. Zero: call again at once; else the longest time until something may be due.
  Duration run_once();
  // Refuses what is past its deadline. Returns when to look again.
  Duration expire();
  // Called after something has begun to wait, so that loops need not poll. Set before the first request.
  void on_waiting(std::function<void()> listener) { listener_ = std::move(listener); }
  // From now on every request is refused, first those that wait.
  void stop();

  size_t waiting(const std::string& model) const;

 private:
  struct Entry {
    std::string name;
    Engine::Version version;
    std::vector<Tensor> inputs;
    std::vector<Tensor> kept;  // the inputs once more, when a version on trial was picked: should it fail, the serving one answers
    SteadyTime arrived, deadline;
    Done done;
    uint32_t rows() const { return static_cast<uint32_t>(inputs[0].shape[0]); }
  };
  using Order = std::pair<uint32_t, uint64_t>;  // priority, number of arrival
  using Batch = std::vector<Entry>;
  struct Queue {
    std::map<Order, Entry> entries;
    uint32_t running = 0;
  };

  bool starts_at_once(Queue& queue, const Entry& entry, Caller caller) const;
  void enqueue(Queue& queue, Entry entry, uint32_t priority, Batch& refused);
  std::optional<Duration> due_in(const Queue& queue, SteadyTime now) const;
  Batch take(Queue& queue);
  bool run_due(Duration& next);
  void run(Batch batch);
  void run_alone(Entry entry);
  void finish(const std::string& model);
  void answer(Entry& entry, RunTimes times, SteadyTime begin, Result<std::vector<Tensor>> outputs);
  bool refused_as_late(Entry& entry, SteadyTime now);
  void refuse(Entry& entry, std::string reason);
  void ask_serving(Entry& entry, RunTimes& times, Result<std::vector<Tensor>>& outputs);

  Engine& engine_;
  const QueueOptions options_;
  const Clock& clock_;
  std::function<void()> listener_;
  mutable std::mutex mutex_;             // guards what follows
  std::condition_variable changed_;      // something ended or began to wait: for infer()
  std::map<std::string, Queue> queues_;  // of models that were loaded when a request came
  std::string last_;                     // whose turn it was
  uint64_t arrivals_ = 0;
  bool stopped_ = false;
};

}  // namespace skerry::inference
