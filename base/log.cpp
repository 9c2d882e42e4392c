#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>

namespace skerry::log {
namespace {

struct State {
  std::mutex mutex;
  Options options;
  std::shared_ptr<spdlog::logger> logger = make_logger();
  std::chrono::steady_clock::time_point window_start{};
  std::array<uint32_t, 4> lines{}, dropped{};
  uint64_t dropped_total = 0;

  static std::shared_ptr<spdlog::logger> make_logger() {
    auto logger = std::make_shared<spdlog::logger>("skerry", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    logger->set_level(spdlog::level::trace);
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    logger->flush_on(spdlog::level::trace);
    return logger;
  }
};

State& state() {
  static State* s = new State;  // never destroyed: other threads may log while main returns
  return *s;
}

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    default: return spdlog::level::err;
  }
}

void emit(State& s, Level level, std::string_view area, const std::string& message) {
  if (s.options.json) {
    nlohmann::json line{{"area", area}, {"message", message}};
    s.logger->log(spdlog_level(level), "{}", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    s.logger->log(spdlog_level(level), "[{}] {}", area, message);
  }
}

}  // namespace

void configure(const Options& options) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  s.options = options;
  s.logger->set_pattern(options.json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e","level":"%l","line":%v})"
                                     : "%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
}

void write(Level level, std::string_view area, const std::string& message) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  if (level < s.options.level || level == Level::off) return;
  auto now = std::chrono::steady_clock::now();
  if (now - s.window_start > std::chrono::minutes(1)) {
    for (size_t i = 0; i < s.dropped.size(); ++i) {
      if (s.dropped[i] > 0) {
        emit(s, static_cast<Level>(i), "log", fmt::format("{} lines left out by the log budget", s.dropped[i]));
      }
    }
    s.window_start = now;
    s.lines = {};
    s.dropped = {};
  }
  auto i = static_cast<size_t>(level);
  if (++s.lines[i] > s.options.lines_per_minute_max) {
    ++s.dropped[i];
    ++s.dropped_total;
    return;
  }
  emit(s, level, area, message);
}

uint64_t suppressed() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  return s.dropped_total;
}

}  // namespace skerry::log
