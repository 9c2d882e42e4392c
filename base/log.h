// Log lines for people, with a budget: while a link is down for a month, the same complaint must not fill the disk.
// Lines go to stderr. Above `lines_per_minute_max` of one level the rest is counted and summed up in one line.
// Threads: any.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace skerry::log {

enum class Level : uint8_t { debug, info, warn, error, off };

struct Options {
  Level level = Level::info;
  bool json = false;
  uint32_t lines_per_minute_max = 300;
};

void configure(const Options& options);
void write(Level level, std::string_view area, const std::string& message);
uint64_t suppressed();  // lines dropped by the budget since the start

template <typename... Args>
void debug(std::string_view area, fmt::format_string<Args...> f, Args&&... args) {
  write(Level::debug, area, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void info(std::string_view area, fmt::format_string<Args...> f, Args&&... args) {
  write(Level::info, area, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void warn(std::string_view area, fmt::format_string<Args...> f, Args&&... args) {
  write(Level::warn, area, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void error(std::string_view area, fmt::format_string<Args...> f, Args&&... args) {
  write(Level::error, area, fmt::format(f, std::forward<Args>(args)...));
}

}  // namespace skerry::log
