#include "sync/syncer.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/random.h"
#include "sync/internal/bearers.h"
#include "sync/internal/byte_account.h"
#include "sync/internal/chain.h"
#include "sync/internal/dead_letters.h"
#include "sync/internal/epoch_floors.h"
#include "sync/internal/flights.h"
#include "sync/internal/outgoing.h"
#include "sync/internal/token_bucket.h"

namespace skerry::sync {
namespace {

using internal::BearerState;
using internal::ClassState;
using internal::Flight;
using storage::OutboxClass;

constexpr const char* kSoftware = "skerry 0.1.0";
constexpr Duration kIdlePoll = std::chrono::milliseconds(200);    // while switched off or held
constexpr Duration kAnswersPoll = std::chrono::milliseconds(50);  // what is queued meanwhile waits as long as this at most
constexpr size_t kModelsBytesMax = 1500;                           // of a HELLO where bytes are counted
constexpr uint64_t kAnswerBytes = 600;                             // on the wire
constexpr uint64_t kQuestionBytes = 1200;                          // on the wire, of a question about a range
constexpr uint64_t kAgainBytes = 256;                              // taken for an entry that goes again

}  // namespace

struct Syncer::Impl {
  Impl(storage::Store& s, std::unique_ptr<Uplink> u, const Options& o, const Clock& c, uint64_t seed, Environment e)
      : store(s), uplink(std::move(u)), options(o), clock(c), environment(std::move(e)), random(seed), chains(s), floors(s), outgoing(s, dead), dead(s), bucket(o, c.steady()),
        account(s) {
    seen.enabled = options.enabled;
    seen.hub = options.hub;
    for (ClassHistory& h : history) h.turn_at = clock.steady();
    adopt(options.policy);
  }

  storage::Store& store;
  std::unique_ptr<Uplink> uplink;
  const Options options;
  const Clock& clock;
  const Environment environment;

  // --- of the thread that calls step()
  Random random;
  internal::Chains chains;
  internal::EpochFloors floors;
  internal::Outgoing outgoing;
  bool greeted = false;             // a HELLO was answered since the last doubt
  bool hub_takes_losses = false;    // as it said in its last HELLO
  uint64_t fresh_epoch = 0;         // begun here, and nothing of it sent yet
  bool gave_reason_to_doubt = false;  // since the last progress
  size_t at = 0;                    // bearer of the HELLO or batch that begins, or of the answer that is looked at
  uint64_t tickets = 0;             // given out so far

  // --- of any thread
  mutable std::mutex mutex;
  internal::DeadLetters dead;
  SyncStatus seen;                  // without what is made when asked for
  Policy policy;                    // changed in step() alone
  std::optional<Policy> next_policy;
  internal::Bearers bearers;        // as in the policy
  internal::Flights flights;
  std::array<ClassHistory, std::size(storage::kOutboxClasses)> history;
  std::map<OutboxClass, std::string> blocked;  // why
  std::map<OutboxClass, uint64_t> again_from;  // the hub lost what it had acknowledged from here on, and gets it again
  internal::TokenBucket bucket;
  internal::ByteAccount account;

  // ------------------------------------------------------------------ the policy and what it looks at

  void adopt(Policy next) {  // with the mutex, or while nobody else knows this object
    bearers.adopt(next, clock.steady());
    policy = std::move(next);
    at = 0;
  }

