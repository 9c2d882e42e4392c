#include "tests/support/two_hosts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace skerry::test {
namespace {

using Steady = std::chrono::steady_clock;

constexpr size_t kPacketBytesMax = 64 << 10;
constexpr int kPacketsPerTurn = 64;
constexpr int kIdleMilliseconds = 1000;

size_t index(Host host) { return host == Host::near ? 0 : 1; }

struct Packet {
  Steady::time_point due;
  std::string bytes;
};

struct Direction {
  Line line;
  std::deque<Packet> queue;
  uint64_t queued = 0, carried = 0, lost = 0;
  Steady::time_point free_at{};  // when the line has sent what it was given
};

Status missing(const char* what) {
  return fail(Code::unavailable, "{}: {}; network namespaces need root, or CAP_SYS_ADMIN and CAP_NET_ADMIN, and /dev/net/tun", what, std::strerror(errno));
}

// Up, and with an address when one is given.
Status configure(const char* device, const char* address) {
  const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) return missing("no socket in a new network namespace");
  ifreq request{};
  std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  bool good = true;
  auto as_address = [&](const char* text) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    ::inet_pton(AF_INET, text, &in.sin_addr);
    std::memcpy(&request.ifr_addr, &in, sizeof(in));
  };
  if (address != nullptr) {
    as_address(address);
    good = ::ioctl(control, SIOCSIFADDR, &request) == 0;
    as_address("255.255.255.0");
    good = good && ::ioctl(control, SIOCSIFNETMASK, &request) == 0;
  }
  good = good && ::ioctl(control, SIOCGIFFLAGS, &request) == 0;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  good = good && ::ioctl(control, SIOCSIFFLAGS, &request) == 0;
  const Status status = good ? Status{} : missing("a device in a new network namespace cannot be set up");
  ::close(control);
  return status;
}

struct End {
  int space = -1, tun = -1;
};

// In a thread of its own, as it moves to a new namespace and must not come back.
Status make_end(const char* address, End& end) {
  Status status;
  std::thread([&] {
    status = [&]() -> Status {
      if (::unshare(CLONE_NEWNET) != 0) return missing("no new network namespace");
      end.space = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
      end.tun = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
      if (end.space < 0 || end.tun < 0) return missing("no /dev/net/tun");
      ifreq request{};
      request.ifr_flags = IFF_TUN | IFF_NO_PI;
      std::strncpy(request.ifr_name, "link0", IFNAMSIZ - 1);
      if (::ioctl(end.tun, TUNSETIFF, &request) != 0) return missing("no TUN device");
      SKERRY_TRY(configure("lo", nullptr));
      return configure("link0", address);
    }();
  }).join();
  return status;
}

}  // namespace

struct TwoHosts::Impl {
  explicit Impl(uint64_t seed) : random(seed) {}
  ~Impl() {
    stop_and_join();
    for (End& end : ends) {
      if (end.tun >= 0) ::close(end.tun);
      if (end.space >= 0) ::close(end.space);
    }
    if (wake >= 0) ::close(wake);
  }

  std::array<End, 2> ends;
  int wake = -1;
  std::thread thread;
  mutable std::mutex mutex;
  bool stopping = false;
  std::array<Direction, 2> directions;
  Random random;

  void stop_and_join() {
    if (!thread.joinable()) return;
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    const uint64_t one = 1;
    (void)!::write(wake, &one, sizeof(one));
    thread.join();
  }

  void run() {
    std::vector<char> buffer(kPacketBytesMax);
    for (;;) {
      timespec wait{};
      {
        std::lock_guard lock(mutex);
        if (stopping) return;
        for (size_t i = 0; i < 2; ++i) take(i, buffer);
        wait = deliver();
      }
      pollfd waits[] = {{ends[0].tun, POLLIN, 0}, {ends[1].tun, POLLIN, 0}, {wake, POLLIN, 0}};
      ::ppoll(waits, 3, &wait, nullptr);
    }
  }

  void take(size_t from, std::vector<char>& buffer) {  // with the mutex
    Direction& d = directions[from];
    for (int k = 0; k < kPacketsPerTurn; ++k) {
      const ssize_t n = ::read(ends[from].tun, buffer.data(), buffer.size());
      if (n <= 0) return;
      const auto bytes = static_cast<uint64_t>(n);
      if (!d.line.up || random.chance(d.line.loss) || d.queued + bytes > d.line.queue_bytes) {
        ++d.lost;
        continue;
      }
      const auto now = Steady::now();
      d.free_at = std::max(d.free_at, now);
      if (d.line.rate > 0) d.free_at += Duration(static_cast<int64_t>(1e9 * static_cast<double>(bytes) / static_cast<double>(d.line.rate)));
      auto due = d.free_at + d.line.delay;
      if (!d.queue.empty()) due = std::max(due, d.queue.back().due);  // no packet overtakes another
      d.queue.push_back({due, std::string(buffer.data(), bytes)});
      d.queued += bytes;
    }
  }

  timespec deliver() {  // with the mutex. Returns how long nothing is due
    const auto now = Steady::now();
    auto next = now + std::chrono::milliseconds(kIdleMilliseconds);
    for (size_t i = 0; i < 2; ++i) {
      Direction& d = directions[i];
      for (; !d.queue.empty() && d.queue.front().due <= now; d.queue.pop_front()) {
        const std::string& bytes = d.queue.front().bytes;
        d.queued -= bytes.size();
        const bool arrived = d.line.up && ::write(ends[1 - i].tun, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
        ++(arrived ? d.carried : d.lost);
      }
      if (!d.queue.empty()) next = std::min(next, d.queue.front().due);
    }
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(next - now).count();
    return {left / 1'000'000'000, left % 1'000'000'000};
  }
};

TwoHosts::TwoHosts(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TwoHosts::~TwoHosts() = default;

Result<std::unique_ptr<TwoHosts>> TwoHosts::make(uint64_t seed) {
  auto impl = std::make_unique<Impl>(seed);
  impl->wake = ::eventfd(0, EFD_CLOEXEC);
  SKERRY_TRY(make_end(kNear, impl->ends[0]));
  SKERRY_TRY(make_end(kFar, impl->ends[1]));
  Impl* running = impl.get();
  impl->thread = std::thread([running] { running->run(); });
  return std::unique_ptr<TwoHosts>(new TwoHosts(std::move(impl)));
}

void TwoHosts::set(Host from, const Line& line) {
  std::lock_guard lock(impl_->mutex);
  impl_->directions[index(from)].line = line;
}

uint64_t TwoHosts::carried(Host from) const {
  std::lock_guard lock(impl_->mutex);
  return impl_->directions[index(from)].carried;
}

uint64_t TwoHosts::lost(Host from) const {
  std::lock_guard lock(impl_->mutex);
  return impl_->directions[index(from)].lost;
}

TwoHosts::On::On(const TwoHosts& hosts, Host host) {
  home_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  SKERRY_CHECK(home_ >= 0 && ::setns(hosts.impl_->ends[index(host)].space, CLONE_NEWNET) == 0);
}

TwoHosts::On::~On() {
  SKERRY_CHECK(::setns(home_, CLONE_NEWNET) == 0);
  ::close(home_);
}

}  // namespace skerry::test
