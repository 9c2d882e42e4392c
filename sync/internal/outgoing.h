// What of each class was sent and goes next: cuts batches out of the outbox, moves with the hub's watermark, goes back where it must, and looks for
// the one entry that the hub refuses.
// Threads: one.
// On failure: a class whose head cannot go is blocked for a while; the others go on.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "storage/store.h"
#include "sync/internal/dead_letters.h"
#include "sync/policy.h"
#include "sync/wire.h"

namespace skerry::sync::internal {

// What this process knows of one class beyond the store.
struct ClassState {
  uint64_t next = 1;             // to be sent
  uint64_t highest_sent = 0;     // the hub may hold up to here even when every answer was lost
  bool gap_answered = false;     // since the last progress: a second one is no accident
  SteadyTime blocked_until{};    // the hub refused the head of the class, or it is too large: the other classes go on
  Duration backoff{0};
  size_t entries_max = kBatchEntriesMax;  // halved while the hub refuses, to find what it refuses
  int refusals = 0;              // of the entry at the head, alone in its batch
  bool others_taken = false;     // the hub took something since it began to refuse
  std::deque<std::pair<uint64_t, uint32_t>> sent;  // (seq, records) sent and not yet acknowledged
  bool searching() const { return entries_max < kBatchEntriesMax; }
};

struct Cut {
  Batch batch;
  bool again = false;            // was sent before
  std::string too_large;         // instead of a batch: why the head of the class cannot go
};

class Outgoing {
 public:
  Outgoing(storage::Store& store, DeadLetters& dead) : store_(store), dead_(dead) {}
  ClassState& of(storage::OutboxClass outbox_class) { return classes_[outbox_class]; }
  void forget() { classes_.clear(); }    // a new epoch begins

  // The next batch of a class, as the decision allows. Error: the outbox does not give what it must.
  Result<Cut> cut(const ClassDecision& decision, bool hub_takes_losses);
  // What was acknowledged and is wanted again, as much of it as fits. Error: it is no longer here.
  Result<Batch> cut_again(const Loss& range, uint64_t bytes_max);
  void sent(const Batch& batch);
  // Everything up to `seq` is held by the hub. Only called with what was really queued. The note is written with it. Returns the records of it.
  Result<uint64_t> acknowledged(storage::OutboxClass outbox_class, uint64_t seq, const std::pair<std::string, std::string>& note);
  // Looks for what is refused by halves. One entry that is refused alone and again, while the hub takes others, is a dead letter: true when
  // something can be sent at once.
  bool refused(const Batch& batch, const std::string& reason);

 private:
  storage::Store& store_;
  DeadLetters& dead_;
  std::map<storage::OutboxClass, ClassState> classes_;
};

uint64_t payload_of(const Batch& batch);
// On the wire with its answer, when nothing can be compressed.
uint64_t batch_wire(uint64_t payload);

}  // namespace skerry::sync::internal
