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

namespace skerry::sync {
namespace {

using storage::OutboxClass;

constexpr const char* kSoftware = "skerry 0.1.0";
constexpr Duration kIdlePoll = std::chrono::milliseconds(200);  // how soon new data is noticed
constexpr uint64_t kPayloadBytesMax = kMessageBytesMax - (1 << 20);  // leaves room for the entries' own fields

// What this process knows of one class beyond the store.
struct ClassState {
  uint64_t next = 1;             // to be sent
  uint64_t highest_sent = 0;     // the hub may hold up to here even when every answer was lost
  bool gap_answered = false;     // since the last progress: a second one is no accident
  SteadyTime blocked_until{};    // the hub refused the head of the class, or it is too large: the other classes go on
  Duration backoff{0};
  std::deque<std::pair<uint64_t, uint32_t>> sent;  // (seq, records) sent and not yet acknowledged
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

// What is lost goes as empty blocks, one for each number.
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
  Impl(storage::Store& s, std::unique_ptr<Uplink> u, const Options& o, const Clock& c, uint64_t seed,
       std::function<std::vector<std::string>()> d)
      : store(s), uplink(std::move(u)), options(o), clock(c), describe(std::move(d)), random(seed), bucket(o, c.steady()) {
    retry_at = clock.steady();
    seen.enabled = options.enabled;
    seen.hub = options.hub;
  }

  storage::Store& store;
  std::unique_ptr<Uplink> uplink;
  const Options options;
  const Clock& clock;
  std::function<std::vector<std::string>()> describe;

  // --- of the thread that calls step()
  Random random;
  std::map<OutboxClass, ClassState> classes;
  bool greeted = false;             // a HELLO was answered since the last doubt
  uint64_t fresh_epoch = 0;         // begun here, and nothing of it sent yet
  bool gave_reason_to_doubt = false;  // since the last progress
  Duration backoff{0};
  SteadyTime last_exchange{};

  // --- of any thread
  mutable std::mutex mutex;
  SyncStatus seen;                  // without decisions
  std::map<OutboxClass, std::string> blocked;  // why
  TokenBucket bucket;
  SteadyTime retry_at{};

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
    const Duration wait = next_backoff(backoff);
    note_error(error.message);
    std::lock_guard lock(mutex);
    ++seen.failures;
    seen.online = false;
    retry_at = clock.steady() + wait;
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
    backoff = Duration::zero();
    std::lock_guard lock(mutex);
    if (seen.lost_at_hub == 0 && blocked.empty()) seen.last_error.clear();
  }

  // Charges what went over the wire, answered or not.
  template <typename Exchange>
  auto exchange(Exchange&& call) {
    const uint64_t before = uplink->traffic().sent;
    auto reply = call();
    const Traffic traffic = uplink->traffic();
    const SteadyTime now = clock.steady();
    last_exchange = now;
    std::lock_guard lock(mutex);
    bucket.charge(now, traffic.sent - before);
    seen.traffic = traffic;
    if (reply.ok()) seen.online = true;
    return reply;
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
    if (describe) hello.models = describe();
    auto reply = exchange([&] { return uplink->hello(hello); });
    if (!reply.ok()) return failed(reply.error());
    return take_hello(*reply, backlog, identity);
  }

