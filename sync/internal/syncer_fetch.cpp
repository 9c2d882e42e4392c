#include <algorithm>

#include "sync/downloads.h"
#include "sync/internal/syncer_impl.h"

namespace skerry::sync {
namespace {

constexpr uint64_t kChunkBytesMin = 4 << 10, kChunkHeadBytes = 1200;  // what the question and the answer have beside the piece
constexpr Duration kRetryAfter = std::chrono::minutes(1);              // what cannot be written or installed just now

}  // namespace

ClassDecision Syncer::Impl::as_if_waiting(const Situation& s, OutboxClass outbox_class, uint64_t bytes) const {
  Situation more = s;
  for (auto& b : more.backlog) {
    if (b.outbox_class != outbox_class || b.last_seq > b.acked_seq) continue;
    b.last_seq = b.acked_seq + 1;
    b.entries = 1;
    b.bytes = bytes;
    b.oldest_ns = s.wall_ns;
  }
  const auto decisions = decide(policy, more);
  return *std::find_if(decisions.begin(), decisions.end(), [&](const ClassDecision& d) { return d.outbox_class == outbox_class; });
}

std::optional<Duration> Syncer::Impl::repair(const Situation& s) {
  if (wanted.empty() || !flights.empty()) return {};
  const Loss range = wanted.front();
  const ClassDecision d = as_if_waiting(s, range.outbox_class, kChunkBytesMin);
  if (!d.send) return {};
  auto batch = outgoing.cut_again(range, std::min<uint64_t>(d.bytes_max, kChunkBytesMax));
  if (!batch.ok() || internal::batch_wire(internal::payload_of(*batch)) > d.wire_left) {
    wanted.pop_front();  // the next HELLO says whether it is still wanted
    return Duration::zero();
  }
  wanted.front().first_seq = batch->entries.back().end_seq() + 1;
  if (wanted.front().first_seq > range.last_seq) wanted.pop_front();
  at = d.bearer;
  launch(*std::move(batch), Flight{.ticket = ++tickets, .repair = true}, true);
  return Duration::zero();
}

std::optional<Duration> Syncer::Impl::fetch(const Situation& s, std::optional<SteadyTime>& next) {
  Downloads* downloads = environment.downloads;
  const uint64_t left = downloads == nullptr ? 0 : downloads->bytes_left();
  if (left == 0) {
    fetched_at = s.now;
    return {};
  }
  auto sooner = [&](SteadyTime when) { next = std::min(next.value_or(SteadyTime::max()), when); };
  if (s.now < fetch_retry_at) return sooner(fetch_retry_at), std::nullopt;
  const ClassDecision d = as_if_waiting(s, OutboxClass::model, left);  // what comes down costs what goes up costs
  if (!d.send || d.wire_left < kChunkHeadBytes + kChunkBytesMin) {
    if (d.not_before && *d.not_before > s.now) sooner(*d.not_before);
    return {};
  }
  if (!flights.empty()) return wait_for_answers();
  const uint64_t bytes = std::clamp<uint64_t>(std::min(d.bytes_max, d.wire_left - kChunkHeadBytes), kChunkBytesMin, kChunkBytesMax);
  const auto ask = downloads->next(store.identity().node, static_cast<uint32_t>(bytes));
  fetched_at = clock.steady();
  if (!ask) {
    if (downloads->bytes_left() > 0) fetch_retry_at = fetched_at + kRetryAfter;
    return Duration::zero();
  }
  at = d.bearer;
  auto reply = exchange(wire_bytes(bytes) + kChunkHeadBytes, [&] { return uplink->chunk(*ask); }, "model");
  if (!reply.ok() && (reply.error().code == Code::not_found || reply.error().code == Code::invalid)) {
    downloads->gone(*ask, reply.error());
    return Duration::zero();
  }
  if (!reply.ok()) return failed(reply.error());
  if (auto kept = downloads->came(*ask, *reply); !kept.ok()) {
    note_error(kept.error().message);
    if (kept.error().code == Code::invalid) downloads->gone(*ask, kept.error());
    fetch_retry_at = clock.steady() + kRetryAfter;
  }
  return Duration::zero();
}

}  // namespace skerry::sync
