#include "tests/e2e/feed.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "base/clock.h"
#include "base/file.h"
#include "inference/pipeline.h"
#include "learning/labels.h"
#include "plugins/source.h"
#include "tests/e2e/support/process.h"
#include "tests/e2e/support/records.h"

namespace skerry::e2e {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
// Where the unseen one's records begin. Always the same, as stretches of time decide which examples are held out: the story is the same
// story each time. The base's begin a day before.
constexpr int64_t kBegin = 1'760'000'000 * kSecond;
constexpr uint64_t kPackageBytesMax = 256 << 20;
#if defined(__x86_64__)
constexpr const char* kEngine = "onednn";
#else
constexpr const char* kEngine = "qnnpack";
#endif

int32_t index_of(const Feed& feed, const std::string& label) {
  auto at = std::find(feed.labels.begin(), feed.labels.end(), label);
  return at == feed.labels.end() ? -1 : static_cast<int32_t>(at - feed.labels.begin());
}

void append(Batch& all, const Batch& more) {
  if (all.rows() == 0) {
    all = more;
    return;
  }
  all.times.insert(all.times.end(), more.times.begin(), more.times.end());
  for (size_t c = 0; c < all.columns.size(); ++c) {
    std::visit(
        [&](auto& values) {
          const auto& added = std::get<std::decay_t<decltype(values)>>(more.columns[c].values);
          values.insert(values.end(), added.begin(), added.end());
        },
        all.columns[c].values);
  }
}

// The pump's records, cut at its changes of condition. The last condition is left out when it did not end.
Result<std::vector<Piece>> pump_pieces(plugins::PumpOptions options, size_t count) {
  options.speed = 0;
  options.labels = true;
  SKERRY_ASSIGN(auto source, plugins::make_pump_source(options));
  Batch all;
  std::vector<plugins::Truth> truths;
  const int64_t end = options.start_ns + static_cast<int64_t>(count) * options.state_length.count();
  WallTime now{Duration(options.start_ns)};
  while (all.rows() == 0 || all.times.back() < end + kSecond) {
    SKERRY_ASSIGN(plugins::Poll poll, source->poll(now));
    for (const Batch& batch : poll.batches) append(all, batch);
    truths.insert(truths.end(), poll.truths.begin(), poll.truths.end());
    if (poll.finished) break;
    now += std::max(poll.next, Duration(1));
  }
  std::vector<Piece> pieces;
  for (const plugins::Truth& truth : truths) {
    auto from = std::lower_bound(all.times.begin(), all.times.end(), truth.from_ns);
    auto to = std::lower_bound(all.times.begin(), all.times.end(), truth.to_ns);
    if (from == to || to == all.times.end()) continue;
    if (!pieces.empty() && pieces.back().label == truth.label && pieces.back().to_ns() > truth.from_ns - kSecond) {
      append(pieces.back().records, slice(all, static_cast<size_t>(from - all.times.begin()), static_cast<size_t>(to - all.times.begin())));
      continue;
    }
    if (pieces.size() == count) break;
    pieces.push_back({slice(all, static_cast<size_t>(from - all.times.begin()), static_cast<size_t>(to - all.times.begin())), truth.label});
  }
  if (pieces.size() < count) return fail(Code::internal, "the pump gave {} labelled stretches, {} were asked for", pieces.size(), count);
  return pieces;
}

// Mean and deviation per channel over the base's windows.
void fit_normalisation(Feed& feed) {
  const uint32_t channels = feed.base_train.channels, rows = feed.base_train.rows;
  feed.window.mean.assign(channels, 0);
  feed.window.deviation.assign(channels, 1);
  for (uint32_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0, n = 0;
    for (const learning::LabelledWindow& window : feed.base_train.windows) {
      for (uint32_t r = 0; r < rows; ++r) {
        double x = window.data[c * rows + r];
        sum += x;
        squares += x * x;
        ++n;
      }
    }
    double mean = sum / n;
    feed.window.mean[c] = static_cast<float>(mean);
    feed.window.deviation[c] = static_cast<float>(std::sqrt(std::max(squares / n - mean * mean, 1e-12)));
  }
}

// Every tenth piece is held out, whole.
Status fit_examples(Feed& feed, const std::vector<Piece>& pieces) {
  std::vector<Piece> train, holdout;
  for (size_t i = 0; i < pieces.size(); ++i) (i % 10 == 7 ? holdout : train).push_back(pieces[i]);
  SKERRY_ASSIGN(feed.base_train, windows_of(feed, train));
  SKERRY_ASSIGN(feed.base_holdout, windows_of(feed, holdout));
  fit_normalisation(feed);
  return {};
}

}  // namespace

