#include <signal.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "base/random.h"
#include "learning/delta.h"
#include "storage/store.h"
#include "tests/bench/learning.h"
#include "tests/bench/learning_node.h"
#include "tests/bench/learning_people.h"
#include "tests/bench/rounds.h"
#include "tests/e2e/feed.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/process.h"
#include "tests/e2e/support/records.h"

namespace skerry::bench {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr size_t kPieces = 10;

// What went wrong, counted.
struct Broken {
  uint32_t serving = 0, labels = 0, examples = 0, deltas = 0;
  uint32_t all() const { return serving + labels + examples + deltas; }
};

// A daemon that is killed, its worker that is killed, and what was said to it. While it is dead its store is looked at, and what waits there for
// the hub is taken as the hub would.
class Victim {
 public:
  Victim(const e2e::Feed& feed, const std::filesystem::path& folder, const e2e::DaemonOptions& options) : feed_(feed), daemon_(folder, options) {}

  e2e::Daemon& daemon() { return daemon_; }
  Broken& broken() { return broken_; }
  uint32_t deltas() const { return static_cast<uint32_t>(seen_.size()); }

  Status start() {
    SKERRY_TRY(daemon_.start());
    SKERRY_ASSIGN(client_, http::Client::open(daemon_.url()));
    return {};
  }

  Status stream() {
    for (size_t i = 0; i < kPieces; ++i) {
      std::string why;
      if (e2e::write_lines(*client_, e2e::to_line_protocol(feed_.learn[i].records), &why) != e2e::Written::acknowledged) return fail(Code::internal, "write: {}", why);
    }
    const auto until = Steady::now() + 60s;
    while (true) {
      SKERRY_ASSIGN(const int64_t newest, e2e::newest_window_end(*client_, feed_.model, feed_.series));
      if (newest > feed_.learn[kPieces - 1].from_ns()) return {};
      if (Steady::now() > until) return fail(Code::unavailable, "the pipeline does not catch up");
      std::this_thread::sleep_for(50ms);
    }
  }

  // Acknowledged, it must be there ever after.
  Status say(size_t piece, int32_t label) {
    const e2e::Piece& about = feed_.learn[piece];
    SKERRY_TRY(e2e::give_label(*client_, feed_.model, feed_.series, about.from_ns(), about.to_ns(), feed_.labels[static_cast<size_t>(label)]));
    said_[piece] = label;
    return {};
  }
  Status train() { return e2e::train_now(*client_, feed_.model); }

  Result<e2e::NodeView> look() { return e2e::view(*client_); }

  // It answers, and what answers is whole.
  Status check_serving() {
    const e2e::NodeView now = e2e::view(*client_).value_or(e2e::NodeView{});
    const learning::ExampleSet& windows = feed_.base_holdout;
    const auto answer = e2e::infer(*client_, feed_.model, e2e::infer_body({1, windows.channels, windows.rows}, windows.windows[0].data));
    const bool whole = now.models.size() == 1 && answer.ok() &&
                       inference::Package::open(daemon_.models() / feed_.model / std::to_string(now.models[0].version), learning::kPackageBytesMax).ok();
    if (!whole) {
      ++broken_.serving;
      note(fmt::format("what serves is not whole: {}", answer.ok() ? "its package can't be opened" : answer.error().message));
    }
    return {};
  }

  // Between two lives of the daemon.
  Status look_into_store() {
    storage::Options options;
    options.path = daemon_.store();
    SKERRY_ASSIGN(auto store, storage::Store::open(options, system_clock()));
    SKERRY_TRY(check_labels(*store));
    return receive(*store);
  }

