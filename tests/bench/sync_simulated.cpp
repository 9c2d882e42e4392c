#include "tests/bench/sync_simulated.h"

#include <algorithm>
#include <atomic>
#include <iostream>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "node/simulate/simulate.h"
#include "node/simulate/tcp.h"
#include "tests/support/sync_schedule.h"

namespace skerry::bench {
namespace {

using simulate::Event;
using simulate::EventKind;
using simulate::Report;
using simulate::Scenario;
using storage::OutboxClass;
using namespace std::chrono_literals;

Result<config::Config> node_of(const std::string& toml) {
  auto parsed = config::parse(toml, "bench.toml");
  if (!parsed.diagnostics.empty()) return fail(Code::internal, "{}", parsed.diagnostics[0].text());
  return parsed.config;
}

Result<Report> play(const std::string& node, const Scenario& scenario, uint64_t seed = 7) {
  SKERRY_ASSIGN(const config::Config config, node_of(node));
  log::configure({.level = log::Level::off});
  auto report = simulate::run(config, scenario, {.seed = seed, .trace = {}});
  log::configure({});
  return report;
}

// A tenth of a 2 GB card and of what there is to send, so that a run takes seconds: telemetry that fits, logs that do not.
Scenario drive(Size size) {
  Scenario s{.name = "drive", .length = size == Size::smoke ? Duration(24h) : Duration(24h * 30), .trace = "driving"};
  s.loads.push_back({.name = "pump"});
  s.loads.push_back({.name = "fault", .outbox_class = OutboxClass::alarm, .interval = 2h, .bytes = 300, .random = true});
  s.loads.push_back({.name = "delta", .outbox_class = OutboxClass::model, .interval = 24h, .bytes = 200 << 10});
  s.loads.push_back({.name = "log", .outbox_class = OutboxClass::diagnostics, .interval = 10min, .bytes = 90 << 10});
  return s;
}

double delivered(const Report& r, OutboxClass c) {
  const auto& f = r.classes.at(c);
  return f.queued == 0 ? 0 : 100.0 * static_cast<double>(f.delivered) / static_cast<double>(f.queued);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

uint64_t worst_month(const Report& r) { return r.bearers.begin()->second.worst_month_bytes; }

}  // namespace

Result<std::vector<Figure>> sync_policy(Size size, const Places&) {
  constexpr uint64_t kCap = 200'000'000;
  const Scenario scenario = drive(size);
  SKERRY_ASSIGN(const Report ours, play("[sync]\npreset = \"lte-metered\"\n[sync.class.diagnostics]\npatience = \"1s\"\n[[sync.bearer]]\nmonthly = \"200 MB\"\n", scenario));
  // 200 MB over 30 days are 77 bytes a second; all classes share the cap, as they do where only the rate is capped.
  SKERRY_ASSIGN(const Report fixed, play("[sync]\nrate_max = 77\nburst = \"256 KiB\"\n", scenario));
  SKERRY_ASSIGN(const Report online, play("", scenario));
  // A sender that sends when it is online and has one queue, as most have: there the alarms stand behind the logs.
  Scenario one_queue = scenario;
  for (auto& load : one_queue.loads) {
    if (load.outbox_class != OutboxClass::telemetry) load.outbox_class = OutboxClass::diagnostics;
  }
  SKERRY_ASSIGN(const Report queue, play("", one_queue));
  for (const auto& [name, r] :
       {std::pair{"policy", &ours}, std::pair{"static rate", &fixed}, std::pair{"when online", &online}, std::pair{"when online, one queue", &queue}}) {
    const simulate::LoadReport& alarms = r->loads.at("fault");
    std::cout << "# " << name << ": alarms p50 " << alarms.p50_seconds << " s, p99 " << alarms.p99_seconds << " s where outages alone make it " << alarms.floor_p99_seconds
              << " s, telemetry " << delivered(*r, OutboxClass::telemetry)
              << " %, worst month " << worst_month(*r) / 1'000'000 << " MB of 200" << std::endl;
  }
  std::vector<Figure> figures;
  const double ours_p99 = ours.loads.at("fault").p99_seconds, floor = ours.loads.at("fault").floor_p99_seconds;
  figures.push_back({"sync.month_over_cap", static_cast<double>(worst_month(ours)) / static_cast<double>(kCap), "ratio", 1, Better::lower,
                     Peer{"when_online", static_cast<double>(worst_month(ours)) / static_cast<double>(worst_month(online))}});
  figures.push_back({"sync.alarm_p99_to_static_rate", ours_p99 / fixed.classes.at(OutboxClass::alarm).p99_seconds, "ratio", 1, Better::lower,
                     Peer{"static_rate", ours_p99 / fixed.classes.at(OutboxClass::alarm).p99_seconds}});
  figures.push_back({"sync.alarm_p99_to_when_online", ours_p99 / online.classes.at(OutboxClass::alarm).p99_seconds, "ratio", 1, Better::lower,
                     Peer{"when_online", ours_p99 / online.classes.at(OutboxClass::alarm).p99_seconds}});
  const double queue_p99 = queue.loads.at("fault").p99_seconds;
  figures.push_back({"sync.alarm_p99_to_one_queue", ours_p99 / queue_p99, "ratio", 1, Better::lower, Peer{"when_online_one_queue", ours_p99 / queue_p99}});
  figures.push_back({"sync.alarm_p99_over_outages", ours_p99 - floor, "s", 1, Better::lower});  // what the sender itself adds
  figures.push_back({"sync.telemetry_delivered", delivered(ours, OutboxClass::telemetry), "%", std::min(99.9, delivered(fixed, OutboxClass::telemetry)), Better::higher,
                     Peer{"static_rate", delivered(ours, OutboxClass::telemetry) / std::max(1e-9, delivered(fixed, OutboxClass::telemetry))}});
  for (Figure& f : figures) f.judged = size == Size::full;
  return figures;
}

Result<std::vector<Figure>> sync_month(Size size, const Places&) {
  Scenario scenario{.name = "month", .length = size == Size::smoke ? Duration(24h) : Duration(24h * 30)};
  scenario.loads.push_back({.name = "pump"});
  scenario.events.push_back({.kind = EventKind::outage, .at = 5h, .length = 40min, .every = 24h});
  SKERRY_ASSIGN(const Report report, play("[sync]\npreset = \"lte-metered\"\n", scenario));
  Figure figure{"sync.simulated_month", report.took_seconds, "s", 10, Better::lower};
  figure.judged = size == Size::full;
  return std::vector<Figure>{figure};
}

// A backlog of a million records behind an outage; the peer is the time that its bytes take over the same link in one plain HTTP upload, through the
// same model of TCP (node/simulate/tcp.h). With packets lost TCP itself is what bounds both; without, how fast a sender finds the rate of the link.
static Result<Figure> drain(Size size, uint64_t mbit, double packet_loss) {
  Scenario s{.name = "drain", .length = 2h};
  s.link = {.technology = sync::Technology::ethernet, .rate = mbit * 125'000, .rtt = 50ms, .packet_loss = packet_loss};
  const auto fill = 1000s;
  const uint64_t per_second = size == Size::smoke ? 50 : 1000;
  s.loads.push_back({.name = "pump", .interval = Duration(1'000'000'000 / static_cast<int64_t>(per_second)), .batch = 1000, .fields = 6});
  s.events.push_back({.kind = EventKind::outage, .at = 0s, .length = fill, .visible = true});
  s.length = fill;
  SKERRY_ASSIGN(const Report full, play("", s));
  const uint64_t backlog = sync::wire_bytes(full.backlog_max);
  const uint64_t rounds = packet_loss > 0 && size == Size::full ? 15 : 1;  // which packets are lost is luck: the median of some
  std::vector<double> plain, shares;
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    plain.push_back(std::chrono::duration<double>(simulate::plain_upload(backlog, {s.link.rate, s.link.rtt, packet_loss}, seed)).count());
  }
  const double seconds = median(plain);
  s.length = fill + Duration(static_cast<int64_t>(seconds * 1e9));  // how much of it goes in that time
  uint64_t went = 0;
  for (uint64_t seed = 1; seed <= rounds; ++seed) {
    SKERRY_ASSIGN(const Report drained, play("[sync]\nbatch_max = \"4 MiB\"\n", s, seed));
    shares.push_back(100.0 * static_cast<double>(drained.classes.at(OutboxClass::telemetry).delivered) /
                     static_cast<double>(full.classes.at(OutboxClass::telemetry).queued));
    went = drained.wire_bytes;
  }
  const double share = median(shares);
  std::cout << fmt::format("# {} Mbit/s, {:g} % of packets lost: {} bytes waiting, {} went; a plain upload takes {:.2f} s, {:.2f} Mbit/s\n", mbit, packet_loss * 100,
                           backlog, went, seconds, static_cast<double>(backlog) * 8e-6 / seconds);
  Figure figure{fmt::format("sync.drain_{}_mbit{}", mbit, packet_loss > 0 ? "" : "_no_loss"), share, "%", 90, Better::higher, Peer{"plain_upload", share / 100}};
  figure.judged = size == Size::full;
  return figure;
}

Result<std::vector<Figure>> sync_drain(Size size, const Places&) {
  std::vector<Figure> figures;
  for (const double packet_loss : {0.01, 0.0}) {
    for (const uint64_t mbit : {5, 20, 100}) {
      SKERRY_ASSIGN(Figure figure, drain(size, mbit, packet_loss));
      figures.push_back(std::move(figure));
    }
  }
  return figures;
}

// What is wrong is printed with its seed, which replays it.
Result<std::vector<Figure>> sync_schedules(Size size, const Places&) {
  const uint64_t runs = size == Size::smoke ? 20 : 10'000;
  const auto scratch = test::schedule_scratch();
  std::atomic<uint64_t> next{1}, wrong{0}, power_cuts{0}, images{0}, several{0};
  std::mutex printing;
  log::configure({.level = log::Level::off});
  auto work = [&] {
    for (uint64_t seed = next++; seed <= runs; seed = next++) {
      const test::ScheduleOutcome outcome = test::run_sync_schedule(seed, scratch);
      power_cuts += outcome.power_cuts;
      images += outcome.images;
      several += outcome.most_on_the_way > 1;
      if (outcome.wrong.empty()) continue;
      ++wrong;
      std::lock_guard lock(printing);
      std::cout << "# schedule " << seed << ": " << outcome.wrong << std::endl;
    }
  };
  {
    std::vector<std::jthread> threads;  // a store waits for its own background threads now and then
    for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  }
  log::configure({});
  std::cout << "# " << runs << " schedules with " << power_cuts << " power cuts, " << images << " old images, " << several << " with several batches on their way" << std::endl;
  return std::vector<Figure>{{fmt::format("sync.schedules_wrong_of_{}", runs), static_cast<double>(wrong), "runs", 0, Better::lower}};
}

}  // namespace skerry::bench
