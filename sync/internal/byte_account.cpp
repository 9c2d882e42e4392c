#include "sync/internal/byte_account.h"

#include <algorithm>

#include "base/log.h"

namespace skerry::sync::internal {
namespace {

constexpr const char* kNote = "sync/bytes";
constexpr uint64_t kLeaseMin = 64 << 10, kLeaseMax = 4 << 20;   // of counted bytes that a crash may count in vain
constexpr uint64_t kLeaseWithoutBudget = 64 << 20;
constexpr uint64_t kConnectBytes = 156;                          // of a try that found nobody

uint64_t lease_under(const Policy& policy) {
  uint64_t least = UINT64_MAX;
  for (const BearerPolicy& b : policy.bearers) {
    for (uint64_t budget : {b.monthly_bytes, b.daily_bytes}) {
      if (budget > 0) least = std::min(least, budget);
    }
  }
  return least == UINT64_MAX ? kLeaseWithoutBudget : std::clamp(least / 1000, kLeaseMin, kLeaseMax);
}

}  // namespace

ByteAccount::ByteAccount(storage::Store& store) : store_(store) {
  auto note = store.note(kNote);
  if (!note.ok() || !note->has_value()) return;
  auto read = Ledger::decode(**note);
  if (read.ok()) ledger_ = *std::move(read);
  else log::error("sync", "{}: counting begins anew, correct it by hand if a budget depends on it", read.error().message);
}

void ByteAccount::reserve(std::mutex& mutex, const Policy& policy, const BearerPolicy& bearer, uint64_t bytes, int64_t wall_ns) {
  std::string note;
  {
    std::lock_guard lock(mutex);
    ledger_.roll(bearer.name, wall_ns, bearer.reset_day);
    if (!ledger_.must_write(bearer.name, bytes)) return;
    note = ledger_.encode_with_lease(std::max(lease_under(policy), bytes));
  }
  write(note);
}

void ByteAccount::charge(const BearerPolicy& bearer, const std::string& purpose, uint64_t sent, uint64_t received, bool roaming, int64_t wall_ns) {
  ledger_.roll(bearer.name, wall_ns, bearer.reset_day);
  ledger_.charge(bearer.name, purpose, sent > 0 ? wire_bytes(sent) : kConnectBytes, received > 0 ? wire_bytes(received) : 0,
                 bearer.price_per_mb * (roaming ? bearer.roaming_factor : 1));
}

BearerUse ByteAccount::use(const BearerPolicy& bearer, int64_t wall_ns) const {
  BearerUse use = ledger_.use(bearer.name);
  Ledger::roll(use, wall_ns, bearer.reset_day);
  return use;
}

void ByteAccount::write_exactly() {
  if (!ledger_.all().empty()) write(ledger_.encode());
}

void ByteAccount::write(const std::string& note) {
  storage::Effect effect;
  effect.notes.emplace_back(kNote, note);
  if (auto written = store_.commit(effect); !written.ok()) log::warn("sync", "the count of bytes could not be written: {}", written.error().message);
}

}  // namespace skerry::sync::internal
