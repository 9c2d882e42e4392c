#include "sync/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"

namespace skerry::sync {
namespace {

constexpr double kPieceBytesMin = 4096;  // smaller batches cost more in headers than they carry

// Under a rate cap: how much of the budget must be there before a batch of the class goes. About a second's worth, so that a slow link
// is neither nibbled at nor waits minutes for a full bucket.
double bytes_needed(const Options& options, uint64_t waiting) {
  const double second = std::max(kPieceBytesMin, static_cast<double>(options.rate_bytes_per_second));
  return std::min({static_cast<double>(waiting), static_cast<double>(options.burst_bytes), second});
}

}  // namespace

std::vector<ClassDecision> decide(const Options& options, const LinkSnapshot& link,
                                  const std::vector<storage::OutboxStatus>& backlog, SteadyTime now) {
  std::vector<ClassDecision> decisions;
  const char* before = nullptr;  // the class that goes first
  for (storage::OutboxClass outbox_class : storage::kOutboxClasses) {
    ClassDecision d{.outbox_class = outbox_class};
    auto status = std::find_if(backlog.begin(), backlog.end(), [&](const auto& s) { return s.outbox_class == outbox_class; });
    const bool waiting = status != backlog.end() && status->last_seq > status->acked_seq;
    if (!options.enabled) {
      d.reason = "sync is switched off: set sync.enabled";
    } else if (!waiting) {
      d.reason = "nothing waiting";
    } else if (link.held) {
      d.reason = "held by hand";
    } else if (!link.online) {
      d.reason = now < link.retry_at ? fmt::format("offline: next try in {}", format_duration(link.retry_at - now)) : "offline: trying now";
    } else if (double short_of = bytes_needed(options, status->bytes) - link.budget_bytes;
               options.rate_bytes_per_second != 0 && (short_of > 0 || link.budget_bytes <= 0)) {
      const double seconds = std::max(short_of, 1.0) / static_cast<double>(options.rate_bytes_per_second);
      d.reason = fmt::format("rate cap {}/s: {:.1f} s until the next batch", format_bytes(options.rate_bytes_per_second), seconds);
    } else {
      d.send = true;
      d.bytes_max = options.batch_bytes_max;
      if (link.budget_bytes < static_cast<double>(d.bytes_max)) d.bytes_max = static_cast<uint64_t>(link.budget_bytes);
      d.bytes_max = std::max<uint64_t>(d.bytes_max, 1);
      d.reason = fmt::format("{} waiting in {} entries{}", format_bytes(status->bytes), status->entries,
                             before ? fmt::format(", after {}", before) : "");
      if (before == nullptr) before = storage::to_string(outbox_class);
    }
    decisions.push_back(std::move(d));
  }
  return decisions;
}

}  // namespace skerry::sync
