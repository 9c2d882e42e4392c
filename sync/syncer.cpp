#include "sync/syncer.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <mutex>

#include "base/check.h"
#include "base/log.h"
#include "base/random.h"
#include "base/units.h"
#include "storage/sample_block.h"
#include "sync/internal/chain.h"
#include "sync/internal/dead_letters.h"
#include "sync/internal/rate_control.h"

namespace skerry::sync {
namespace {

using storage::OutboxClass;

constexpr const char* kSoftware = "skerry 0.1.0";
constexpr Duration kIdlePoll = std::chrono::milliseconds(200);  // while switched off or held
constexpr int kRefusalsMax = 3;                                  // of one entry, before it is a dead letter
constexpr const char* kLedgerNote = "sync/bytes";
constexpr uint64_t kLeaseMin = 64 << 10, kLeaseMax = 4 << 20;   // of counted bytes that a crash may count in vain
constexpr uint64_t kLeaseWithoutBudget = 64 << 20;
constexpr uint64_t kConnectBytes = 156;                          // of a try that found nobody
constexpr size_t kModelsBytesMax = 1500;                         // of a HELLO where bytes are counted
constexpr uint64_t kPayloadBytesMax = kMessageBytesMax - (1 << 20);  // leaves room for the entries' own fields

// What this process knows of one class beyond the store.
struct ClassState {
  uint64_t next = 1;             // to be sent
  uint64_t highest_sent = 0;     // the hub may hold up to here even when every answer was lost
  bool gap_answered = false;     // since the last progress: a second one is no accident
  SteadyTime blocked_until{};    // the hub refused the head of the class, or it is too large: the other classes go on
  Duration backoff{0};
  size_t entries_max = kBatchEntriesMax;  // halved while the hub refuses, to find what it refuses
  int refusals = 0;              // of the entry at the head, alone in its batch
  bool others_taken = false;     // the hub took something since it began to refuse
  std::deque<std::pair<uint64_t, uint32_t>> sent;  // (seq, records) sent and not yet acknowledged
};

// What this process knows of one bearer.
struct BearerState {
  std::string name;
  bool online = false;
  bool was_up = true;
  SteadyTime retry_at{};
  SteadyTime stable_since{};
  Duration backoff{0};
  SteadyTime last_exchange{};
  std::optional<SteadyTime> woken_at, failed_since;
  Duration last_outage{0};
  uint64_t outages = 0;
  internal::RateControl rate;
};

// Tokens are bytes of bodies. A batch may be larger than what is left; the debt is paid before the next one.
class TokenBucket {
 public:
  TokenBucket(const Options& options, SteadyTime now)
      : rate_(static_cast<double>(options.rate_bytes_per_second)), burst_(static_cast<double>(options.burst_bytes)), tokens_(burst_), at_(now) {}
  double at(SteadyTime now) const {
    if (rate_ == 0) return std::numeric_limits<double>::infinity();
    return std::min(burst_, tokens_ + rate_ * std::chrono::duration<double>(now - at_).count());
  }
  void charge(SteadyTime now, uint64_t bytes) {
    tokens_ = rate_ == 0 ? 0 : at(now) - static_cast<double>(bytes);
    at_ = now;
  }

