#include "storage/internal/waking_env.h"

#include <rocksdb/system_clock.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace skerry::storage::internal {

class WakingClock final : public rocksdb::SystemClockWrapper {
 public:
  explicit WakingClock(const std::shared_ptr<rocksdb::SystemClock>& target) : SystemClockWrapper(target) {}
  const char* Name() const override { return "WakingClock"; }

  void SleepForMicroseconds(int micros) override {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::microseconds(micros), [this] { return awake_; });
  }
  void set_awake(bool awake) {
    std::lock_guard lock(mutex_);
    awake_ = awake;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool awake_ = false;
};

WakingEnv::WakingEnv(std::shared_ptr<rocksdb::FileSystem> files)
    : EnvWrapper(rocksdb::NewCompositeEnv(files)), clock_(std::make_shared<WakingClock>(rocksdb::SystemClock::Default())) {
  file_system_ = std::move(files);
  system_clock_ = clock_;
}

void WakingEnv::SleepForMicroseconds(int micros) { clock_->SleepForMicroseconds(micros); }
void WakingEnv::wake() { clock_->set_awake(true); }
void WakingEnv::sleep() { clock_->set_awake(false); }

}  // namespace skerry::storage::internal
