#include "sync/syncer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "sync/internal/fence.h"
#include "sync/internal/syncer_impl.h"

namespace skerry::sync {
namespace {

constexpr Duration kIdlePoll = std::chrono::milliseconds(200);    // while switched off or held
constexpr Duration kAnswersPoll = std::chrono::milliseconds(50);  // what is queued meanwhile waits as long as this at most
constexpr uint64_t kAgainBytes = 256;                              // taken for an entry that goes again
constexpr const char* kRevokedNote = "sync/revoked";

}  // namespace

void Syncer::Impl::remember_revoked() {
  auto note = store.note(kRevokedNote);
  if (!note.ok() || !note->has_value()) return;
  try {
    seen.revoked = nlohmann::json::parse(**note).get<std::set<std::string>>();
  } catch (const std::exception& e) {
    log::warn("sync", "the note of revoked windows is damaged and left out: revoke them again ({})", e.what());
  }
}

void Syncer::Impl::adopt(Policy next) {
  bearers.adopt(next, clock.steady());
  policy = std::move(next);
  at = 0;
}

Situation Syncer::Impl::situation(const Policy& under, const std::vector<storage::OutboxStatus>& backlog) const {
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

BearerSituation Syncer::Impl::bearer_situation(const BearerPolicy& b, int64_t wall_ns) const {
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

void Syncer::Impl::look_at_links(Situation& s) {
  const bool back = bearers.look_at_links(s.bearers, s.now);
  for (size_t i = 0; i < bearers.size(); ++i) {
    s.bearers[i].online = bearers[i].online;
    s.bearers[i].retry_at = bearers[i].retry_at;
  }
  if (back && flights.empty()) uplink->link_changed();
  seen.online = bearers.any_online();
}

void Syncer::Impl::charge(const std::string& bearer, const std::string& purpose, uint64_t sent, uint64_t received) {
  for (const BearerPolicy& b : policy.bearers) {
    if (b.name != bearer) continue;
    const auto roaming = environment.link ? environment.link(b).roaming : std::nullopt;
    account.charge(b, purpose, sent, received, roaming.value_or(false), clock.now_ns());
    return;
  }
  account.charge({.name = bearer}, purpose, sent, received, false, clock.now_ns());  // the policy has changed since it went
}

Route Syncer::Impl::route(size_t bearer) const {
  const BearerPolicy& b = policy.bearers[bearer];
  return {b.name, b.device, b.mark, b.dscp};
}

void Syncer::Impl::note_error(const std::string& message) {
  std::lock_guard lock(mutex);
  if (seen.last_error != message) log::warn("sync", "{}", message);
  seen.last_error = message;
}

Duration Syncer::Impl::failed(const Error& error) {
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

Duration Syncer::Impl::doubt(Error error) {
  greeted = false;
  if (gave_reason_to_doubt) return failed(error);
  gave_reason_to_doubt = true;
  drop_flights();
  log::info("sync", "{}: asking the hub for its watermarks", error.message);
  return Duration::zero();
}

void Syncer::Impl::progress(const std::string& bearer) {
  gave_reason_to_doubt = false;
  std::lock_guard lock(mutex);
  if (BearerState* state = bearers.find(bearer)) state->progress(clock.steady());
  if (seen.lost_at_hub == 0 && blocked.empty()) seen.last_error.clear();
}

const storage::OutboxStatus& Syncer::Impl::of(const std::vector<storage::OutboxStatus>& all, OutboxClass outbox_class) {
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.outbox_class == outbox_class; });
  SKERRY_CHECK(found != all.end(), "the store reports no class {}", storage::to_string(outbox_class));
  return *found;
}

void Syncer::Impl::note_waiting(const std::vector<storage::OutboxStatus>& backlog, SteadyTime now) {
  for (const auto& s : backlog) {
    if (s.last_seq == s.acked_seq) history[index_of(s.outbox_class)].turn_at = now;
  }
}

Duration Syncer::Impl::hello_over(size_t bearer) {
  at = bearer;
  return say_hello();
}

Duration Syncer::Impl::step() {
  if ((!options.enabled || !greeted) && internal::epoch_is_asked_for(store)) {
    std::map<OutboxClass, uint64_t> shown;
    for (const auto& s : store.outbox_status()) shown[s.outbox_class] = s.acked_seq;
    return fence(shown, "the hub has another history than this node, says the receipt of a bundle: a new epoch begins");
  }
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

Duration Syncer::Impl::wait_for_answers() { return collect(kAnswersPoll).value_or(Duration::zero()); }

Duration Syncer::Impl::until(std::optional<SteadyTime> when, SteadyTime now) const {
  return when && *when < SteadyTime::max() ? std::max(Duration(1'000'000), *when - now) : options.probe_interval;
}

Duration Syncer::Impl::act(const std::vector<storage::OutboxStatus>& backlog, const Situation& s, const std::vector<ClassDecision>& decisions) {
  std::optional<SteadyTime> next;
  auto sooner = [&](SteadyTime when) { next = std::min(next.value_or(SteadyTime::max()), when); };
  bool waits = false;
  if (s.now - fetched_at >= policy.turn) {  // also beside a backlog that does not end
    if (auto wait = fetch(s, next)) return *wait;
  }
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
  if (auto wait = repair(s)) return *wait;
  if (auto wait = fetch(s, next)) return *wait;
  return probe_or_wait(s, next, !waits);
}

bool Syncer::Impl::must_wait(const ClassDecision& d) {
  const std::string* over = flights.bearer_of(d.outbox_class);
  if (over == nullptr) return false;
  return *over != policy.bearers[d.bearer].name || flights.any_stale(d.outbox_class) || outgoing.of(d.outbox_class).searching();
}

Duration Syncer::Impl::try_again(size_t bearer) {
  (void)hello_over(bearer);
  std::lock_guard lock(mutex);
  if (!bearers[bearer].online) greeted = true;
  return Duration::zero();
}

std::optional<size_t> Syncer::Impl::wanted_more(const Situation& s, const ClassDecision& d) const {
  for (size_t i = 0; i < d.bearer; ++i) {
    const auto& mine = policy.bearers[i].classes;
    const bool allowed = mine.empty() || std::find(mine.begin(), mine.end(), d.outbox_class) != mine.end();
    if (allowed && s.bearers[i].link.up && !s.bearers[i].online && s.now >= s.bearers[i].retry_at) return i;
  }
  return {};
}

Duration Syncer::Impl::probe_or_wait(const Situation& s, std::optional<SteadyTime> next, bool may_probe) {
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
  std::set<std::string> now;
  {
    std::lock_guard lock(impl_->mutex);
    if (revoked) impl_->seen.revoked.insert(name);
    else impl_->seen.revoked.erase(name);
    now = impl_->seen.revoked;
  }
  storage::Effect effect;
  effect.notes.emplace_back(kRevokedNote, now.empty() ? "" : nlohmann::json(now).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  if (auto written = impl_->store.commit(effect); !written.ok()) log::warn("sync", "that window '{}' changed is known until a restart only: {}", name, written.error().message);
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
