#include "learning/learner.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/units.h"
#include "inference/pipeline.h"
#include "learning/delta.h"
#include "learning/gate.h"
#include "learning/internal/hash.h"
#include "learning/job.h"
#include "learning/provenance.h"
#include "learning/repeat.h"
#include "learning/trials.h"

namespace skerry::learning {
namespace {

namespace fs = std::filesystem;
using storage::Example;
using storage::ModelState;
using storage::ModelVersion;

constexpr Duration kPollInterval = std::chrono::milliseconds(50);  // of a running worker: it is paused within twice this
constexpr Duration kTrialsInterval = std::chrono::milliseconds(200);
constexpr Duration kPausedMax = std::chrono::minutes(10);          // then a paused worker gives its memory back; its checkpoint stays
constexpr uint32_t kFailuresMax = 2;
constexpr uint32_t kStartsMax = 10;  // without an orderly pause: a job that takes the device down is not tried for ever
constexpr size_t kExamplesMax = 1'000'000;
constexpr size_t kCalibrationMax = 256;
constexpr const char* kJobNote = "learner/job";

std::string watermark_note(const std::string& model) { return "learner/" + model + "/last_example"; }

// The one job under way, as the store remembers it over restarts.
struct ActiveJob {
  std::string model;
  uint32_t version = 0, parent = 0;
  std::string folder;
  uint64_t last_example = 0;  // becomes the watermark when the job is over, whatever its outcome
  uint32_t failures = 0, starts = 0;
  std::string name() const { return fmt::format("{}/{}", model, version); }
};

std::string encode_job(const ActiveJob& job) {
  return nlohmann::json{{"model", job.model},
                        {"version", job.version},
                        {"parent", job.parent},
                        {"folder", job.folder},
                        {"last_example", job.last_example},
                        {"failures", job.failures},
                        {"starts", job.starts}}
      .dump();
}

std::optional<ActiveJob> decode_job(const std::string& text) {
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    ActiveJob job;
    job.model = json.at("model");
    job.version = json.at("version");
    job.parent = json.at("parent");
    job.folder = json.at("folder");
    job.last_example = json.at("last_example");
    job.failures = json.at("failures");
    job.starts = json.at("starts");
    return job;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

ExampleSet example_set(const inference::WindowSpec& window) {
  return {static_cast<uint32_t>(window.fields.size()), window.rows, {}};
}

// Only examples that fit the model as it is now: an earlier version may have had another window.
bool fits(const Example& example, const inference::PackageInfo& info) {
  return example.channels == info.window.fields.size() &&
         example.data.size() == static_cast<size_t>(example.channels) * info.window.rows && example.label >= 0 &&
         static_cast<size_t>(example.label) < info.labels.size();
}

}  // namespace

struct Learner::Impl {
  storage::Store& store;
  inference::Engine& engine;
  Models& models;
  const Options options;
  std::unique_ptr<WorkerLauncher> worker;
  std::unique_ptr<LoadProbe> probe;
  const Clock& clock;

  Trials trials{store, engine, models, clock};
  std::optional<ActiveJob> job;
  bool running = false;
  bool paused = false;             // the running worker is stopped where it is
  Duration worked{};               // of the running worker, pauses left out
  SteadyTime looked{}, paused_since{}, trials_looked{};
  TriggerState trigger;
  bool recovered = false;
  uint64_t last_requests = 0;
  SteadyTime last_sampled{};

  mutable std::mutex mutex;  // guards the three below
  LearnerStatus status;
  std::set<std::string> asked;
  std::map<std::string, uint32_t> repeats;  // versions whose jobs shall be repeated, by model

  void say(const std::string& state, const std::string& why) {
    std::lock_guard lock(mutex);
    if (status.why != why && !why.empty()) log::debug("learning", "{}", why);
    status.state = state;
    status.why = why;
  }
  void count(uint64_t LearnerStatus::*counter) {
    std::lock_guard lock(mutex);
    ++(status.*counter);
  }

