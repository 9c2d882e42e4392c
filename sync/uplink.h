// The uplink seam: one exchange with the hub. Real: HTTP through cpprestsdk (http_uplink.cpp). Fake: tests/support/fake_cloud.h over the real
// hub's receiver; simulated: node/simulate/internal/world.h. One contract suite runs over the first two.
// Threads: one at a time. Each call blocks for at most the timeout.
// On failure: unavailable (no answer, whatever the cause: the batch may or may not have been applied), corrupt (an answer that
// makes no sense), invalid (the hub refused this node: 4xx).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "sync/options.h"
#include "sync/wire.h"

namespace skerry::sync {

struct Traffic {                 // bytes of bodies, as they went over the wire
  uint64_t sent = 0, received = 0;
};

// Which way the next exchanges take.
struct Route {
  std::string bearer = "default";
  std::string device;            // SO_BINDTODEVICE; empty: wherever the routes lead
  uint32_t mark = 0;             // SO_MARK; 0: none
  uint8_t dscp = 0;              // of IP_TOS; 0: none
  bool operator==(const Route&) const = default;
};

class Uplink {
 public:
  virtual ~Uplink() = default;
  virtual Result<HelloReply> hello(const Hello& message) = 0;
  virtual Result<BatchReply> send(const Batch& message) = 0;
  virtual Traffic traffic() const = 0;
  virtual void use(const Route&) {}        // until the next use()
  // The link went and came back: open connections hang in TCP's own back-off, so they are closed.
  virtual void link_changed() {}
};

std::unique_ptr<Uplink> make_http_uplink(const Options& options);

}  // namespace skerry::sync
