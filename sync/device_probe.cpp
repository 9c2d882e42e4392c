#include "sync/device_probe.h"

#include <algorithm>
#include <fstream>
#include <functional>

namespace skerry::sync {
namespace {

namespace fs = std::filesystem;

constexpr Duration kEvery = std::chrono::seconds(10);
constexpr size_t kEntriesMax = 256;

std::string word(const fs::path& file) {
  std::ifstream in(file);
  std::string out;
  in >> out;
  return out;
}

std::optional<double> number(const fs::path& file) {
  std::ifstream in(file);
  double value = 0;
  if (!(in >> value)) return {};
  return value;
}

void each_folder(const fs::path& folder, const std::function<void(const fs::path&)>& visit) {
  std::error_code error;
  size_t n = 0;
  for (fs::directory_iterator it(folder, error), end; !error && it != end && n < kEntriesMax; it.increment(error), ++n) visit(it->path());
}

DeviceFacts read(const fs::path& sys) {
  DeviceFacts facts;
  each_folder(sys / "class/power_supply", [&](const fs::path& supply) {
    const std::string type = word(supply / "type");
    if (type == "Battery" && word(supply / "scope") != "Device") {
      if (auto charge = number(supply / "capacity"); charge && *charge >= 0 && *charge <= 100) facts.battery = std::min(*charge, facts.battery.value_or(100));
    } else if (type == "Mains" || type == "USB") {
      if (auto online = number(supply / "online")) facts.on_mains = facts.on_mains.value_or(false) || *online == 1;
    }
  });
  each_folder(sys / "class/thermal", [&](const fs::path& zone) {
    if (zone.filename().string().rfind("thermal_zone", 0) != 0) return;
    const auto millidegrees = number(zone / "temp");
    if (millidegrees && *millidegrees > -60'000 && *millidegrees < 200'000) facts.temperature = std::max(*millidegrees / 1000, facts.temperature.value_or(-60));
  });
  return facts;
}

}  // namespace

DeviceFacts DeviceProbe::facts() {
  std::lock_guard lock(mutex_);
  const SteadyTime now = clock_.steady();
  if (!read_at_ || now >= *read_at_ + kEvery) {
    known_ = read(sys_);
    read_at_ = now;
  }
  return known_;
}

}  // namespace skerry::sync