  std::string trial_text(const std::string& model) const {
    for (const TrialStatus& trial : trials.status()) {
      if (trial.model == model) return fmt::format("{}/{} is {}: {}", model, trial.version, trial.stage, trial.why);
    }
    return {};
  }

  LoadSample sample_load() {
    uint64_t requests = 0;
    for (const auto& loaded : engine.loaded()) {
      requests += engine.statistics(loaded->package.info.name, loaded->package.info.version).requests;
    }
    SteadyTime now = clock.steady();
    double seconds = std::chrono::duration<double>(now - last_sampled).count();
    // An unloaded version takes its count along: no rate is negative.
    double rate = last_sampled.time_since_epoch().count() > 0 && seconds > 0 && requests > last_requests
                      ? static_cast<double>(requests - last_requests) / seconds
                      : 0;
    last_requests = requests;
    last_sampled = now;
    return probe->sample(rate);
  }

  Status remember(storage::Effect effect = {}) {
    effect.notes.emplace_back(kJobNote, job ? encode_job(*job) : "");
    return store.commit(effect).ok() ? Status() : Status(fail(Code::unavailable, "the store refuses the job's note"));
  }

  // What lies behind when a job is over: the note goes, and its examples are not new any more.
  storage::Effect closing() const {
    storage::Effect effect;
    effect.notes.emplace_back(kJobNote, "");
    effect.notes.emplace_back(watermark_note(job->model), std::to_string(job->last_example));
    return effect;
  }

  ModelVersion candidate_record() const {
    ModelVersion record;
    record.model = job->model;
    record.version = job->version;
    record.parent = job->parent;
    record.job = job->folder;
    record.created_ns = clock.now_ns();
    return record;
  }

  void recover() {
    recovered = true;
    Result<std::optional<std::string>> note = store.note(kJobNote);
    if (!note.ok() || !note->has_value()) return;
    job = decode_job(**note);
    if (!job) return;
    Result<JobSpec> spec = read_job(job->folder);
    if (!spec.ok()) {
      log::warn("learning", "the unfinished job {} is given up: {}", job->name(), spec.error().message);
      job.reset();
      (void)remember();
    }
  }

  Result<uint64_t> watermark(const std::string& model) {
    SKERRY_ASSIGN(std::optional<std::string> note, store.note(watermark_note(model)));
    if (!note) return uint64_t{0};
    try {
      return static_cast<uint64_t>(std::stoull(*note));
    } catch (const std::exception&) {
      return uint64_t{0};
    }
  }

  // Counted from the last training, else from when the serving version came.
  bool calendar_due(const inference::PackageInfo& info) {
    if (info.training.every <= Duration::zero()) return false;
    int64_t last_ns = 0;
    for (const ModelVersion& v : store.versions(info.name).value_or({})) {
      last_ns = std::max(last_ns, v.job.empty() && v.version != info.version ? 0 : v.created_ns);
    }
    return clock.now_ns() - last_ns >= info.training.every.count();
  }

  Status count_examples(const std::string& model, TriggerInputs& inputs) {
    SKERRY_ASSIGN(const uint64_t seen, watermark(model));
    SKERRY_ASSIGN(const storage::ExampleCounts all, store.example_counts(model, storage::ExampleId::none));
    SKERRY_ASSIGN(const storage::ExampleCounts fresh, store.example_counts(model, storage::ExampleId{seen}));
    inputs.holdout_examples = all.holdout;
    inputs.new_examples = fresh.train;
    return {};
  }

  // --- one step of each kind

