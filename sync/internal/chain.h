// Whether the hub's history of a class is this node's: a number chained over the sequence and queue time of every entry up to the watermark. The hub
// says its own; where they differ, the hub has entries under these numbers that this disk did not queue. Queue times tell histories apart, since no
// two disks queue at the same nanosecond; payloads would not do, as the same records are encoded anew when they are sealed.
// Not known (and then nothing is doubted): across what is lost by rule, of a hub that says none, of a note that is older than the acknowledgement.
// Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "storage/store.h"
#include "sync/wire.h"

namespace skerry::sync::internal {

enum class Histories : uint8_t { same, other, unknown };

class Chains {
 public:
  explicit Chains(storage::Store& store);
  // Unless it is another, the hub's word is remembered for `seq`; over a restart once it is kept. `sent`: entries that were just sent, which
  // saves reading them again.
  Histories compare(storage::OutboxClass outbox_class, uint64_t seq, const Chain& hub, const Batch& sent = {});
  // The hub went back to `seq`: what follows is checked from there.
  void begin_at(storage::OutboxClass outbox_class, uint64_t seq, const Chain& hub);
  void forget();
  // What is not in the store yet: goes with the acknowledgement of `seq`, in one write, or by itself.
  std::pair<std::string, std::string> note();
  void keep();

 private:
  struct Point {
    uint64_t seq = 0, chain = 0;  // chain 0: not known
  };
  std::optional<uint64_t> own(storage::OutboxClass outbox_class, uint64_t seq, const Batch& sent);

  storage::Store& store_;
  bool changed_ = false;             // since it was kept
  std::map<storage::OutboxClass, Point> points_;
};

}  // namespace skerry::sync::internal
