#include "node/daemon.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <thread>
#include <vector>

#include "base/http_server.h"
#include "base/log.h"
#include "base/units.h"
#include "node/internal/loop.h"
#include "node/node.h"
#include "node/rest_api.h"
#include "node/zmq_api.h"

namespace skerry::node {
namespace {

constexpr Duration kLoopEnds = std::chrono::seconds(3);
constexpr int64_t kSecond = 1'000'000'000;

sigset_t ending_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  return set;
}

// Until a signal or the end of the time. Returns why it ended.
std::string wait_for_end(const Clock& clock, std::optional<Duration> run_for) {
  const sigset_t signals = ending_signals();
  const SteadyTime end = clock.steady() + run_for.value_or(Duration::zero());
  for (;;) {
    int64_t left = run_for ? std::max<int64_t>(0, (end - clock.steady()).count()) : 3600 * kSecond;
    timespec timeout{.tv_sec = left / kSecond, .tv_nsec = left % kSecond};
    int signal = ::sigtimedwait(&signals, nullptr, &timeout);
    if (signal > 0) return signal == SIGINT ? "interrupt" : "SIGTERM";
    if (run_for && clock.steady() >= end) return "the time given is over";
  }
}

// A second Ctrl-C means it: everything acknowledged is in the write-ahead log.
void end_at_once_on_next_signal() {
  ::signal(SIGINT, [](int) { ::_exit(130); });
  ::signal(SIGTERM, [](int) { ::_exit(143); });
  const sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

void print_summary(const NodeStatus& s, const std::string& why) {
  std::printf("skerryd: summary (%s)\n", why.c_str());
  std::printf("  records in        %llu\n", static_cast<unsigned long long>(s.records));
  std::printf("  predictions       %llu\n", static_cast<unsigned long long>(s.predictions));
  std::printf("  labels            %llu\n", static_cast<unsigned long long>(s.labels));
  for (const auto& m : s.models) {
    std::string accuracy = m.score.labelled == 0
                               ? "no labels yet"
                               : fmt::format("{:.1f} % right of {} labelled", 100.0 * static_cast<double>(m.score.correct) / static_cast<double>(m.score.labelled),
                                             m.score.labelled);
    std::printf("  model             %s/%u serving, %s\n", m.name.c_str(), m.version, accuracy.c_str());
  }
  std::printf("  sent to the hub   %llu records, waiting %s\n", static_cast<unsigned long long>(s.sync.records),
              format_bytes(s.outbox_bytes).c_str());
  std::printf("  on disk           %s\n", format_bytes(s.disk_bytes).c_str());
  if (s.damaged > 0) std::printf("  damaged blocks    %llu, skipped\n", static_cast<unsigned long long>(s.damaged));
  if (!s.trouble.empty()) std::printf("  trouble           %s\n", s.trouble.c_str());
  std::fflush(stdout);
}

http::ServerOptions server_options(const HttpOptions& o) {
  auto ms = [](Duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d); };
  return {.address = o.address,
          .port = o.port,
          .body_bytes_max = o.body_bytes_max,
          .header_bytes_max = o.header_bytes_max,
          .request_timeout = ms(o.request_timeout),
          .idle_timeout = ms(o.idle_timeout),
          .connections_max = o.connections_max,
          .handler_threads = o.threads};
}

// The node's loops, started together and stopped together.
class Loops {
 public:
  Loops(Node& node, uint32_t inference_threads, ZmqApi* zmq) {
    using std::chrono::milliseconds;
    loops_.push_back(std::make_unique<Loop>("pipelines", [&node] { return node.step_pipelines(); }, milliseconds(2)));
    loops_.push_back(std::make_unique<Loop>("sync", [&node] { return node.step_sync(); }));
    loops_.push_back(std::make_unique<Loop>("bus", [&node] { return node.step_bus(); }));
    loops_.push_back(std::make_unique<Loop>("store", [&node] { return node.step_store(); }, milliseconds(5)));
    loops_.push_back(std::make_unique<Loop>("learning", [&node] { return node.step_learning(); }, milliseconds(50)));
    loops_.push_back(std::make_unique<Loop>("sources", [&node] { return node.step_sources(); }));
    node.on_ingest([this] {
      loops_[0]->notify();
      loops_[1]->notify();
    });
    const size_t first = loops_.size();
    for (uint32_t i = 0; i < inference_threads; ++i) {
      loops_.push_back(std::make_unique<Loop>(fmt::format("inference-{}", i), [&node] { return node.step_inference(); }));
    }
    if (zmq) loops_.push_back(std::make_unique<Loop>("zeromq", [zmq] { return zmq->step(); }));
    loops_.push_back(std::make_unique<Loop>("deadlines", [&node] { return node.step_deadlines(); }));
    node.scheduler().on_waiting([this, first] {
      for (size_t i = first; i < loops_.size(); ++i) loops_[i]->notify();
    });
    for (auto& loop : loops_) loop->start();
  }
  void stop() {
    for (auto& loop : loops_) loop->stop();
  }
  // Names of the loops that did not end in time.
  std::string join(Duration timeout) {
    std::string late;
    const SteadyTime end = system_clock().steady() + timeout;
    for (auto& loop : loops_) {
      if (!loop->join(std::max(Duration::zero(), end - system_clock().steady()))) late += (late.empty() ? "" : ", ") + loop->name();
    }
    return late;
  }
  void abandon() {
    for (auto& loop : loops_) loop->abandon();
  }

