// Any bytes as a policy, as a scenario and as a link trace: what is good decides without a crash and is shown as text that reads back to the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "config/config.h"
#include "sync/policy.h"

using namespace skerry;

namespace {

void decide_by(const sync::Policy& policy) {
  sync::Situation s{.now = SteadyTime{std::chrono::seconds(1000)}, .wall_ns = 1'764'000'000'000'000'000};
  for (size_t i = 0; i < policy.bearers.size(); ++i) s.bearers.push_back({.online = true});
  for (storage::OutboxClass c : storage::kOutboxClasses) s.backlog.push_back({.outbox_class = c, .last_seq = 9, .entries = 9, .bytes = 90'000, .oldest_ns = s.wall_ns - 1});
  for (const auto& d : sync::decide(policy, s, sync::Explain::yes)) {
    SKERRY_CHECK(!d.reason.empty(), "a decision without a reason");
    SKERRY_CHECK(!d.send || d.bytes_max > 0, "a decision to send nothing");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto scenario = config::parse_scenario(text, "fuzz.toml");
  for (const auto& d : scenario.diagnostics) SKERRY_CHECK(d.line >= 1 && !d.message.empty(), "a complaint without a place");
  const auto parsed = config::parse_policy(text, "fuzz.toml");
  for (const auto& d : parsed.diagnostics) SKERRY_CHECK(d.line >= 1 && !d.message.empty(), "a complaint without a place");
  if (!parsed.diagnostics.empty()) return 0;
  decide_by(parsed.policy);
  const std::string shown = config::show_policy(parsed.policy);
  const auto again = config::parse_policy(shown, "shown.toml");
  SKERRY_CHECK(again.diagnostics.empty(), "what is shown does not read back: {}", again.diagnostics.empty() ? "" : again.diagnostics[0].text());
  return 0;
}
