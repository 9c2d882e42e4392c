// The uplink seam to the hub: HELLO, which waits for its answer, and batches, of which several may be on their way. Real: HTTP
// (http_uplink.cpp). Fake: tests/support/fake_cloud.h over the real hub's receiver; simulated: node/simulate/internal/world.h. One contract suite
// runs over the first two.
// Threads: one at a time. hello() and range() block for at most the timeout, answers() for at most what it is told, the rest never.
// On failure: unavailable (no answer, whatever the cause: the batch may or may not have been applied), corrupt (an answer that
// makes no sense), invalid (the hub refused this node: 4xx).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

// Batches of one lane go one behind the other; what is urgent does not queue behind what is large.
enum class Lane : uint8_t { urgent, bulk };

// What became of a batch.
struct Answer {
  uint64_t ticket = 0;
  Result<BatchReply> reply;
  Traffic traffic;               // of this batch alone
};

Answer no_answer(uint64_t ticket, Error error, Traffic traffic = {});

class Uplink {
 public:
  virtual ~Uplink() = default;
  virtual Result<HelloReply> hello(const Hello& message) = 0;
  // Waits for its answer. Error: not_found of a hub that does not know the question.
  virtual Result<RangeReply> range(const RangeAsk&) { return fail(Code::not_found, "this uplink cannot ask for ranges"); }
  // Waits for a piece of a file. Error: not_found, invalid of a hub that does not have it (any more).
  virtual Result<ChunkReply> chunk(const ChunkAsk&) { return fail(Code::not_found, "this uplink cannot ask for pieces of files"); }
  // Puts a batch on its way and returns the bytes of its body. Whatever happens to it is told by answers(), once, within the timeout.
  virtual uint64_t begin(uint64_t ticket, Batch message, Lane lane) = 0;
  // What is known by now; when nothing is, and something is on its way, waits for the first answer.
  virtual std::vector<Answer> answers(Duration at_most) = 0;
  // Stops all that is on its way; it may have arrived. Tells of each, with the error that it was given up.
  virtual std::vector<Answer> give_up() = 0;
  virtual Traffic traffic() const = 0;
  virtual void use(const Route&) {}        // until the next use(); what is on its way keeps to its own
  // The link went and came back: open connections hang in TCP's own back-off, so they are closed. Nothing is on its way then.
  virtual void link_changed() {}
};

std::unique_ptr<Uplink> make_http_uplink(const Options& options);

}  // namespace skerry::sync
