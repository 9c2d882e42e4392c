#include "tests/bench/loop.h"

#include <signal.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "tests/bench/learning_node.h"
#include "tests/e2e/feed.h"
#include "tests/e2e/schedule.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/records.h"
#include "tests/e2e/visitor.h"

namespace skerry::bench {
namespace {

using namespace skerry::e2e;
using Steady = std::chrono::steady_clock;

constexpr uint64_t kPackageBytesMax = 256 << 20;
constexpr uint64_t kSeed = 1;

void pause(uint64_t ms) { std::this_thread::sleep_for(milliseconds(ms)); }

// The pump's base model, and a daemon that serves it. Nothing is learned unless it is asked for.
struct Gateway {
  Feed feed;
  inference::Package base;
  std::unique_ptr<Daemon> daemon;
  std::unique_ptr<http::Client> client;
};

Result<Gateway> serve_pump(const Places& places, const std::filesystem::path& folder, uint32_t finetune_epochs) {
  Gateway gateway;
  SKERRY_ASSIGN(gateway.feed, pump_feed(kSeed));
  inference::TrainingSpec training;
  training.labels_min = 1'000'000;  // only by hand
  training.epochs = finetune_epochs;
  SKERRY_ASSIGN(gateway.base, base_model(gateway.feed, {}, training, places.cache));
  DaemonOptions options;
  options.learning =
      "check_interval = \"100ms\"\nidle_for = \"100ms\"\nidle_cpu_below = 1.0\nbusy_cpu_above = 1.0\nidle_requests_below = 100000\n"
      "busy_requests_above = 200000\nholdout_stretch = \"10s\"\n";
  gateway.daemon = std::make_unique<Daemon>(folder, options);
  SKERRY_TRY(inference::install_package(gateway.base.folder, gateway.daemon->models(), kPackageBytesMax));
  return gateway;
}

// The same files under another version: a swap costs what it costs, whatever the weights are.
Status install_copy(const Gateway& gateway, uint32_t version, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  std::filesystem::copy(gateway.base.folder, folder, std::filesystem::copy_options::recursive);
  inference::PackageInfo info = gateway.base.info;
  info.version = version;
  info.parent = 1;
  SKERRY_TRY(inference::seal_package(folder, info));
  SKERRY_TRY(inference::install_package(folder, gateway.daemon->models(), kPackageBytesMax));
  return {};
}

}  // namespace

Result<std::vector<Figure>> exactly_once(Size size, const Places& places) {
  const uint64_t seeds = size == Size::full ? 20 : 2;
  uint64_t exact = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::filesystem::path folder = places.work / fmt::format("schedule-{}", seed);
    std::filesystem::create_directories(folder);
    SKERRY_ASSIGN(ScheduleOutcome outcome, run_schedule({.seed = seed, .steps = size == Size::full ? 40u : 10u}, folder));
    exact += outcome.passed && outcome.acknowledged > 0 ? 1 : 0;
    if (!outcome.passed) fmt::print("# {}\n", outcome.text());
    std::error_code ignored;
    if (outcome.passed) std::filesystem::remove_all(folder, ignored);
  }
  return std::vector<Figure>{
      {"main.exactly_once_schedules", static_cast<double>(exact), "schedules", static_cast<double>(seeds), Better::higher}};
}

Result<std::vector<Figure>> time_to_ready(Size size, const Places& places) {
  SKERRY_ASSIGN(Gateway gateway, serve_pump(places, places.work / "ready", 8));
  double worst_ms = 0;
  for (int run = 0; run < (size == Size::full ? 7 : 2); ++run) {
    SKERRY_TRY(gateway.daemon->start());
    worst_ms = std::max(worst_ms, static_cast<double>(gateway.daemon->start_time().count()));
    if (!gateway.daemon->terminate()) return fail(Code::internal, "skerryd did not stop");
  }
  Figure figure{"main.ready_worst", worst_ms, "ms", 1000, Better::lower};
  figure.judged = size == Size::full;
  return std::vector<Figure>{figure};
}

Result<std::vector<Figure>> swaps_under_load(Size size, const Places& places) {
  const int swaps = size == Size::full ? 50 : 6;
  SKERRY_ASSIGN(Gateway gateway, serve_pump(places, places.work / "swaps", 8));
  SKERRY_TRY(install_copy(gateway, 2, places.work / "swaps" / "copy"));
  SKERRY_TRY(gateway.daemon->start());
  SKERRY_ASSIGN(auto client, http::Client::open(gateway.daemon->url()));
  std::vector<std::unique_ptr<Visitor>> visitors;
  for (int i = 0; i < 4; ++i) visitors.push_back(std::make_unique<Visitor>(gateway.daemon->url(), gateway.feed.model, gateway.feed.base_holdout, 0));
  pause(300);
  uint32_t version = 1;
  for (int swap = 0; swap < swaps; ++swap) {
    version = 3 - version;
    // Every fifth swap is a rollback: the version before is pinned as the last good one.
    SKERRY_TRY(swap % 5 == 4 ? rollback(*client, gateway.feed.model) : promote(*client, gateway.feed.model, version));
    pause(20);
  }
  uint64_t requests = 0, failures = 0, answered_by_2 = 0;
  std::vector<double> latencies;
  for (auto& visitor : visitors) {
    visitor->stop();
    Visit visit = visitor->take();
    requests += visit.requests;
    failures += visit.failures;
    answered_by_2 += visit.versions[2].asked;
    if (!visit.first_failure.empty()) fmt::print("# {}\n", visit.first_failure);
  }
  if (answered_by_2 == 0 || answered_by_2 == requests) return fail(Code::internal, "the swaps were not seen by the clients");
  if (!gateway.daemon->terminate()) return fail(Code::internal, "skerryd did not stop");
  fmt::print("# {} requests during {} swaps, {} of them answered by the other version\n", requests, swaps, answered_by_2);
  return std::vector<Figure>{{"main.swap_failed_requests", static_cast<double>(failures), "requests", 0, Better::lower}};
}

