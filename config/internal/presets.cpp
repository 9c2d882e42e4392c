// Where policies begin. The numbers are starting points: tail and settle after the RRC timers and handover rates in "A Variegated Look at 5G in
// the Wild" (Narayanan et al., SIGCOMM 2021); prices are zero, since only the owner of the SIM card knows them.
#include <utility>

#include "config/internal/policy_reader.h"

namespace skerry::config {
namespace {

constexpr const char* kEthernet = R"(
[sync.class.telemetry]
deadline = "10s"
[[sync.bearer]]
name = "default"
technology = "ethernet"
metered = false
)";

// A SIM card with a monthly volume: telemetry in portions, bulk waits for an unmetered link or a window.
constexpr const char* kLteMetered = R"(
[sync]
turn = "30m"
[sync.class.alarm]
deadline = "10s"
[sync.class.label]
deadline = "15m"
linger = "5m"
[sync.class.telemetry]
deadline = "5m"
linger = "60s"
[sync.class.backlog]
deadline = "6h"
linger = "10m"
battery_min = 20.0
[sync.class.model]
metered = false
patience = "7d"
linger = "10m"
battery_min = 30.0
temperature_max = 75.0
[sync.class.diagnostics]
metered = false
constrained = false
patience = "14d"
linger = "1h"
battery_min = 40.0
temperature_max = 70.0
[[sync.bearer]]
name = "default"
technology = "lte"
metered = true
monthly = "2 GB"
tail = "10s"
settle = "4s"
probe_interval = "30m"
[[sync.rule]]
name = "little left"
when = { class = ["model", "diagnostics", "backlog"], budget_left_below = 0.1 }
then = { send = "wait" }
[[sync.rule]]
name = "2G and 3G"
when = { link = "2g-3g", class = ["model", "diagnostics"] }
then = { send = "wait" }
[[sync.rule]]
name = "abroad"
when = { roaming = true, class = ["model", "diagnostics", "backlog"] }
then = { send = "wait" }
)";

// Standalone 5G with an ample plan: low latency, the radio falls asleep after ten seconds.
constexpr const char* k5gSa = R"(
[sync]
turn = "15m"
[sync.class.label]
linger = "60s"
[sync.class.telemetry]
deadline = "60s"
linger = "15s"
[sync.class.backlog]
linger = "60s"
[sync.class.model]
linger = "60s"
battery_min = 20.0
temperature_max = 80.0
[sync.class.diagnostics]
constrained = false
linger = "15m"
battery_min = 30.0
temperature_max = 75.0
[[sync.bearer]]
name = "default"
technology = "5g-sa"
metered = false
tail = "10s"
settle = "3s"
probe_interval = "5m"
[[sync.rule]]
name = "abroad"
when = { roaming = true, class = ["model", "diagnostics", "backlog"] }
then = { send = "wait" }
)";

// Non-standalone: the anchor is LTE, the 5G leg comes and goes; two radios are awake while it sends, so larger portions less often.
constexpr const char* k5gNsa = R"(
[sync]
turn = "15m"
[sync.class.label]
linger = "2m"
[sync.class.telemetry]
deadline = "90s"
linger = "30s"
[sync.class.backlog]
linger = "2m"
[sync.class.model]
linger = "2m"
battery_min = 25.0
temperature_max = 75.0
[sync.class.diagnostics]
constrained = false
linger = "30m"
battery_min = 35.0
temperature_max = 70.0
[[sync.bearer]]
name = "default"
technology = "5g-nsa"
metered = false
tail = "10s"
settle = "5s"
probe_interval = "10m"
[[sync.rule]]
name = "bulk waits for the 5G leg"
when = { link = ["lte", "2g-3g"], class = ["model", "diagnostics"] }
then = { send = "wait" }
[[sync.rule]]
name = "abroad"
when = { roaming = true, class = ["model", "diagnostics", "backlog"] }
then = { send = "wait" }
)";

