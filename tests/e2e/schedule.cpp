#include "tests/e2e/schedule.h"

#include <signal.h>

#include <thread>

#include "base/clock.h"
#include "base/random.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/records.h"
#include "tests/support/two_hosts.h"

namespace skerry::e2e {
namespace {

using Steady = std::chrono::steady_clock;

constexpr milliseconds kDrainLimit{60'000};

class Schedule {
 public:
  Schedule(const ScheduleOptions& options, const std::filesystem::path& folder)
      : options_(options), random_(options.seed), hub_(folder / "hub", options.between == Between::namespaces ? test::TwoHosts::kFar : "127.0.0.1") {
    outcome_.seed = options.seed;
    time_ns_ = system_clock().now_ns() - int64_t{3'600'000'000'000};
  }

  Result<ScheduleOutcome> run(const std::filesystem::path& folder) {
    DaemonOptions daemon;
    if (options_.between == Between::namespaces) {
      SKERRY_ASSIGN(hosts_, test::TwoHosts::make(options_.seed));
      near_.emplace(*hosts_, test::Host::near);
      SKERRY_TRY(start_hub());
      daemon.hub = hub_.url();
    } else {
      SKERRY_TRY(start_hub());
      SKERRY_ASSIGN(proxy_, test::ChaosProxy::start("127.0.0.1", hub_.port()));
      daemon.hub = proxy_->url();
    }
    daemon.sync =
        "request_timeout = \"500ms\"\nbackoff_min = \"20ms\"\nbackoff_max = \"200ms\"\nprobe_interval = \"100ms\"\n"
        "batch_max = \"8 KiB\"\n";  // many small exchanges: many chances for something to go wrong in one
    daemon.learning = "enabled = false\n";
    daemon_.emplace(folder / "node", daemon);
    SKERRY_TRY(daemon_->start());
    SKERRY_ASSIGN(client_, http::Client::open(daemon_->url(), {.timeout = milliseconds(5000)}));
    for (uint32_t step = 0; step < options_.steps && outcome_.detail.empty(); ++step) SKERRY_TRY(step_once());
    if (outcome_.detail.empty()) SKERRY_TRY(settle());
    outcome_.passed = outcome_.detail.empty();
    return outcome_;
  }

 private:
  Status step_once() {
    const uint64_t what = random_.below(12);
    if (what == 8) SKERRY_TRY(kill_node());
    else if (what == 9) SKERRY_TRY(kill_hub());
    else if (hosts_) trouble_for_packets(what);
    else trouble_for_connections(what);
    for (uint64_t n = random_.below(4); n > 0; --n) write(random_batch());
    pause(random_.below(80));
    return {};
  }

  void trouble_for_connections(uint64_t what) {
    switch (what) {
      case 0: outage([&] { proxy_->down(); }); break;
      case 1: outage([&] { proxy_->blackhole(); }); break;
      case 2:
      case 3: link_up(); break;
      case 4:
        link_up();
        proxy_->swallow_responses(1 + static_cast<int>(random_.below(3)));
        break;
      case 5:
        link_up();
        proxy_->hang_responses(1);
        break;
      case 6:
        link_up();
        proxy_->cut_request_after(1 + random_.below(4000));
        break;
      case 7:
        link_up();
        proxy_->cut_response_after(random_.below(120));
        break;
      default: break;
    }
  }

  void trouble_for_packets(uint64_t what) {
    const test::Line cut{.up = false};
    switch (what) {
      case 0: outage([&] { hosts_->set(cut); }); break;
      case 1: outage([&] { hosts_->set(test::Host::near, cut); }); break;  // what is sent does not arrive
      case 2:
      case 3: link_up(); break;
      case 4:
      case 5: outage([&] { hosts_->set(test::Host::far, cut); }); break;   // it arrives, and no answer is heard
      case 6:
      case 7:
        hosts_->set({.rate = 20'000 + random_.below(500'000), .delay = milliseconds(random_.below(60)), .loss = random_.uniform(0, 0.1)});
        link_is_up_ = false;  // until link_up() the link stays bad
        break;
      default: break;
    }
  }

  Status start_hub() {
    std::optional<test::TwoHosts::On> far;
    if (hosts_) far.emplace(*hosts_, test::Host::far);
    return hub_.start();
  }

  void all_good() {
    if (hosts_) hosts_->set(test::Line{});
    else proxy_->pass();
  }

  template <typename Break>
  void outage(Break break_link) {
    break_link();
    link_is_up_ = false;
    ++outcome_.outages;
  }
  void link_up() {  // faults that still wait for their request stay in force
    if (!link_is_up_) all_good();
    link_is_up_ = true;
  }

  // While a writer is busy, so that some records are acknowledged, some not, and one batch is anyone's guess.
  Status kill_node() {
    const pid_t pid = daemon_->process().pid();
    const auto delay = std::chrono::microseconds(random_.below(15'000));
    std::thread killer([pid, delay] {
      std::this_thread::sleep_for(delay);
      ::kill(pid, SIGKILL);
    });
    for (int n = 0; n < 50 && write(random_batch()) == Written::acknowledged; ++n) {
    }
    killer.join();
    daemon_->kill9();
    ++outcome_.node_kills;
    return daemon_->start();
  }

  Status kill_hub() {
    pause(random_.below(20));
    hub_.kill9();
    ++outcome_.hub_kills;
    write(random_batch());
    pause(random_.below(100));
    return start_hub();
  }

  Written write(const Batch& batch) {
    std::string why;
    Written written = write_lines(*client_, to_line_protocol(batch), &why);
    if (written == Written::acknowledged) acknowledged_.add(batch);
    if (written == Written::unknown) unknown_.add(batch);
    if (written == Written::refused) outcome_.detail = "skerryd refused good records: " + why;
    return written;
  }

  Batch random_batch() {
    Batch batch;
    batch.series.name = "load";
    batch.series.tags["machine"] = fmt::format("m{}", random_.below(3));
    const size_t rows = 1 + random_.below(200);
    std::vector<double> speed;
    std::vector<int64_t> count;
    std::vector<uint8_t> running;
    std::vector<std::string> state;
    for (size_t row = 0; row < rows; ++row) {
      time_ns_ += 1 + static_cast<int64_t>(random_.below(1'000'000));
      batch.times.push_back(time_ns_);
      speed.push_back(random_.normal());
      count.push_back(static_cast<int64_t>(random_.below(1000)));
      running.push_back(random_.chance(0.5) ? 1 : 0);
      state.push_back(random_.chance(0.1) ? "a \"quoted\" \\ word" : "ok");
    }
    batch.columns = {{"speed", speed, {}}, {"count", count, {}}, {"running", running, {}}, {"state", state, {}}};
    return batch;
  }

  // Everything works again: the backlog must drain, then both stores are compared.
  Status settle() {
    all_good();
    const auto until = Steady::now() + kDrainLimit;
    NodeView last;
    while (true) {
      SKERRY_ASSIGN(last, view(*client_));
      if (last.outbox_entries == 0) break;
      if (Steady::now() > until) {
        outcome_.detail = fmt::format("{} outbox entries ({} bytes) are still waiting after {} s", last.outbox_entries, last.outbox_bytes,
                                      kDrainLimit.count() / 1000);
        return {};
      }
      pause(10);
    }
    outcome_.swallowed = static_cast<uint32_t>(hosts_ ? hosts_->lost(test::Host::near) + hosts_->lost(test::Host::far) : proxy_->swallowed() + proxy_->cut());
    for (auto [name, exit] : {std::pair{"skerryd", daemon_->terminate()}, std::pair{"skerry-hub", hub_.terminate()}}) {
      if (!exit || exit->code != 0) outcome_.detail = fmt::format("{} did not stop cleanly: {}", name, exit ? exit->text() : "killed");
    }
    SKERRY_ASSIGN(Held node, read_node_store(daemon_->store(), "island"));
    SKERRY_ASSIGN(Held hub, read_hub_store(hub_.store(), "island"));
    outcome_.acknowledged = acknowledged_.records();
    outcome_.unknown = unknown_.records();
    outcome_.at_hub = hub.records.records();
    outcome_.repeated_entries = hub.duplicates_refused;
    Difference at_hub = compare(acknowledged_, unknown_, hub.records);
    Difference at_node = compare(acknowledged_, unknown_, node.records);
    Difference between = compare(node.records, {}, hub.records);
    outcome_.missing = at_hub.missing;
    outcome_.twice = at_hub.twice;
    outcome_.foreign = at_hub.foreign;
    if (!at_hub.none()) outcome_.detail = "at the hub: " + at_hub.text();
    if (!at_node.none()) outcome_.detail = "at the node: " + at_node.text();
    if (!between.none() && outcome_.detail.empty()) outcome_.detail = "the hub against the node: " + between.text();
    return {};
  }

  void pause(uint64_t ms) { std::this_thread::sleep_for(milliseconds(ms)); }

  const ScheduleOptions options_;
  Random random_;
  std::unique_ptr<test::TwoHosts> hosts_;   // or the proxy
  std::optional<test::TwoHosts::On> near_;  // where this thread and the node are
  Hub hub_;
  std::unique_ptr<test::ChaosProxy> proxy_;
  std::optional<Daemon> daemon_;
  std::unique_ptr<http::Client> client_;
  RecordSet acknowledged_, unknown_;
  ScheduleOutcome outcome_;
  int64_t time_ns_ = 0;
  bool link_is_up_ = true;
};

}  // namespace

std::string ScheduleOutcome::text() const {
  return fmt::format(
      "seed {}: {} records acknowledged, {} at the hub ({} of unknown outcome); {} outages, {} lost answers, cuts or packets, {} node and {} hub kills, "
      "{} repeated entries recognised: {}",
      seed, acknowledged, at_hub, unknown, outages, swallowed, node_kills, hub_kills, repeated_entries, passed ? "ok" : detail);
}

Result<ScheduleOutcome> run_schedule(const ScheduleOptions& options, const std::filesystem::path& folder) {
  Schedule schedule(options, folder);
  return schedule.run(folder);
}

}  // namespace skerry::e2e
