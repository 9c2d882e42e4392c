#include <utility>

#include "base/check.h"
#include "sync/internal/syncer_impl.h"

namespace skerry::sync {
namespace {

constexpr uint64_t kAnswerBytes = 600;  // on the wire

}  // namespace

void Syncer::Impl::block(OutboxClass outbox_class, const std::string& reason) {
  ClassState& state = outgoing.of(outbox_class);
  state.blocked_until = clock.steady() + internal::next_backoff(state.backoff, options, random);
  note_error(reason);
  std::lock_guard lock(mutex);
  ++seen.failures;
  blocked[outbox_class] = reason;
}

Status Syncer::Impl::acknowledged(OutboxClass outbox_class, uint64_t seq) {
  SKERRY_ASSIGN(const uint64_t records, outgoing.acknowledged(outbox_class, seq, chains.note()));
  std::lock_guard lock(mutex);
  blocked.erase(outbox_class);
  seen.records += records;
  return {};
}

Duration Syncer::Impl::begin(const ClassDecision& decision) {
  const OutboxClass outbox_class = decision.outbox_class;
  at = decision.bearer;
  auto cut = outgoing.cut(decision, hub_takes_losses);
  if (!cut.ok()) return failed(cut.error());
  if (!cut->too_large.empty()) {
    block(outbox_class, cut->too_large);
    return Duration::zero();
  }
  outgoing.sent(cut->batch);
  fresh_epoch = 0;
  launch(std::move(cut->batch), Flight{.ticket = ++tickets, .rides = decision.rides}, cut->again);
  return collect(Duration::zero()).value_or(Duration::zero());
}

void Syncer::Impl::launch(Batch batch, Flight flight, bool again) {
  const OutboxClass outbox_class = batch.outbox_class;
  flight.batch = headers_of(batch);
  flight.payload = internal::payload_of(batch);
  flight.bearer = policy.bearers[at].name;
  flight.begun = clock.steady();
  flight.window = flights.payload(flight.bearer) + flight.payload;
  flight.delivered_body = bearers[at].delivered_body;
  flight.delivered_payload = bearers[at].delivered_payload;
  account.reserve(mutex, policy, policy.bearers[at], flights.reserved(flight.bearer) + internal::batch_wire(flight.payload), clock.now_ns());
  {
    std::lock_guard lock(mutex);
    uplink->use(route(at));
  }
  flight.body = uplink->begin(flight.ticket, std::move(batch), internal::lane_of(outbox_class));
  flight.reserved = wire_bytes(flight.body) + kAnswerBytes;
  std::lock_guard lock(mutex);
  ++seen.batches;
  seen.repeated += again;
  history[index_of(outbox_class)] = {flight.begun, flight.begun, wire_bytes(flight.body)};
  bucket.charge(flight.begun, flight.body);
  bearers[at].rate.began(flight.begun, flight.window);
  flights.add(std::move(flight));
}

Batch Syncer::Impl::headers_of(const Batch& batch) {
  Batch out{batch.node, batch.epoch, batch.outbox_class, {}};
  out.entries.reserve(batch.entries.size());
  for (const auto& i : batch.entries) {
    out.entries.push_back({.seq = i.seq, .kind = i.kind, .subject = {}, .payload = {}, .records = i.records, .queued_ns = i.queued_ns, .last_seq = i.last_seq,
                           .reason = i.reason});
  }
  return out;
}

std::optional<Duration> Syncer::Impl::collect(Duration at_most) {
  if (flights.empty()) return {};
  std::vector<std::pair<Flight, Result<BatchReply>>> landed;
  for (Answer& answer : uplink->answers(at_most)) {
    if (auto flight = land(answer)) landed.emplace_back(*std::move(flight), std::move(answer.reply));
  }
  if (landed.empty()) return {};
  Duration wait{0};
  for (auto& [flight, reply] : landed) {
    if (!greeted) break;  // one before it gave reason to ask for the watermarks: they tell of the others
    if (const BearerState* bearer = bearers.find(flight.bearer)) at = static_cast<size_t>(bearer - &bearers[0]);
    wait = std::max(wait, reply.ok() ? take_reply(flight, *reply) : take_failure(flight, reply.error()));
  }
  return wait;
}

std::optional<internal::Flight> Syncer::Impl::land(const Answer& answer) {
  std::lock_guard lock(mutex);
  std::optional<Flight> flight = flights.take(answer.ticket);
  if (!flight) return {};
  const SteadyTime now = clock.steady();
  bucket.give_back(now, flight->body - std::min(flight->body, answer.traffic.sent));
  seen.traffic = uplink->traffic();
  charge(flight->bearer, storage::to_string(flight->batch.outbox_class), answer.traffic.sent, answer.traffic.received);
  BearerState* bearer = bearers.find(flight->bearer);
  if (bearer == nullptr) return flight;
  bearer->last_exchange = now;
  if (!flight->rides) bearer->woken_at = now;
  if (!answer.reply.ok()) return flight;
  seen.online = bearer->online = true;
  bearer->delivered_body += answer.traffic.sent;
  bearer->delivered_payload += flight->payload;
  bearer->rate.answered({.begun = flight->begun, .now = now, .payload = flight->payload,
                         .delivered_body = bearer->delivered_body - flight->delivered_body,
                         .delivered_payload = bearer->delivered_payload - flight->delivered_payload, .window = flight->window}, policy.batch_time);
  return flight;
}

void Syncer::Impl::drop_flights() {
  if (flights.empty()) return;
  for (const Answer& answer : uplink->give_up()) (void)land(answer);
  SKERRY_CHECK(flights.empty(), "the uplink tells of every batch that it gave up");
}

Duration Syncer::Impl::take_failure(const Flight& flight, const Error& error) {
  if (error.code == Code::invalid && !flight.repair) {
    std::lock_guard lock(mutex);
    outgoing.refused(flight.batch, error.message);
  }
  return failed(error);
}

Duration Syncer::Impl::take_reply(const Flight& flight, const BatchReply& reply) {
  if (flight.repair) return Duration::zero();
  const OutboxClass outbox_class = flight.batch.outbox_class;
  const uint64_t first = flight.first(), last = flight.last();
  ClassState& state = outgoing.of(outbox_class);
  const char* name = storage::to_string(outbox_class);
  auto nonsense = [&] {
    return failed(fail(Code::corrupt, "the hub answers '{}' with watermark {} to {} {} to {}, of which {} is the highest ever sent: ignored",
                       to_string(reply.outcome), reply.watermark, name, first, last, state.highest_sent));
  };
  switch (reply.outcome) {
    case BatchOutcome::applied:
    case BatchOutcome::duplicate: {
      if (reply.watermark < last || reply.watermark > state.highest_sent || contradicts(reply.watermark, reply.chain)) return nonsense();
      if (reply.watermark > of(store.outbox_status(), outbox_class).acked_seq) {  // else an answer behind a later one
        if (chains.compare(outbox_class, reply.watermark, reply.chain, flight.batch) == internal::Histories::other) {
          return doubt(fail(Code::unavailable, "the hub has another {} {} than this node", name, reply.watermark));
        }
        if (auto status = acknowledged(outbox_class, reply.watermark); !status.ok()) return failed(status.error());
      }
      held_again(outbox_class, reply.watermark);
      progress(flight.bearer);
      return Duration::zero();
    }
    case BatchOutcome::gap: {
      if (flight.stale) return Duration::zero();
      if (reply.watermark + 1 >= first || contradicts(reply.watermark, reply.chain)) return nonsense();
      const uint64_t acked = of(store.outbox_status(), outbox_class).acked_seq;
      if (reply.watermark < acked || state.gap_answered) {
        return doubt(fail(Code::unavailable, "the hub holds {} only up to {}, {} were acknowledged", name, reply.watermark, acked));
      }
      state.gap_answered = true;
      go_back(outbox_class, reply.watermark + 1);
      return Duration::zero();
    }
    case BatchOutcome::unknown_epoch:
      return doubt(fail(Code::unavailable, "the hub does not know this node's epoch"));
    case BatchOutcome::refused: {
      if (flight.stale) return Duration::zero();
      go_back(outbox_class, first);
      const bool again = [&] {
        std::lock_guard lock(mutex);
        return outgoing.refused(flight.batch, reply.message);
      }();
      if (!again) block(outbox_class, fmt::format("the hub refuses {} {} to {}: {}", name, first, last, reply.message));
      return Duration::zero();
    }
  }
  return nonsense();
}

void Syncer::Impl::held_again(OutboxClass outbox_class, uint64_t watermark) {
  std::lock_guard lock(mutex);
  auto found = again_from.find(outbox_class);
  if (found != again_from.end()) found->second = std::max(found->second, watermark + 1);
}

void Syncer::Impl::go_back(OutboxClass outbox_class, uint64_t seq) {
  outgoing.of(outbox_class).next = seq;
  std::lock_guard lock(mutex);
  flights.make_stale(outbox_class);
}

}  // namespace skerry::sync