  Duration step_running() {
    if (std::optional<WorkerExit> exit = worker->poll()) {
      running = paused = false;
      exit->ok ? take_result() : failed(exit->reason);
      return kPollInterval;
    }
    const SteadyTime now = clock.steady();
    if (!paused) worked += now - looked;
    looked = now;
    if (worked > options.job_time_max) {
      stop_and_fail(fmt::format("took longer than {}", format_duration(options.job_time_max)));
      return kPollInterval;
    }
    if (uint64_t bytes = worker->memory_bytes(); bytes > options.job_memory_bytes_max) {
      stop_and_fail(fmt::format("used {} of memory, allowed are {}", format_bytes(bytes), format_bytes(options.job_memory_bytes_max)));
      return kPollInterval;
    }
    TriggerInputs inputs;
    inputs.load = sample_load();
    inputs.job_running = true;
    TriggerDecision decision = decide_training(options, inputs, trigger, now);
    if (decision.pause && !paused) {
      worker->pause();
      paused_since = now;
    }
    if (!decision.pause && paused) worker->resume();
    paused = decision.pause;
    say((paused ? "paused " : "training ") + job->name(), decision.reason);
    if (paused && now - paused_since > kPausedMax) {
      worker->kill();
      running = paused = false;
      if (job->starts > 0) --job->starts;  // an orderly pause says nothing against the job
      (void)remember();
    }
    return kPollInterval;
  }

  void stop_and_fail(const std::string& reason) {
    worker->kill();
    running = paused = false;
    failed(reason);
  }

  Duration step_paused() {
    // A result that was there before the last crash only needs to be taken.
    std::error_code error;
    if (fs::exists(fs::path(job->folder) / "result", error)) {
      take_result();
      return kPollInterval;
    }
    TriggerInputs inputs;
    inputs.load = sample_load();
    inputs.job_paused = true;
    TriggerDecision decision = decide_training(options, inputs, trigger, clock.steady());
    say("paused " + job->name(), decision.reason);
    if (decision.start) start_worker(decision.reason);
    return running ? kPollInterval : std::min(options.check_interval, Duration(std::chrono::seconds(1)));
  }

  Duration step_waiting() {
    LoadSample load = sample_load();
    std::string why = "no model serves";
    for (const auto& loaded : engine.loaded()) {
      const inference::PackageInfo& info = loaded->package.info;
      if (engine.serving(info.name) != info.version) continue;
      if (trials.under_way(info.name)) {
        why = trial_text(info.name);
        continue;
      }
      TriggerInputs inputs;
      Status counted = count_examples(info.name, inputs);
      if (!counted.ok()) {
        why = counted.error().message;
        continue;
      }
      inputs.load = load;
      inputs.drift = trials.watch().watched(info.name).drift;
      inputs.calendar_due = calendar_due(info);
      inputs.labels_min = info.training.labels_min;
      inputs.holdout_min = info.gate.examples_min;
      {
        std::lock_guard lock(mutex);
        inputs.asked_by_hand = asked.count(info.name) + repeats.count(info.name) > 0;
      }
      TriggerDecision decision = decide_training(options, inputs, trigger, clock.steady());
      why = info.name + ": " + decision.reason;
      if (const std::string trial = trial_text(info.name); !trial.empty()) why += "; " + trial;
      if (!decision.start) continue;
      const std::optional<uint32_t> repeated = take_repeat(info.name);
      Status status = repeated ? repeat(*loaded, *repeated) : begin(*loaded);
      if (!status.ok()) {
        why = info.name + ": " + status.error().message;
        log::warn("learning", "{}: no job: {}", info.name, status.error().message);
        continue;
      }
      start_worker(why);
      return kPollInterval;
    }
    say("waiting", why);
    return options.check_interval;
  }

  // --- a job's life

  ExampleSet calibration_windows(const inference::PackageInfo& info) {
    ExampleSet out = example_set(info.window);
    Result<std::vector<storage::Prediction>> recent = store.predictions(info.name, "", {}, kCalibrationMax * 8);
    if (!recent.ok() || recent->empty()) return out;
    size_t step = std::max<size_t>(1, recent->size() / kCalibrationMax);
    for (size_t i = 0; i < recent->size() && out.windows.size() < kCalibrationMax; i += step) {
      const storage::Prediction& prediction = (*recent)[i];
      if (prediction.series.empty()) continue;
      Result<std::vector<float>> data = inference::read_window(store, info.window, prediction.series, prediction.window);
      if (data.ok() && data->size() == static_cast<size_t>(out.channels) * out.rows) out.windows.push_back({std::move(*data), -1});
    }
    return out;
  }