Result<learning::ExampleSet> windows_of(const Feed& feed, const std::vector<Piece>& pieces) {
  learning::ExampleSet set;
  set.channels = static_cast<uint32_t>(feed.window.fields.size());
  set.rows = feed.window.rows;
  for (const Piece& piece : pieces) {
    SKERRY_ASSIGN(inference::CutResult cut, inference::cut_windows(feed.window, piece.records));
    for (inference::Window& window : cut.windows) set.windows.push_back({std::move(window.data), index_of(feed, piece.label)});
  }
  return set;
}

Result<uint32_t> examples_to_train_on(const Feed& feed, const learning::Options& options) {
  Batch all;
  for (const auto* pieces : {&feed.first, &feed.learn}) {
    for (const Piece& piece : *pieces) append(all, piece.records);
  }
  SKERRY_ASSIGN(inference::CutResult cut, inference::cut_windows(feed.window, all));
  uint32_t count = 0;
  for (const inference::Window& window : cut.windows) {
    for (const auto* pieces : {&feed.first, &feed.learn}) {
      for (const Piece& piece : *pieces) {
        if (window.range.from_ns < piece.from_ns() || window.range.to_ns > piece.to_ns()) continue;
        count += learning::example_role(options, feed.series, window.range) == storage::ExampleRole::train;
      }
    }
  }
  return count;
}

Result<Feed> pump_feed(uint64_t seed) {
  constexpr int kBaseMachines = 3;
  constexpr size_t kFirst = 10, kLearn = 40, kAfter = 20;  // stretches of the unseen pump: two, eight and four rounds of conditions
  Feed feed;
  feed.model = "pump";
  feed.who = "pump-11";
  feed.base_of = fmt::format("{} other pumps", kBaseMachines);
  feed.key = fmt::format("pump-{}", seed);
  feed.labels = plugins::kPumpConditions;

  plugins::PumpOptions options;
  options.seed = seed;
  options.state_length = std::chrono::seconds(6);
  options.script = plugins::kPumpConditions;
  options.start_ns = kBegin - 86'400 * kSecond;

  std::vector<Piece> base;
  for (int machine = 1; machine <= kBaseMachines; ++machine) {
    options.machine = fmt::format("pump-{}", machine);
    SKERRY_ASSIGN(auto pieces, pump_pieces(options, 15));
    base.insert(base.end(), pieces.begin(), pieces.end());
  }
  feed.window.stream = base.front().records.series.name;
  for (const Column& column : base.front().records.columns) feed.window.fields.push_back(column.name);
  feed.window.rows = 256;
  feed.window.stride = 128;
  feed.window.period = Duration(static_cast<int64_t>(1e9 / options.rate_hz));
  SKERRY_TRY(fit_examples(feed, base));

  options.machine = feed.who;
  options.start_ns = kBegin;
  SKERRY_ASSIGN(auto own, pump_pieces(options, kFirst + kLearn + kAfter));
  feed.series = own.front().records.series.text();
  feed.first.assign(own.begin(), own.begin() + kFirst);
  feed.learn.assign(own.begin() + kFirst, own.begin() + kFirst + kLearn);
  feed.after.assign(own.begin() + kFirst + kLearn, own.end());
  return feed;
}

