// SKERRY_CHECK: an assertion that stays on in production. For bugs of our own only, never for input, disk or network.
// On failure: prints file, line and message to stderr and aborts.
#pragma once

#include <fmt/core.h>

#include <string>

namespace skerry::internal {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);
}  // namespace skerry::internal

#define SKERRY_CHECK(condition, ...)                                                                    \
  do {                                                                                                  \
    if (!(condition)) [[unlikely]] {                                                                    \
      ::skerry::internal::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__));  \
    }                                                                                                   \
  } while (false)