 private:
  double rate_, burst_, tokens_;
  SteadyTime at_;
};

// To a hub that does not know of losses: empty blocks, one for each number.
std::vector<storage::OutboxItem> as_blocks(std::vector<storage::OutboxItem> items) {
  std::vector<storage::OutboxItem> out;
  for (storage::OutboxItem& item : items) {
    if (item.kind != storage::EntryKind::lost) {
      out.push_back(std::move(item));
      continue;
    }
    for (uint64_t seq = item.seq; seq <= item.last_seq && out.size() < kBatchEntriesMax; ++seq) {
      out.push_back({seq, storage::EntryKind::samples, "lost", storage::encode_block({}), 0, item.queued_ns});
    }
    if (out.size() >= kBatchEntriesMax) break;
  }
  return out;
}

}  // namespace

struct Syncer::Impl {
  Impl(storage::Store& s, std::unique_ptr<Uplink> u, const Options& o, const Clock& c, uint64_t seed, Environment e)
      : store(s), uplink(std::move(u)), options(o), clock(c), environment(std::move(e)), random(seed), chains(s), dead(s), bucket(o, c.steady()) {
    seen.enabled = options.enabled;
    seen.hub = options.hub;
    for (ClassHistory& h : history) h.turn_at = clock.steady();
    load_ledger();
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
  internal::DeadLetters dead;
  std::map<OutboxClass, ClassState> classes;
  bool greeted = false;             // a HELLO was answered since the last doubt
  bool hub_takes_losses = false;    // as it said in its last HELLO
  uint64_t fresh_epoch = 0;         // begun here, and nothing of it sent yet
  bool gave_reason_to_doubt = false;  // since the last progress
  size_t at = 0;                    // bearer of the exchange under way

  // --- of any thread
  mutable std::mutex mutex;
  SyncStatus seen;                  // without what is made when asked for
  Policy policy;
  std::vector<BearerState> bearers; // as in the policy
  std::array<ClassHistory, std::size(storage::kOutboxClasses)> history;
  std::map<OutboxClass, std::string> blocked;  // why
  TokenBucket bucket;
  Ledger ledger;

  // ------------------------------------------------------------------ the policy and what it looks at

  // With the mutex, or while nobody else knows this object. A bearer of the same name keeps what is known of it.
  void adopt(Policy next) {
    std::vector<BearerState> states;
    for (const BearerPolicy& b : next.bearers) {
      auto known = std::find_if(bearers.begin(), bearers.end(), [&](const BearerState& s) { return s.name == b.name; });
      states.push_back(known != bearers.end() ? std::move(*known) : BearerState{.name = b.name, .retry_at = clock.steady(), .rate = {}});
    }
    policy = std::move(next);
    bearers = std::move(states);
    at = 0;
  }

  Situation situation(const Policy& under, const std::vector<storage::OutboxStatus>& backlog) const {  // with the mutex
    const SteadyTime now = clock.steady();
    Situation s{.enabled = options.enabled, .held = seen.held, .now = now, .wall_ns = clock.now_ns(), .bearers = {}, .backlog = backlog,
                .history = history, .tokens = bucket.at(now), .token_rate = options.rate_bytes_per_second, .token_burst = options.burst_bytes,
                .batch_bytes_max = options.batch_bytes_max, .revoked = seen.revoked};
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
    out.use = ledger.use(b.name);
    Ledger::roll(out.use, wall_ns, b.reset_day);
    auto known = std::find_if(bearers.begin(), bearers.end(), [&](const BearerState& s) { return s.name == b.name; });
    if (known == bearers.end()) {
      out.online = seen.online;  // a policy that is only tried: its new bearer is taken for the link there is
      return out;
    }
    out.online = known->online;
    out.retry_at = known->retry_at;
    out.woken_at = known->woken_at;
    out.batch_goal = known->rate.batch_goal();
    out.link.stable_since = std::max(out.link.stable_since, known->stable_since);
    out.link.goodput = known->rate.goodput();
    out.link.goodput_low = known->rate.payload_rate_low();
    out.link.rtt = known->rate.rtt();
    out.link.rtt_min = known->rate.rtt_min();
    out.link.last_outage = known->last_outage;
    out.link.outages = known->outages;
    return out;
  }

  // A carrier that came back: what waits for a retry need not wait longer, and old connections are of no use.
  void look_at_links(const Situation& s) {
    for (size_t i = 0; i < bearers.size(); ++i) {
      const bool up = s.bearers[i].link.up;
      if (up && !bearers[i].was_up) {
        bearers[i].retry_at = s.now;
        bearers[i].backoff = Duration::zero();
        bearers[i].rate.link_changed();
        uplink->link_changed();
      }
      if (!up) bearers[i].online = false;
      if (up != bearers[i].was_up) bearers[i].stable_since = s.now;
      bearers[i].was_up = up;
    }
    seen.online = std::any_of(bearers.begin(), bearers.end(), [](const BearerState& b) { return b.online; });
  }

  // ------------------------------------------------------------------ bytes

  void load_ledger() {
    auto note = store.note(kLedgerNote);
    if (!note.ok() || !note->has_value()) return;
    auto read = Ledger::decode(**note);
    if (read.ok()) ledger = *std::move(read);
    else log::error("sync", "{}: counting begins anew, correct it by hand if a budget depends on it", read.error().message);
  }

  uint64_t lease() const {
    uint64_t least = UINT64_MAX;
    for (const BearerPolicy& b : policy.bearers) {
      for (uint64_t budget : {b.monthly_bytes, b.daily_bytes}) {
        if (budget > 0) least = std::min(least, budget);
      }
    }
    return least == UINT64_MAX ? kLeaseWithoutBudget : std::clamp(least / 1000, kLeaseMin, kLeaseMax);
  }

  // A store that refuses (a full disk) is no reason not to send: what a crash could forget then is at most what was sent meanwhile.
  void write_ledger(const std::string& note) {
    storage::Effect effect;
    effect.notes.emplace_back(kLedgerNote, note);
    if (auto written = store.commit(effect); !written.ok()) log::warn("sync", "the count of bytes could not be written: {}", written.error().message);
  }

  // Before bytes go: the store knows of them.
  void reserve(uint64_t bytes) {
    std::string note;
    {
      std::lock_guard lock(mutex);
      const BearerPolicy& b = policy.bearers[at];
      ledger.roll(b.name, clock.now_ns(), b.reset_day);
      if (!ledger.must_write(b.name, bytes)) return;
      note = ledger.encode_with_lease(std::max(lease(), bytes));
    }
    write_ledger(note);
  }

  // ------------------------------------------------------------------ reporting

  void note_error(const std::string& message) {
    std::lock_guard lock(mutex);
    if (seen.last_error != message) log::warn("sync", "{}", message);
    seen.last_error = message;
  }

  // Decorrelated jitter: min(cap, random(base, 3 * previous)). See "Exponential Backoff And Jitter", M. Brooker, 2015.
  Duration next_backoff(Duration& backoff) {
    const auto base = static_cast<double>(options.backoff_min.count()), cap = static_cast<double>(options.backoff_max.count());
    const double previous = backoff.count() == 0 ? base : static_cast<double>(backoff.count());
    backoff = Duration(static_cast<int64_t>(std::min(cap, random.uniform(base, std::max(base, previous * 3)))));
    return backoff;
  }

  Duration failed(const Error& error) {
    greeted = false;
    note_error(error.message);
    std::lock_guard lock(mutex);
    BearerState& bearer = bearers[at];
    const Duration wait = next_backoff(bearer.backoff);
    ++seen.failures;
    bearer.online = false;
    bearer.retry_at = clock.steady() + wait;
    if (!bearer.failed_since) bearer.failed_since = clock.steady();
    bearer.rate.failed();
    seen.online = std::any_of(bearers.begin(), bearers.end(), [](const BearerState& b) { return b.online; });
    return wait;
  }

  // The hub's state is not what was thought. Once is ordinary life (it was restarted, an answer was lost); again without any
  // progress between is a fault.
  Duration doubt(Error error) {
    greeted = false;
    if (gave_reason_to_doubt) return failed(error);
    gave_reason_to_doubt = true;
    log::info("sync", "{}: asking the hub for its watermarks", error.message);
    return Duration::zero();
  }

  void progress() {
    gave_reason_to_doubt = false;
    std::lock_guard lock(mutex);
    BearerState& bearer = bearers[at];
    bearer.backoff = Duration::zero();
    if (bearer.failed_since) {
      bearer.last_outage = clock.steady() - *bearer.failed_since;
      ++bearer.outages;
      bearer.failed_since.reset();
    }
    if (seen.lost_at_hub == 0 && blocked.empty()) seen.last_error.clear();
  }

  Route route() const {
    const BearerPolicy& b = policy.bearers[at];
    return {b.name, b.device, b.mark, b.dscp};
  }

  // Charges what went over the wire, answered or not. `rides`: nobody woke the radio for it.
  template <typename Exchange>
  auto exchange(const std::string& purpose, uint64_t bytes_at_most, uint64_t payload, bool rides, Exchange&& call) {
    reserve(bytes_at_most);
    const Traffic before = uplink->traffic();
    const SteadyTime begun = clock.steady();
    {
      std::lock_guard lock(mutex);
      uplink->use(route());
    }
    auto reply = call();
    const Traffic traffic = uplink->traffic();
    const uint64_t sent = traffic.sent - before.sent, received = traffic.received - before.received;
    const SteadyTime now = clock.steady();
    std::lock_guard lock(mutex);
    BearerState& bearer = bearers[at];
    bearer.last_exchange = now;
    bucket.charge(now, sent);
    seen.traffic = traffic;
    charge(purpose, sent, received);
    if (!rides) bearer.woken_at = now;
    if (reply.ok()) {
      seen.online = bearer.online = true;
      bearer.rate.answered(sent, payload, now - begun, policy.batch_time);
    }
    return reply;
  }

  void charge(const std::string& purpose, uint64_t sent, uint64_t received) {  // with the mutex
    const BearerPolicy& b = policy.bearers[at];
    const auto roaming = environment.link ? environment.link(b).roaming : std::nullopt;
    ledger.roll(b.name, clock.now_ns(), b.reset_day);
    ledger.charge(b.name, purpose, sent > 0 ? wire_bytes(sent) : kConnectBytes, received > 0 ? wire_bytes(received) : 0,
                  b.price_per_mb * (roaming.value_or(false) ? b.roaming_factor : 1));
  }

  // The head of a class cannot go; that is no reason to stop the others.
  void block(OutboxClass outbox_class, const std::string& reason) {
    ClassState& state = classes[outbox_class];
    state.blocked_until = clock.steady() + next_backoff(state.backoff);
    note_error(reason);
    std::lock_guard lock(mutex);
    ++seen.failures;
    blocked[outbox_class] = reason;
  }

  // ------------------------------------------------------------------ the hub's word, checked

  // Everything up to `seq` is held by the hub. Only called with what was really queued.
  Status acknowledged(OutboxClass outbox_class, uint64_t seq) {
    ClassState& state = classes[outbox_class];
    SKERRY_TRY(store.outbox_acknowledge(outbox_class, seq));
    uint64_t records = 0;
    for (; !state.sent.empty() && state.sent.front().first <= seq; state.sent.pop_front()) records += state.sent.front().second;
    state.next = std::max(state.next, seq + 1);
    state.gap_answered = false;
    state.backoff = Duration::zero();
    state.refusals = 0;
    state.entries_max = std::min(kBatchEntriesMax, state.entries_max * 2);
    for (auto& [c, other] : classes) other.others_taken = true;
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
      hello.positions.push_back({s.outbox_class, s.acked_seq + 1, s.last_seq});
      hello.backlog_bytes += s.bytes;
    }
    if (environment.describe) hello.models = environment.describe();
    const uint64_t bytes = keep_small(hello);
    auto reply = exchange("control", wire_bytes(bytes), 0, false, [&] { return uplink->hello(hello); });
    if (!reply.ok()) return failed(reply.error());
    return take_hello(*reply, backlog, identity);
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
      if (w.seq >= s.acked_seq && w.seq <= s.last_seq && !chains.agrees(w.outbox_class, w.seq, w.chain)) return another_history(w.outbox_class, w.seq);
    }
    for (const auto& s : backlog) {
      const char* name = storage::to_string(s.outbox_class);
      if (!held.contains(s.outbox_class)) return failed(fail(Code::corrupt, "hub '{}' says nothing of class {}", reply.hub, name));
      const uint64_t w = held[s.outbox_class];
      if (w > s.last_seq) return hub_knows_more(reply, s, w, identity);
      if (w < s.acked_seq) {
        return failed(fail(Code::corrupt, "hub '{}' holds {} only up to {}, but {} were acknowledged and are no longer here: the hub must "
                           "declare the loss", reply.hub, name, w, s.acked_seq));
      }
    }
    for (const auto& s : backlog) {
      const uint64_t w = held[s.outbox_class];
      if (w > s.acked_seq) {
        if (auto status = acknowledged(s.outbox_class, w); !status.ok()) return failed(status.error());
      }
      ClassState& state = classes[s.outbox_class];
      state.next = w + 1;
      state.highest_sent = std::max(state.highest_sent, w);
      state.gap_answered = false;
    }
    greeted = true;
    bool behind = false;
    for (const auto& s : backlog) behind = behind || held[s.outbox_class] < s.last_seq;
    if (!behind) progress();  // with something to send, only a batch that arrives proves that all is well again
    declare(reply, backlog, identity);
    return Duration::zero();
  }

