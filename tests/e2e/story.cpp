#include "tests/e2e/story.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <set>
#include <thread>
#include <tuple>

#include "base/clock.h"
#include "base/units.h"
#include "inference/pipeline.h"
#include "tests/e2e/feed.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/records.h"
#include "tests/e2e/visitor.h"

namespace skerry::e2e {
namespace {

using Steady = std::chrono::steady_clock;

constexpr size_t kRowsPerPost = 1000;
constexpr Duration kHoldoutStretch = std::chrono::seconds(10);
constexpr milliseconds kCatchUpLimit{30'000}, kLearnLimit{90'000}, kDrainLimit{60'000};

double percent(uint64_t correct, uint64_t of) { return of == 0 ? 0 : 100.0 * static_cast<double>(correct) / static_cast<double>(of); }

class Story {
 public:
  explicit Story(const StoryOptions& options) : options_(options), begin_(Steady::now()) {}

  Result<StoryOutcome> tell() {
    SKERRY_TRY(prepare());
    SKERRY_TRY(serve_the_unseen());
    SKERRY_TRY(lose_the_link());
    SKERRY_TRY(learn());
    SKERRY_TRY(die_and_return());
    SKERRY_TRY(bring_it_home());
    SKERRY_TRY(compare_sets());
    outcome_.seconds = std::chrono::duration<double>(Steady::now() - begin_).count();
    return outcome_;
  }

 private:
  Status prepare() {
    heading("0", "A base model");
    if (options_.data.empty()) {
      SKERRY_ASSIGN(feed_, pump_feed(options_.seed));
    } else {
      SKERRY_ASSIGN(feed_, motionsense_feed(options_.data, options_.user));
    }
    inference::GateSpec gate;
    gate.examples_min = 30;
    inference::TrainingSpec training;
    // Reached by the last of the labels that are given while the link is down, so that each telling trains on the same examples.
    learning::Options learning;
    learning.holdout_stretch = kHoldoutStretch;
    SKERRY_ASSIGN(training.labels_min, examples_to_train_on(feed_, learning));
    const auto begin = Steady::now();
    SKERRY_ASSIGN(inference::Package base, base_model(feed_, gate, training, options_.cache));
    feed_.window = base.info.window;
    feed_.labels = base.info.labels;
    say("fitted on {} ({} windows) and quantized to int8 in {:.1f} s; it has never seen {}.", feed_.base_of,
        feed_.base_train.windows.size(), seconds_since(begin), feed_.who);

    hub_.emplace(options_.work / "hub");
    SKERRY_TRY(hub_->start());
    SKERRY_ASSIGN(proxy_, test::ChaosProxy::start("127.0.0.1", hub_->port()));
    DaemonOptions daemon;
    daemon.hub = proxy_->url();
    daemon.sync =
        "request_timeout = \"2s\"\nbackoff_min = \"100ms\"\nbackoff_max = \"1s\"\nprobe_interval = \"500ms\"\nbatch_max = \"64 KiB\"\n";
    // The story has no hours to wait: learn as soon as there are labels, and take a demo on a busy machine for an idle device.
    daemon.learning =
        "check_interval = \"200ms\"\nidle_for = \"500ms\"\nidle_cpu_below = 1.0\nbusy_cpu_above = 1.0\n"
        "holdout_stretch = \"" + format_duration(kHoldoutStretch) + "\"\n";
    daemon_.emplace(options_.work / "node", daemon);
    SKERRY_TRY(inference::install_package(base.folder, daemon_->models(), 256 << 20));
    SKERRY_TRY(daemon_->start());
    SKERRY_ASSIGN(client_, http::Client::open(daemon_->url()));
    say("skerryd is ready after {} ms at {}, the hub at {}; the link between them is ours to break.",
        daemon_->start_time().count(), daemon_->url(), hub_->url());
    SKERRY_ASSIGN(held_back_, windows_of(feed_, feed_.after));
    visitor_ = std::make_unique<Visitor>(daemon_->url(), feed_.model, held_back_, 50);
    return {};
  }

  Status serve_the_unseen() {
    heading("1", feed_.who + " streams in, and the int8 base answers");
    SKERRY_TRY(stream(feed_.first));
    SKERRY_TRY(wait_for_windows());
    SKERRY_TRY(label(feed_.first));
    SKERRY_ASSIGN(NodeView now, view(*client_));
    check(serving(now).version == 1, "version 1 serves");
    check(now.labelled > 0, "labels arrive and are joined to the predictions they are about");
    say("{} records, {} predictions, {} labels. Accuracy on the labels: {:.1f} %.", records_.load(), now.predictions, now.labelled,
        percent(serving(now).correct, serving(now).labelled));
    return wait_until("the hub has it all so far", kDrainLimit, [](const NodeView& v) { return v.outbox_entries == 0; });
  }

  Status lose_the_link() {
    heading("2", "The link to the hub goes down");
    proxy_->down();
    // Enough for the backlog to be seen growing, too few labels to make a training worthwhile yet.
    const size_t part = std::min<size_t>(feed_.learn.size(), 4);
    uint64_t before = 0;
    bool grows = true;
    for (size_t i = 0; i < part; ++i) {
      SKERRY_TRY(stream({feed_.learn[i]}));
      SKERRY_TRY(wait_for_windows());
      SKERRY_ASSIGN(NodeView now, view(*client_));
      say("offline: {} records taken, backlog {} in {} entries.", records_.load(), format_bytes(now.outbox_bytes), now.outbox_entries);
      grows = grows && now.outbox_bytes > before;
      before = now.outbox_bytes;
    }
    streamed_ = part;
    SKERRY_TRY(wait_until("the node noticed that the link is down", milliseconds(10'000), [](const NodeView& v) { return !v.online; }));
    check(grows, "ingest goes on without a link, and the backlog grows");
    Visit visit = visitor_->take();
    check(visit.failures == 0, fmt::format("inference goes on: {} requests, {} failed {}", visit.requests, visit.failures, visit.first_failure));
    keep(visit);
    return {};
  }

  Status learn() {
    heading("3", "Labels accumulate, and the node learns, still alone");
    std::vector<Piece> rest(feed_.learn.begin() + static_cast<ptrdiff_t>(streamed_), feed_.learn.end());
    SKERRY_TRY(stream(rest));
    SKERRY_TRY(wait_for_windows());
    const auto begin = Steady::now();
    SKERRY_TRY(label(feed_.learn));
    SKERRY_ASSIGN(NodeView before, view(*client_));
    check(serving(before).labelled > 0, "labels go on without a link");
    say("{} labels; version 1 is right on {:.1f} % of them. Waiting for the device to be idle...", serving(before).labelled,
        percent(serving(before).correct, serving(before).labelled));
    std::string state;
    SKERRY_TRY(wait_until("a candidate passed the gate and serves", kLearnLimit, [&](const NodeView& v) {
      if (v.learning_state != state) say("  {}: {}", v.learning_state, v.learning_why);
      state = v.learning_state;
      return serving(v).version > 1 && v.promoted > 0;
    }));
    SKERRY_ASSIGN(NodeView after, view(*client_));
    version_ = serving(after).version;
    say("version {} serves {:.1f} s after the labels. {}", version_, seconds_since(begin), after.learning_why);
    check(after.outbox_bytes > before.outbox_bytes, "its delta waits in the outbox");

    // The same held-back windows, asked for all the time: by version 1 before the swap, by the new one after it.
    const size_t enough = std::min<size_t>(held_back_.windows.size(), 200);
    const auto until = Steady::now() + milliseconds(15'000);
    while (seen_.versions[version_].asked < enough && Steady::now() < until) {
      pause(100);
      keep(visitor_->take());
    }
    const VersionScore &old_score = seen_.versions[1], &new_score = seen_.versions[version_];
    double before_percent = percent(old_score.correct, old_score.asked), after_percent = percent(new_score.correct, new_score.asked);
    say("on windows that nobody labelled: {:.1f} % before, {:.1f} % after.", before_percent, after_percent);
    check(after_percent > before_percent, fmt::format("accuracy rises visibly ({:.1f} % -> {:.1f} %)", before_percent, after_percent));
    check(seen_.failures == 0, fmt::format("no request failed during training and swap ({} requests, p99 {:.1f} ms) {}", seen_.requests,
                                           seen_.percentile(0.99), seen_.first_failure));
    visitor_->stop();
    return {};
  }

  // kill -9 while records are being written.
  Status die_and_return() {
    heading("4", "skerryd is killed with -9, in the middle of it");
    const size_t middle = feed_.after.size() / 2;
    std::vector<Piece> one_half(feed_.after.begin(), feed_.after.begin() + static_cast<ptrdiff_t>(middle));
    std::vector<Piece> other_half(feed_.after.begin() + static_cast<ptrdiff_t>(middle), feed_.after.end());
    const pid_t pid = daemon_->process().pid();
    size_t rows = 0, at_death = 0;
    for (const Piece& piece : one_half) rows += piece.records.rows();
    const uint64_t records_before = records_;
    std::atomic<bool> over{false};
    std::thread killer([&, deadly = records_before + rows / 2] {
      while (records_ < deadly && !over) std::this_thread::sleep_for(std::chrono::microseconds(200));
      ::kill(pid, SIGKILL);
    });
    Status lived = stream(one_half, &at_death);
    over = true;
    killer.join();
    daemon_->kill9();
    if (!lived.ok()) return lived.error();
    say("killed after {} more acknowledged records; {} are of unknown outcome, as after any crash.", records_ - records_before,
        unknown_.records());
    SKERRY_TRY(daemon_->start());
    SKERRY_ASSIGN(NodeView back, view(*client_));
    check(serving(back).version == version_, fmt::format("after the restart version {} serves (ready in {} ms)", version_, daemon_->start_time().count()));
    SKERRY_TRY(stream(one_half, nullptr, at_death));
    SKERRY_TRY(stream(other_half));
    SKERRY_TRY(wait_for_windows());
    SKERRY_TRY(label(feed_.after));
    SKERRY_ASSIGN(NodeView now, view(*client_));
    say("accuracy of version {} on the labels that arrived since: {:.1f} % of {}.", version_,
        percent(serving(now).correct, serving(now).labelled), serving(now).labelled);
    return {};
  }

  Status bring_it_home() {
    heading("5", "The link returns, and one acknowledgement is swallowed");
    SKERRY_ASSIGN(NodeView before, view(*client_));
    say("backlog: {} in {} entries.", format_bytes(before.outbox_bytes), before.outbox_entries);
    proxy_->pass();
    proxy_->rate(1 << 20);  // a narrow link, so that the drain is long enough to be disturbed
    SKERRY_TRY(wait_until("the node found the link again", milliseconds(20'000), [&](const NodeView& v) {
      return v.online && v.outbox_entries < before.outbox_entries;
    }));
    const uint64_t swallowed = proxy_->swallowed();
    SKERRY_ASSIGN(NodeView online, view(*client_));
    proxy_->swallow_responses(1);
    const auto begin = Steady::now();
    NodeView drained;
    SKERRY_TRY(wait_until("backlog and delta are drained", kDrainLimit, [&](const NodeView& v) {
      drained = v;
      return v.outbox_entries == 0;
    }));
    check(proxy_->swallowed() == swallowed + 1 && drained.failures > online.failures, "one acknowledgement was swallowed, and the node noticed");
    say("drained {} in {:.1f} s. After the lost answer the node asked the hub where it stands, and sent {} batches twice.",
        format_bytes(before.outbox_bytes), seconds_since(begin), drained.repeated);
    return {};
  }

  Status compare_sets() {
    heading("6", "What was sent against what is held");
    auto daemon_exit = daemon_->terminate(), hub_exit = hub_->terminate();
    check(daemon_exit && daemon_exit->code == 0 && hub_exit && hub_exit->code == 0, "skerryd and skerry-hub stop cleanly");
    SKERRY_ASSIGN(Held node, read_node_store(daemon_->store(), "island"));
    SKERRY_ASSIGN(Held hub, read_hub_store(hub_->store(), "island"));

    Difference at_node = compare(acknowledged_, unknown_, node.records), at_hub = compare(acknowledged_, unknown_, hub.records);
    Difference between = compare(node.records, {}, hub.records);
    check(at_node.none(), fmt::format("node: {} acknowledged records, {} held: {}", acknowledged_.records(), node.records.records(), at_node.text()));
    check(at_hub.none() && between.none(),
          fmt::format("hub: the same {} records, each once: {}", hub.records.records(), at_hub.none() ? between.text() : at_hub.text()));

    // Every window of the node's records has one prediction, as if nothing had happened.
    std::multiset<std::tuple<std::string, int64_t, int64_t>> answered;
    for (const auto& [id, prediction] : node.predictions) {
      if (!prediction.series.empty()) answered.emplace(prediction.series, prediction.window.from_ns, prediction.window.to_ns);
    }
    std::multiset<std::tuple<std::string, int64_t, int64_t>> expected;
    SKERRY_ASSIGN(inference::CutResult cut, inference::cut_windows(feed_.window, node.series[feed_.series]));
    for (const inference::Window& window : cut.windows) expected.emplace(feed_.series, window.range.from_ns, window.range.to_ns);
    check(answered == expected, fmt::format("{} windows, each answered once ({} predictions in the ledger)", expected.size(), answered.size()));
    check(same_keys(node.predictions, hub.predictions) && hub.repeated == 0,
          fmt::format("hub: the same {} predictions, each once", hub.predictions.size()));
    check(!node.labels.empty() && same_keys(node.labels, hub.labels), fmt::format("hub: the same {} labels, each once", hub.labels.size()));
    const std::string delta = fmt::format("{}/{}", feed_.model, version_);
    check(std::find(hub.deltas.begin(), hub.deltas.end(), delta) != hub.deltas.end(), "hub: has the delta of " + delta);
    return {};
  }

  // --- parts

  // Posts pieces in small batches. With `at_death`, a lost connection ends it: the number of posts made, the last of unknown outcome.
  // `skip` posts were made before.
  Status stream(const std::vector<Piece>& pieces, size_t* at_death = nullptr, size_t skip = 0) {
    size_t posts = 0;
    for (const Piece& piece : pieces) {
      for (size_t from = 0; from < piece.records.rows(); from += kRowsPerPost) {
        if (posts++ < skip) continue;
        Batch part = slice(piece.records, from, std::min(from + kRowsPerPost, piece.records.rows()));
        std::string why;
        switch (write_lines(*client_, to_line_protocol(part), &why)) {
          case Written::acknowledged:
            acknowledged_.add(part);
            records_ += part.rows();
            newest_ns_ = part.times.back();
            break;
          case Written::refused: return fail(Code::internal, "skerryd refused good records: {}", why);
          case Written::unknown:
            if (at_death == nullptr) return fail(Code::unavailable, "skerryd did not answer: {}", why);
            unknown_.add(part);
            *at_death = posts;
            return {};
        }
        pause(2);
      }
    }
    if (at_death != nullptr) *at_death = posts;
    return {};
  }

  // Until the pipeline has worked through everything that was acknowledged.
  Status wait_for_windows() {
    const auto until = Steady::now() + kCatchUpLimit;
    const int64_t slack = 2 * feed_.window.rows * feed_.window.period.count();
    while (true) {
      SKERRY_ASSIGN(int64_t last, newest_window_end(*client_, feed_.model, feed_.series));
      if (last >= newest_ns_ - slack) break;
      if (Steady::now() > until) {
        return fail(Code::unavailable, "the newest prediction is {:.1f} s behind the records", static_cast<double>(newest_ns_ - last) / 1e9);
      }
      pause(20);
    }
    pause(100);  // the last window of the slack
    return {};
  }

  Status label(const std::vector<Piece>& pieces) {
    for (const Piece& piece : pieces) {
      auto scored = give_label(*client_, feed_.model, feed_.series, piece.from_ns(), piece.to_ns(), piece.label);
      if (!scored.ok()) return scored.error();
      labelled_ += scored.value();
    }
    return {};
  }

  template <typename Condition>
  Status wait_until(const std::string& what, milliseconds limit, Condition condition) {
    const auto until = Steady::now() + limit;
    while (true) {
      SKERRY_ASSIGN(NodeView now, view(*client_));
      bool reached = condition(now);
      if (reached || Steady::now() > until) {
        check(reached, what);
        if (reached) return {};
        return fail(Code::unavailable, "not within {} s: {}. Learning: {} ({}). Outbox: {} entries", limit.count() / 1000, what, now.learning_state,
                    now.learning_why, now.outbox_entries);
      }
      pause(50);
    }
  }

  NodeView::Model serving(const NodeView& v) const {
    for (const NodeView::Model& model : v.models) {
      if (model.name == feed_.model) return model;
    }
    return {};
  }

  template <typename Map>
  static bool same_keys(const Map& a, const Map& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) { return x.first == y.first; });
  }

  void keep(const Visit& visit) {
    seen_.requests += visit.requests;
    seen_.failures += visit.failures;
    if (seen_.first_failure.empty()) seen_.first_failure = visit.first_failure;
    seen_.latencies_ms.insert(seen_.latencies_ms.end(), visit.latencies_ms.begin(), visit.latencies_ms.end());
    for (const auto& [version, score] : visit.versions) {
      seen_.versions[version].asked += score.asked;
      seen_.versions[version].correct += score.correct;
    }
  }

  void heading(const std::string& number, const std::string& text) {
    if (!options_.quiet) fmt::print("\n{}. {}\n", number, text);
    std::fflush(stdout);
  }

  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    if (options_.quiet) return;
    fmt::print("   [{:5.1f} s] {}\n", seconds_since(begin_), fmt::format(format, std::forward<Args>(args)...));
    std::fflush(stdout);
  }

  void check(bool ok, const std::string& what) {
    outcome_.checks.push_back({what, ok});
    if (!ok || !options_.quiet) fmt::print("   {} {}\n", ok ? "ok    " : "FAILED", what);
    std::fflush(stdout);
  }

  static double seconds_since(Steady::time_point begin) { return std::chrono::duration<double>(Steady::now() - begin).count(); }
  static void pause(uint64_t ms) { std::this_thread::sleep_for(milliseconds(ms)); }

  const StoryOptions options_;
  const Steady::time_point begin_;
  StoryOutcome outcome_;
  Feed feed_;
  learning::ExampleSet held_back_;
  std::optional<Hub> hub_;
  std::unique_ptr<test::ChaosProxy> proxy_;
  std::optional<Daemon> daemon_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<Visitor> visitor_;
  RecordSet acknowledged_, unknown_;
  Visit seen_;
  size_t streamed_ = 0;        // pieces of feed_.learn so far
  std::atomic<uint64_t> records_{0};  // acknowledged
  uint64_t labelled_ = 0;
  int64_t newest_ns_ = 0;
  uint32_t version_ = 1;
};

}  // namespace

bool StoryOutcome::passed() const {
  return !checks.empty() && std::all_of(checks.begin(), checks.end(), [](const StoryCheck& check) { return check.ok; });
}

Result<StoryOutcome> tell_story(const StoryOptions& options) {
  Story story(options);
  return story.tell();
}

}  // namespace skerry::e2e
