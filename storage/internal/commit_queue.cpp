#include "storage/internal/commit_queue.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>
#include <utility>

namespace skerry::storage::internal {
namespace {

constexpr Duration kPatienceMax = std::chrono::milliseconds(2);  // between two arrivals, however slow the disk is
constexpr int kPatienceTimes = 2;
using Word = std::atomic<uint32_t>;
static_assert(sizeof(Word) == sizeof(uint32_t) && Word::is_always_lock_free);

// futex(2) rather than std::atomic::wait, which yields the processor several times before it sleeps. May return for no reason.
void sleep_while(Word& word, uint32_t value, Duration limit) {
  const timespec time{limit.count() / 1'000'000'000, limit.count() % 1'000'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, limit == Duration::max() ? nullptr : &time, nullptr, 0);
}

void wake(Word& word, int count) { ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0); }

}  // namespace

void CommitQueue::run(PendingCommit& pending) {
  Lock lock(mutex_);
  if (!next_) next_ = std::make_shared<Gathering>();
  const std::shared_ptr<Gathering> round = next_;
  round->members.push_back(&pending);
  while (true) {
    const bool may_begin = round == next_ && !running_;
    if (may_begin && (round->members.size() >= expected_ || (!round->kept && keep(lock, *round)))) return lead(lock);
    const uint32_t stage = round->stage;
    lock.unlock();
    if (stage != kOver) sleep_while(round->stage, stage, Duration::max());
    if (round->stage == kOver) return;
    lock.lock();
  }
}

// Waits for those who are expected, as long as they keep coming. False: one of them has begun meanwhile.
bool CommitQueue::keep(Lock& lock, Gathering& round) {
  round.kept = true;
  const Duration patience = std::min(typical_ / (2 * kPatienceTimes), kPatienceMax);
  size_t seen = 0;
  for (int i = 0; i < kPatienceTimes && patience > Duration::zero() && seen < round.members.size() && next_.get() == &round; ++i) {
    seen = round.members.size();
    const uint32_t stage = round.stage;
    lock.unlock();
    sleep_while(round.stage, stage, patience);
    lock.lock();
  }
  return next_.get() == &round;
}

void CommitQueue::lead(Lock& lock) {
  const std::shared_ptr<Gathering> round = std::exchange(next_, nullptr);
  running_ = true;
  lock.unlock();
  const SteadyTime began = clock_.steady();
  commit_(round->members);
  const Duration took = clock_.steady() - began;
  lock.lock();
  typical_ = typical_ == Duration::zero() ? took : (7 * typical_ + took) / 8;
  expected_ = round->members.size() + (next_ ? next_->members.size() : 0);
  running_ = false;
  const std::shared_ptr<Gathering> next = next_;
  if (next) next->stage = kKeeperWanted;
  lock.unlock();
  const bool others = round->members.size() > 1;
  round->stage = kOver;
  if (others) wake(round->stage, INT_MAX);
  if (next) wake(next->stage, 1);
}

}  // namespace skerry::storage::internal
