// Counts what was found damaged, each thing once however often it is read.
// Threads: any.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>

#include "base/log.h"

namespace skerry::storage::internal {

class Damage {
 public:
  // `place` is the family and key; `what` is for people.
  void found(const std::string& place, const std::string& what) {
    std::lock_guard lock(mutex_);
    if (known_.size() < kKnownMax && !known_.insert(place).second) return;
    ++count_;
    log::warn("storage", "skipped something damaged: {}", what);
  }
  uint64_t count() const {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  static constexpr size_t kKnownMax = 4096;  // beyond it a thing may count twice
  mutable std::mutex mutex_;
  std::set<std::string> known_;
  uint64_t count_ = 0;
};

}  // namespace skerry::storage::internal
