#include "base/clock.h"

#include <charconv>
#include <cstdio>
#include <ctime>

namespace skerry {
namespace {

class SystemClock final : public Clock {
 public:
  WallTime now() const override {
    return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
  }
  SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
};

constexpr int64_t kSecond = 1'000'000'000;

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

std::string format_time(int64_t ns) {
  int64_t seconds = ns / kSecond, fraction = ns % kSecond;
  if (fraction < 0) {
    fraction += kSecond;
    --seconds;
  }
  std::time_t t = seconds;
  std::tm tm{};
  gmtime_r(&t, &tm);
  char buffer[48];
  size_t n = std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &tm);
  std::string text(buffer, n);
  if (fraction != 0) {
    std::string digits = fmt::format("{:09}", fraction);
    while (digits.back() == '0') digits.pop_back();
    text += "." + digits;
  }
  return text + "Z";
}

Result<int64_t> parse_time(const std::string& text) {
  int64_t ns = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), ns);
  if (code == std::errc() && end == text.data() + text.size() && !text.empty()) return ns;
  auto wrong = [&] {
    return fail(Code::invalid, "'{}' is not a time: write 2026-11-23T08:04:16Z or nanoseconds since 1970",
                text.substr(0, 64));
  };
  std::tm tm{};
  int used = 0;
  char separator = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%c%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &separator,
                  &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 7 ||
      (separator != 'T' && separator != ' ')) {
    return wrong();
  }
  if (tm.tm_year < 1678 || tm.tm_year > 2261 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
      tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60) {
    return wrong();
  }
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  int64_t fraction = 0;
  size_t at = static_cast<size_t>(used);
  if (at < text.size() && text[at] == '.') {
    int64_t scale = kSecond / 10;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10) {
      fraction += (text[at] - '0') * scale;
    }
  }
  int64_t offset = 0;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    int h = 0, m = 0, n = 0;
    if (std::sscanf(text.c_str() + at + 1, "%2d:%2d%n", &h, &m, &n) != 2 || h > 23 || m > 59) return wrong();
    offset = (h * 3600 + m * 60) * (text[at] == '-' ? -1 : 1);
    at += 1 + static_cast<size_t>(n);
  } else if (at < text.size() && text[at] == 'Z') {
    ++at;
  }
  if (at != text.size()) return wrong();
  return (static_cast<int64_t>(timegm(&tm)) - offset) * kSecond + fraction;
}

}  // namespace skerry