Result<TrainingLoad> serve_while_training(Size size, const Places& places, double per_second) {
  const int jobs = size == Size::full ? 8 : 1;
  constexpr milliseconds kSlice{500}, kSettle{30};
  SKERRY_ASSIGN(Gateway gateway, serve_pump(places, places.work / "training", size == Size::full ? 60 : 20));
  const Feed& feed = gateway.feed;
  SKERRY_TRY(gateway.daemon->start());
  SKERRY_ASSIGN(auto client, http::Client::open(gateway.daemon->url()));
  // Examples to train on.
  for (const Piece& piece : feed.learn) {
    std::string why;
    if (write_lines(*client, to_line_protocol(piece.records), &why) != Written::acknowledged) return fail(Code::internal, "write: {}", why);
  }
  const auto until = Steady::now() + milliseconds(30'000);
  while (true) {
    SKERRY_ASSIGN(int64_t newest, newest_window_end(*client, feed.model, feed.series));
    if (newest > feed.learn.back().from_ns()) break;
    if (Steady::now() > until) return fail(Code::unavailable, "the pipeline does not catch up");
    pause(50);
  }
  for (const Piece& piece : feed.learn) {
    SKERRY_TRY(give_label(*client, feed.model, feed.series, piece.from_ns(), piece.to_ns(), piece.label));
  }

  auto training = [&](bool wanted, milliseconds limit) -> Result<bool> {  // reached?
    const auto end = Steady::now() + limit;
    while (Steady::now() < end) {
      SKERRY_ASSIGN(NodeView now, view(*client));
      if (now.learning_state.starts_with("training") == wanted) return true;
      pause(250);  // each look is a request, too, and the quiet phases have none
    }
    return false;
  };
  Visit quiet, busy;
  auto add = [](Visit& all, const Visit& more) {
    all.requests += more.requests;
    all.failures += more.failures;
    all.latencies_ms.insert(all.latencies_ms.end(), more.latencies_ms.begin(), more.latencies_ms.end());
  };
  Visitor visitor(gateway.daemon->url(), feed.model, feed.base_holdout, per_second);
  pause(1000);  // connections, caches, clock speeds
  // The worker is stopped and goes on in turn, so that both kinds of slices meet the same machine and whatever else runs on it.
  auto slice = [&](pid_t worker, int signal, Visit& all) {
    ::kill(worker, signal);
    pause(kSettle.count());
    visitor.take();
    pause(kSlice.count());
    add(all, visitor.take());
  };
  for (int i = 0; i < jobs; ++i) {
    SKERRY_TRY(train_now(*client, feed.model));
    SKERRY_ASSIGN(bool started, training(true, milliseconds(20'000)));
    if (!started) return fail(Code::unavailable, "the worker did not start: {}", view(*client).value().learning_why);
    pause(1000);  // it loads LibTorch
    while (const auto worker = child_of(gateway.daemon->process().pid())) {
      slice(worker->pid, SIGSTOP, quiet);
      Visit training_slice;
      slice(worker->pid, SIGCONT, training_slice);
      if (child_of(gateway.daemon->process().pid())) add(busy, training_slice);  // it trained to the end of the slice
    }
    SKERRY_TRY(training(false, milliseconds(120'000)));
  }
  visitor.stop();
  if (!gateway.daemon->terminate()) return fail(Code::internal, "skerryd did not stop");
  const TrainingLoad load{quiet.percentile(0.99), busy.percentile(0.99), quiet.failures + busy.failures};
  fmt::print("# {} requests without training (p50 {:.2f} ms, p99 {:.2f} ms), {} while training (p50 {:.2f} ms, p99 {:.2f} ms), {} failed\n",
             quiet.requests, quiet.percentile(0.5), load.p99_quiet_ms, busy.requests, busy.percentile(0.5), load.p99_busy_ms, load.failures);
  if (busy.requests < 20) return fail(Code::internal, "only {} requests while training: the job is too short to measure", busy.requests);
  return load;
}

Result<std::vector<Figure>> latency_while_training(Size size, const Places& places) {
  SKERRY_ASSIGN(const TrainingLoad load, serve_while_training(size, places, 100));
  Figure p99{"main.p99_while_training", load.ratio(), "x", 1.5, Better::lower, Peer{"p99_without", load.ratio()}};
  p99.judged = size == Size::full;
  Figure failures{"main.training_failed_requests", static_cast<double>(load.failures), "requests", 0, Better::lower};
  return std::vector<Figure>{p99, failures};
}

}  // namespace skerry::bench
