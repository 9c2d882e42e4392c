// What the kernel says of the network devices: carrier, default routes, kind. Over rtnetlink, without any daemon.
// look() reads what is new and never waits; a flood costs a bounded piece per call, an overrun (ENOBUFS) a new dump.
// Threads: look() from one thread, facts() from any.
// On failure: open() answers unavailable; later trouble leaves what is known and is tried again.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "sync/link.h"
#include "sync/policy_options.h"

namespace skerry::sync {

class LinkWatch {
 public:
  static Result<std::unique_ptr<LinkWatch>> open(const Clock& clock);
  virtual ~LinkWatch() = default;
  virtual void look() = 0;
  // Of the bearer's device. Without one: of the device that the default route leads over; without any route nothing is claimed, as the hub may be near.
  virtual LinkFacts facts(const BearerPolicy& bearer) const = 0;
};

}  // namespace skerry::sync
