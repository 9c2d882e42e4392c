// skerry replay: plays a recording into a node as line protocol, in real time, faster, or as fast as the node takes it.
#include <chrono>
#include <cstdio>
#include <deque>
#include <thread>

#include "node/cli/api.h"
#include "node/cli/print.h"
#include "node/line_protocol.h"
#include "plugins/source.h"

namespace skerry::cli {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr auto kTryAgain = milliseconds(500);
constexpr auto kOperatorPause = std::chrono::seconds(1);  // the node should have answered about the windows by then
constexpr auto kLabelsEnd = std::chrono::seconds(10);     // how long labels without predictions are tried after the end

class Player {
 public:
  Player(Api& api, const ReplayOptions& options) : api_(api), options_(options) {}

  Status play(plugins::Source& source) {
    for (bool finished = false; !finished;) {
      SKERRY_ASSIGN(plugins::Poll poll, source.poll(system_clock().now()));
      finished = poll.finished;
      SKERRY_TRY(write(poll.batches));
      for (auto& truth : poll.truths) {
        if (options_.labels) waiting_.push_back({std::move(truth), system_clock().steady() + kOperatorPause});
      }
      label_due();
      if (!finished && poll.next > Duration::zero()) std::this_thread::sleep_for(poll.next);
    }
    const SteadyTime end = system_clock().steady() + kLabelsEnd;
    while (!waiting_.empty() && system_clock().steady() < end) {
      label_due();
      if (!waiting_.empty()) std::this_thread::sleep_for(milliseconds(200));
    }
    return {};
  }
  json report() const {
    return {{"records", records_}, {"predictions_labelled", labelled_}, {"correct", correct_}, {"labels_without_prediction", waiting_.size()}};
  }

 private:
  struct Waiting {
    plugins::Truth truth;
    SteadyTime due;
  };

  // A node that is full or restarting is waited for: a recording does not run away.
  Status write(const std::vector<Batch>& batches) {
    std::string lines;
    size_t records = 0;
    for (const Batch& batch : batches) {
      SKERRY_TRY(node::append_line_protocol(batch, lines));
      records += batch.rows();
    }
    if (lines.empty()) return {};
    for (bool said = false;; said = true) {
      Status done = api_.write_lines(lines);
      bool later = !done.ok() && (done.error().code == Code::exhausted || (done.error().code == Code::unavailable && records_ > 0));
      if (!later) {
        SKERRY_TRY(done);
        records_ += records;
        return {};
      }
      if (!said) std::fprintf(stderr, "skerry: waiting: %s\n", done.error().message.c_str());
      std::this_thread::sleep_for(kTryAgain);
    }
  }

  void label_due() {
    const SteadyTime now = system_clock().steady();
    for (size_t n = waiting_.size(); n > 0 && !waiting_.empty() && waiting_.front().due <= now; --n) {
      Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      const plugins::Truth& t = next.truth;
      auto answer = api_.post("/v1/labels", {{"series", t.series}, {"from", t.from_ns}, {"to", t.to_ns}, {"label", t.label}, {"source", "replay"}});
      if (answer.ok()) {
        labelled_ += answer->value("predictions", uint64_t{0});
        correct_ += answer->value("correct", uint64_t{0});
      } else if (answer.error().code == Code::invalid) {
        if (!complained_) std::fprintf(stderr, "skerry: a label is refused: %s\n", answer.error().message.c_str());
        complained_ = true;
      } else {
        next.due = now + kOperatorPause;
        waiting_.push_back(std::move(next));
      }
    }
  }

  Api& api_;
  const ReplayOptions& options_;
  std::deque<Waiting> waiting_;
  uint64_t records_ = 0, labelled_ = 0, correct_ = 0;
  bool complained_ = false;
};

}  // namespace

int replay(const Common& common, const ReplayOptions& options) {
  plugins::ReplayOptions source_options{.path = options.path,
                                        .speed = options.speed,
                                        .stream = options.stream,
                                        .tags = options.tags,
                                        .select = options.select,
                                        .labels = options.labels};
  if (!options.start.empty()) {
    auto start = parse_time(options.start);
    if (!start.ok()) return failed(common, start.error());
    source_options.start_ns = *start;
  }
  auto source = plugins::make_replay_source(source_options);
  if (!source.ok()) return failed(common, source.error());
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  Player player(*api, options);
  Status played = player.play(**source);
  if (!played.ok()) return failed(common, played.error());
  json report = player.report();
  if (common.json) {
    print_json(report);
  } else {
    print_line(fmt::format("{} records written, {} predictions labelled ({} were right)", thousands(report.at("records").get<uint64_t>()),
                           thousands(report.at("predictions_labelled").get<uint64_t>()), thousands(report.at("correct").get<uint64_t>())));
  }
  return 0;
}

}  // namespace skerry::cli