 private:
  Status check_labels(const storage::Store& store) {
    for (const auto& [piece, label] : said_) {
      SKERRY_ASSIGN(const auto answers, store.predictions(feed_.model, feed_.series, {feed_.learn[piece].from_ns(), feed_.learn[piece].to_ns()}, 100'000));
      for (const storage::Prediction& p : answers) broken_.labels += p.label != label;
    }
    SKERRY_ASSIGN(const auto examples, store.examples(feed_.model, 1'000'000));
    std::set<int64_t> windows;
    for (const storage::Example& e : examples) broken_.examples += !windows.insert(e.window.from_ns).second;
    return {};
  }

  // Each delta must lead on from what the hub has, and come once.
  Status receive(storage::Store& store) {
    SKERRY_ASSIGN(const auto items, store.outbox_read(storage::OutboxClass::model, acknowledged_ + 1, 1 << 26));
    for (const storage::OutboxItem& item : items) {
      SKERRY_ASSIGN(const learning::Delta delta, learning::decode_delta(item.payload));
      if (delta.base_version != hub_has_ || !seen_.insert(delta.version).second) {
        ++broken_.deltas;
        note(fmt::format("the hub has version {} and is sent {} -> {}", hub_has_, delta.base_version, delta.version));
      }
      hub_has_ = delta.version;
      acknowledged_ = item.seq;
    }
    if (acknowledged_ > 0) SKERRY_TRY(store.outbox_acknowledge(storage::OutboxClass::model, acknowledged_));
    return {};
  }

 public:
  uint32_t hub_has() const { return hub_has_; }

 private:
  const e2e::Feed& feed_;
  e2e::Daemon daemon_;
  std::unique_ptr<http::Client> client_;
  std::map<size_t, int32_t> said_;
  Broken broken_;
  uint32_t hub_has_ = 1;
  uint64_t acknowledged_ = 0;
  std::set<uint32_t> seen_;
};

Result<e2e::NodeView> wait_until_quiet(Victim& victim) {
  const auto until = Steady::now() + 300s;
  while (true) {
    SKERRY_ASSIGN(const e2e::NodeView now, victim.look());
    if (now.learning_state == "waiting") return now;
    if (Steady::now() > until) return fail(Code::unavailable, "the last job does not end: {}", now.learning_why);
    std::this_thread::sleep_for(200ms);
  }
}

}  // namespace

Result<std::vector<Figure>> learning_kills(Size size, const Places& places) {
  SKERRY_ASSIGN(const e2e::Feed feed, e2e::pump_feed(1));
  inference::TrainingSpec training;
  training.labels_min = 1'000'000;  // only when asked
  SKERRY_ASSIGN(const inference::Package plain, e2e::base_model(feed, {}, training, places.cache));
  SKERRY_ASSIGN(const inference::Package base, without_gate(plain, places.work / "kills-base"));
  e2e::DaemonOptions options;
  options.learning =
      "check_interval = \"50ms\"\nidle_for = \"50ms\"\nidle_cpu_below = 1.0\nbusy_cpu_above = 1.0\nidle_requests_below = 100000\n"
      "busy_requests_above = 200000\nholdout_stretch = \"10s\"\n";
  Victim victim(feed, places.work / "kills", options);
  SKERRY_TRY(inference::install_package(base.folder, victim.daemon().models(), learning::kPackageBytesMax));
  SKERRY_TRY(victim.start());
  SKERRY_TRY(victim.stream());

  Random random(1);
  const uint32_t rounds = size == Size::full ? 200 : 6;
  uint32_t daemon_killed = 0, worker_killed = 0;
  double disk = 0;
  for (uint32_t round = 1; round <= rounds; ++round) {
    for (size_t piece = 0; piece < kPieces; ++piece) {
      if (round > 1 && random.below(4) != 0) continue;  // somebody changes their mind
      SKERRY_TRY(victim.say(piece, static_cast<int32_t>(random.below(feed.labels.size()))));
    }
    SKERRY_TRY(victim.train());
    std::this_thread::sleep_for(std::chrono::milliseconds(random.below(3000)));
    const uint64_t fate = random.below(4);  // 0: all goes well
    if (const auto worker = child_of(victim.daemon().process().pid()); worker && (fate & 1) != 0) {
      ::kill(worker->pid, SIGKILL);
      ++worker_killed;
    }
    if ((fate & 2) != 0 || round == rounds) {
      victim.daemon().kill9();
      ++daemon_killed;
      SKERRY_TRY(victim.look_into_store());
      SKERRY_TRY(victim.start());
    }
    SKERRY_TRY(victim.check_serving());
    if (round == rounds / 4) disk = folder_mb(victim.daemon().data());
    if (round % 20 == 0) {
      SKERRY_ASSIGN(const e2e::NodeView now, victim.look());
      note(fmt::format("round {}: serving {}, {} deltas, daemon killed {} times, worker {}", round, now.models.at(0).version, victim.deltas(), daemon_killed,
                       worker_killed));
    }
  }
  // One more, in peace: what serves at last is what the hub gets to.
  SKERRY_TRY(wait_until_quiet(victim));
  SKERRY_TRY(victim.train());
  std::this_thread::sleep_for(500ms);
  e2e::NodeView last;
  for (int i = 0; i < 3; ++i) {  // what had to wait for the hub becomes one delta
    SKERRY_ASSIGN(last, wait_until_quiet(victim));
    std::this_thread::sleep_for(500ms);
    victim.daemon().kill9();
    SKERRY_TRY(victim.look_into_store());
    SKERRY_TRY(victim.start());
  }
  SKERRY_TRY(victim.check_serving());
  SKERRY_ASSIGN(last, victim.look());
  Broken& broken = victim.broken();
  broken.deltas += victim.hub_has() != last.models.at(0).version;
  const double grown = folder_mb(victim.daemon().data()) - disk;
  note(fmt::format("{} rounds, daemon killed {} times, worker {}; {} deltas to the hub, which has {}, serving {}", rounds, daemon_killed, worker_killed,
                   victim.deltas(), victim.hub_has(), last.models.at(0).version));
  if (size == Size::full && victim.deltas() < 10) return fail(Code::internal, "only {} versions came to serve: the kills leave no job time to end", victim.deltas());
  std::vector<Figure> figures = {{"learning.kills_broken_serving", static_cast<double>(broken.serving), "times", 0, Better::lower},
                                 {"learning.kills_labels_lost", static_cast<double>(broken.labels), "labels", 0, Better::lower},
                                 {"learning.kills_examples_twice", static_cast<double>(broken.examples), "examples", 0, Better::lower},
                                 {"learning.kills_deltas_lost_or_doubled", static_cast<double>(broken.deltas), "deltas", 0, Better::lower},
                                 {"learning.kills_disk_growth", grown, "MB", 8, Better::lower}};
  figures.back().judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