  ActiveJob next_job(const inference::PackageInfo& parent, uint32_t version) const {
    ActiveJob next;
    next.model = parent.name;
    next.version = version;
    next.parent = parent.version;
    next.folder = (options.jobs / fmt::format("{}-{}", parent.name, version)).string();
    return next;
  }

  Status begin(const inference::LoadedModel& parent) {
    const inference::PackageInfo& info = parent.package.info;
    SKERRY_ASSIGN(std::vector<Example> examples, store.examples(info.name, kExamplesMax));
    SKERRY_ASSIGN(uint32_t version, models.next_version(info.name));
    ActiveJob next = next_job(info, version);
    // In the order in which they were answered, so that neighbours are neighbours, and the ids say which window is which.
    std::sort(examples.begin(), examples.end(), [](const Example& a, const Example& b) { return number(a.prediction) < number(b.prediction); });
    ExampleSet train = example_set(info.window), holdout = example_set(info.window);
    std::vector<uint64_t> train_ids, holdout_ids;
    for (Example& example : examples) {
      next.last_example = std::max(next.last_example, number(example.id));
      if (!fits(example, info)) continue;
      const bool is_train = example.role == storage::ExampleRole::train;
      (is_train ? train : holdout).windows.push_back({std::move(example.data), example.label});
      (is_train ? train_ids : holdout_ids).push_back(number(example.prediction));
    }
    if (train.windows.empty()) return fail(Code::unavailable, "no training examples yet");

    JobSpec spec;
    spec.target = info;
    spec.target.version = version;
    spec.target.parent = info.version;
    spec.target.note = fmt::format("fine-tuned on this node from {}/{} on {} labelled windows", info.name, info.version, train.windows.size());
    spec.seed = stable_hash(info.name, version);
    SKERRY_ASSIGN(const std::string residual, trials.deltas().residual(info.name, info.version));
    return write(next, {std::move(spec), std::move(train), std::move(holdout), calibration_windows(info), std::move(train_ids), std::move(holdout_ids),
                        parent.package, residual, 0});
  }

  Status repeat(const inference::LoadedModel& parent, uint32_t version) {
    const inference::PackageInfo& info = parent.package.info;
    SKERRY_ASSIGN(RepeatedJob repeated, repeat_of(info.name, version));
    SKERRY_ASSIGN(const uint32_t number, models.next_version(info.name));
    ActiveJob next = next_job(info, number);
    SKERRY_ASSIGN(next.last_example, watermark(info.name));  // what came since is still new
    repeated.spec.target.version = number;
    repeated.spec.target.note = fmt::format("{}/{} again, without {} labels that were withdrawn or changed", info.name, version, repeated.left_out);
    return write(next, std::move(repeated));
  }

  Result<RepeatedJob> repeat_of(const std::string& model, uint32_t version) const {
    SKERRY_ASSIGN(RepeatedJob repeated, repeat_without_withdrawn(store, model, version));
    const uint32_t parent = repeated.parent.info.version;
    if (engine.serving(model) == parent) return repeated;
    return fail(Code::invalid, "{0}/{1} was made from {0}/{2}, which does not serve: `skerry models promote {0} {2}` first", model, version, parent);
  }

  std::optional<uint32_t> take_repeat(const std::string& model) {
    std::lock_guard lock(mutex);
    const auto asked_for = repeats.find(model);
    if (asked_for == repeats.end()) return std::nullopt;
    const uint32_t version = asked_for->second;
    repeats.erase(asked_for);
    return version;
  }

  static Status write_files(const fs::path& folder, const RepeatedJob& contents) {
    SKERRY_TRY(write_job(folder, contents.spec, contents.train, contents.holdout, contents.calibration, contents.parent, contents.residual));
    SKERRY_TRY(write_file_atomic(folder / kTrainIdsFile, encode_ids(contents.train_ids)));
    return write_file_atomic(folder / kHoldoutIdsFile, encode_ids(contents.holdout_ids));
  }

