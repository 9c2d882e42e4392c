#include "sync/downloads.h"
#include "sync/internal/syncer_impl.h"

namespace skerry::sync {
namespace {

constexpr const char* kSoftware = "skerry 0.1.0";
constexpr size_t kModelsBytesMax = 1500;   // of a HELLO where bytes are counted
constexpr uint64_t kQuestionBytes = 1200;  // on the wire, of a question about a range

}  // namespace

Duration Syncer::Impl::say_hello() {
  const storage::Identity identity = store.identity();
  const auto backlog = store.outbox_status();
  Hello hello{.node = identity.node, .epoch = identity.epoch, .software = kSoftware};
  for (const auto& s : backlog) {
    hello.positions.push_back({s.outbox_class, s.acked_seq + 1, s.last_seq, oldest_kept(s)});
    hello.backlog_bytes += s.bytes;
  }
  if (environment.describe) hello.models = environment.describe();
  const uint64_t bytes = keep_small(hello);
  auto reply = exchange(wire_bytes(bytes), [&] { return uplink->hello(hello); });
  if (!reply.ok()) return failed(reply.error());
  return take_hello(*reply, backlog, identity);
}

uint64_t Syncer::Impl::keep_small(Hello& hello) {
  size_t bytes = 0, n = 0;
  while (n < hello.models.size() && bytes + hello.models[n].size() + 4 <= kModelsBytesMax) bytes += hello.models[n++].size() + 4;
  hello.models.resize(n);
  return bytes + 400;
}

Duration Syncer::Impl::take_hello(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity) {
  std::map<OutboxClass, uint64_t> held;
  for (const Watermark& w : reply.watermarks) held[w.outbox_class] = w.seq;
  hub_takes_losses = reply.takes_losses;
  count_losses(reply);  // it says so once, whatever else becomes of this HELLO
  if (reply.ended) {
    if (fresh_epoch == identity.epoch) return failed(fail(Code::corrupt, "hub '{}' says that an epoch has ended that began here: is it a Skerry hub?", reply.hub));
    return new_epoch("this disk's epoch was ended by this node, or by another with its name: a new one begins");
  }
  for (const Watermark& w : reply.watermarks) {
    const auto& s = of(backlog, w.outbox_class);
    if (contradicts(w.seq, w.chain)) {
      return failed(fail(Code::corrupt, "hub '{}' says that it holds {} up to {} and speaks of its history up to {}", reply.hub,
                         storage::to_string(w.outbox_class), w.seq, w.chain.seq));
    }
    if (w.seq < s.acked_seq || w.seq > s.last_seq) continue;
    auto same = same_history(s, w);
    if (!same.ok()) return failed(same.error());
    if (!*same) return another_history(w.outbox_class, w.seq);
  }
  for (const auto& s : backlog) {
    const char* name = storage::to_string(s.outbox_class);
    if (!held.contains(s.outbox_class)) return failed(fail(Code::corrupt, "hub '{}' says nothing of class {}", reply.hub, name));
    const uint64_t w = held[s.outbox_class];
    if (w > s.last_seq) return hub_knows_more(reply, s, w, identity);
    if (w < s.acked_seq && w + 1 < oldest_kept(s)) {
      return failed(fail(Code::corrupt, "hub '{}' holds {} only up to {}, but {} were acknowledged and are no longer here: the hub must "
                         "declare the loss", reply.hub, name, w, s.acked_seq));
    }
  }
  for (const auto& s : backlog) {
    const uint64_t w = held[s.outbox_class];
    if (w > s.acked_seq) {
      if (auto status = acknowledged(s.outbox_class, w); !status.ok()) return failed(status.error());
    }
    ClassState& state = outgoing.of(s.outbox_class);
    goes_again(reply, s, w);
    state.next = w + 1;
    state.highest_sent = std::max(state.highest_sent, w);
    state.gap_answered = false;
  }
  chains.keep();
  wanted.assign(reply.wanted.begin(), reply.wanted.end());
  if (environment.downloads != nullptr) environment.downloads->offered(reply.offers);
  greeted = true;
  bool behind = false;
  for (const auto& s : backlog) behind = behind || held[s.outbox_class] < s.last_seq;
  if (!behind) progress(policy.bearers[at].name);  // with something to send, only a batch that arrives proves that all is well again
  declare(reply, backlog, identity);
  return Duration::zero();
}

void Syncer::Impl::goes_again(const HelloReply& reply, const storage::OutboxStatus& s, uint64_t held) {
  std::lock_guard lock(mutex);
  again_from.erase(s.outbox_class);
  if (held >= s.acked_seq) return;
  again_from[s.outbox_class] = held + 1;
  for (const Watermark& w : reply.watermarks) {
    if (w.outbox_class == s.outbox_class) chains.begin_at(s.outbox_class, held, w.chain);
  }
  log::warn("sync", "hub '{}' lost {} {} to {}: they are still here and go again", reply.hub, storage::to_string(s.outbox_class), held + 1, s.acked_seq);
}

void Syncer::Impl::declare(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity) {
  if (!reply.new_epoch) return;
  uint64_t acked = 0;
  for (const Watermark& w : reply.watermarks) {
    const storage::OutboxStatus& s = of(backlog, w.outbox_class);
    acked += std::min(w.seq, s.acked_seq);
    if (fresh_epoch != identity.epoch) continue;
    const uint64_t floor = floors.of(w.outbox_class), kept = oldest_kept(s);  // it had said that it holds these, and when the epoch began it did not
    if (kept > floor + 1 && s.acked_seq > floor) lost_at_hub(reply.hub, {w.outbox_class, floor + 1, kept - 1});
  }
  if (acked > 0 && fresh_epoch != identity.epoch) {
    note_error(fmt::format("hub '{}' has never heard of this node: the {} entries acknowledged so far are at another hub, or lost with its disk",
                           reply.hub, acked));
  }
}

void Syncer::Impl::count_losses(const HelloReply& reply) {
  for (const Loss& loss : reply.losses) lost_at_hub(reply.hub, loss);
}

void Syncer::Impl::lost_at_hub(const std::string& hub, const Loss& range) {
  const uint64_t entries = range.last_seq - range.first_seq + 1;
  note_error(fmt::format("hub '{}' lost {} entries of {} ({} to {}) that it had acknowledged: they are no longer in this outbox; look for "
                         "a backup of the hub, or at this node's own records", hub, entries, storage::to_string(range.outbox_class), range.first_seq,
                         range.last_seq));
  std::lock_guard lock(mutex);
  seen.lost_at_hub += entries;
}

uint64_t Syncer::Impl::oldest_kept(const storage::OutboxStatus& s) const {
  const uint64_t floor = floors.of(s.outbox_class);
  if (s.acked_seq <= floor) return s.acked_seq + 1;
  auto kept = store.outbox_read(s.outbox_class, 0, 1);
  return kept.ok() && !kept->empty() ? std::clamp(kept->front().seq, floor + 1, s.acked_seq + 1) : s.acked_seq + 1;
}

Duration Syncer::Impl::another_history(OutboxClass outbox_class, uint64_t seq) {
  const char* name = storage::to_string(outbox_class);
  if (fresh_epoch == store.identity().epoch) {
    return failed(fail(Code::corrupt, "the hub has another {} {} than this node, in an epoch that began here: is it a Skerry hub?", name, seq));
  }
  return new_epoch(fmt::format("the hub has another {} {} than this node: an old disk image was restored, or another device has its name; a new epoch "
                                     "begins", name, seq));
}

Duration Syncer::Impl::hub_knows_more(const HelloReply& reply, const storage::OutboxStatus& s, uint64_t watermark, const storage::Identity& identity) {
  const char* name = storage::to_string(s.outbox_class);
  if (fresh_epoch == identity.epoch) {
    return failed(fail(Code::corrupt, "hub '{}' claims {} up to {}, of an epoch that it cannot know: is it a Skerry hub?", reply.hub, name, watermark));
  }
  auto there = holds_any(s.outbox_class, s.last_seq + 1, watermark, Epochs::this_one);
  if (!there.ok()) return failed(there.error());
  if (!*there) {
    return failed(fail(Code::corrupt, "hub '{}' claims {} up to {} and holds nothing behind {}: is it a Skerry hub?", reply.hub, name, watermark, s.last_seq));
  }
  return new_epoch(fmt::format("hub '{}' holds {} up to {}, this store only queued up to {}: an old disk image was restored, a new epoch begins",
                                     reply.hub, name, watermark, s.last_seq));
}

Duration Syncer::Impl::new_epoch(const std::string& cause) {
  if (auto ended = end_epoch(); !ended.ok()) return failed(ended.error());
  std::map<OutboxClass, uint64_t> shown;
  for (const auto& s : store.outbox_status()) {
    auto shared = shared_history(s);
    if (!shared.ok()) return failed(shared.error());
    if (auto status = store.outbox_acknowledge(s.outbox_class, *shared); !status.ok()) return failed(status.error());
    shown[s.outbox_class] = *shared;
  }
  return fence(shown, cause);
}

Duration Syncer::Impl::fence(const std::map<OutboxClass, uint64_t>& shown, const std::string& cause) {
  if (auto kept = floors.raise(shown); !kept.ok()) return failed(kept.error());
  log::warn("sync", "{}", cause);
  if (auto begun = store.begin_epoch(); !begun.ok()) return failed(begun.error());
  fresh_epoch = store.identity().epoch;
  chains.forget();
  drop_flights();
  outgoing.forget();
  greeted = false;
  std::lock_guard lock(mutex);
  blocked.clear();
  ++seen.epochs_begun;
  return Duration::zero();
}

Result<bool> Syncer::Impl::same_history(const storage::OutboxStatus& s, const Watermark& w) {
  const internal::Histories found = chains.compare(w.outbox_class, w.seq, w.chain);
  if (found != internal::Histories::unknown || w.seq == s.acked_seq) return found != internal::Histories::other;
  SKERRY_ASSIGN(auto items, store.outbox_read(w.outbox_class, w.seq, 1));
  if (items.empty() || items.front().seq != w.seq || items.front().kind == storage::EntryKind::lost || items.front().records == 0) return true;
  auto same = is_at_hub(w.outbox_class, items.front(), Epochs::this_one);
  if (!same.ok() && unknown_question(same.error())) return true;
  return same;
}

Result<uint64_t> Syncer::Impl::shared_history(const storage::OutboxStatus& s) {
  uint64_t lo = oldest_kept(s), hi = s.last_seq, shared = lo - 1;
  while (lo <= hi) {
    const uint64_t middle = lo + (hi - lo) / 2;
    SKERRY_ASSIGN(auto items, store.outbox_read(s.outbox_class, middle, 1));
    if (!items.empty() && items.front().kind == storage::EntryKind::lost) {  // nothing of it is here: what comes behind it tells
      const uint64_t behind = items.front().last_seq + 1;
      if (behind > hi) {
        hi = middle - 1;
        continue;
      }
      SKERRY_ASSIGN(items, store.outbox_read(s.outbox_class, behind, 1));
    }
    if (items.empty()) return fail(Code::internal, "the outbox gives no {} {}: run `skerry fsck`", storage::to_string(s.outbox_class), middle);
    const storage::OutboxItem& item = items.front();
    auto same = is_at_hub(s.outbox_class, item, Epochs::all);
    if (!same.ok() && unknown_question(same.error())) return std::max(shared, s.acked_seq);
    if (!same.ok()) return same.error();
    if (*same) {
      shared = item.seq, lo = item.seq + 1;
      continue;
    }
    // The hub may hold later ones all the same, behind a loss in its history.
    SKERRY_ASSIGN(const std::optional<uint64_t> later, first_held(s.outbox_class, item.seq + 1, hi));
    if (!later) {
      hi = middle - 1;
      continue;
    }
    SKERRY_ASSIGN(items, store.outbox_read(s.outbox_class, *later, 1));
    SKERRY_ASSIGN(const bool same_later, items.empty() ? Result<bool>(false) : is_at_hub(s.outbox_class, items.front(), Epochs::all));
    if (same_later) shared = items.front().seq, lo = items.front().end_seq() + 1;
    else hi = middle - 1;
  }
  return shared;
}

// By halves too. Nothing when the hub holds none of them.
Result<std::optional<uint64_t>> Syncer::Impl::first_held(OutboxClass outbox_class, uint64_t first, uint64_t last) {
  for (; first <= last; first += kRangeMax) {
    uint64_t lo = first, hi = std::min(last, first + kRangeMax - 1);
    SKERRY_ASSIGN(bool any, holds_any(outbox_class, lo, hi, Epochs::all));
    if (!any) continue;
    while (lo < hi) {
      const uint64_t middle = lo + (hi - lo) / 2;
      SKERRY_ASSIGN(any, holds_any(outbox_class, lo, middle, Epochs::all));
      if (any) hi = middle;
      else lo = middle + 1;
    }
    return std::optional(lo);
  }
  return std::optional<uint64_t>{};
}

// Late batches of an ended epoch would arrive beside the same entries under the new one.
Status Syncer::Impl::end_epoch() {
  const storage::Identity identity = store.identity();
  const RangeAsk ask{.node = identity.node, .epoch = identity.epoch, .ends_epoch = true};
  auto reply = exchange(kQuestionBytes, [&] { return uplink->range(ask); });
  return reply.ok() || unknown_question(reply.error()) ? Status() : reply.error();
}

// A hub that cannot answer is believed.
Result<bool> Syncer::Impl::holds_any(OutboxClass outbox_class, uint64_t first, uint64_t last, Epochs epochs) {
  const storage::Identity identity = store.identity();
  const RangeAsk ask{.node = identity.node, .epoch = identity.epoch, .outbox_class = outbox_class, .first_seq = first,
                     .last_seq = std::min(last, first + kRangeMax - 1), .all_epochs = epochs == Epochs::all};
  auto reply = exchange(kQuestionBytes, [&] { return uplink->range(ask); });
  if (!reply.ok() && unknown_question(reply.error())) return true;
  if (!reply.ok()) return reply.error();
  return reply->count > 0;
}

Result<bool> Syncer::Impl::is_at_hub(OutboxClass outbox_class, const storage::OutboxItem& item, Epochs epochs) {
  const storage::Identity identity = store.identity();
  const uint64_t digest = digest_after(kFirstChain, item);
  const RangeAsk ask{.node = identity.node, .epoch = identity.epoch, .outbox_class = outbox_class, .first_seq = item.seq, .last_seq = item.seq,
                     .digest = epochs == Epochs::all ? digest : 0};
  SKERRY_ASSIGN(const RangeReply reply, exchange(kQuestionBytes, [&] { return uplink->range(ask); }));
  return reply.count == 1 && reply.digest == digest;
}

}  // namespace skerry::sync
