#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "learning/trigger.h"

namespace skerry::learning {
namespace {

namespace fs = std::filesystem;

struct Ticks {
  uint64_t total = 0, others = 0;
};

// proc(5): cpu user nice system idle iowait irq softirq steal. Guest time is contained in user.
bool read_machine(Ticks& ticks) {
  Result<std::string> text = read_file("/proc/stat", 1 << 20);
  if (!text.ok()) return false;
  std::array<uint64_t, 8> t{};
  if (std::sscanf(text->c_str(),
                  "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &t[0],
                  &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) != 8) {
    return false;
  }
  for (uint64_t part : t) ticks.total += part;
  ticks.others = t[0] + t[2] + t[5] + t[6] + t[7];
  return true;
}

uint64_t read_own() {
  Result<std::string> text = read_file("/proc/self/stat", 1 << 16);
  if (!text.ok()) return 0;
  size_t name_end = text->rfind(')');  // the name may hold spaces and parentheses
  uint64_t user = 0, system = 0;
  if (name_end == std::string::npos ||
      std::sscanf(text->c_str() + name_end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
                  &system) != 2) {
    return 0;
  }
  return user + system;
}

std::string first_line(const fs::path& file) {
  Result<std::string> text = read_file(file, 4096);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

// Thermal zones in thousandths of a degree (the kernel's sysfs-class-thermal).
double warmest() {
  double out = 0;
  std::error_code error;
  for (fs::directory_iterator it("/sys/class/thermal", error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().rfind("thermal_zone", 0) == 0) out = std::max(out, std::atof(first_line(it->path() / "temp").c_str()) / 1000);
  }
  return out;
}

// A battery that discharges and no mains that is online (sysfs-class-power).
bool runs_on_battery() {
  bool battery = false, mains = false;
  std::error_code error;
  for (fs::directory_iterator it("/sys/class/power_supply", error), end; !error && it != end; it.increment(error)) {
    const std::string type = first_line(it->path() / "type");
    if (type == "Battery" && first_line(it->path() / "scope") != "Device") battery = battery || first_line(it->path() / "status") == "Discharging";
    if (type == "Mains" || type == "USB") mains = mains || first_line(it->path() / "online") == "1";
  }
  return battery && !mains;
}

uint64_t memory_available() {
  Result<std::string> text = read_file("/proc/meminfo", 1 << 16);
  uint64_t kilobytes = 0;
  const size_t at = text.ok() ? text->find("MemAvailable:") : std::string::npos;
  if (at == std::string::npos || std::sscanf(text->c_str() + at, "MemAvailable: %" SCNu64, &kilobytes) != 1) return UINT64_MAX;
  return kilobytes * 1024;
}

class ProcLoadProbe final : public LoadProbe {
 public:
  LoadSample sample(double requests_per_second) override {
    LoadSample sample = last_sample_;
    sample.requests_per_second = requests_per_second;
    Ticks now;
    if (!read_machine(now)) return sample;
    uint64_t own = read_own();
    // Too short an interval says nothing at 100 ticks a second: keep the last answer.
    if (now.total < last_.total + 20) return sample;
    double others = static_cast<double>(now.others - last_.others) - static_cast<double>(own - last_own_);
    if (last_.total > 0) cpu_ = std::clamp(others / static_cast<double>(now.total - last_.total), 0.0, 1.0);
    last_ = now;
    last_own_ = own;
    sample.cpu_others = cpu_;
    sample.celsius = warmest();
    sample.on_battery = runs_on_battery();
    sample.memory_available = memory_available();
    last_sample_ = sample;
    return sample;
  }

 private:
  Ticks last_;
  uint64_t last_own_ = 0;
  double cpu_ = 0;
  LoadSample last_sample_;
};

}  // namespace

std::unique_ptr<LoadProbe> make_load_probe() { return std::make_unique<ProcLoadProbe>(); }

}  // namespace skerry::learning