  Status write(const ActiveJob& next, RepeatedJob contents) {
    prune(contents.parent.folder.parent_path());
    std::error_code error;
    fs::remove_all(next.folder, error);  // a half-written one of a start that was not remembered
    if (Status written = write_files(next.folder, contents); !written.ok()) {
      fs::remove_all(next.folder, error);  // a full disk is not kept full
      return written;
    }
    job = next;
    storage::Effect provenance;
    contents.train_ids.insert(contents.train_ids.end(), contents.holdout_ids.begin(), contents.holdout_ids.end());
    keep_provenance(provenance, next.model, next.version, std::move(contents.train_ids));
    Status remembered = remember(std::move(provenance));
    if (!remembered.ok()) job.reset();
    return remembered;
  }

  void start_worker(const std::string& reason) {
    ++job->starts;
    if (job->starts > kStartsMax) {
      give_up("it was started too often without coming to an end");
      return;
    }
    (void)remember();
    Status status = worker->start(job->folder);
    if (!status.ok()) {
      failed(status.error().message);
      return;
    }
    running = true;
    paused = false;
    worked = {};
    looked = clock.steady();
    (void)models.decisions().write({0, job->model, job->version, "train", "started", reason});
    if (Status seen = trials.watch().trained(job->model); !seen.ok()) log::warn("learning", "{}", seen.error().message);
    {
      std::lock_guard lock(mutex);
      asked.erase(job->model);
    }
    count(&LearnerStatus::jobs_started);
    say("training " + job->name(), reason);
    log::info("learning", "training {}: {}", job->name(), reason);
  }

  void failed(const std::string& reason) {
    ++job->failures;
    log::warn("learning", "{} failed ({} of {}): {}", job->name(), job->failures, kFailuresMax, reason);
    if (job->failures >= kFailuresMax) {
      give_up(reason);
      return;
    }
    (void)remember();
    say("paused " + job->name(), fmt::format("failed once and will be tried again: {}", reason));
  }

  void give_up(const std::string& reason) {
    count(&LearnerStatus::jobs_failed);
    reject(fmt::format("its job failed: {}", reason));
  }

  void reject(const std::string& reason) {
    storage::Effect effect = closing();
    effect.versions.push_back(candidate_record());
    std::string name = job->name();
    Status status = models.reject(job->model, job->version, reason, std::move(effect));
    if (!status.ok()) {  // the store refuses just now: the job stays, and is decided again at the next step
      say("paused " + name, status.error().message);
      return;
    }
    over();
    say("waiting", fmt::format("{} rejected: {}", name, reason));
  }

  void take_result() {
    Result<JobResult> result = read_result(job->folder, engine.options().package_bytes_max);
    if (!result.ok()) {
      std::error_code error;
      fs::remove_all(fs::path(job->folder) / "result", error);
      failed("its result can't be used: " + result.error().message);
      return;
    }
    Result<inference::Package> package = inference::Package::open(result->package, engine.options().package_bytes_max);
    if (!package.ok() || package->info.name != job->model || package->info.version != job->version) {
      failed("its result is of another model or version");
      return;
    }
    const JobReport& report = result->report;
    GateDecision decision = decide_gate(package->info.gate, report.gate);
    if (engine.serving(job->model) != job->parent) {
      decision = {false, false, fmt::format("its parent {}/{} no longer serves", job->model, job->parent)};
    }
    ModelVersion record = candidate_record();
    record.digest = package->digest;
    if (report.gate.holdout.examples > 0) record.holdout_accuracy = report.gate.holdout.candidate();
    const Judged judged{decision, report.gate.holdout};
    if (!decision.pass && !(decision.unproven && package->info.rollout.probation_labels > 0)) return turn_down(record, decision.reason);
    if (!trials.has_room_for(job->model, judged)) return turn_down(record, decision.reason + "; the one on probation has more evidence");
    try_out(*result, record, judged);
  }

