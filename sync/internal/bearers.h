// What this process knows of each bearer of the policy: whether the hub answers over it, when it is tried again, what the exchanges measured.
// Threads: one at a time; the Syncer's mutex guards it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "sync/internal/rate_control.h"
#include "sync/policy.h"

namespace skerry::sync::internal {

struct BearerState {
  std::string name;
  bool online = false;
  bool was_up = true;
  SteadyTime retry_at{};
  SteadyTime stable_since{};
  Duration backoff{0};
  SteadyTime last_exchange{};
  std::optional<SteadyTime> woken_at, failed_since;
  Duration last_outage{0};
  uint64_t outages = 0;
  uint64_t delivered_body = 0, delivered_payload = 0;  // since the start
  RateControl rate;

  void failed(SteadyTime now, Duration wait);
  void progress(SteadyTime now);
  void describe(BearerSituation& situation) const;
};

class Bearers {
 public:
  // A bearer of the same name keeps what is known of it.
  void adopt(const Policy& policy, SteadyTime now);
  // True when a carrier came back: what waits for a retry need not wait longer, and old connections are of no use.
  bool look_at_links(const std::vector<BearerSituation>& now_seen, SteadyTime now);
  bool any_online() const;
  BearerState* find(const std::string& name);               // null: no longer in the policy
  const BearerState* find(const std::string& name) const;
  BearerState& operator[](size_t i) { return all_[i]; }
  const BearerState& operator[](size_t i) const { return all_[i]; }
  size_t size() const { return all_.size(); }

 private:
  std::vector<BearerState> all_;  // as in the policy
};

// Decorrelated jitter: min(cap, random(base, 3 * previous)). See "Exponential Backoff And Jitter", M. Brooker, 2015.
Duration next_backoff(Duration& backoff, const Options& options, Random& random);

}  // namespace skerry::sync::internal
