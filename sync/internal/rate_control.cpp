#include "sync/internal/rate_control.h"

#include <algorithm>
#include <vector>

namespace skerry::sync::internal {
namespace {

constexpr uint64_t kGoalMin = 4 << 10, kGoalMax = 16 << 20, kGoalStep = 64 << 10;
constexpr uint64_t kTellingBytes = 16 << 10;  // smaller bodies measure the round trip, larger ones the rate
constexpr size_t kSamples = 16;
constexpr double kNewShare = 0.25;
constexpr int kTooLong = 3;                   // times what was meant
constexpr double kRampMax = 8;                // of one window to the next

}  // namespace

void RateControl::began(SteadyTime now, uint64_t window) {
  if (window * 4 >= goal_ * 3) full_at_ = now;
}

void RateControl::answered(const Answered& e, Duration goal) {
  const Duration took = e.now - e.begun;
  if (took <= Duration::zero()) return;
  const double seconds = std::chrono::duration<double>(took).count();
  if (e.delivered_body < kTellingBytes) {
    if (e.window == e.payload) {  // it was alone: no queue of our own in the time
      rtt_ = rtt_ == Duration::zero() ? took : Duration(static_cast<int64_t>(static_cast<double>(rtt_.count()) * (1 - kNewShare) + static_cast<double>(took.count()) * kNewShare));
      rtt_min_ = rtt_min_ == Duration::zero() ? took : std::min(rtt_min_, took);
    }
    if (e.payload < goal_) return;
  } else {
    const double rate = static_cast<double>(e.delivered_body) / seconds;
    goodput_ = goodput_ == 0 ? rate : goodput_ * (1 - kNewShare) + rate * kNewShare;
    samples_.push_back(static_cast<double>(e.delivered_payload) / seconds);
    if (samples_.size() > kSamples) samples_.pop_front();
  }
  if (took > kTooLong * goal) {
    ramping_ = false;
    if (e.begun < halved_at_) return;  // sent before what was learnt last
    goal_ = std::max(kGoalMin, goal_ / 2);
    halved_at_ = e.now;
  } else if (took < goal) {
    grow(e, took, goal);
  } else {
    ramping_ = false;
  }
}

// Only a window that was used says that a larger one would do.
void RateControl::grow(const Answered& e, Duration took, Duration goal) {
  if (full_at_ < e.begun) return;
  if (ramping_) goal_ = std::min(kGoalMax, goal_ + e.payload);  // as TCP starts: twice as much in every round trip
  if (e.begun < grown_at_) return;
  grown_at_ = e.now;
  if (!ramping_) {
    goal_ = std::min(kGoalMax, goal_ + kGoalStep);
    return;
  }
  // Most of the time of a small batch is the way there and back; what is left of it says what the link carries.
  const double carrying = std::chrono::duration<double>(std::max(took - rtt_min_, took / 8)).count();
  const double carried = static_cast<double>(e.delivered_payload) / carrying * std::chrono::duration<double>(goal).count();
  const double factor = std::clamp(carried / static_cast<double>(goal_), 1.0, kRampMax);
  goal_ = std::min(kGoalMax, static_cast<uint64_t>(static_cast<double>(goal_) * factor));
}

void RateControl::failed() {
  goal_ = std::max(kGoalMin, goal_ / 2);
  ramping_ = false;
}

void RateControl::link_changed() { *this = RateControl(); }

double RateControl::payload_rate_low() const {
  if (samples_.size() < 4) return 0;
  std::vector<double> sorted(samples_.begin(), samples_.end());
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<long>(sorted.size() / 4), sorted.end());
  return sorted[sorted.size() / 4];
}

}  // namespace skerry::sync::internal