  void turn_down(const ModelVersion& record, const std::string& reason) {
    storage::Effect effect = closing();
    effect.versions.push_back(record);
    std::string name = job->name();
    models.decisions().add(effect, {0, job->model, job->version, "gate", "refused", reason});
    Status status = models.reject(job->model, job->version, reason, std::move(effect));
    if (!status.ok()) {
      say("paused " + name, status.error().message);
      return;
    }
    count(&LearnerStatus::rejected);
    over();
    say("waiting", fmt::format("{} rejected: {}", name, reason));
  }

  void try_out(const JobResult& result, const ModelVersion& record, const Judged& judged) {
    std::string name = job->name();
    Result<inference::Package> installed =
        inference::install_package(result.package, engine.options().models, engine.options().package_bytes_max);
    if (!installed.ok()) {
      if (installed.error().code == Code::exhausted || installed.error().code == Code::unavailable) {
        say("paused " + name, installed.error().message);  // the result stays: again at the next step
        return;
      }
      failed(installed.error().message);
      return;
    }
    Status status = trials.begin(record, judged, result.delta, result.residual, closing());
    if (!status.ok()) {
      if (status.error().code == Code::exhausted || status.error().code == Code::unavailable) {
        say("paused " + name, status.error().message);
      } else {
        reject(status.error().message);
      }
      return;
    }
    over();
    say("waiting", fmt::format("{} {}: {}", name, judged.decision.pass ? "passed the gate" : "is on probation", judged.decision.reason));
  }

  void over() {
    job.reset();
    count(&LearnerStatus::jobs_ended);
  }

  // The newest finished job folders stay for people to look at, and one that is about to be repeated.
  void prune(const fs::path& spared) {
    std::vector<std::pair<fs::file_time_type, fs::path>> folders;
    std::error_code error;
    for (fs::directory_iterator it(options.jobs, error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (it->is_directory(ignored) && it->path() != spared) folders.emplace_back(fs::last_write_time(it->path(), ignored), it->path());
    }
    std::sort(folders.begin(), folders.end());
    for (size_t i = 0; i + options.jobs_kept < folders.size(); ++i) {
      std::error_code ignored;
      fs::remove_all(folders[i].second, ignored);
    }
  }

  Duration step() {
    if (!options.enabled) {
      say("disabled", "learning is switched off in the configuration");
      return options.check_interval;
    }
    if (!recovered) recover();
    if (const SteadyTime now = clock.steady(); now - trials_looked >= kTrialsInterval) {
      trials_looked = now;
      trials.step();
    }
    if (running) return step_running();
    if (job) return step_paused();
    return step_waiting();
  }
};

Learner::Learner(storage::Store& store, inference::Engine& engine, Models& models, const Options& options,
                 std::unique_ptr<WorkerLauncher> worker, std::unique_ptr<LoadProbe> probe, const Clock& clock)
    : impl_(new Impl{store, engine, models, options, std::move(worker), std::move(probe), clock}) {
  impl_->status.state = options.enabled ? "waiting" : "disabled";
}

Learner::~Learner() { impl_->worker->kill(); }

Duration Learner::step() { return impl_->step(); }

void Learner::train_now(const std::string& model) {
  std::lock_guard lock(impl_->mutex);
  impl_->asked.insert(model);
}

Result<uint32_t> Learner::retrain(const std::string& model, uint32_t version) {
  SKERRY_ASSIGN(const RepeatedJob repeated, impl_->repeat_of(model, version));
  std::lock_guard lock(impl_->mutex);
  impl_->repeats[model] = version;
  return repeated.left_out;
}

LearnerStatus Learner::status() const {
  const TrialCounts counts = impl_->trials.counts();
  std::lock_guard lock(impl_->mutex);
  LearnerStatus status = impl_->status;
  status.promoted = counts.promoted;
  status.rejected += counts.refused;
  status.rolled_back = counts.rolled_back;
  status.trials = impl_->trials.status();
  return status;
}

const Watch& Learner::watch() const { return impl_->trials.watch(); }

}  // namespace skerry::learning
