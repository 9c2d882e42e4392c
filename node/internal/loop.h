// One background loop: a thread that calls step() again after the delay that step() returned, at latest after a second, or sooner when
// notified. The only place of the daemon where threads sleep.
// Threads: notify() and stop() from any; start() once.
// Owns: its thread, joined by join() or the destructor.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"

namespace skerry::node {

class Loop {
 public:
  using Step = std::function<Duration()>;
  // `rest`: at least this long between two steps, so that many notifications become one.
  Loop(std::string name, Step step, Duration rest = Duration::zero()) : name_(std::move(name)), step_(std::move(step)), rest_(rest) {}
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void start();
  void notify();
  void stop();                    // does not wait: a step under way ends by itself
  bool join(Duration timeout);    // after stop(). false: the step is still under way
  void abandon();                 // give up on a thread that does not end; the process must end next
  const std::string& name() const { return name_; }

 private:
  void run();

  const std::string name_;
  const Step step_;
  const Duration rest_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool notified_ = false, stopping_ = false, ended_ = false;  // guarded by mutex_
};

}  // namespace skerry::node
