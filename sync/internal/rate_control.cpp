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

}  // namespace

void RateControl::answered(uint64_t body_bytes, uint64_t payload_bytes, Duration took, Duration goal) {
  if (took <= Duration::zero()) return;
  const double seconds = std::chrono::duration<double>(took).count();
  if (body_bytes < kTellingBytes) {
    rtt_ = rtt_ == Duration::zero() ? took : Duration(static_cast<int64_t>(static_cast<double>(rtt_.count()) * (1 - kNewShare) + static_cast<double>(took.count()) * kNewShare));
    rtt_min_ = rtt_min_ == Duration::zero() ? took : std::min(rtt_min_, took);
    if (payload_bytes < goal_) return;
  } else {
    const double rate = static_cast<double>(body_bytes) / seconds;
    goodput_ = goodput_ == 0 ? rate : goodput_ * (1 - kNewShare) + rate * kNewShare;
    samples_.push_back(static_cast<double>(payload_bytes) / seconds);
    if (samples_.size() > kSamples) samples_.pop_front();
  }
  if (took > kTooLong * goal) {
    goal_ = std::max(kGoalMin, goal_ / 2);
    ramping_ = false;
  } else if (took < goal && payload_bytes * 4 >= goal_ * 3) {  // a batch that used what it was allowed
    goal_ = std::min(kGoalMax, ramping_ ? goal_ * 2 : goal_ + kGoalStep);
  } else if (took >= goal) {
    ramping_ = false;
  }
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
