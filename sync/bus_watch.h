// What NetworkManager (metered, connectivity, kind of device) and ModemManager (technology, signal, registration, roaming, bearer) say of network
// devices, over D-Bus. Both are optional and may appear, vanish, hang, flood or talk nonsense at any time: look() never waits, reads a bounded
// number of messages, and leaves a bus that floods alone for a while. Their word is a prior; what the transport measures stands above it.
// Neither is started by asking. A modem that reports no signal values is asked to, every ten seconds; one that refuses reports none.
// Threads: look() from one thread, add_to() from any.
// On failure: what is not known is not claimed. Whether a device is metered or roams, which costs money, is remembered when its service
// goes, until it says something of that device again.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "sync/link.h"

namespace skerry::sync {

class BusWatch {
 public:
  // Connects with the first look(). `address`: of the bus, as D-Bus writes it; empty: the system's. Whether the bus is there shows later.
  static std::unique_ptr<BusWatch> make(const Clock& clock, std::string address = {});
  virtual ~BusWatch() = default;
  virtual void look() = 0;
  // Adds what is known of link.device.
  virtual void add_to(LinkFacts& link) const = 0;
};

}  // namespace skerry::sync
