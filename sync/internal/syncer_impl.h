// The Syncer's state and its three rooms: what the policy is told and what is done in a step (syncer.cpp), the HELLO and whose history the hub holds
// (syncer_hello.cpp), batches on their way and the hub's word about them (syncer_batches.cpp).
// Threads: see each part; step() and all that it calls belong to one thread, which alone changes the policy and the bearers.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

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
#include "sync/syncer.h"

namespace skerry::sync {

struct Syncer::Impl {
  using OutboxClass = storage::OutboxClass;
  using BearerState = internal::BearerState;
  using ClassState = internal::ClassState;
  using Flight = internal::Flight;

  Impl(storage::Store& s, std::unique_ptr<Uplink> u, const Options& o, const Clock& c, uint64_t seed, Environment e)
      : store(s), uplink(std::move(u)), options(o), clock(c), environment(std::move(e)), random(seed), chains(s), floors(s), outgoing(s, dead), dead(s), bucket(o, c.steady()),
        account(s) {
    seen.enabled = options.enabled;
    seen.hub = options.hub;
    for (ClassHistory& h : history) h.turn_at = clock.steady();
    remember_revoked();
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
  std::deque<Loss> wanted;          // by the hub, whose rows are damaged
  SteadyTime fetch_retry_at{};
  SteadyTime fetched_at{};          // the last piece of a model came, or none is to be fetched

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

  void remember_revoked();
  void adopt(Policy next);  // with the mutex, or while nobody else knows this object

  Situation situation(const Policy& under, const std::vector<storage::OutboxStatus>& backlog) const;  // with the mutex

  BearerSituation bearer_situation(const BearerPolicy& b, int64_t wall_ns) const;

  void look_at_links(Situation& s);  // with the mutex

  // ------------------------------------------------------------------ bytes

  // With the mutex. `sent` and `received` are bytes of bodies.
  void charge(const std::string& bearer, const std::string& purpose, uint64_t sent, uint64_t received);

  Route route(size_t bearer) const;  // with the mutex

  // ------------------------------------------------------------------ reporting

  void note_error(const std::string& message);

  // The bearer of `at` is in trouble, and with it all that is on its way.
  Duration failed(const Error& error);

  // The hub's state is not what was thought. Once is ordinary life (it was restarted, an answer was lost); again without any
  // progress between is a fault.
  Duration doubt(Error error);

  void progress(const std::string& bearer);

  // The head of a class cannot go; that is no reason to stop the others.
  void block(OutboxClass outbox_class, const std::string& reason);

  // ------------------------------------------------------------------ the hub's word, checked

  // Everything up to `seq` is held by the hub. Only called with what was really queued.
  Status acknowledged(OutboxClass outbox_class, uint64_t seq);

  static const storage::OutboxStatus& of(const std::vector<storage::OutboxStatus>& all, OutboxClass outbox_class);

  Duration say_hello();

  // An exchange over the bearer `at`: charges what went over the wire, answered or not.
  template <typename Call>
  std::invoke_result_t<Call> exchange(uint64_t bytes_at_most, Call call, const std::string& purpose = "control") {
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
    charge(policy.bearers[at].name, purpose, sent, received);
    BearerState& bearer = bearers[at];
    bearer.last_exchange = now;
    bearer.woken_at = now;
    if (reply.ok()) {
      seen.online = bearer.online = true;
      if (purpose == "control") bearer.rate.answered({.begun = begun, .now = now, .delivered_body = sent}, policy.batch_time);  // a small answer
    }
    return reply;
  }

  // What a HELLO has at most. The names of models are the first to go.
  static uint64_t keep_small(Hello& hello);

  Duration take_hello(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity);

  // The chain is of another number than the watermark that it came with. A hub that knows of no chains names none.
  static bool contradicts(uint64_t watermark, const Chain& chain) { return chain.value != 0 && chain.seq != watermark; }

  // What the hub had acknowledged and lost, and this node still has.
  void goes_again(const HelloReply& reply, const storage::OutboxStatus& s, uint64_t held);

  // What the hub does not hold and this node can't send again.
  void count_losses(const HelloReply& reply);
  void declare(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity);
  void lost_at_hub(const std::string& hub, const Loss& range);

  // The oldest number that can still be sent: what is acknowledged stays for a grace time.
  uint64_t oldest_kept(const storage::OutboxStatus& s) const;

  // The hub holds entries of these numbers that this node did not queue: this disk is an old image that queued others since, or its clone.
  Duration another_history(OutboxClass outbox_class, uint64_t seq);

  // This disk is older than what the hub has seen of it - or the hub talks nonsense, which it does when it claims to know an
  // epoch that was drawn a moment ago.
  Duration hub_knows_more(const HelloReply& reply, const storage::OutboxStatus& s, uint64_t watermark, const storage::Identity& identity);

  // What the hub shows that it holds of this disk's own history counts as acknowledged, so that it does not go a second time under the new epoch;
  // what it only said that it holds goes again, as far as it is still here.
  Duration new_epoch(const std::string& cause);
  Duration fence(const std::map<OutboxClass, uint64_t>& shown, const std::string& cause);  // begins it

  // Where the chain does not tell (something between was lost by rule), the hub is asked for the entry itself, if it is still here.
  Result<bool> same_history(const storage::OutboxStatus& s, const Watermark& w);

  // A hub that does not know the question.
  static bool unknown_question(const Error& error) { return error.code == Code::not_found || error.code == Code::invalid; }

  // The last number that is the same entry here and at the hub: two histories of one ancestor are the same up to where they part, so halving the
  // range finds it. No two disks queue at the same nanosecond. What is acknowledged and still here is asked for too: the hub may have
  // said more than it held, and of an epoch that has ended nobody asks again.
  Result<uint64_t> shared_history(const storage::OutboxStatus& s);

  Status end_epoch();
  // An old image that comes back twice finds what it sent under the epoch that it began the first time.
  enum class Epochs : uint8_t { this_one, all };
  Result<bool> holds_any(OutboxClass outbox_class, uint64_t first, uint64_t last, Epochs epochs);
  Result<std::optional<uint64_t>> first_held(OutboxClass outbox_class, uint64_t first, uint64_t last);
  Result<bool> is_at_hub(OutboxClass outbox_class, const storage::OutboxItem& item, Epochs epochs);

  // ------------------------------------------------------------------ batches

  // Puts the next batch of a class on its way; zero, or how long its failure keeps from trying again.
  Duration begin(const ClassDecision& decision);

  // What is kept of a batch on its way: enough to check the hub's word about it.
  static Batch headers_of(const Batch& batch);

  // Looks at the answers that came, at the first that comes when it may wait. Nothing: none came. Otherwise how long to wait before the next try.
  std::optional<Duration> collect(Duration at_most);

  // Charges what went over the wire, answered or not, and learns from it.
  std::optional<Flight> land(const Answer& answer);

  // Whatever becomes of it: the HELLO that follows says what arrived.
  void drop_flights();

  Duration take_failure(const Flight& flight, const Error& error);

  Duration take_reply(const Flight& flight, const BatchReply& reply);

  void held_again(OutboxClass outbox_class, uint64_t watermark);

  void go_back(OutboxClass outbox_class, uint64_t seq);

  // ------------------------------------------------------------------ one step

  // What began to wait has its turn from now on.
  void note_waiting(const std::vector<storage::OutboxStatus>& backlog, SteadyTime now);  // with the mutex

  Duration hello_over(size_t bearer);

  Duration step();

  Duration wait_for_answers();

  Duration until(std::optional<SteadyTime> when, SteadyTime now) const;

  // One thing: a batch, a HELLO, or waiting for what is on its way.
  Duration act(const std::vector<storage::OutboxStatus>& backlog, const Situation& s, const std::vector<ClassDecision>& decisions);

  // A piece of a model that the hub offers, as the policy lets the class `model` go; nothing: there is none to fetch, or not now, and then not before
  // `next`.
  std::optional<Duration> fetch(const Situation& s, std::optional<SteadyTime>& next);

  // The next of what the hub wants again; nothing: nothing, or not now.
  std::optional<Duration> repair(const Situation& s);
  // What the policy says of a class if so many bytes of it waited.
  ClassDecision as_if_waiting(const Situation& s, OutboxClass outbox_class, uint64_t bytes) const;
  // Puts a batch on its way over the bearer `at`.
  void launch(Batch batch, Flight flight, bool again);

  // For what of its own class is on its way: batches of a class keep their order, on one bearer; what is refused is looked for one at a time.
  bool must_wait(const ClassDecision& d);

  // A HELLO over a bearer that failed. When it fails again, what is known of the hub over another one stays.
  Duration try_again(size_t bearer);

  // A bearer before the one that would serve, which is back, or due to be tried again.
  std::optional<size_t> wanted_more(const Situation& s, const ClassDecision& d) const;

  // Now and then a HELLO when there is nothing to send: a hub that lost its disk, and a link that died, are noticed.
  Duration probe_or_wait(const Situation& s, std::optional<SteadyTime> next, bool may_probe);
};

}  // namespace skerry::sync
