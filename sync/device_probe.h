// The device's battery and temperature, from sysfs. Cheap: read anew at most every ten seconds.
// Threads: any.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "sync/environment.h"

namespace skerry::sync {

class DeviceProbe {
 public:
  explicit DeviceProbe(const Clock& clock, std::filesystem::path sys = "/sys") : clock_(clock), sys_(std::move(sys)) {}
  DeviceFacts facts();

 private:
  const Clock& clock_;
  const std::filesystem::path sys_;
  std::mutex mutex_;
  std::optional<SteadyTime> read_at_;
  DeviceFacts known_;
};

}  // namespace skerry::sync