 private:
  std::vector<std::unique_ptr<Loop>> loops_;
};

void rebase(std::filesystem::path& path, const std::filesystem::path& from, const std::filesystem::path& to) {
  auto inside = path.lexically_relative(from);
  if (!inside.empty() && *inside.begin() != "..") path = to / inside;
}

}  // namespace

config::Config apply(const DaemonOptions& options, config::Config config) {
  if (options.port) config.node.http.port = *options.port;
  if (options.hub) config.sync.hub = *options.hub;
  if (options.data_dir) {
    const std::filesystem::path old = config.node.data_dir, now = *options.data_dir;
    for (auto* path : {&config.storage.path, &config.inference.models, &config.learning.jobs}) rebase(*path, old, now);
    config.node.data_dir = now;
  }
  return config;
}

int run_daemon(const config::Config& config, std::optional<Duration> run_for) {
  const sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before any thread: only wait_for_end() takes them
  ::signal(SIGPIPE, SIG_IGN);
  log::configure(config.log);

  auto node = Node::open(config);
  if (!node.ok()) {
    std::fprintf(stderr, "skerryd: %s\n", node.error().message.c_str());
    return 1;
  }
  Handlers handlers = make_handlers(**node);
  auto server = http::Server::open(server_options(config.node.http), std::move(handlers.all), std::move(handlers.direct));
  if (!server.ok()) {
    std::fprintf(stderr, "skerryd: %s\n", server.error().message.c_str());
    return 1;
  }
  std::unique_ptr<ZmqApi> zmq;
  if (config.node.zmq.enabled) {
    auto opened = ZmqApi::open(config.node.zmq, config.node.data_dir, **node);
    if (!opened.ok()) {
      std::fprintf(stderr, "skerryd: %s\n", opened.error().message.c_str());
      return 1;
    }
    zmq = std::move(opened).value();
    log::info("daemon", "inference over ZeroMQ on {}", zmq->endpoints());
  }
  Loops loops(**node, config.inference.threads, zmq.get());
  std::thread serving([&] {
    ::pthread_setname_np(::pthread_self(), "http");
    (*server)->run();
  });
  std::printf("skerryd: listening on http://%s:%u\n", config.node.http.address.c_str(), (*server)->port());
  std::fflush(stdout);

  std::string why = wait_for_end((*node)->clock(), run_for);
  end_at_once_on_next_signal();
  (*server)->stop();
  serving.join();
  (*node)->scheduler().stop();
  loops.stop();
  std::string late = loops.join(kLoopEnds);
  print_summary((*node)->status(), why);
  if (!late.empty()) {
    log::warn("daemon", "{} did not end in time and is left behind; nothing acknowledged is lost", late);
    loops.abandon();
    std::fflush(nullptr);
    ::_exit(0);
  }
  return 0;
}

}  // namespace skerry::node