  Situation situation(const Policy& under, const std::vector<storage::OutboxStatus>& backlog) const {  // with the mutex
    const SteadyTime now = clock.steady();
    Situation s{.enabled = options.enabled, .held = seen.held, .now = now, .wall_ns = clock.now_ns(), .bearers = {}, .backlog = backlog,
                .history = history, .on_the_way = {}, .tokens = bucket.at(now), .token_rate = options.rate_bytes_per_second,
                .token_burst = options.burst_bytes, .batch_bytes_max = options.batch_bytes_max, .revoked = seen.revoked};
    for (OutboxClass c : storage::kOutboxClasses) s.on_the_way[index_of(c)] = flights.of(c);
    for (auto& b : s.backlog) {  // acknowledged, but the hub lost it
      const auto found = again_from.find(b.outbox_class);
      if (found == again_from.end() || found->second > b.acked_seq) continue;
      const uint64_t entries = b.acked_seq + 1 - found->second;
      if (b.entries == 0) b.oldest_ns = s.wall_ns;
      b.acked_seq = found->second - 1;
      b.entries += entries;
      b.bytes += entries * kAgainBytes;
    }
    if (environment.device) {
      const DeviceFacts device = environment.device();
      s.battery = device.battery;
      s.on_mains = device.on_mains;
      s.temperature = device.temperature;
      s.cpu_idle = device.cpu_idle;
    }
    for (const BearerPolicy& b : under.bearers) s.bearers.push_back(bearer_situation(b, s.wall_ns));
    return s;
  }

  BearerSituation bearer_situation(const BearerPolicy& b, int64_t wall_ns) const {
    BearerSituation out;
    if (environment.link) out.link = environment.link(b);
    out.use = account.use(b, wall_ns);
    out.use.month_bytes += flights.reserved(b.name);  // as if it had gone already: a budget is not given out twice
    out.use.day_bytes += flights.reserved(b.name);
    out.on_the_way = flights.payload(b.name);
    out.flights = flights.count(b.name, false);
    out.urgent_flights = flights.count(b.name, true);
    if (const BearerState* known = bearers.find(b.name)) known->describe(out);
    else out.online = seen.online;  // a policy that is only tried: its new bearer is taken for the link there is
    return out;
  }

  void look_at_links(Situation& s) {  // with the mutex
    const bool back = bearers.look_at_links(s.bearers, s.now);
    for (size_t i = 0; i < bearers.size(); ++i) {
      s.bearers[i].online = bearers[i].online;
      s.bearers[i].retry_at = bearers[i].retry_at;
    }
    if (back && flights.empty()) uplink->link_changed();
    seen.online = bearers.any_online();
  }

  // ------------------------------------------------------------------ bytes

  // With the mutex. `sent` and `received` are bytes of bodies.
  void charge(const std::string& bearer, const std::string& purpose, uint64_t sent, uint64_t received) {
    for (const BearerPolicy& b : policy.bearers) {
      if (b.name != bearer) continue;
      const auto roaming = environment.link ? environment.link(b).roaming : std::nullopt;
      account.charge(b, purpose, sent, received, roaming.value_or(false), clock.now_ns());
      return;
    }
    account.charge({.name = bearer}, purpose, sent, received, false, clock.now_ns());  // the policy has changed since it went
  }

  Route route(size_t bearer) const {  // with the mutex
    const BearerPolicy& b = policy.bearers[bearer];
    return {b.name, b.device, b.mark, b.dscp};
  }

  // ------------------------------------------------------------------ reporting

  void note_error(const std::string& message) {
    std::lock_guard lock(mutex);
    if (seen.last_error != message) log::warn("sync", "{}", message);
    seen.last_error = message;
  }

  // The bearer of `at` is in trouble, and with it all that is on its way.
  Duration failed(const Error& error) {
    greeted = false;
    note_error(error.message);
    drop_flights();
    std::lock_guard lock(mutex);
    BearerState& bearer = bearers[at];
    const Duration wait = internal::next_backoff(bearer.backoff, options, random);
    ++seen.failures;
    bearer.failed(clock.steady(), wait);
    seen.online = bearers.any_online();
    return wait;
  }

  // The hub's state is not what was thought. Once is ordinary life (it was restarted, an answer was lost); again without any
  // progress between is a fault.
  Duration doubt(Error error) {
    greeted = false;
    if (gave_reason_to_doubt) return failed(error);
    gave_reason_to_doubt = true;
    drop_flights();
    log::info("sync", "{}: asking the hub for its watermarks", error.message);
    return Duration::zero();
  }

