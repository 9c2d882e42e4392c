#include "base/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace skerry {
namespace {

struct Quantity {
  double number = 0;
  std::string_view unit;
};

bool split(std::string_view text, Quantity& out) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out.number);
  if (code != std::errc() || !std::isfinite(out.number) || out.number < 0) return false;
  out.unit = text.substr(static_cast<size_t>(end - text.data()));
  while (!out.unit.empty() && out.unit.front() == ' ') out.unit.remove_prefix(1);
  return true;
}

using Scale = std::pair<std::string_view, double>;
constexpr std::array<Scale, 10> kBytes{{{"", 1}, {"B", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
                                        {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0},
                                        {"TiB", 1099511627776.0}}};
constexpr std::array<Scale, 7> kTimes{{{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9},
                                       {"h", 3600e9}, {"d", 86400e9}}};

}  // namespace

Result<uint64_t> parse_bytes(std::string_view text) {
  Quantity q;
  if (split(text, q)) {
    for (auto [unit, scale] : kBytes) {
      if (unit == q.unit && q.number * scale < 9.2e18) return static_cast<uint64_t>(std::llround(q.number * scale));
    }
  }
  return fail(Code::invalid, "'{}' is not a size: write e.g. \"64 MiB\" or \"10 MB\"", text.substr(0, 64));
}

Result<Duration> parse_duration(std::string_view text) {
  Quantity q;
  if (split(text, q)) {
    for (auto [unit, scale] : kTimes) {
      if (unit == q.unit && q.number * scale < 9.2e18) return Duration(std::llround(q.number * scale));
    }
  }
  return fail(Code::invalid, "'{}' is not a duration: write e.g. \"250ms\", \"30s\" or \"48h\"", text.substr(0, 64));
}

std::string format_bytes(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  for (const char* unit : {"KiB", "MiB", "GiB"}) {
    value /= 1024;
    if (value < 1024) return fmt::format("{:.1f} {}", value, unit);
  }
  return fmt::format("{:.1f} TiB", value / 1024);
}

std::string format_duration(Duration duration) {
  double s = std::chrono::duration<double>(duration).count();
  if (s < 1e-3) return fmt::format("{:.0f}us", s * 1e6);
  if (s < 1) return fmt::format("{:.0f}ms", s * 1e3);
  if (s < 60) return fmt::format("{:.1f}s", s);
  auto whole = static_cast<int64_t>(s);
  if (whole < 3600) return fmt::format("{}m {}s", whole / 60, whole % 60);
  return fmt::format("{}h {}m", whole / 3600, whole / 60 % 60);
}

}  // namespace skerry
