// A clock that moves only when told. wall and steady time move together; a jump moves the wall alone.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace skerry::test {

class SimClock final : public Clock {
 public:
  explicit SimClock(int64_t start_ns = 1'764'000'000'000'000'000) : wall_(start_ns) {}  // 2025-11-24
  WallTime now() const override { return WallTime(Duration(wall_.load())); }
  SteadyTime steady() const override { return SteadyTime(Duration(steady_.load())); }
  void advance(Duration by) {
    wall_ += by.count();
    steady_ += by.count();
  }
  void jump_wall(Duration by) { wall_ += by.count(); }

 private:
  std::atomic<int64_t> wall_;
  std::atomic<int64_t> steady_{1'000'000'000};
};

}  // namespace skerry::test