  Duration take_hello(const HelloReply& reply, const std::vector<storage::OutboxStatus>& backlog, const storage::Identity& identity) {
    std::map<OutboxClass, uint64_t> held;
    for (const Watermark& w : reply.watermarks) held[w.outbox_class] = w.seq;
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

  // This disk is older than what the hub has seen of it - or the hub talks nonsense, which it does when it claims to know an
  // epoch that was drawn a moment ago.
  Duration hub_knows_more(const HelloReply& reply, const storage::OutboxStatus& s, uint64_t watermark, const storage::Identity& identity) {
    const char* name = storage::to_string(s.outbox_class);
    if (fresh_epoch == identity.epoch) {
      return failed(fail(Code::corrupt, "hub '{}' claims {} up to {}, of an epoch that it cannot know: is it a Skerry hub?", reply.hub, name, watermark));
    }
    const std::string cause = fmt::format("hub '{}' holds {} up to {}, this store only queued up to {}: an old disk image was restored, a new epoch begins",
                                          reply.hub, name, watermark, s.last_seq);
    log::warn("sync", "{}", cause);
    if (auto begun = store.begin_epoch(); !begun.ok()) return failed(begun.error());
    fresh_epoch = store.identity().epoch;
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
    auto items = store.outbox_read(outbox_class, state.next, decision.bytes_max);
    if (!items.ok()) return failed(items.error());
    if (items->empty()) {
      return failed(fail(Code::internal, "the outbox has entries of {} waiting but gives none from {} on: run `skerry fsck`",
                         storage::to_string(outbox_class), state.next));
    }
    const storage::Identity identity = store.identity();
    Batch batch{identity.node, identity.epoch, outbox_class, as_blocks(std::move(*items))};
    if (!fit(batch)) return Duration::zero();
    const uint64_t first = batch.entries.front().seq, last = batch.entries.back().seq;
    if (first != state.next) {
      return failed(fail(Code::internal, "the outbox gives {} {} where {} was asked for: run `skerry fsck`", storage::to_string(outbox_class), first, state.next));
    }
    const bool again = first <= state.highest_sent;
    for (const auto& item : batch.entries) {
      if (item.seq > state.highest_sent) state.sent.emplace_back(item.seq, item.records);
    }
    state.highest_sent = std::max(state.highest_sent, last);
    fresh_epoch = 0;
    auto reply = exchange([&] { return uplink->send(batch); });
    {
      std::lock_guard lock(mutex);
      ++seen.batches;
      seen.repeated += again;
    }
    if (!reply.ok()) return failed(reply.error());
    return take_reply(outbox_class, first, last, *reply);
  }

  // Cuts a batch to what the wire carries. False when its first entry alone is too large: that class waits, the others go on.
  bool fit(Batch& batch) {
    uint64_t bytes = 0;
    size_t n = 0;
    for (; n < std::min(batch.entries.size(), kBatchEntriesMax); ++n) {
      bytes += batch.entries[n].payload.size() + batch.entries[n].subject.size() + 64;
      if (bytes > kPayloadBytesMax) break;
    }
    if (n == 0) {
      block(batch.outbox_class, fmt::format("entry {} of {} has {}: at most {} can be sent", batch.entries[0].seq,
                                            storage::to_string(batch.outbox_class), format_bytes(bytes), format_bytes(kPayloadBytesMax)));
      return false;
    }
    batch.entries.resize(n);
    return true;
  }

  Duration take_reply(OutboxClass outbox_class, uint64_t first, uint64_t last, const BatchReply& reply) {
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
        block(outbox_class, fmt::format("the hub refuses {} {} to {}: {}", name, first, last, reply.message));
        return Duration::zero();
    }
    return nonsense();
  }

  // ------------------------------------------------------------------ one step

  LinkSnapshot link(SteadyTime now) const {  // with the mutex
    return {.online = seen.online, .held = seen.held, .retry_at = retry_at, .budget_bytes = bucket.at(now)};
  }

  std::vector<ClassDecision> decisions(const std::vector<storage::OutboxStatus>& backlog) const {
    const SteadyTime now = clock.steady();
    std::lock_guard lock(mutex);
    return decide(options, link(now), backlog, now);
  }

  Duration step() {
    if (!options.enabled) return options.probe_interval;
    const SteadyTime now = clock.steady();
    {
      std::lock_guard lock(mutex);
      if (seen.held) return kIdlePoll;
      if (now < retry_at) return retry_at - now;
    }
    if (!greeted) return say_hello();
    const auto backlog = store.outbox_status();
    bool limited = false;
    for (const ClassDecision& decision : decisions(backlog)) {
      const auto& status = of(backlog, decision.outbox_class);
      ClassState& state = classes[decision.outbox_class];
      if (now < state.blocked_until || state.next > status.last_seq) continue;
      if (decision.send) return send(decision);
      limited = true;
    }
    const Duration until_probe = options.probe_interval - (now - last_exchange);
    if (!limited && until_probe <= Duration::zero()) return say_hello();
    return limited ? kIdlePoll : std::min(kIdlePoll, until_probe);
  }
};

Syncer::Syncer(storage::Store& store, std::unique_ptr<Uplink> uplink, const Options& options, const Clock& clock, uint64_t seed,
               std::function<std::vector<std::string>()> describe)
    : impl_(std::make_unique<Impl>(store, std::move(uplink), options, clock, seed, std::move(describe))) {}
Syncer::~Syncer() = default;

Duration Syncer::step() { return impl_->step(); }

void Syncer::hold(bool held) {
  std::lock_guard lock(impl_->mutex);
  impl_->seen.held = held;
}

SyncStatus Syncer::status() const {
  SyncStatus status;
  {
    std::lock_guard lock(impl_->mutex);
    status = impl_->seen;
  }
  const auto backlog = impl_->store.outbox_status();
  status.decisions = impl_->decisions(backlog);
  std::lock_guard lock(impl_->mutex);
  for (ClassDecision& decision : status.decisions) {
    auto found = impl_->blocked.find(decision.outbox_class);
    if (found == impl_->blocked.end()) continue;
    decision.send = false;
    decision.reason = found->second;
  }
  return status;
}

}  // namespace skerry::sync
