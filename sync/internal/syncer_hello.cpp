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
  for (const Watermark& w : reply.watermarks) {
    const auto& s = of(backlog, w.outbox_class);
    if (contradicts(w.seq, w.chain)) {
      return failed(fail(Code::corrupt, "hub '{}' says that it holds {} up to {} and speaks of its history up to {}", reply.hub,
                         storage::to_string(w.outbox_class), w.seq, w.chain.seq));
    }
    if (w.seq < s.acked_seq || w.seq > s.last_seq) continue;
    auto same = same_history(s, w);
    if (!same.ok()) return failed(same.error());
    if (!*same) return another_history(held, w.outbox_class, w.seq);
  }
  for (const auto& s : backlog) {
    const char* name = storage::to_string(s.outbox_class);
    if (!held.contains(s.outbox_class)) return failed(fail(Code::corrupt, "hub '{}' says nothing of class {}", reply.hub, name));
    const uint64_t w = held[s.outbox_class];
    if (w > s.last_seq) return hub_knows_more(reply, held, s, w, identity);
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
  uint64_t acked = 0;
  for (const Watermark& w : reply.watermarks) acked += std::min(w.seq, of(backlog, w.outbox_class).acked_seq);
  if (reply.new_epoch && acked > 0 && fresh_epoch != identity.epoch) {
    note_error(fmt::format("hub '{}' has never heard of this node: the {} entries acknowledged so far are at another hub, or lost with its disk",
                           reply.hub, acked));
  }
  for (const Loss& loss : reply.losses) {
    const uint64_t entries = loss.last_seq - loss.first_seq + 1;
    note_error(fmt::format("hub '{}' lost {} entries of {} ({} to {}) that it had acknowledged: they are no longer in this outbox; look for "
                           "a backup of the hub, or at this node's own records", reply.hub, entries,
                           storage::to_string(loss.outbox_class), loss.first_seq, loss.last_seq));
    std::lock_guard lock(mutex);
    seen.lost_at_hub += entries;
  }
}

uint64_t Syncer::Impl::oldest_kept(const storage::OutboxStatus& s) const {
  const uint64_t floor = floors.of(s.outbox_class);
  if (s.acked_seq <= floor) return s.acked_seq + 1;
  auto kept = store.outbox_read(s.outbox_class, 0, 1);
  return kept.ok() && !kept->empty() ? std::clamp(kept->front().seq, floor + 1, s.acked_seq + 1) : s.acked_seq + 1;
}

Duration Syncer::Impl::another_history(const std::map<OutboxClass, uint64_t>& held, OutboxClass outbox_class, uint64_t seq) {
  const char* name = storage::to_string(outbox_class);
  if (fresh_epoch == store.identity().epoch) {
    return failed(fail(Code::corrupt, "the hub has another {} {} than this node, in an epoch that began here: is it a Skerry hub?", name, seq));
  }
  return new_epoch(held, fmt::format("the hub has another {} {} than this node: an old disk image was restored, or another device has its name; a new epoch "
                                     "begins", name, seq));
}

Duration Syncer::Impl::hub_knows_more(const HelloReply& reply, const std::map<OutboxClass, uint64_t>& held, const storage::OutboxStatus& s, uint64_t watermark,
                        const storage::Identity& identity) {
  const char* name = storage::to_string(s.outbox_class);
  if (fresh_epoch == identity.epoch) {
    return failed(fail(Code::corrupt, "hub '{}' claims {} up to {}, of an epoch that it cannot know: is it a Skerry hub?", reply.hub, name, watermark));
  }
  return new_epoch(held, fmt::format("hub '{}' holds {} up to {}, this store only queued up to {}: an old disk image was restored, a new epoch begins",
                                     reply.hub, name, watermark, s.last_seq));
}

Duration Syncer::Impl::new_epoch(const std::map<OutboxClass, uint64_t>& held, const std::string& cause) {
  for (const auto& s : store.outbox_status()) {
    auto w = held.find(s.outbox_class);
    auto shared = shared_history(s, w == held.end() ? 0 : w->second);
    if (!shared.ok()) return failed(shared.error());
    if (auto status = store.outbox_acknowledge(s.outbox_class, *shared); !status.ok()) return failed(status.error());
  }
  return fence(cause);
}

Duration Syncer::Impl::fence(const std::string& cause) {
  if (auto kept = floors.raise(store.outbox_status()); !kept.ok()) return failed(kept.error());
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
  auto same = is_at_hub(w.outbox_class, items.front());
  if (!same.ok() && unknown_question(same.error())) return true;
  return same;
}

Result<uint64_t> Syncer::Impl::shared_history(const storage::OutboxStatus& s, uint64_t hub_last) {
  uint64_t shared = s.acked_seq, lo = s.acked_seq + 1, hi = std::min(hub_last, s.last_seq);
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
    auto same = is_at_hub(s.outbox_class, item);
    if (!same.ok() && unknown_question(same.error())) return shared;
    if (!same.ok()) return same.error();
    if (*same) shared = item.seq, lo = item.seq + 1;
    else hi = middle - 1;
  }
  return shared;
}

Result<bool> Syncer::Impl::is_at_hub(OutboxClass outbox_class, const storage::OutboxItem& item) {
  const storage::Identity identity = store.identity();
  const RangeAsk ask{identity.node, identity.epoch, outbox_class, item.seq, item.seq};
  SKERRY_ASSIGN(const RangeReply reply, exchange(kQuestionBytes, [&] { return uplink->range(ask); }));
  return reply.count == 1 && reply.digest == digest_after(kFirstChain, item);
}

}  // namespace skerry::sync
