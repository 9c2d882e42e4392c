#include <atomic>
#include <catch2/catch.hpp>
#include <future>

#include "node/internal/loop.h"

using namespace skerry;
using node::Loop;

TEST_CASE("loop: a step that wants to go on is called again, a notification wakes one that sleeps") {
  std::atomic<int> steps{0};
  std::promise<void> third, fifth;
  Loop loop("test", [&] {
    int n = ++steps;
    if (n == 3) third.set_value();
    if (n == 5) fifth.set_value();
    return n < 3 ? Duration::zero() : Duration(std::chrono::hours(1));
  });
  loop.start();
  third.get_future().wait();
  auto woken = fifth.get_future();
  while (woken.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) loop.notify();
  CHECK(steps >= 5);
}

TEST_CASE("loop: a step that throws is logged and the loop goes on") {
  std::promise<void> second;
  std::atomic<int> steps{0};
  Loop loop("test", [&]() -> Duration {
    if (++steps == 1) throw std::runtime_error("first step");
    if (steps == 2) second.set_value();
    return std::chrono::hours(1);
  });
  loop.start();
  auto done = second.get_future();
  while (done.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) loop.notify();
  CHECK(steps >= 2);
}

TEST_CASE("loop: stop ends it, and a step that hangs is reported as late") {
  std::promise<void> entered, release;
  auto released = release.get_future().share();
  Loop loop("test", [&, once = std::make_shared<std::atomic<bool>>(false)] {
    if (!once->exchange(true)) entered.set_value();
    released.wait();
    return Duration::zero();
  });
  loop.start();
  entered.get_future().wait();
  loop.stop();
  CHECK_FALSE(loop.join(std::chrono::milliseconds(1)));
  release.set_value();
  CHECK(loop.join(std::chrono::minutes(1)));
}
