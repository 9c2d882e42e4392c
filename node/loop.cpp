#include <pthread.h>

#include <algorithm>

#include "base/log.h"
#include "node/internal/loop.h"

namespace skerry::node {
namespace {

constexpr Duration kSleepMax = std::chrono::seconds(1);
constexpr Duration kAfterThrow = std::chrono::seconds(1);

}  // namespace

Loop::~Loop() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void Loop::start() {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
    run();
  });
}

void Loop::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    notified_ = false;
    lock.unlock();
    Duration delay;
    try {
      delay = step_();
    } catch (const std::exception& e) {  // a bug of a module must not end the others
      log::error(name_, "a step threw: {}; please report this", e.what());
      delay = kAfterThrow;
    }
    lock.lock();
    if (rest_ > Duration::zero()) wake_.wait_for(lock, rest_, [this] { return stopping_; });
    delay = std::clamp(delay - rest_, Duration::zero(), kSleepMax);
    if (delay > Duration::zero()) wake_.wait_for(lock, delay, [this] { return notified_ || stopping_; });  // a wait of zero still gives up the core
  }
  ended_ = true;
  wake_.notify_all();
}

void Loop::notify() {
  {
    std::lock_guard lock(mutex_);
    if (notified_) return;
    notified_ = true;
  }
  wake_.notify_all();
}

void Loop::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
}

bool Loop::join(Duration timeout) {
  if (!thread_.joinable()) return true;
  {
    std::unique_lock lock(mutex_);
    if (!wake_.wait_for(lock, timeout, [this] { return ended_; })) return false;
  }
  thread_.join();
  return true;
}

void Loop::abandon() {
  if (thread_.joinable()) thread_.detach();
}

}  // namespace skerry::node
