// Two hosts within this machine: network namespaces with a link between them that is slow, long, lossy, cut, or cut in one direction, as told. Whole
// IP packets are carried between two TUN devices, so that the kernel's own TCP on both sides meets what it meets in the field; netem is not needed.
// Threads: one of its own carries the packets; every method may be called from any.
// Owns: both namespaces, which vanish with it and with the programs in them.
// On failure: make() answers unavailable and names what is missing (root or CAP_SYS_ADMIN and CAP_NET_ADMIN, /dev/net/tun).
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/result.h"

namespace skerry::test {

enum class Host : uint8_t { near, far };

struct Line {                    // from one host to the other
  uint64_t rate = 0;             // bytes per second; 0: as fast as it goes
  Duration delay{0};             // of each packet
  double loss = 0;               // share of packets
  bool up = true;
  uint64_t queue_bytes = 256 << 10;  // of packets that wait for their turn; what comes on top is lost
};

class TwoHosts {
 public:
  static constexpr const char* kNear = "198.18.0.1";  // RFC 2544's range, for tests
  static constexpr const char* kFar = "198.18.0.2";

  static Result<std::unique_ptr<TwoHosts>> make(uint64_t seed);
  ~TwoHosts();
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;

  void set(Host from, const Line& line);
  void set(const Line& both) {
    set(Host::near, both);
    set(Host::far, both);
  }
  uint64_t carried(Host from) const;  // packets
  uint64_t lost(Host from) const;

  // While it lives, sockets that this thread makes and programs that it starts are on that host.
  class On {
   public:
    On(const TwoHosts& hosts, Host host);
    ~On();
    On(const On&) = delete;
    On& operator=(const On&) = delete;

   private:
    int home_ = -1;
  };

 private:
  struct Impl;
  explicit TwoHosts(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::test
