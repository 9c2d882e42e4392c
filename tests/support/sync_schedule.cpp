#include "tests/support/sync_schedule.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "base/random.h"
#include "sync/syncer.h"
#include "tests/support/fake_cloud.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::test {
namespace {

using namespace std::chrono_literals;
using storage::OutboxClass;
namespace fs = std::filesystem;

constexpr int kActs = 30, kStepsMax = 20'000;
constexpr uint64_t kRowsMax = 30;  // of one entry
constexpr Duration kQuietWithin = 2h, kQuietAfterLies = 5min;

class Schedule {
 public:
  Schedule(uint64_t seed, const fs::path& scratch) : folder_(scratch), random_(seed), cloud_(clock_, folder_ / "hub", seed) { choose(); }

  ScheduleOutcome run() {
    start();
    for (int act = 0; act < kActs; ++act) {
      disturb(act);
      for (uint64_t n = random_.below(3); n > 0; --n) ingest(1 + random_.below(kRowsMax));
      for (uint64_t n = random_.below(8); n > 0; --n) step();
    }
    settle();
    return outcome_;
  }

 private:
  void choose() {
    next_ns_ = clock_.now_ns();
    options_.batch_bytes_max = 200 + random_.below(4000);
    options_.backoff_max = 10s;
    if (random_.chance(0.3)) options_.rate_bytes_per_second = 2000 + random_.below(20'000);
    cloud_.way(random_.chance(0.6) ? FakeCloud::Way::shuffle : random_.chance(0.5) ? FakeCloud::Way::slow : FakeCloud::Way::instant);
    constexpr storage::Durability kRules[] = {storage::Durability::batch, storage::Durability::interval, storage::Durability::os};
    durability_ = kRules[random_.below(3)];
    if (random_.chance(0.2)) ttl_ = 5min;
    lies_ = random_.chance(0.3);
    if (random_.chance(0.5)) grace_ = 10min;
  }

  void start() {
    storage::Options store;
    store.path = folder_ / "store";
    store.node = "pump-1";
    store.streams = {{.name = "*", .durability = durability_, .sync = true}};
    store.write_buffer_bytes = 256 << 10;
    store.block_cache_bytes = 1 << 20;
    store.acked_grace = grace_;
    if (ttl_ > Duration::zero()) store.outbox = {{.outbox_class = OutboxClass::telemetry, .ttl = ttl_}};
    store.file_system = disk_.file_system();
    auto opened = storage::Store::open(store, clock_);
    if (!opened.ok()) throw std::logic_error("the store does not open: " + opened.error().message);
    store_ = *std::move(opened);
    syncer_ = std::make_unique<sync::Syncer>(*store_, cloud_.uplink(), options_, clock_, random_(), sync::Environment{});
  }
  void stop() {
    if (syncer_) lost_at_hub_ += syncer_->status().lost_at_hub;
    syncer_.reset();
    store_.reset();
  }

  void disturb(int act) {
    switch (random_.below(19)) {
      case 0: cloud_.down(); break;
      case 1:
      case 2: cloud_.up(); break;
      case 3: cloud_.lose_next_ack(1 + static_cast<int>(random_.below(2))); break;
      case 4: cloud_.lose_next_request(); break;
      case 5: cloud_.duplicate_next(); break;
      case 6: cloud_.corrupt_next_reply(); break;
      case 7: cloud_.corrupt_next_request(); break;
      case 8: cloud_.delay_next_request(); break;
      case 9:
        stop();
        start();
        ++outcome_.kills;
        break;
      case 10:
        cloud_.restart();
        ++outcome_.kills;
        break;
      case 11: cut_power_of_node(); break;
      case 12:
        cloud_.power_cut();
        ++outcome_.power_cuts;
        break;
      case 13:
        clock_.jump_wall(std::chrono::seconds(static_cast<int64_t>(random_.below(7200)) - 3600));
        ++outcome_.jumps;
        break;
      case 14:
        if (lies_) lie();
        break;
      case 15: queue("event " + std::to_string(act), random_.chance(0.5) ? OutboxClass::model : OutboxClass::alarm); break;
      case 16:
        if (random_.chance(0.5)) take_image();
        break;
      case 17:
        if (random_.chance(0.5)) restore_image();
        break;
      default: break;
    }
  }

  void lie() {
    using Lie = FakeCloud::Lie;
    constexpr Lie kLies[] = {Lie::garbage,    Lie::older_watermark, Lie::acknowledges_the_future,   Lie::always_gap,
                             Lie::holds_more, Lie::holds_everything, Lie::acknowledges_what_it_lacks};
    const bool now = random_.chance(0.3);
    cloud_.lie(now ? kLies[random_.below(std::size(kLies))] : Lie::none);
    outcome_.lies += now;
  }

  void step() {
    clock_.advance(syncer_->step());
    if (random_.chance(0.2)) store_->step();
  }

  // What the store acknowledged must arrive, unless it was never promised to survive: see cut_power_of_node.
  void ingest(size_t rows) {
    const std::string series = random_.chance(0.5) ? "imu{device=a}" : "temperature";
    storage::Effect effect;
    Batch batch{.series = *Series::parse(series), .times = {}, .columns = {}};
    std::vector<double> values;
    std::vector<std::string> ids;
    for (size_t i = 0; i < rows; ++i) {
      batch.times.push_back(next_ns_ += 1'000'000);
      values.push_back(static_cast<double>(i) / 8);
      ids.push_back(series + "@" + std::to_string(next_ns_));
    }
    batch.columns.push_back({"v", std::move(values), {}});
    effect.batches.push_back(std::move(batch));
    clock_.advance(std::chrono::milliseconds(rows));
    auto done = store_->commit(effect);
    if (!done.ok()) throw std::logic_error("the store refuses: " + done.error().message);
    for (auto& id : ids) (durability_ == storage::Durability::batch ? promised_ : hoped_).insert(std::move(id));
  }

  void queue(const std::string& subject, OutboxClass outbox_class) {
    storage::Effect effect;
    effect.outbox.push_back({outbox_class, storage::EntryKind::model_event, subject, "payload"});
    if (!store_->commit(effect).ok()) throw std::logic_error("the store refuses an event");
    promised_.insert("model_event " + subject);
  }

  // What was not synced may be gone: of the records that were only hoped for, those still in the store must arrive.
  void cut_power_of_node() {
    power_off();
    start();
    ++outcome_.power_cuts;
  }
  void power_off() {
    disk_.cut_power();
    stop();
    disk_.restore_power();
  }

  void take_image() {
    power_off();
    fs::remove_all(folder_ / "image");
    fs::copy(folder_ / "store", folder_ / "image", fs::copy_options::recursive);
    image_ = promised_;
    start();
  }

  // The disk goes back to what it was. What came since is here no more; of it the hub keeps what it has.
  void restore_image() {
    if (!image_) return;
    power_off();
    fs::remove_all(folder_ / "store");
    fs::copy(folder_ / "image", folder_ / "store", fs::copy_options::recursive);
    for (const std::string& id : promised_) {
      if (!image_->contains(id)) hoped_.insert(id);
    }
    promised_ = *image_;
    ++outcome_.images;
    start();
  }

  // Everything works again: the backlog drains, and both sides are compared.
  void settle() {
    cloud_.up();
    cloud_.lie(FakeCloud::Lie::none);
    const SteadyTime end = clock_.steady() + kQuietWithin;
    int steps = 0;
    for (; waiting() && clock_.steady() < end && steps < kStepsMax; ++steps) clock_.advance(syncer_->step());
    // What it said that it holds and does not, an honest hub says in answer to the next HELLO that is not lost.
    const SteadyTime quiet = clock_.steady() + kQuietAfterLies;
    for (; (waiting() || clock_.steady() < quiet) && clock_.steady() < end && steps < kStepsMax; ++steps) clock_.advance(syncer_->step());
    outcome_.most_on_the_way = static_cast<uint32_t>(cloud_.most_on_the_way());
    if (waiting()) {
      outcome_.wrong = "the outbox does not drain: " + syncer_->status().last_error;
      return;
    }
    for (const std::string& id : in_store()) promised_.insert(id);
    const std::set<std::string> held = cloud_.received_once();  // throws when one is there twice
    const hub::NodeInfo hub = cloud_.receiver().nodes()->front();
    for (const auto& [reason, d] : hub.dropped) outcome_.dropped += d.records;
    outcome_.acknowledged = promised_.size();
    outcome_.at_hub = held.size();
    uint64_t missing = 0;
    std::string one;
    for (const std::string& id : promised_) {
      if (held.contains(id)) continue;
      ++missing;
      one = id;
    }
    // A tombstone's count is an upper bound where some of its numbers had arrived before, or belong to the other history of a disk.
    // Entries that the hub acknowledged and does not hold: it, or the node, must know, and only a hub that lies may have any.
    outcome_.lost = std::max(hub.lost, lost_at_hub_ + syncer_->status().lost_at_hub);
    const bool loss_is_known = missing <= outcome_.dropped + outcome_.lost * kRowsMax;
    if (!loss_is_known) {
      outcome_.wrong = fmt::format("{} acknowledged are not at the hub, {} were dropped by rule, {} entries are known as lost; one of them: {}", missing,
                                   outcome_.dropped, outcome_.lost, one);
    }
    for (const std::string& id : held) {
      if (!promised_.contains(id) && !hoped_.contains(id)) outcome_.wrong = "the hub holds what nobody queued: " + id;
    }
    if (hub.lost > 0 && outcome_.lies == 0) outcome_.wrong = fmt::format("the hub lost {} that it had acknowledged", hub.lost);
    if (hub.quarantined > 0) outcome_.wrong = "the hub holds what it cannot read";
  }

  bool waiting() const {
    const auto all = store_->outbox_status();
    return std::any_of(all.begin(), all.end(), [](const auto& s) { return s.last_seq > s.acked_seq; });
  }

  std::set<std::string> in_store() const {
    std::set<std::string> all;
    for (const char* name : {"imu{device=a}", "temperature"}) {
      auto batch = store_->read(*Series::parse(name), {0, INT64_MAX}, 1'000'000);
      if (!batch.ok()) continue;  // never written
      for (int64_t time : batch->times) all.insert(std::string(name) + "@" + std::to_string(time));
    }
    return all;
  }

  TempDir folder_;
  Random random_;
  SimClock clock_;
  FakeCloud cloud_;
  FaultFs disk_;
  sync::Options options_;
  storage::Durability durability_ = storage::Durability::batch;
  Duration ttl_{0};
  Duration grace_{0};
  bool lies_ = false;         // the hub, at times
  uint64_t lost_at_hub_ = 0;  // entries, as nodes that are gone said
  int64_t next_ns_ = 0;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<sync::Syncer> syncer_;
  std::set<std::string> promised_, hoped_;
  std::optional<std::set<std::string>> image_;
  ScheduleOutcome outcome_;
};

}  // namespace

ScheduleOutcome run_sync_schedule(uint64_t seed, const fs::path& scratch) {
  try {
    return Schedule(seed, scratch).run();
  } catch (const std::exception& e) {
    ScheduleOutcome outcome;
    outcome.wrong = e.what();
    return outcome;
  }
}

fs::path schedule_scratch() { return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fs::temp_directory_path(); }

}  // namespace skerry::test