  void progress(const std::string& bearer) {
    gave_reason_to_doubt = false;
    std::lock_guard lock(mutex);
    if (BearerState* state = bearers.find(bearer)) state->progress(clock.steady());
    if (seen.lost_at_hub == 0 && blocked.empty()) seen.last_error.clear();
  }

  // The head of a class cannot go; that is no reason to stop the others.
  void block(OutboxClass outbox_class, const std::string& reason) {
    ClassState& state = outgoing.of(outbox_class);
    state.blocked_until = clock.steady() + internal::next_backoff(state.backoff, options, random);
    note_error(reason);
    std::lock_guard lock(mutex);
    ++seen.failures;
    blocked[outbox_class] = reason;
  }

  // ------------------------------------------------------------------ the hub's word, checked

  // Everything up to `seq` is held by the hub. Only called with what was really queued.
  Status acknowledged(OutboxClass outbox_class, uint64_t seq) {
    SKERRY_ASSIGN(const uint64_t records, outgoing.acknowledged(outbox_class, seq));
    std::lock_guard lock(mutex);
    blocked.erase(outbox_class);
    seen.records += records;
    return {};
  }

  static const storage::OutboxStatus& of(const std::vector<storage::OutboxStatus>& all, OutboxClass outbox_class) {
    auto found = std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.outbox_class == outbox_class; });
    SKERRY_CHECK(found != all.end(), "the store reports no class {}", storage::to_string(outbox_class));
    return *found;
  }

  Duration say_hello() {
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

  // An exchange over the bearer `at`: charges what went over the wire, answered or not.
  template <typename Call>
  std::invoke_result_t<Call> exchange(uint64_t bytes_at_most, Call call) {
    account.reserve(mutex, policy, policy.bearers[at], bytes_at_most, clock.now_ns());
    const Traffic before = uplink->traffic();
    const SteadyTime begun = clock.steady();
    {
      std::lock_guard lock(mutex);
      uplink->use(route(at));
    }
    auto reply = call();
    const Traffic traffic = uplink->traffic();
    const uint64_t sent = traffic.sent - before.sent, received = traffic.received - before.received;
    const SteadyTime now = clock.steady();
    std::lock_guard lock(mutex);
    bucket.charge(now, sent);
    seen.traffic = traffic;
    charge(policy.bearers[at].name, "control", sent, received);
    BearerState& bearer = bearers[at];
    bearer.last_exchange = now;
    bearer.woken_at = now;
    if (reply.ok()) {
      seen.online = bearer.online = true;
      bearer.rate.answered({.begun = begun, .now = now, .delivered_body = sent}, policy.batch_time);
    }
    return reply;
  }

  // What a HELLO has at most. The names of models are the first to go.
  static uint64_t keep_small(Hello& hello) {
    size_t bytes = 0, n = 0;
    while (n < hello.models.size() && bytes + hello.models[n].size() + 4 <= kModelsBytesMax) bytes += hello.models[n++].size() + 4;
    hello.models.resize(n);
    return bytes + 400;
  }

  Duration take_hello(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity) {
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

  // The chain is of another number than the watermark that it came with. A hub that knows of no chains names none.
  static bool contradicts(uint64_t watermark, const Chain& chain) { return chain.value != 0 && chain.seq != watermark; }

  // What the hub had acknowledged and lost, and this node still has.
  void goes_again(const HelloReply& reply, const storage::OutboxStatus& s, uint64_t held) {
    std::lock_guard lock(mutex);
    again_from.erase(s.outbox_class);
    if (held >= s.acked_seq) return;
    again_from[s.outbox_class] = held + 1;
    for (const Watermark& w : reply.watermarks) {
      if (w.outbox_class == s.outbox_class) chains.begin_at(s.outbox_class, held, w.chain);
    }
    log::warn("sync", "hub '{}' lost {} {} to {}: they are still here and go again", reply.hub, storage::to_string(s.outbox_class), held + 1, s.acked_seq);
  }

  // What the hub does not hold and this node can't send again.
  void declare(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity) {
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

  // The oldest number that can still be sent: what is acknowledged stays for a grace time.
  uint64_t oldest_kept(const storage::OutboxStatus& s) const {
    const uint64_t floor = floors.of(s.outbox_class);
    if (s.acked_seq <= floor) return s.acked_seq + 1;
    auto kept = store.outbox_read(s.outbox_class, 0, 1);
    return kept.ok() && !kept->empty() ? std::clamp(kept->front().seq, floor + 1, s.acked_seq + 1) : s.acked_seq + 1;
  }

  // The hub holds entries of these numbers that this node did not queue: this disk is an old image that queued others since, or its clone.
  Duration another_history(const std::map<OutboxClass, uint64_t>& held, OutboxClass outbox_class, uint64_t seq) {
    const char* name = storage::to_string(outbox_class);
    if (fresh_epoch == store.identity().epoch) {
      return failed(fail(Code::corrupt, "the hub has another {} {} than this node, in an epoch that began here: is it a Skerry hub?", name, seq));
    }
    return new_epoch(held, fmt::format("the hub has another {} {} than this node: an old disk image was restored, or another device has its name; a new epoch "
                                       "begins", name, seq));
  }

  // This disk is older than what the hub has seen of it - or the hub talks nonsense, which it does when it claims to know an
  // epoch that was drawn a moment ago.
  Duration hub_knows_more(const HelloReply& reply, const std::map<OutboxClass, uint64_t>& held, const storage::OutboxStatus& s, uint64_t watermark,
                          const storage::Identity& identity) {
    const char* name = storage::to_string(s.outbox_class);
    if (fresh_epoch == identity.epoch) {
      return failed(fail(Code::corrupt, "hub '{}' claims {} up to {}, of an epoch that it cannot know: is it a Skerry hub?", reply.hub, name, watermark));
    }
    return new_epoch(held, fmt::format("hub '{}' holds {} up to {}, this store only queued up to {}: an old disk image was restored, a new epoch begins",
                                       reply.hub, name, watermark, s.last_seq));
  }

  // What the hub holds of this disk's own history is acknowledged first, so that it does not go a second time under the new epoch.
  Duration new_epoch(const std::map<OutboxClass, uint64_t>& held, const std::string& cause) {
    for (const auto& s : store.outbox_status()) {
      auto w = held.find(s.outbox_class);
      auto shared = shared_history(s, w == held.end() ? 0 : w->second);
      if (!shared.ok()) return failed(shared.error());
      if (auto status = store.outbox_acknowledge(s.outbox_class, *shared); !status.ok()) return failed(status.error());
    }
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

  // Where the chain does not tell (something between was lost by rule), the hub is asked for the entry itself, if it is still here.
  Result<bool> same_history(const storage::OutboxStatus& s, const Watermark& w) {
    const internal::Histories found = chains.compare(w.outbox_class, w.seq, w.chain);
    if (found != internal::Histories::unknown || w.seq == s.acked_seq) return found != internal::Histories::other;
    SKERRY_ASSIGN(auto items, store.outbox_read(w.outbox_class, w.seq, 1));
    if (items.empty() || items.front().seq != w.seq || items.front().kind == storage::EntryKind::lost || items.front().records == 0) return true;
    auto same = is_at_hub(w.outbox_class, items.front());
    if (!same.ok() && unknown_question(same.error())) return true;
    return same;
  }

  // A hub that does not know the question.
  static bool unknown_question(const Error& error) { return error.code == Code::not_found || error.code == Code::invalid; }

  // The last number that is the same entry here and at the hub: two histories of one ancestor are the same up to where they part, so halving the
  // range finds it. No two disks queue at the same nanosecond.
  Result<uint64_t> shared_history(const storage::OutboxStatus& s, uint64_t hub_last) {
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

  Result<bool> is_at_hub(OutboxClass outbox_class, const storage::OutboxItem& item) {
    const storage::Identity identity = store.identity();
    const RangeAsk ask{identity.node, identity.epoch, outbox_class, item.seq, item.seq};
    SKERRY_ASSIGN(const RangeReply reply, exchange(kQuestionBytes, [&] { return uplink->range(ask); }));
    return reply.count == 1 && reply.digest == digest_after(kFirstChain, item);
  }

  // ------------------------------------------------------------------ batches

  // Puts the next batch of a class on its way; zero, or how long its failure keeps from trying again.
  Duration begin(const ClassDecision& decision) {
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
    Flight flight{.ticket = ++tickets, .batch = headers_of(cut->batch), .payload = internal::payload_of(cut->batch), .bearer = policy.bearers[at].name};
    flight.rides = decision.rides;
    flight.begun = clock.steady();
    flight.window = flights.payload(flight.bearer) + flight.payload;
    flight.delivered_body = bearers[at].delivered_body;
    flight.delivered_payload = bearers[at].delivered_payload;
    account.reserve(mutex, policy, policy.bearers[at], flights.reserved(flight.bearer) + internal::batch_wire(flight.payload), clock.now_ns());
    {
      std::lock_guard lock(mutex);
      uplink->use(route(at));
    }
    flight.body = uplink->begin(flight.ticket, std::move(cut->batch), internal::lane_of(outbox_class));
    flight.reserved = wire_bytes(flight.body) + kAnswerBytes;
    {
      std::lock_guard lock(mutex);
      ++seen.batches;
      seen.repeated += cut->again;
      history[index_of(outbox_class)] = {flight.begun, flight.begun, wire_bytes(flight.body)};
      bucket.charge(flight.begun, flight.body);
      flights.add(std::move(flight));
    }
    return collect(Duration::zero()).value_or(Duration::zero());
  }

  // What is kept of a batch on its way: enough to check the hub's word about it.
  static Batch headers_of(const Batch& batch) {
    Batch out{batch.node, batch.epoch, batch.outbox_class, {}};
    out.entries.reserve(batch.entries.size());
    for (const auto& i : batch.entries) {
      out.entries.push_back({.seq = i.seq, .kind = i.kind, .subject = {}, .payload = {}, .records = i.records, .queued_ns = i.queued_ns, .last_seq = i.last_seq,
                             .reason = i.reason});
    }
    return out;
  }

  // Looks at the answers that came, at the first that comes when it may wait. Nothing: none came. Otherwise how long to wait before the next try.
  std::optional<Duration> collect(Duration at_most) {
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

  // Charges what went over the wire, answered or not, and learns from it.
  std::optional<Flight> land(const Answer& answer) {
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

  // Whatever becomes of it: the HELLO that follows says what arrived.
  void drop_flights() {
    if (flights.empty()) return;
    for (const Answer& answer : uplink->give_up()) (void)land(answer);
    SKERRY_CHECK(flights.empty(), "the uplink tells of every batch that it gave up");
  }

  Duration take_failure(const Flight& flight, const Error& error) {
    if (error.code == Code::invalid) {
      std::lock_guard lock(mutex);
      outgoing.refused(flight.batch, error.message);
    }
    return failed(error);
  }

  Duration take_reply(const Flight& flight, const BatchReply& reply) {
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

  void held_again(OutboxClass outbox_class, uint64_t watermark) {
    std::lock_guard lock(mutex);
    auto found = again_from.find(outbox_class);
    if (found != again_from.end()) found->second = std::max(found->second, watermark + 1);
  }

  void go_back(OutboxClass outbox_class, uint64_t seq) {
    outgoing.of(outbox_class).next = seq;
    std::lock_guard lock(mutex);
    flights.make_stale(outbox_class);
  }

  // ------------------------------------------------------------------ one step

  // What began to wait has its turn from now on.
  void note_waiting(const std::vector<storage::OutboxStatus>& backlog, SteadyTime now) {  // with the mutex
    for (const auto& s : backlog) {
      if (s.last_seq == s.acked_seq) history[index_of(s.outbox_class)].turn_at = now;
    }
  }

  Duration hello_over(size_t bearer) {
    at = bearer;
    return say_hello();
  }

  Duration step() {
    if (!options.enabled) return options.probe_interval;
    if (auto wait = collect(Duration::zero()); wait && *wait > Duration::zero()) return *wait;
    const auto backlog = store.outbox_status();
    Situation s;
    std::vector<ClassDecision> decisions;
    HelloDecision hello;
    bool held = false;
    {
      std::lock_guard lock(mutex);
      held = seen.held;
      if (next_policy) adopt(*std::exchange(next_policy, {}));
      if (!held) {
        note_waiting(backlog, clock.steady());
        s = situation(policy, backlog);
        look_at_links(s);
        if (!greeted) hello = decide_hello(policy, s);
        else decisions = decide(policy, s);
      }
    }
    if (held) return flights.empty() ? kIdlePoll : wait_for_answers();
    if (!greeted) return hello.send ? hello_over(hello.bearer) : until(hello.not_before, s.now);
    return act(backlog, s, decisions);
  }

  Duration wait_for_answers() { return collect(kAnswersPoll).value_or(Duration::zero()); }

  Duration until(std::optional<SteadyTime> when, SteadyTime now) const {
    return when && *when < SteadyTime::max() ? std::max(Duration(1'000'000), *when - now) : options.probe_interval;
  }

  // One thing: a batch, a HELLO, or waiting for what is on its way.
  Duration act(const std::vector<storage::OutboxStatus>& backlog, const Situation& s, const std::vector<ClassDecision>& decisions) {
    std::optional<SteadyTime> next;
    auto sooner = [&](SteadyTime when) { next = std::min(next.value_or(SteadyTime::max()), when); };
    bool waits = false;
    for (const ClassDecision& d : decisions) {
      const ClassState& state = outgoing.of(d.outbox_class);
      if (state.next > of(backlog, d.outbox_class).last_seq) continue;
      if (s.now < state.blocked_until) {
        sooner(state.blocked_until);
        continue;
      }
      if (d.send && must_wait(d)) continue;
      if (d.send && d.outbox_class != OutboxClass::alarm) {
        if (auto better = wanted_more(s, d)) return flights.empty() ? try_again(*better) : wait_for_answers();
      }
      if (d.send) return begin(d);
      if (d.blocked_by == Gate::reachable && d.not_before && *d.not_before <= s.now) return flights.empty() ? hello_over(d.bearer) : wait_for_answers();
      waits = true;
      if (d.not_before) sooner(*d.not_before);
    }
    if (!flights.empty()) return wait_for_answers();
    return probe_or_wait(s, next, !waits);
  }

  // For what of its own class is on its way: batches of a class keep their order, on one bearer; what is refused is looked for one at a time.
  bool must_wait(const ClassDecision& d) {
    const std::string* over = flights.bearer_of(d.outbox_class);
    if (over == nullptr) return false;
    return *over != policy.bearers[d.bearer].name || flights.any_stale(d.outbox_class) || outgoing.of(d.outbox_class).searching();
  }

  // A HELLO over a bearer that failed. When it fails again, what is known of the hub over another one stays.
  Duration try_again(size_t bearer) {
    (void)hello_over(bearer);
    std::lock_guard lock(mutex);
    if (!bearers[bearer].online) greeted = true;
    return Duration::zero();
  }

  // A bearer before the one that would serve, which is back, or due to be tried again.
  std::optional<size_t> wanted_more(const Situation& s, const ClassDecision& d) const {
    for (size_t i = 0; i < d.bearer; ++i) {
      const auto& mine = policy.bearers[i].classes;
      const bool allowed = mine.empty() || std::find(mine.begin(), mine.end(), d.outbox_class) != mine.end();
      if (allowed && s.bearers[i].link.up && !s.bearers[i].online && s.now >= s.bearers[i].retry_at) return i;
    }
    return {};
  }

  // Now and then a HELLO when there is nothing to send: a hub that lost its disk, and a link that died, are noticed.
  Duration probe_or_wait(const Situation& s, std::optional<SteadyTime> next, bool may_probe) {
    std::optional<size_t> probe;
    if (may_probe) {
      std::lock_guard lock(mutex);
      for (size_t i = 0; i < bearers.size() && !probe; ++i) {
        if (!bearers[i].online) continue;
        const Duration interval = policy.bearers[i].probe_interval > Duration::zero() ? policy.bearers[i].probe_interval : options.probe_interval;
        const SteadyTime due = bearers[i].last_exchange + interval;
        if (s.now < due) next = std::min(next.value_or(SteadyTime::max()), due);
        else if (decide_hello(policy, s).send) probe = i;
        break;  // one that answers is enough
      }
    }
    if (probe) return hello_over(*probe);
    return until(next, s.now);
  }
};

Syncer::Syncer(storage::Store& store, std::unique_ptr<Uplink> uplink, const Options& options, const Clock& clock, uint64_t seed,
               Environment environment)
    : impl_(std::make_unique<Impl>(store, std::move(uplink), options, clock, seed, std::move(environment))) {}

Syncer::~Syncer() {
  impl_->drop_flights();
  impl_->account.write_exactly();
}

Duration Syncer::step() { return impl_->step(); }

void Syncer::hold(bool held) {
  std::lock_guard lock(impl_->mutex);
  impl_->seen.held = held;
}

Policy Syncer::policy() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->next_policy.value_or(impl_->policy);
}

void Syncer::set_policy(Policy policy) {
  std::lock_guard lock(impl_->mutex);
  impl_->next_policy = std::move(policy);
}

void Syncer::revoke_window(const std::string& name, bool revoked) {
  std::lock_guard lock(impl_->mutex);
  if (revoked) impl_->seen.revoked.insert(name);
  else impl_->seen.revoked.erase(name);
}

std::vector<ClassDecision> Syncer::explain(const Policy* instead) const {
  const auto backlog = impl_->store.outbox_status();
  std::lock_guard lock(impl_->mutex);
  const Policy& policy = instead != nullptr ? *instead : impl_->next_policy ? *impl_->next_policy : impl_->policy;
  auto decisions = decide(policy, impl_->situation(policy, backlog), Explain::yes);
  for (ClassDecision& d : decisions) {
    auto found = impl_->blocked.find(d.outbox_class);
    if (found == impl_->blocked.end()) continue;
    d.send = false;
    d.reason = found->second;
  }
  return decisions;
}

SyncStatus Syncer::status() const {
  const auto backlog = impl_->store.outbox_status();
  std::lock_guard lock(impl_->mutex);
  SyncStatus status = impl_->seen;
  status.dead = impl_->dead.all();
  const Situation s = impl_->situation(impl_->policy, backlog);
  status.decisions = decide(impl_->policy, s);
  for (ClassDecision& decision : status.decisions) {
    auto found = impl_->blocked.find(decision.outbox_class);
    if (found == impl_->blocked.end()) continue;
    decision.send = false;
    decision.reason = found->second;
  }
  for (size_t i = 0; i < s.bearers.size(); ++i) {
    const BearerPolicy& b = impl_->policy.bearers[i];
    status.bearers.push_back({b.name, s.bearers[i].online, s.bearers[i].link, s.bearers[i].use, b.monthly_bytes, b.daily_bytes, s.bearers[i].window});
  }
  return status;
}

}  // namespace skerry::sync
