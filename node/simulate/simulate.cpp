#include "node/simulate/simulate.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/log.h"
#include "base/units.h"
#include "node/simulate/internal/world.h"
#include "storage/store.h"
#include "sync/syncer.h"

namespace skerry::simulate {
namespace {

using internal::Cloud;
using internal::Disk;
using internal::SteppedClock;
using internal::Weather;
using storage::OutboxClass;

constexpr size_t kFreshnessMax = 4'000'000;  // samples kept of a class
constexpr Duration kUpkeepEvery = std::chrono::seconds(20);  // of the store, whatever it asks for: nothing here depends on more

struct Producing {
  const Load* load;
  SteadyTime due;        // of the next record or entry
  std::vector<int64_t> times;  // of records that are not handed over yet
};

struct Happening {
  const Event* event;
  SteadyTime due, ends;
  bool on = false;
};

struct Fresh {                 // of one load
  std::vector<float> seconds, floor;
  std::vector<int64_t> waits;  // queued while there was no link
};

struct Measured {
  ClassReport report;
  std::vector<float> freshness;
};

double quantile(std::vector<float>& sorted, double share) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * static_cast<double>(sorted.size())))];
}

class Run {
 public:
  Run(const config::Config& config, const Scenario& scenario, const Options& options)
      : config_(config), scenario_(scenario), options_(options), random_(options.seed), clock_(scenario.start_ns), cloud_(clock_, weather_, options.seed + 1) {}