// Reduced capability: one antenna, 20 MHz, a small battery. Never non-standalone.
constexpr const char* k5gRedcap = R"(
[sync]
turn = "1h"
batch_time = "1s"
[sync.class.label]
linger = "10m"
[sync.class.telemetry]
deadline = "10m"
linger = "2m"
battery_min = 5.0
[sync.class.backlog]
linger = "15m"
battery_min = 20.0
[sync.class.model]
linger = "15m"
patience = "7d"
metered = false
battery_min = 40.0
temperature_max = 70.0
[sync.class.diagnostics]
metered = false
constrained = false
patience = "14d"
linger = "2h"
battery_min = 50.0
temperature_max = 65.0
[[sync.bearer]]
name = "default"
technology = "5g-sa"
metered = true
monthly = "500 MB"
tail = "10s"
settle = "5s"
probe_interval = "1h"
[[sync.rule]]
name = "small portions"
when = { class = ["model", "diagnostics", "backlog"] }
then = { batch_max = "256 KiB" }
)";

// Every byte is dear: alarms at once, telemetry by the quarter of an hour, hard compressed; the rest waits for land.
constexpr const char* kSatellite = R"(
[sync]
turn = "6h"
batch_time = "4s"
[sync.class.alarm]
deadline = "60s"
[sync.class.label]
linger = "2h"
[sync.class.telemetry]
deadline = "1h"
linger = "15m"
[sync.class.backlog]
constrained = false
metered = false
[sync.class.model]
metered = false
constrained = false
[sync.class.diagnostics]
metered = false
constrained = false
[[sync.bearer]]
name = "default"
technology = "satellite"
metered = true
monthly = "50 MB"
alarm_reserve = 0.2
settle = "10s"
probe_interval = "6h"
[[sync.rule]]
name = "hard compression"
when = { link = "satellite" }
then = { compression = 15, batch_max = "64 KiB" }
)";

// Weeks at sea over a satellite, then a harbour: all that waited goes over its network, first of all the oldest telemetry.
constexpr const char* kShip = R"(
[sync]
turn = "1h"
[sync.class.alarm]
deadline = "60s"
[sync.class.label]
metered = false
patience = "30d"
[sync.class.telemetry]
metered = false
[sync.class.backlog]
metered = false
[sync.class.model]
metered = false
[sync.class.diagnostics]
metered = false
constrained = false
[[sync.bearer]]
name = "harbour"
device = "eth0"
technology = "wifi"
metered = false
settle = "30s"
[[sync.bearer]]
name = "satellite"
device = "sat0"
technology = "satellite"
classes = ["alarm", "label", "telemetry"]
metered = true
monthly = "20 MB"
alarm_reserve = 0.3
probe_interval = "12h"
[[sync.rule]]
name = "hard compression"
when = { bearer = "satellite" }
then = { compression = 15, batch_max = "32 KiB" }
)";

const std::vector<std::pair<std::string, const char*>>& all() {
  static const std::vector<std::pair<std::string, const char*>> presets = {{"ethernet", kEthernet}, {"lte-metered", kLteMetered}, {"5g-sa", k5gSa},
                                                                            {"5g-nsa", k5gNsa},      {"5g-redcap", k5gRedcap},     {"satellite", kSatellite},
                                                                            {"ship", kShip}};
  return presets;
}

}  // namespace

const char* preset_text(const std::string& name) {
  for (const auto& [known, text] : all()) {
    if (known == name) return text + 1;  // without the first line break
  }
  return nullptr;
}

const std::vector<std::string>& preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const auto& [name, text] : all()) out.push_back(name);
    return out;
  }();
  return names;
}

const std::vector<std::string>& presets() { return preset_names(); }

std::string preset(const std::string& name) {
  const char* text = preset_text(name);
  return text == nullptr ? "" : text;
}

}  // namespace skerry::config
