// Group commit: effects that must be on the disk before they are acknowledged gather in rounds, and one of their writers writes and syncs
// the whole round while the others sleep, each once. Before a round begins it waits for those who were there around the last one,
// because a writer that was just answered tends to come back at once: but only while they keep coming, and never longer than half of
// what a round takes. A lone writer waits for nobody.
// Threads: any.
// On failure: every effect has an outcome of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "storage/internal/transaction.h"
#include "storage/store.h"

namespace skerry::storage::internal {

struct PendingCommit {
  const Effect& effect;
  const std::vector<PreparedBatch>& batches;
  int64_t now_ns = 0;
  Result<Receipt> outcome;
};

class CommitQueue {
 public:
  using Round = std::vector<PendingCommit*>;
  // `commit` makes a round true, in its order, and fills in the outcomes; one round at a time.
  CommitQueue(const Clock& clock, std::function<void(const Round&)> commit) : clock_(clock), commit_(std::move(commit)) {}

  void run(PendingCommit& pending);  // returns when its outcome is there

 private:
  enum Stage : uint32_t { kGathers, kKeeperWanted, kOver };
  struct Gathering {
    std::atomic<uint32_t> stage{kGathers};  // its writers wait for a change of it, without the mutex
    Round members;                          // guarded by mutex_ until the round begins
    bool kept = false;                      // guarded by mutex_: somebody sees to it that it begins in time
  };
  using Lock = std::unique_lock<std::mutex>;

  bool keep(Lock& lock, Gathering& round);
  void lead(Lock& lock);

  const Clock& clock_;
  const std::function<void(const Round&)> commit_;
  std::mutex mutex_;  // guards all below; not held while a round is committed
  std::shared_ptr<Gathering> next_;
  bool running_ = false;
  size_t expected_ = 0;  // how many writers were there around the last round
  Duration typical_{};   // time of a round, a moving average
};

}  // namespace skerry::storage::internal
