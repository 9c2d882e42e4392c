#include "sync/internal/bearers.h"

#include <algorithm>

namespace skerry::sync::internal {

void BearerState::failed(SteadyTime now, Duration wait) {
  online = false;
  retry_at = now + wait;
  if (!failed_since) failed_since = now;
  rate.failed();
}

void BearerState::progress(SteadyTime now) {
  backoff = Duration::zero();
  if (!failed_since) return;
  last_outage = now - *failed_since;
  ++outages;
  failed_since.reset();
}

void BearerState::describe(BearerSituation& out) const {
  out.online = online;
  out.retry_at = retry_at;
  out.woken_at = woken_at;
  out.window = rate.window();
  out.link.stable_since = std::max(out.link.stable_since, stable_since);
  out.link.goodput = rate.goodput();
  out.link.goodput_low = rate.payload_rate_low();
  out.link.rtt = rate.rtt();
  out.link.rtt_min = rate.rtt_min();
  out.link.last_outage = last_outage;
  out.link.outages = outages;
}

void Bearers::adopt(const Policy& policy, SteadyTime now) {
  std::vector<BearerState> states;
  for (const BearerPolicy& b : policy.bearers) {
    BearerState* known = find(b.name);
    states.push_back(known != nullptr ? std::move(*known) : BearerState{.name = b.name, .retry_at = now, .rate = {}});
  }
  all_ = std::move(states);
}

bool Bearers::look_at_links(const std::vector<BearerSituation>& now_seen, SteadyTime now) {
  bool back = false;
  for (size_t i = 0; i < all_.size(); ++i) {
    BearerState& b = all_[i];
    const bool up = now_seen[i].link.up;
    if (up && !b.was_up) {
      b.retry_at = now;
      b.backoff = Duration::zero();
      b.rate.link_changed();
      back = true;
    }
    if (!up) b.online = false;
    if (up != b.was_up) b.stable_since = now;
    b.was_up = up;
  }
  return back;
}

bool Bearers::any_online() const {
  return std::any_of(all_.begin(), all_.end(), [](const BearerState& b) { return b.online; });
}

BearerState* Bearers::find(const std::string& name) {
  auto found = std::find_if(all_.begin(), all_.end(), [&](const BearerState& b) { return b.name == name; });
  return found == all_.end() ? nullptr : &*found;
}

const BearerState* Bearers::find(const std::string& name) const { return const_cast<Bearers*>(this)->find(name); }

Duration next_backoff(Duration& backoff, const Options& options, Random& random) {
  const auto base = static_cast<double>(options.backoff_min.count()), cap = static_cast<double>(options.backoff_max.count());
  const double previous = backoff.count() == 0 ? base : static_cast<double>(backoff.count());
  backoff = Duration(static_cast<int64_t>(std::min(cap, random.uniform(base, std::max(base, previous * 3)))));
  return backoff;
}

}  // namespace skerry::sync::internal
