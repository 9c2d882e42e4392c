// Who else uses the machine slows down a server with many threads more than one with few: so processor time is shown as well.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>

#include "base/random.h"
#include "tests/bench/influx.h"
#include "tests/bench/rounds.h"
#include "tests/bench/storage_ingest.h"
#include "tests/e2e/support/gateway.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLines = 5000, kSeries = 10, kClients = 2, kWarmUp = 20;
constexpr int64_t kStart = 1'764'000'000'000'000'000, kMillisecond = 1'000'000;

std::vector<std::string> make_bodies(size_t count) {
  Random random(1);
  std::vector<std::string> bodies(count);
  std::vector<double> level(kSeries, 50);
  int64_t time = kStart;
  for (std::string& body : bodies) {
    for (size_t i = 0; i < kLines; ++i) {
      if (i % kSeries == 0) time += kMillisecond;
      double& value = level[i % kSeries];
      value = std::clamp(value + std::round(random.normal() * 100) / 100, 0.0, 100.0);
      fmt::format_to(std::back_inserter(body), "cpu,host=h{},region=eu usage={:.2f} {}\n", i % kSeries, value, time);
    }
  }
  return bodies;
}

// Sends bodies [from, to) over kClients connections. The same code for every server.
Status send(const std::string& url, const std::string& target, const std::vector<std::string>& bodies, size_t from, size_t to) {
  std::atomic<size_t> next{from};
  std::vector<Status> outcomes(kClients);
  std::vector<std::thread> clients;
  for (Status& outcome : outcomes) {
    clients.emplace_back([&] {
      outcome = [&]() -> Status {
        SKERRY_ASSIGN(auto client, http::Client::open(url, {.timeout = std::chrono::seconds(60)}));
        for (size_t i; (i = next++) < to;) {
          SKERRY_ASSIGN(http::Response answer, client->request("POST", target, bodies[i]));
          if (answer.status != 204) return fail(Code::invalid, "{}{} answered {}: {}", url, target, answer.status, answer.body.substr(0, 300));
        }
        return {};
      }();
    });
  }
  for (std::thread& client : clients) client.join();
  for (const Status& outcome : outcomes) SKERRY_TRY(outcome);
  return {};
}

// User and system time of a process so far, from proc(5). 0 when it is gone.
double cpu_seconds(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/stat", pid));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i <= 13; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

struct Rates {
  std::vector<double> per_second, per_cpu_second;  // points, a round each
};

// Measures the bodies after the first few.
Status measure(const std::string& url, const std::string& target, pid_t server, const std::vector<std::string>& bodies, Rates& rates) {
  const size_t warm = std::min(kWarmUp, bodies.size() / 2);
  SKERRY_TRY(send(url, target, bodies, 0, warm));
  const double points = static_cast<double>((bodies.size() - warm) * kLines), cpu_before = cpu_seconds(server);
  const Stopwatch watch;
  SKERRY_TRY(send(url, target, bodies, warm, bodies.size()));
  rates.per_second.push_back(points / watch.seconds());
  rates.per_cpu_second.push_back(points / std::max(cpu_seconds(server) - cpu_before, 0.01));
  return {};
}

Status measure_skerry(const fs::path& folder, const char* durability, const std::vector<std::string>& bodies, Rates& rates) {
  e2e::DaemonOptions options;
  options.more = fmt::format("[[storage.stream]]\nname = \"*\"\ndurability = \"{}\"\n", durability);
  e2e::Daemon daemon(folder, options);
  SKERRY_TRY(daemon.start());
  SKERRY_TRY(measure(daemon.url(), "/write", daemon.process().pid(), bodies, rates));
  SKERRY_ASSIGN(auto client, http::Client::open(daemon.url()));
  SKERRY_ASSIGN(const e2e::NodeView view, e2e::view(*client));
  if (view.records != bodies.size() * kLines) return fail(Code::internal, "skerryd counts {} records", view.records);
  return {};
}

Status measure_influx(const fs::path& folder, const std::vector<std::string>& bodies, Rates& rates) {
  SKERRY_ASSIGN(Influx influx, Influx::start({.folder = folder}));
  SKERRY_TRY(influx.create("bench", false));
  SKERRY_TRY(measure(influx.url(), "/write?db=bench", influx.pid(), bodies, rates));
  SKERRY_ASSIGN(const uint64_t values, influx.count_values("bench"));
  if (values != bodies.size() * kLines) return fail(Code::internal, "influxd counts {} values", values);
  return {};
}

void say(const char* server, const Rates& rates) {
  std::cout << fmt::format("# storage.ingest_http: {} {:.4g} points/s, {:.4g} per second of its processor time\n", server,
                           median(rates.per_second), median(rates.per_cpu_second));
}

}  // namespace

Result<std::vector<Figure>> ingest_http(Size size, const Places&) {
  std::vector<Figure> figures = {{"storage.ingest_http", 0, "points/s", 0, Better::higher},
                                 {"storage.ingest_http_synced", 0, "points/s", 0, Better::higher}};
  const auto program = find_influxd();
  SKERRY_ASSIGN(const DiskFolder folder, DiskFolder::make("ingest-http"));
  const std::vector<std::string> bodies = make_bodies(size == Size::full ? 600 : 6);
  Rates ours, synced, peer;
  for (int round = 0; round < (size == Size::full ? 5 : 1); ++round) {
    SKERRY_TRY(measure_skerry(folder / fmt::format("interval-{}", round), "interval", bodies, ours));
    if (program.ok()) SKERRY_TRY(measure_influx(folder / fmt::format("influx-{}", round), bodies, peer));
    SKERRY_TRY(measure_skerry(folder / fmt::format("batch-{}", round), "batch", bodies, synced));
  }
  say("skerryd (interval)", ours);
  say("skerryd (batch)", synced);
  if (program.ok()) say("influxd", peer);
  figures[0].value = median(ours.per_second);
  figures[1].value = median(synced.per_second);
  for (Figure& figure : figures) {
    figure.judged = size == Size::full;
    if (!program.ok()) {
      figure.skipped = program.error().message;
      continue;
    }
    figure.target = 2 * median(peer.per_second);
    figure.peer = Peer{"influxdb", figure.value / median(peer.per_second)};
  }
  return figures;
}

}  // namespace skerry::bench
