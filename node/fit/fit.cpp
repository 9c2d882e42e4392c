#include "node/fit/fit.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "learning/worker_process.h"

namespace skerry::node {
namespace {

namespace fs = std::filesystem;

constexpr auto kPollInterval = std::chrono::milliseconds(50);
constexpr uint64_t kProgressBytesMax = 4096;

// The worker's progress is a line of JSON.
std::string progress_text(const std::string& line) {
  auto progress = nlohmann::json::parse(line, nullptr, false);
  if (!progress.is_object() || !progress.contains("phase")) return line;
  const std::string phase = progress.value("phase", "");
  const int epochs = progress.value("epochs", 0);
  if (epochs == 0) return phase == "quantize" ? "quantizing to int8" : phase == "judge" ? "judging" : phase;
  return fmt::format("{}: epoch {} of {}, loss {:.3f}", phase, progress.value("epoch", 0), epochs, progress.value("loss", 0.0));
}

bool names_value(const std::string& comma_list, const std::string& value) {
  for (size_t at = 0; at <= comma_list.size();) {
    size_t end = std::min(comma_list.find(',', at), comma_list.size());
    if (comma_list.substr(at, end - at) == value) return true;
    at = end + 1;
  }
  return false;
}

bool excluded(const FitOptions& options, const std::map<std::string, std::string>& index) {
  return std::any_of(options.exclude.begin(), options.exclude.end(), [&](const auto& rule) {
    auto cell = index.find(rule.first);
    return cell != index.end() && names_value(rule.second, cell->second);
  });
}

}  // namespace

Result<learning::JobResult> run_job_folder(const fs::path& folder, const fs::path& worker,
                                           const std::function<void(const std::string& line)>& progress) {
  auto launcher = learning::make_worker_launcher(worker, learning::WorkerPriority::foreground);
  SKERRY_TRY(launcher->start(folder));
  std::string last;
  while (true) {
    if (std::optional<learning::WorkerExit> exit = launcher->poll()) {
      if (!exit->ok) return fail(Code::internal, "{}: {}", folder.string(), exit->reason);
      return learning::read_result(folder, learning::kPackageBytesMax);
    }
    if (progress) {
      Result<std::string> line = read_file(folder / "progress.json", kProgressBytesMax);
      if (line.ok() && *line != last) {
        last = *line;
        progress(progress_text(last));
      }
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

Result<Fitted> fit(const FitOptions& options) {
  auto say = [&](const std::string& line) {
    if (options.progress) options.progress(line);
  };
  bool recorded = !options.recordings.path.empty();
  say(recorded ? fmt::format("reading {}", options.recordings.path.string())
               : fmt::format("simulating {} pumps", options.pumps.machines));
  SKERRY_ASSIGN(std::vector<plugins::Recording> recordings,
                recorded ? read_labelled(options.recordings) : simulate_fleet(options.pumps));

  learning::JobSpec spec;
  spec.kind = learning::JobKind::fit;
  spec.seed = options.seed;
  spec.full_epochs = options.epochs;
  spec.full_learning_rate = options.learning_rate;
  spec.threads = options.threads;
  spec.target.name = options.model;
  spec.target.version = options.version;
  spec.target.architecture = "cnn1d";
  spec.target.engine = "onednn";  // the worker writes the one it used
  spec.target.labels = labels_of(recordings);
  spec.target.training = options.training;
  SKERRY_ASSIGN(spec.target.window, window_spec_of(recordings, options.rows, options.stride));
  SKERRY_ASSIGN(learning::ExampleSet train, windows_of(recordings, spec.target.window, spec.target.labels,
                                                       [&](const auto& index) { return !excluded(options, index); }));
  SKERRY_ASSIGN(learning::ExampleSet holdout, windows_of(recordings, spec.target.window, spec.target.labels,
                                                         [&](const auto& index) { return excluded(options, index); }));
  if (train.windows.empty()) return fail(Code::invalid, "no window of {} records is left to train on", options.rows);
  spec.target.note = fmt::format("base model, fitted on {} windows of {}", train.windows.size(),
                                 recorded ? options.recordings.path.filename().string()
                                          : fmt::format("{} simulated pumps", options.pumps.machines));
  fs::path job = options.job;
  std::error_code error;
  if (job.empty()) {
    job = options.models;
    job += fmt::format(".fit-{}-{}", options.model, options.version);
    fs::remove_all(job, error);  // of an earlier try
  }
  say(fmt::format("training on {} windows", train.windows.size()));
  SKERRY_TRY(learning::write_job(job, spec, train, holdout, {train.channels, train.rows, {}}, std::nullopt));
  Fitted fitted;
  fitted.train_windows = train.windows.size();
  SKERRY_ASSIGN(learning::JobResult result, run_job_folder(job, options.worker, options.progress));
  fitted.report = result.report;
  SKERRY_ASSIGN(inference::Package package, inference::install_package(result.package, options.models, learning::kPackageBytesMax));
  fitted.package = package.folder;
  if (options.job.empty()) fs::remove_all(job, error);
  return fitted;
}

Result<fs::path> fit_base(const FitOptions& options) {
  SKERRY_ASSIGN(Fitted fitted, fit(options));
  return fitted.package;
}

}  // namespace skerry::node