  ~Run() {
    syncer_.reset();
    store_.reset();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  Result<Report> run() {
    const auto began = system_clock().steady();
    std::string pattern = (std::filesystem::temp_directory_path() / "skerry-simulate-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) return fail(Code::unavailable, "no folder can be made in {}", std::filesystem::temp_directory_path().string());
    folder_ = pattern;
    SKERRY_TRY(cloud_.start());
    cloud_.applied = [this](const sync::Batch& batch, Duration late) { arrived(batch, late); };
    prepare();
    SKERRY_TRY(boot());
    while (clock_.steady() < end_) SKERRY_TRY(turn());
    SKERRY_TRY(finish());
    report_.took_seconds = std::chrono::duration<double>(system_clock().steady() - began).count();
    return std::move(report_);
  }

 private:
  void prepare() {
    begin_ = clock_.steady();
    end_ = begin_ + scenario_.length;
    trace_ = options_.trace;
    if (trace_.empty() && scenario_.trace == "driving") trace_ = driving_trace(random_, scenario_.length);
    weather_.link = scenario_.link;
    for (const Load& load : scenario_.loads) loads_.push_back({&load, begin_ + gap(load), {}});
    for (const Event& event : scenario_.events) happenings_.push_back({&event, begin_ + event.at, {}, false});
    point_at_ = begin_;
    for (OutboxClass c : storage::kOutboxClasses) measured_[c];
  }

  Duration gap(const Load& load) {
    if (!load.random) return load.interval;
    return Duration(1 + static_cast<int64_t>(-std::log(1.0 - random_.uniform()) * static_cast<double>(load.interval.count())));
  }

  Status boot() {
    storage::Options storage = config_.storage;
    storage.path = folder_ / "store";
    storage.file_system = disk_.file_system();
    storage.draw_epoch = [this] { return random_(); };
    for (auto& rule : storage.streams) rule.durability = storage::Durability::os;  // syncs cost nothing here, rounds of them would
    if (storage.streams.empty()) storage.streams.push_back({.name = "*", .durability = storage::Durability::os});
    SKERRY_ASSIGN(store_, storage::Store::open(storage, clock_));
    sync::Environment environment;
    environment.link = [this](const sync::BearerPolicy& b) { return facts(b); };
    environment.device = [this] {
      sync::DeviceFacts facts;
      if (weather_.battery) facts = {.battery = weather_.battery, .on_mains = false};
      return facts;
    };
    syncer_ = std::make_unique<sync::Syncer>(*store_, cloud_.uplink(config_.sync), config_.sync, clock_, random_(), environment);
    sync_due_ = store_due_ = clock_.steady();
    return {};
  }

  sync::LinkFacts facts(const sync::BearerPolicy& bearer) const {
    sync::LinkFacts facts;
    facts.up = !weather_.seen_down;
    facts.technology = bearer.technology && trace_.empty() && !radio_ ? *bearer.technology : weather_.link.technology;
    facts.roaming = weather_.link.roaming;
    facts.stable_since = weather_.changed;
    return facts;
  }

  // ------------------------------------------------------------------ one turn of the clock

  Status turn() {
    SteadyTime next = std::min({end_, sync_due_, store_due_, point_at_, trace_due()});
    for (const Producing& p : loads_) next = std::min(next, p.due);
    for (const Happening& h : happenings_) next = std::min(next, h.on ? h.ends : h.due);
    if (next > clock_.steady()) clock_.advance(next - clock_.steady());
    SKERRY_TRY(happen());
    follow_trace();
    if (weather_.up) link_is_there();
    const bool queued = produce();
    const SteadyTime now = clock_.steady();
    if (store_ && now >= store_due_) store_due_ = now + std::max<Duration>(store_->step(), kUpkeepEvery);
    if (syncer_ && (queued || now >= sync_due_)) {
      const Duration wait = syncer_->step();
      sync_due_ = clock_.steady() + std::max<Duration>(wait, std::chrono::microseconds(1));
    }
    while (clock_.steady() >= point_at_) draw_point();
    return {};
  }

  bool produce() {
    bool queued = false;
    const SteadyTime now = clock_.steady();
    for (Producing& p : loads_) {
      while (p.due <= now) {
        const int64_t time = clock_.now_ns() - (now - p.due).count();
        p.due += gap(*p.load);
        p.times.push_back(time);
        if (p.load->outbox_class == OutboxClass::telemetry && p.times.size() < p.load->batch) continue;
        queued = hand_over(p) || queued;
      }
    }
    return queued;
  }

  // Whatever the store refuses is gone, as it is for a sensor that keeps nothing.
  bool hand_over(Producing& p) {
    const uint64_t n = p.times.size();
    storage::Effect effect;
    if (p.load->outbox_class == OutboxClass::telemetry) {
      effect.batches.push_back(records(p));
    } else {
      std::string payload(p.load->bytes, '\0');
      for (char& c : payload) c = static_cast<char>(random_());
      effect.outbox.push_back({p.load->outbox_class, storage::EntryKind::model_event, p.load->name, std::move(payload)});
      effect.durability = storage::Durability::os;
      Fresh& fresh = fresh_[p.load->name];
      if (weather_.up) fresh.floor.push_back(0);
      else fresh.waits.push_back(clock_.now_ns());
    }
    p.times.clear();
    if (store_ == nullptr) {
      report_.refused += n;
      return false;
    }
    auto done = store_->commit(effect);
    if (!done.ok()) {
      report_.refused += n;
      return false;
    }
    report_.dropped += done->dropped;
    measured_[p.load->outbox_class].report.queued += n - done->dropped;
    report_.records += p.load->outbox_class == OutboxClass::telemetry ? n - done->dropped : 0;
    return true;
  }

  void link_is_there() {
    for (auto& [name, fresh] : fresh_) {
      for (const int64_t queued : fresh.waits) fresh.floor.push_back(static_cast<float>(static_cast<double>(clock_.now_ns() - queued) / 1e9));
      fresh.waits.clear();
    }
  }

  Batch records(const Producing& p) {
    Batch batch;
    batch.series = {.name = p.load->name, .tags = {}};
    batch.times = p.times;
    for (size_t i = 1; i < batch.times.size(); ++i) batch.times[i] = std::max(batch.times[i], batch.times[i - 1] + 1);
    for (uint32_t f = 0; f < p.load->fields; ++f) {
      std::vector<double> values;
      for (int64_t time : batch.times) {  // a slow wave and the noise of an instrument of three digits
        const double phase = static_cast<double>(time % 3'600'000'000'000) / 3.6e12 * 6.283185307179586;
        values.push_back(std::round((20 + 5 * std::sin(phase + f) + 0.1 * random_.normal()) * 1000) / 1000);
      }
      batch.columns.push_back({fmt::format("f{}", f), std::move(values), {}});
    }
    return batch;
  }

  void arrived(const sync::Batch& batch, Duration late) {
    Measured& m = measured_[batch.outbox_class];
    uint64_t& taken = taken_[{batch.epoch, batch.outbox_class}];
    for (const auto& item : batch.entries) {
      if (item.end_seq() <= taken) continue;  // the hub had it
      taken = item.end_seq();
      if (item.kind == storage::EntryKind::lost) continue;
      const uint64_t n = item.kind == storage::EntryKind::samples ? item.records : 1;
      m.report.delivered += n;
      const auto seconds = static_cast<float>(static_cast<double>(clock_.now_ns() - late.count() - item.queued_ns) / 1e9);
      if (m.freshness.size() < kFreshnessMax) m.freshness.push_back(seconds);
      if (auto load = fresh_.find(item.subject); load != fresh_.end() && load->second.seconds.size() < kFreshnessMax) load->second.seconds.push_back(seconds);
    }
  }

  // ------------------------------------------------------------------ what happens

  Status happen() {
    for (Happening& h : happenings_) {
      const SteadyTime now = clock_.steady();
      if (h.on && now >= h.ends) {
        h.on = false;
        SKERRY_TRY(set(*h.event, false));
      }
      if (h.on || now < h.due) continue;
      h.due = h.event->every > Duration::zero() ? h.due + h.event->every : SteadyTime::max();
      if (!random_.chance(h.event->chance)) continue;
      h.ends = now + h.event->length;
      h.on = true;
      SKERRY_TRY(set(*h.event, true));
    }
    return {};
  }

  Status set(const Event& e, bool on) {
    switch (e.kind) {
      case EventKind::outage: set_outage(e, on); break;
      case EventKind::radio:
        weather_.link = on ? e.link : scenario_.link;
        weather_.changed = clock_.steady();
        radio_ = on;
        break;
      case EventKind::lost_acks: weather_.lose_acks = on; break;
      case EventKind::slow_hub: weather_.hub_delay = on ? e.delay : Duration::zero(); break;
      case EventKind::hub_errors: weather_.hub_errors = on; break;
      case EventKind::disk_full: disk_.set_full(on); break;
      case EventKind::clock_jump:
        if (on) clock_.jump(e.jump);
        break;
      case EventKind::reboot: return reboot(on);
      case EventKind::revoke_window:
        if (syncer_) syncer_->revoke_window(e.window, on);
        break;
      case EventKind::battery: weather_.battery = on ? std::optional(e.percent) : std::nullopt; break;
    }
    return {};
  }

  void set_outage(const Event& e, bool on) {
    if (!e.bearer.empty()) weather_.down[e.bearer] = on;
    else outages_ += on ? 1 : -1;
    weather_.up = trace_up_ && outages_ == 0;
    weather_.seen_down = on && e.visible && e.bearer.empty();
    weather_.changed = clock_.steady();
  }

  Status reboot(bool on) {
    if (on) {
      add_counters();
      syncer_.reset();
      store_.reset();
      ++report_.reboots;
      sync_due_ = store_due_ = SteadyTime::max();
      return {};
    }
    return boot();
  }

  SteadyTime trace_due() const {
    if (trace_.empty()) return SteadyTime::max();
    return trace_begin() + (step_ < trace_.size() ? trace_[step_].at : trace_length());
  }
  SteadyTime trace_begin() const { return begin_ + trace_length() * round_; }
  Duration trace_length() const { return trace_.back().at + std::chrono::seconds(1); }

  void follow_trace() {
    while (!trace_.empty() && clock_.steady() >= trace_due()) {
      if (step_ == trace_.size()) {
        step_ = 0;
        ++round_;
        continue;
      }
      const TraceStep& step = trace_[step_++];
      const bool other = step.up != weather_.up || step.link.technology != weather_.link.technology;
      trace_up_ = step.up;
      weather_.up = trace_up_ && outages_ == 0;
      weather_.seen_down = !step.up;
      weather_.link = step.link;
      if (other) weather_.changed = clock_.steady();
    }
  }

  // ------------------------------------------------------------------ what is seen

  void draw_point() {
    Point point{.days = std::chrono::duration<double>(point_at_ - begin_).count() / 86400, .up = weather_.up};
    point_at_ += std::max<Duration>(scenario_.length / static_cast<int64_t>(std::max<size_t>(options_.points, 1)), std::chrono::seconds(1));
    if (store_) {
      uint64_t sum = 0;
      for (const auto& s : store_->outbox_status()) {
        point.backlog_bytes[s.outbox_class] = s.bytes;
        point.age_seconds[s.outbox_class] = s.entries == 0 ? 0 : std::max(0.0, static_cast<double>(clock_.now_ns() - s.oldest_ns) / 1e9);
        sum += s.bytes;
      }
      report_.backlog_max = std::max(report_.backlog_max, sum);
    }
    if (syncer_) {
      for (const auto& b : syncer_->status().bearers) {
        BearerReport& worst = report_.bearers[b.name];
        point.month_bytes[b.name] = b.use.month_bytes;
        worst.worst_month_bytes = std::max({worst.worst_month_bytes, b.use.month_bytes, b.use.last_month_bytes});
        worst.worst_day_bytes = std::max(worst.worst_day_bytes, b.use.day_bytes);
      }
    }
    report_.points.push_back(std::move(point));
  }

  void add_counters() {
    if (!syncer_) return;
    const auto status = syncer_->status();
    report_.failures += status.failures;
    report_.repeated += status.repeated;
    report_.epochs += status.epochs_begun;
    for (const auto& b : status.bearers) {
      BearerReport& out = report_.bearers[b.name];
      out.use = b.use;
      out.monthly_bytes = b.monthly_bytes;
      out.daily_bytes = b.daily_bytes;
      out.worst_month_bytes = std::max({out.worst_month_bytes, b.use.month_bytes, b.use.last_month_bytes});
      out.worst_day_bytes = std::max(out.worst_day_bytes, b.use.day_bytes);
    }
  }

  Status finish() {
    if (!store_) SKERRY_TRY(boot());
    disk_.set_full(false);
    add_counters();
    SKERRY_ASSIGN(const hub::NodeInfo hub, cloud_.node());
    report_.scenario = scenario_.name;
    report_.days = std::chrono::duration<double>(scenario_.length).count() / 86400;
    report_.duplicates = 0;
    report_.exchanges = cloud_.exchanges();
    count_waiting();
    for (auto& [c, m] : measured_) {
      std::sort(m.freshness.begin(), m.freshness.end());
      m.report.p50_seconds = quantile(m.freshness, 0.5);
      m.report.p90_seconds = quantile(m.freshness, 0.9);
      m.report.p99_seconds = quantile(m.freshness, 0.99);
      m.report.max_seconds = m.freshness.empty() ? 0 : m.freshness.back();
      const uint64_t there = m.report.delivered + m.report.waiting;
      if (there < m.report.queued) report_.lost += m.report.queued - there;
      if (there > m.report.queued) report_.duplicates += there - m.report.queued;
      report_.classes[c] = m.report;
    }
    for (auto& [name, fresh] : fresh_) {
      std::sort(fresh.seconds.begin(), fresh.seconds.end());
      std::sort(fresh.floor.begin(), fresh.floor.end());
      report_.loads[name] = {quantile(fresh.seconds, 0.5), quantile(fresh.seconds, 0.99), quantile(fresh.floor, 0.99)};
    }
    for (const auto& [reason, d] : hub.dropped) report_.dropped += d.records;
    for (const auto& [name, b] : report_.bearers) {
      report_.cost += b.use.cost;
      for (const auto& [purpose, bytes] : b.use.purposes) report_.wire_bytes += bytes.sent + bytes.received;
    }
    expect();
    return {};
  }

  void count_waiting() {
    for (const auto& s : store_->outbox_status()) {
      for (uint64_t seq = s.acked_seq + 1; seq <= s.last_seq;) {
        auto items = store_->outbox_read(s.outbox_class, seq, 8 << 20);
        if (!items.ok() || items->empty()) break;
        for (const auto& item : *items) {
          if (item.end_seq() < seq || item.kind == storage::EntryKind::lost) continue;
          if (arrived_already(s.outbox_class, item.seq)) continue;
          measured_[s.outbox_class].report.waiting += item.kind == storage::EntryKind::samples ? item.records : 1;
        }
        seq = items->back().end_seq() + 1;
      }
    }
  }

  // The hub has it, its answer was lost.
  bool arrived_already(OutboxClass c, uint64_t seq) {
    if (!held_) {
      held_.emplace();
      if (auto node = cloud_.node(); node.ok()) {
        for (const auto& w : node->watermarks) (*held_)[w.outbox_class] = w.seq;
      }
    }
    return seq <= (*held_)[c];
  }

  // ------------------------------------------------------------------ what was expected

  template <typename T, typename Show>
  void at_most(const char* what, const std::optional<T>& limit, T found, Show show) {
    if (limit && found > *limit) report_.broken.push_back(fmt::format("{}: {}, expected at most {}", what, show(found), show(*limit)));
  }

  void expect() {
    const Expect& e = scenario_.expect;
    auto count = [](uint64_t n) { return fmt::format("{}", n); };
    at_most("lost", e.lost_max, report_.lost, count);
    at_most("taken twice by the hub", e.duplicates_max, report_.duplicates, count);
    at_most("refused by the store", e.refused_max, report_.refused, count);
    at_most("bytes on the wire", e.bytes_max, report_.wire_bytes, format_bytes);
    at_most("backlog", e.backlog_max, report_.backlog_max, format_bytes);
    at_most("cost", e.cost_max, report_.cost, [](double c) { return fmt::format("{:.2f}", c); });
    for (const auto& [name, b] : report_.bearers) {
      if (!e.budget_kept.value_or(false)) break;
      if (b.monthly_bytes > 0) at_most(("month of " + name).c_str(), std::optional(b.monthly_bytes), b.worst_month_bytes, format_bytes);
      if (b.daily_bytes > 0) at_most(("day of " + name).c_str(), std::optional(b.daily_bytes), b.worst_day_bytes, format_bytes);
    }
    for (const auto& [c, wanted] : e.classes) expect_class(c, wanted);
  }

  void expect_class(OutboxClass c, const ExpectClass& wanted) {
    const ClassReport& found = report_.classes[c];
    auto time = [](Duration d) { return format_duration(d); };
    auto duration = [](double s) { return Duration(static_cast<int64_t>(s * 1e9)); };
    const std::string name = to_string(c);
    at_most((name + " freshness p50").c_str(), wanted.freshness_p50_max, duration(found.p50_seconds), time);
    at_most((name + " freshness p99").c_str(), wanted.freshness_p99_max, duration(found.p99_seconds), time);
    const double share = found.queued == 0 ? 1 : static_cast<double>(found.delivered) / static_cast<double>(found.queued);
    if (wanted.delivered_min && share < *wanted.delivered_min) {
      report_.broken.push_back(fmt::format("{} delivered: {:.4f}, expected at least {:.4f}", name, share, *wanted.delivered_min));
    }
  }

  const config::Config& config_;
  const Scenario& scenario_;
  const Options& options_;
  Random random_;
  SteppedClock clock_;
  Weather weather_;
  Disk disk_;
  Cloud cloud_;
  std::filesystem::path folder_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<sync::Syncer> syncer_;
  std::vector<Producing> loads_;
  std::vector<Happening> happenings_;
  std::vector<TraceStep> trace_;
  size_t step_ = 0;
  int64_t round_ = 0;
  int outages_ = 0;
  bool radio_ = false, trace_up_ = true;
  SteadyTime begin_{}, end_{}, sync_due_{}, store_due_{}, point_at_{};
  std::map<OutboxClass, Measured> measured_;
  std::map<std::string, Fresh> fresh_;
  std::map<std::pair<uint64_t, OutboxClass>, uint64_t> taken_;  // the highest number that the hub took of an epoch
  std::optional<std::map<OutboxClass, uint64_t>> held_;
  Report report_;
};

}  // namespace

Result<Report> run(const config::Config& config, const Scenario& scenario, const Options& options) { return Run(config, scenario, options).run(); }

}  // namespace skerry::simulate
