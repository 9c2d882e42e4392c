// Human units in config, flags and messages: "64 MiB", "250ms", "30s", "48h".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace skerry {

// "512", "64 KiB", "10MB": B, kB/MB/GB/TB (1000) and KiB/MiB/GiB/TiB (1024). Error: invalid.
Result<uint64_t> parse_bytes(std::string_view text);
// "250ms", "30s", "5m", "48h", "7d", "500us", "10ns"; fractions allowed. Error: invalid.
Result<Duration> parse_duration(std::string_view text);

std::string format_bytes(uint64_t bytes);         // "1.4 MiB"
std::string format_duration(Duration duration);   // "1.5s", "2h 3m"

}  // namespace skerry