  // What the hub does not hold and this node can't send again.
  void declare(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity) {
    uint64_t acked = 0;
    for (const auto& s : backlog) acked += s.acked_seq;
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

  // The hub holds entries of these numbers that this node did not queue: this disk is an old image that queued others since, or its clone.
  Duration another_history(OutboxClass outbox_class, uint64_t seq) {
    const char* name = storage::to_string(outbox_class);
    if (fresh_epoch == store.identity().epoch) {
      return failed(fail(Code::corrupt, "the hub has another {} {} than this node, in an epoch that began here: is it a Skerry hub?", name, seq));
    }
    return new_epoch(fmt::format("the hub has another {} {} than this node: an old disk image was restored, or another device has its name; a new epoch begins",
                                 name, seq));
  }

  // This disk is older than what the hub has seen of it - or the hub talks nonsense, which it does when it claims to know an
  // epoch that was drawn a moment ago.
  Duration hub_knows_more(const HelloReply& reply, const storage::OutboxStatus& s, uint64_t watermark, const storage::Identity& identity) {
    const char* name = storage::to_string(s.outbox_class);
    if (fresh_epoch == identity.epoch) {
      return failed(fail(Code::corrupt, "hub '{}' claims {} up to {}, of an epoch that it cannot know: is it a Skerry hub?", reply.hub, name, watermark));
    }
    return new_epoch(fmt::format("hub '{}' holds {} up to {}, this store only queued up to {}: an old disk image was restored, a new epoch begins",
                                 reply.hub, name, watermark, s.last_seq));
  }

  Duration new_epoch(const std::string& cause) {
    log::warn("sync", "{}", cause);
    if (auto begun = store.begin_epoch(); !begun.ok()) return failed(begun.error());
    fresh_epoch = store.identity().epoch;
    chains.forget();
    classes.clear();
    greeted = false;
    std::lock_guard lock(mutex);
    blocked.clear();
    ++seen.epochs_begun;
    return Duration::zero();
  }

  // ------------------------------------------------------------------ batches

  Duration send(const ClassDecision& decision) {
    const OutboxClass outbox_class = decision.outbox_class;
    ClassState& state = classes[outbox_class];
    at = decision.bearer;
    auto items = store.outbox_read(outbox_class, state.next, decision.bytes_max);
    if (!items.ok()) return failed(items.error());
    if (items->empty()) {
      return failed(fail(Code::internal, "the outbox has entries of {} waiting but gives none from {} on: run `skerry fsck`",
                         storage::to_string(outbox_class), state.next));
    }
    const storage::Identity identity = store.identity();
    if (!hub_takes_losses) *items = as_blocks(std::move(*items));
    dead.leave_out(outbox_class, *items);
    Batch batch{identity.node, identity.epoch, outbox_class, std::move(*items)};
    batch.compression = decision.compression;
    if (!fit(batch, decision.wire_left)) return Duration::zero();
    const uint64_t first = batch.entries.front().seq, last = batch.entries.back().end_seq();
    if (first != state.next) {
      return failed(fail(Code::internal, "the outbox gives {} {} where {} was asked for: run `skerry fsck`", storage::to_string(outbox_class), first, state.next));
    }
    const bool again = first <= state.highest_sent;
    for (const auto& item : batch.entries) {
      if (item.end_seq() > state.highest_sent) state.sent.emplace_back(item.end_seq(), item.kind == storage::EntryKind::lost ? 0 : item.records);
    }
    state.highest_sent = std::max(state.highest_sent, last);
    fresh_epoch = 0;
    const uint64_t sent_before = uplink->traffic().sent;
    const uint64_t payload = payload_of(batch);
    auto reply = exchange(storage::to_string(outbox_class), batch_wire(payload), payload, decision.rides, [&] { return uplink->send(batch); });
    {
      std::lock_guard lock(mutex);
      ++seen.batches;
      seen.repeated += again;
      ClassHistory& h = history[index_of(outbox_class)];
      h.turn_at = clock.steady();
      h.sent_at = h.turn_at;
      h.sent_bytes = wire_bytes(uplink->traffic().sent - sent_before);
    }
    if (!reply.ok() && reply.error().code == Code::invalid) note_refusal(batch, reply.error().message);
    if (!reply.ok()) return failed(reply.error());
    return take_reply(batch, *reply);
  }

  static uint64_t entry_bytes(const storage::OutboxItem& item) { return item.payload.size() + item.subject.size() + 64; }
  static uint64_t payload_of(const Batch& batch) {
    uint64_t bytes = 0;
    for (const auto& item : batch.entries) bytes += entry_bytes(item);
    return bytes;
  }
  static uint64_t batch_wire(uint64_t payload) { return wire_bytes(payload + 256) + 600; }  // with its answer, when nothing can be compressed

  // Cuts a batch to what the wire carries and the budget allows. False when its first entry alone is too large: that class waits, the
  // others go on.
  bool fit(Batch& batch, uint64_t wire_left) {
    uint64_t bytes = 0;
    size_t n = 0;
    for (; n < std::min(batch.entries.size(), classes[batch.outbox_class].entries_max); ++n) {
      bytes += entry_bytes(batch.entries[n]);
      if (bytes > kPayloadBytesMax || batch_wire(bytes) > wire_left) break;
    }
    if (n == 0) {
      const auto seq = batch.entries[0].seq;
      const char* name = storage::to_string(batch.outbox_class);
      block(batch.outbox_class, bytes > kPayloadBytesMax
                                    ? fmt::format("entry {} of {} has {}: at most {} can be sent", seq, name, format_bytes(bytes), format_bytes(kPayloadBytesMax))
                                    : fmt::format("entry {} of {} needs up to {} on the wire, the budget leaves {}", seq, name,
                                                  format_bytes(batch_wire(bytes)), format_bytes(wire_left)));
      return false;
    }
    batch.entries.resize(n);
    return true;
  }

  // Looks for what is refused by halves. One entry that is refused alone and again, while the hub takes others, is a dead letter: true when
  // something can be sent at once.
  bool note_refusal(const Batch& batch, const std::string& reason) {
    ClassState& state = classes[batch.outbox_class];
    if (state.entries_max == kBatchEntriesMax) state.others_taken = false;  // the first refusal of a row
    if (batch.entries.size() > 1) {
      state.entries_max = batch.entries.size() / 2;
      return true;
    }
    state.entries_max = 1;
    if (++state.refusals < kRefusalsMax || !state.others_taken) return false;
    const storage::OutboxItem& item = batch.entries.front();
    std::lock_guard lock(mutex);
    if (auto kept = dead.put(batch.outbox_class, item, reason); !kept.ok()) {
      log::warn("sync", "{}", kept.error().message);
      return false;
    }
    log::error("sync", "the hub refuses {} {} ({}) for good: it is kept as a dead letter and left out: {}", storage::to_string(batch.outbox_class), item.seq,
               item.subject, reason);
    state.refusals = 0;
    return true;
  }

  Duration take_reply(const Batch& batch, const BatchReply& reply) {
    const OutboxClass outbox_class = batch.outbox_class;
    const uint64_t first = batch.entries.front().seq, last = batch.entries.back().end_seq();
    ClassState& state = classes[outbox_class];
    const char* name = storage::to_string(outbox_class);
    auto nonsense = [&] {
      return failed(fail(Code::corrupt, "the hub answers '{}' with watermark {} to {} {} to {}, of which {} is the highest ever sent: ignored",
                         to_string(reply.outcome), reply.watermark, name, first, last, state.highest_sent));
    };
    switch (reply.outcome) {
      case BatchOutcome::applied:
      case BatchOutcome::duplicate: {
        if (reply.watermark < last || reply.watermark > state.highest_sent) return nonsense();
        if (!chains.agrees(outbox_class, reply.watermark, reply.chain, batch)) return another_history(outbox_class, reply.watermark);
        if (auto status = acknowledged(outbox_class, reply.watermark); !status.ok()) return failed(status.error());
        progress();
        return Duration::zero();
      }
      case BatchOutcome::gap: {
        if (reply.watermark + 1 >= first) return nonsense();
        const uint64_t acked = of(store.outbox_status(), outbox_class).acked_seq;
        if (reply.watermark < acked || state.gap_answered) {
          return doubt(fail(Code::unavailable, "the hub holds {} only up to {}, {} were acknowledged", name, reply.watermark, acked));
        }
        state.gap_answered = true;
        state.next = reply.watermark + 1;
        return Duration::zero();
      }
      case BatchOutcome::unknown_epoch:
        return doubt(fail(Code::unavailable, "the hub does not know this node's epoch"));
      case BatchOutcome::refused:
        if (!note_refusal(batch, reply.message)) block(outbox_class, fmt::format("the hub refuses {} {} to {}: {}", name, first, last, reply.message));
        return Duration::zero();
    }
    return nonsense();
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
    const auto backlog = store.outbox_status();
    Situation s;
    std::vector<ClassDecision> decisions;
    HelloDecision hello;
    {
      std::lock_guard lock(mutex);
      if (seen.held) return kIdlePoll;
      note_waiting(backlog, clock.steady());
      s = situation(policy, backlog);
      look_at_links(s);
      for (size_t i = 0; i < bearers.size(); ++i) {
        s.bearers[i].online = bearers[i].online;
        s.bearers[i].retry_at = bearers[i].retry_at;
      }
      if (!greeted) hello = decide_hello(policy, s);
      else decisions = decide(policy, s);
    }
    if (!greeted) return hello.send ? hello_over(hello.bearer) : until(hello.not_before, s.now);
    return act(backlog, s, decisions);
  }

  Duration until(std::optional<SteadyTime> when, SteadyTime now) const {
    return when && *when < SteadyTime::max() ? std::max(Duration(1'000'000), *when - now) : options.probe_interval;
  }

  Duration act(const std::vector<storage::OutboxStatus>& backlog, const Situation& s, const std::vector<ClassDecision>& decisions) {
    std::optional<SteadyTime> next;
    auto sooner = [&](SteadyTime when) { next = std::min(next.value_or(SteadyTime::max()), when); };
    bool waits = false;
    for (const ClassDecision& d : decisions) {
      const ClassState& state = classes[d.outbox_class];
      if (state.next > of(backlog, d.outbox_class).last_seq) continue;
      if (s.now < state.blocked_until) {
        sooner(state.blocked_until);
        continue;
      }
      if (d.send) return send(d);
      if (d.blocked_by == Gate::reachable && d.not_before && *d.not_before <= s.now) return hello_over(d.bearer);
      waits = true;
      if (d.not_before) sooner(*d.not_before);
    }
    return waits ? probe_or_wait(s, next, false) : probe_or_wait(s, next, true);
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
  if (!impl_->ledger.all().empty()) impl_->write_ledger(impl_->ledger.encode());
}

Duration Syncer::step() { return impl_->step(); }

void Syncer::hold(bool held) {
  std::lock_guard lock(impl_->mutex);
  impl_->seen.held = held;
}

Policy Syncer::policy() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->policy;
}

void Syncer::set_policy(Policy policy) {
  std::lock_guard lock(impl_->mutex);
  impl_->adopt(std::move(policy));
}

void Syncer::revoke_window(const std::string& name, bool revoked) {
  std::lock_guard lock(impl_->mutex);
  if (revoked) impl_->seen.revoked.insert(name);
  else impl_->seen.revoked.erase(name);
}

std::vector<ClassDecision> Syncer::explain(const Policy* instead) const {
  const auto backlog = impl_->store.outbox_status();
  std::lock_guard lock(impl_->mutex);
  const Policy& policy = instead != nullptr ? *instead : impl_->policy;
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
    status.bearers.push_back({b.name, s.bearers[i].online, s.bearers[i].link, s.bearers[i].use, b.monthly_bytes, b.daily_bytes, s.bearers[i].batch_goal});
  }
  return status;
}

}  // namespace skerry::sync
