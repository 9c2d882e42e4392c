#include "tests/bench/sync_real.h"

#include <algorithm>
#include <iostream>
#include <thread>

#include "base/random.h"
#include "storage/store.h"
#include "tests/e2e/schedule.h"
#include "tests/e2e/support/gateway.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;
using storage::OutboxClass;

constexpr uint64_t kEntryBytes = 1 << 20;
constexpr uint64_t kLarge = uint64_t{10} << 30, kSmall = uint64_t{10} << 20;
constexpr auto kServed = std::chrono::seconds(3);  // before its memory is read

// Diagnostics of random bytes, as they lie in a store that had no link for long.
Status make_backlog(const fs::path& path, uint64_t bytes) {
  storage::Options options;
  options.path = path;
  options.node = "island";
  SKERRY_ASSIGN(auto store, storage::Store::open(options, system_clock()));
  Random random(1);
  std::string payload(kEntryBytes, '\0');
  for (char& c : payload) c = static_cast<char>(random());
  for (uint64_t written = 0; written < bytes; written += kEntryBytes) {
    payload.replace(0, 20, fmt::format("{:020}", written));
    storage::Effect effect;
    effect.outbox.push_back({OutboxClass::diagnostics, storage::EntryKind::model_event, "log/1", payload});
    effect.durability = storage::Durability::os;
    SKERRY_TRY(store->commit(effect));
    store->step();
  }
  return {};
}

struct Started {
  double ready_ms = 0, peak_mb = 0;
};

Result<Started> start_with(const fs::path& folder, uint64_t bytes, int starts) {
  e2e::DaemonOptions options;
  options.hub = fmt::format("http://127.0.0.1:{}", e2e::free_port());  // nobody there: the backlog stays
  options.learning = "enabled = false\n";
  e2e::Daemon daemon(folder, options);
  SKERRY_TRY(make_backlog(daemon.store(), bytes));
  std::vector<double> ready, peak;
  for (int i = 0; i < starts; ++i) {
    SKERRY_TRY(daemon.start());
    std::this_thread::sleep_for(kServed);
    SKERRY_ASSIGN(auto client, http::Client::open(daemon.url()));
    SKERRY_ASSIGN(const e2e::NodeView view, e2e::view(*client));
    if (view.outbox_bytes < bytes) return fail(Code::internal, "{} bytes wait, {} were queued", view.outbox_bytes, bytes);
    ready.push_back(static_cast<double>(daemon.start_time().count()));
    peak.push_back(static_cast<double>(daemon.process().peak_resident_bytes()) / 1e6);
    if (!daemon.terminate()) return fail(Code::internal, "skerryd did not stop");
  }
  std::sort(ready.begin(), ready.end());
  std::sort(peak.begin(), peak.end());
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  return Started{ready[ready.size() / 2], peak.back()};
}

}  // namespace

Result<std::vector<Figure>> sync_real(Size size, const Places& places) {
  const uint64_t seeds = size == Size::full ? 30 : 1;
  Figure figure{"sync.real_schedules", 0, "schedules", static_cast<double>(seeds), Better::higher};
  uint64_t acknowledged = 0, node_kills = 0, hub_kills = 0, packets = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const fs::path folder = places.work / fmt::format("real-{}", seed);
    fs::create_directories(folder);
    auto outcome = e2e::run_schedule({.seed = seed, .steps = size == Size::full ? 40u : 8u, .between = e2e::Between::namespaces}, folder);
    if (!outcome.ok() && outcome.error().message.find("network namespace") != std::string::npos) {
      figure.skipped = outcome.error().message;
      return std::vector<Figure>{figure};
    }
    if (!outcome.ok()) return outcome.error();
    figure.value += outcome->passed && outcome->acknowledged > 0 ? 1 : 0;
    acknowledged += outcome->acknowledged;
    node_kills += outcome->node_kills;
    hub_kills += outcome->hub_kills;
    packets += outcome->swallowed;
    if (!outcome->passed) std::cout << "# " << outcome->text() << std::endl;
    std::error_code ignored;
    if (outcome->passed) fs::remove_all(folder, ignored);
  }
  std::cout << fmt::format("# {} records acknowledged, {} packets lost, skerryd killed {} times, skerry-hub {} times", acknowledged, packets, node_kills, hub_kills)
            << std::endl;
  return std::vector<Figure>{figure};
}

Result<std::vector<Figure>> sync_backlog(Size size, const Places& places) {
  const bool full = size == Size::full;
  SKERRY_ASSIGN(const Started small, start_with(places.work / "backlog-small", kSmall, full ? 3 : 1));
  SKERRY_ASSIGN(const Started large, start_with(places.work / "backlog-large", full ? kLarge : 4 * kSmall, full ? 5 : 1));
  std::vector<Figure> figures = {{"sync.backlog_ready", large.ready_ms, "ms", 300, Better::lower},
                                 {"sync.backlog_memory", large.peak_mb / small.peak_mb, "times that with 10 MB", 1.25, Better::lower}};
  std::cout << fmt::format("# ready in {:.0f} ms and {:.1f} MB at most with 10 MB waiting; {:.0f} ms and {:.1f} MB with {:.1f} GB", small.ready_ms, small.peak_mb,
                           large.ready_ms, large.peak_mb, static_cast<double>(full ? kLarge : 4 * kSmall) / 1e9)
            << std::endl;
  for (Figure& figure : figures) figure.judged = full;
  return figures;
}

}  // namespace skerry::bench