Result<Feed> motionsense_feed(const std::filesystem::path& folder, int user) {
  // Few enough that there is something left to learn about a seventh.
  const std::set<int> seen = {1, 2, 3, 5, 6, 7};
  if (seen.contains(user)) return fail(Code::invalid, "user {} is one of those the base is fitted on", user);
  Feed feed;
  feed.model = "har";
  feed.who = fmt::format("user {}", user);
  feed.base_of = fmt::format("{} other people", seen.size());
  feed.key = "motionsense-6-users";

  plugins::ReplayOptions options;
  options.path = folder;
  options.stream = "motion";
  options.labels = true;
  SKERRY_ASSIGN(std::vector<plugins::Recording> recordings, plugins::read_recordings(options));
  auto number = [](const plugins::Recording& r, const char* name) { return std::atoi(r.index.at(name).c_str()); };
  std::vector<Piece> base;
  std::vector<const plugins::Recording*> own;
  for (const plugins::Recording& recording : recordings) {
    if (recording.records.rows() == 0) continue;
    if (number(recording, "subject") == user) own.push_back(&recording);
    if (seen.contains(number(recording, "subject"))) base.push_back({recording.records, recording.label});
    if (std::find(feed.labels.begin(), feed.labels.end(), recording.label) == feed.labels.end()) feed.labels.push_back(recording.label);
  }
  if (own.empty() || base.empty()) return fail(Code::not_found, "{} has no recordings of user {}", folder.string(), user);
  std::sort(feed.labels.begin(), feed.labels.end());
  for (const Column& column : own.front()->records.columns) feed.window.fields.push_back(column.name);
  feed.window.stream = options.stream;
  feed.window.rows = 128;
  feed.window.stride = 64;
  feed.window.period = std::chrono::milliseconds(20);
  SKERRY_TRY(fit_examples(feed, base));

  // The user's day: long trials in the order of their numbers, so that each activity comes by early; then the short ones.
  std::sort(own.begin(), own.end(), [&](const auto* a, const auto* b) {
    return std::tuple(number(*a, "trial"), a->label) < std::tuple(number(*b, "trial"), b->label);
  });
  int64_t at = kBegin;
  size_t n = 0;
  for (const auto* recording : own) {
    Piece piece{recording->records, recording->label};
    piece.records.series = Series{options.stream, {{"user", std::to_string(user)}}};
    const int64_t shift = at - piece.records.times.front();
    for (int64_t& time : piece.records.times) time += shift;
    at = piece.to_ns() + 5 * kSecond;
    feed.series = piece.records.series.text();
    if (number(*recording, "trial") > 9) {
      feed.after.push_back(std::move(piece));
    } else {
      (n++ < 3 ? feed.first : feed.learn).push_back(std::move(piece));
    }
  }
  return feed;
}

Result<inference::Package> base_model(const Feed& feed, const inference::GateSpec& gate, const inference::TrainingSpec& training,
                                      const std::filesystem::path& cache) {
  learning::JobSpec spec;
  spec.kind = learning::JobKind::fit;
  spec.target.name = feed.model;
  spec.target.version = 1;
  spec.target.architecture = "cnn1d";
  spec.target.engine = kEngine;
  spec.target.labels = feed.labels;
  spec.target.window = feed.window;
  spec.target.gate = gate;
  spec.target.training = training;
  spec.target.note = "base model of " + feed.base_of;
  spec.full_epochs = feed.base_epochs;
  spec.full_learning_rate = 2e-3;
  spec.threads = 2;
  learning::ExampleSet calibration{feed.base_train.channels, feed.base_train.rows, {}};
  for (size_t i = 0; i < feed.base_train.windows.size(); i += 1 + feed.base_train.windows.size() / 256) {
    calibration.windows.push_back({feed.base_train.windows[i].data, -1});
  }
  // The name says everything that the package depends on, the worker included, so a cached one is never a wrong one.
  SKERRY_ASSIGN(const std::string worker_digest, sha256_file(program_folder() / "skerry-worker", kPackageBytesMax));
  std::string ingredients = to_toml(spec.target) + worker_digest + feed.key + learning::encode_examples(feed.base_train).substr(0, 1 << 20);
  const std::filesystem::path place = cache / (feed.key + "-" + sha256_hex(ingredients).substr(0, 16));
  const std::filesystem::path installed = place / feed.model / "1";
  if (auto package = inference::Package::open(installed, kPackageBytesMax); package.ok()) return package;

  const std::filesystem::path job = place / "job";
  std::error_code ignored;
  std::filesystem::remove_all(place, ignored);
  std::filesystem::create_directories(job, ignored);
  SKERRY_TRY(learning::write_job(job, spec, feed.base_train, feed.base_holdout, calibration, std::nullopt));
  SKERRY_ASSIGN(Finished worker, run_program("skerry-worker", {"run", job.string()}, place, milliseconds(300'000)));
  if (worker.exit.code != 0) return fail(Code::internal, "skerry-worker: {}: {}", worker.exit.text(), worker.output);
  SKERRY_ASSIGN(learning::JobResult result, learning::read_result(job, kPackageBytesMax));
  return inference::install_package(result.package, place, kPackageBytesMax);
}

}  // namespace skerry::e2e
