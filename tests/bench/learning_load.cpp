#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/file.h"
#include "inference/windows.h"
#include "tests/bench/learning.h"
#include "tests/bench/learning_node.h"
#include "tests/bench/learning_people.h"
#include "tests/bench/rounds.h"
#include "tests/e2e/feed.h"
#include "tests/e2e/support/process.h"

namespace skerry::bench {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

enum class Worker { none, runs, stopped };
Worker worker_state() {
  const auto child = child_of(::getpid());
  return !child ? Worker::none : child->stopped ? Worker::stopped : Worker::runs;
}

double resident_mb() {
  Result<std::string> statm = read_file("/proc/self/statm", 4096);
  unsigned long total = 0, resident = 0;
  if (!statm.ok() || std::sscanf(statm->c_str(), "%lu %lu", &total, &resident) != 2) return 0;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

}  // namespace

Result<std::vector<Figure>> learning_latency(Size size, const Places& places) {
  SKERRY_ASSIGN(const TrainingLoad load, serve_while_training(size, places, 1000));
  Figure p99{"learning.p99_while_training", load.ratio(), "x", 1.2, Better::lower, Peer{"p99_without", load.ratio()}};
  p99.judged = size == Size::full;
  return std::vector<Figure>{p99, {"learning.training_failed_requests", static_cast<double>(load.failures), "requests", 0, Better::lower}};
}

Result<std::vector<Figure>> learning_preempt(Size size, const Places& places) {
  SKERRY_ASSIGN(const e2e::Feed feed, e2e::pump_feed(1));
  inference::TrainingSpec training;
  training.epochs = 1000;
  SKERRY_ASSIGN(const inference::Package base, e2e::base_model(feed, {}, training, places.cache));
  std::atomic<bool> busy{false};
  SKERRY_ASSIGN(auto node, LearningNode::open(base, places.work / "preempt", 10s, &busy));
  for (const e2e::Piece& piece : feed.learn) {
    SKERRY_TRY(node->ingest(piece));
    SKERRY_TRY(node->label(piece));
  }
  node->node().learner().train_now(feed.model);
  std::vector<double> waits_ms;
  const int times = size == Size::full ? 21 : 2;
  auto step_until = [&](Worker wanted, std::chrono::milliseconds limit) -> Result<double> {  // in ms
    const auto from = Steady::now();
    while (Steady::now() < from + limit) {
      const Duration next = node->step_learning();
      // As the daemon's loop does; looked at often, so that the loop's own pause is what is measured.
      for (const auto until = Steady::now() + std::min<Duration>(next, 50ms); Steady::now() < until; std::this_thread::sleep_for(1ms)) {
        if (worker_state() == wanted) return std::chrono::duration<double, std::milli>(Steady::now() - from).count();
      }
    }
    return fail(Code::unavailable, "the worker did not {}: {}", wanted == Worker::stopped ? "stop" : "start", node->node().learner().status().why);
  };
  for (int i = 0; i < times; ++i) {
    busy = false;
    SKERRY_TRY(step_until(Worker::runs, 30s));
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + 13 * i));
    busy = true;
    SKERRY_ASSIGN(const double wait, step_until(Worker::stopped, 10s));
    waits_ms.push_back(wait);
  }
  std::sort(waits_ms.begin(), waits_ms.end());
  note(fmt::format("time until the worker stands still: median {:.1f} ms, longest {:.1f} ms of {}", median(waits_ms), waits_ms.back(), times));
  Figure figure{"learning.time_to_preempt", waits_ms.back(), "ms", 100, Better::lower};
  figure.judged = size == Size::full;
  return std::vector<Figure>{figure};
}

Result<std::vector<Figure>> learning_rounds(Size size, const Places& places) {
  SKERRY_ASSIGN(const e2e::Feed feed, e2e::pump_feed(1));
  SKERRY_ASSIGN(const inference::Package plain, e2e::base_model(feed, {}, {}, places.cache));
  SKERRY_ASSIGN(const inference::Package base, without_gate(plain, places.work / "rounds-base"));
  const std::filesystem::path folder = places.work / "rounds";
  SKERRY_ASSIGN(auto node, LearningNode::open(base, folder, 10s));
  for (size_t i = 0; i < 10; ++i) SKERRY_TRY(node->ingest(feed.learn[i]));

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> asked{0}, failed{0};
  std::thread visitor([&] {
    for (size_t i = 0; !stop; i = (i + 1) % feed.base_holdout.windows.size()) {
      ++asked;
      failed += !node->node().engine().infer(feed.model, std::nullopt, {inference::make_input(base.info.window, {&feed.base_holdout.windows[i].data})}).ok();
      std::this_thread::sleep_for(2ms);
    }
  });
  const uint32_t rounds = size == Size::full ? 200 : 2, settled = rounds / 4;
  double memory = 0, disk = 0;
  Status status;
  for (uint32_t round = 1; round <= rounds && status.ok(); ++round) {
    // Somebody changes their mind about a stretch: its windows are new examples.
    for (size_t i = 0; i < 10 && status.ok(); ++i) {
      e2e::Piece piece = feed.learn[i];
      if (i == round % 10) piece.label = feed.labels[round % feed.labels.size()];
      status = node->label(piece);
    }
    Result<std::string> decided = status.ok() ? node->learn() : Result<std::string>(status.error());
    if (!decided.ok()) status = decided.error();
    while (node->node().step_store() == Duration::zero()) {
    }
    if (round == settled || round == 1) memory = resident_mb(), disk = folder_mb(folder);
    if (round % 20 == 0) note(fmt::format("round {}: serving {}, {:.1f} MB of memory, {:.1f} MB on disk", round, node->serving(), resident_mb(), folder_mb(folder)));
  }
  stop = true;
  visitor.join();
  SKERRY_TRY(status);
  note(fmt::format("{} rounds, {} promoted, {} requests", rounds, node->node().learner().status().promoted, asked.load()));
  if (node->node().learner().status().promoted < rounds * 9 / 10) return fail(Code::internal, "too few rounds promoted: {}", node->node().learner().status().why);
  // Over three quarters of the rounds, once caches and quotas are full. What an allocator or the store's log keeps is not growth.
  std::vector<Figure> figures = {{"learning.rounds_memory_growth", resident_mb() - memory, "MB", 4, Better::lower},
                                 {"learning.rounds_disk_growth", folder_mb(folder) - disk, "MB", 4, Better::lower},
                                 {"learning.rounds_failed_requests", static_cast<double>(failed), "requests", 0, Better::lower}};
  figures[0].judged = figures[1].judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
