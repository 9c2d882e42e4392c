#include "node/simulate/tcp.h"

#include <algorithm>
#include <cmath>

namespace skerry::simulate {
namespace {

constexpr uint64_t kSegmentBytes = 1460;
constexpr double kFirstWindow = 10, kSmallestWindow = 2, kLargestWindow = (4 << 20) / 1460;  // what Linux buffers by default (tcp_wmem)
constexpr Duration kIdle = std::chrono::milliseconds(200);  // beyond a round trip: the least time-out of Linux
constexpr Duration kServerTime = std::chrono::milliseconds(2);

Duration on_the_line(uint64_t segments, const TcpPath& path) {
  return Duration(static_cast<int64_t>(1e9 * static_cast<double>(segments * kSegmentBytes) / static_cast<double>(std::max<uint64_t>(path.rate, 1))));
}

}  // namespace

void TcpConnection::open(SteadyTime now, const TcpPath& path) {
  if (open_) return;
  open_ = true;
  window_ = kFirstWindow;
  threshold_ = kLargestWindow;
  again_ = 0;
  arrived_ = {};
  begin_round(now + path.rtt, path);
}

void TcpConnection::begin_round(SteadyTime at, const TcpPath& path) {
  round_ = free_ = at;
  left_ = static_cast<uint64_t>(window_);
  const uint64_t again = std::min(again_, left_ - 1);
  left_ -= again;
  free_ += on_the_line(again, path);
  again_ = 0;
}

// The first acknowledgement of a round lets the next one begin, unless the line is still busy with this one.
void TcpConnection::end_round(const TcpPath& path) {
  if (again_ > 0) {
    threshold_ = std::max(kSmallestWindow, window_ / 2);
    window_ = threshold_;
  } else {
    window_ = window_ < threshold_ ? std::min(window_ * 2, threshold_) : window_ + 1;
    window_ = std::min(window_, kLargestWindow);
  }
  begin_round(std::max(free_, round_ + path.rtt), path);
}

// Of the segments that left last: each lost one comes a round trip later, or two when it is lost again.
void TcpConnection::lose(uint64_t segments, const TcpPath& path) {
  for (uint64_t i = 0; i < segments; ++i) {
    Duration late{0};
    while (random_.chance(path.packet_loss)) late += path.rtt;
    again_ += late > Duration::zero();
    arrived_ = std::max(arrived_, free_ + late + path.rtt / 2);
  }
}

SteadyTime TcpConnection::send(SteadyTime now, uint64_t bytes, const TcpPath& path) {
  open(now, path);
  if (now > free_ + path.rtt + kIdle) {
    window_ = std::min(window_, kFirstWindow);
    begin_round(now, path);
  } else if (now > round_ + path.rtt && again_ > 0) {
    end_round(path);
  } else if (now > round_ + path.rtt) {  // over before there was more to send: a window that was not used does not grow
    begin_round(std::max(now, free_), path);
  }
  free_ = std::max(free_, now);
  for (uint64_t waiting = (bytes + kSegmentBytes - 1) / kSegmentBytes; waiting > 0;) {
    if (left_ == 0) end_round(path);
    const uint64_t n = std::min(left_, waiting);
    free_ += on_the_line(n, path);
    left_ -= n;
    waiting -= n;
    arrived_ = std::max(arrived_, free_ + path.rtt / 2);
    if (path.packet_loss > 0) lose(n, path);
  }
  return arrived_;
}

Duration plain_upload(uint64_t bytes, const TcpPath& path, uint64_t seed) {
  const SteadyTime begin{};
  return TcpConnection(seed).send(begin, bytes, path) - begin + kServerTime + path.rtt / 2;
}

}  // namespace skerry::simulate
