#include "learning/worker/run.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/random.h"
#include "inference/features.h"
#include "learning/job.h"
#include "learning/worker/plan_artefact.h"
#include "learning/worker/quantize.h"
#include "learning/worker/train.h"

namespace skerry::learning::worker {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelFile = "model.pt";
constexpr size_t kCalibrationMax = 512;

// The pinned exemplars are shared: most are replayed in training, every fourth is kept for the gate, so that it asks about windows
// that the candidate was not trained on just now.
constexpr size_t kReferenceJudgedEvery = 4;

struct Job {
  fs::path folder;
  JobSpec spec;
  ExampleSet train, holdout, calibration;
  ExampleSet replay, judged;        // finetune: from the parent's exemplars. fit: judged are the exemplars themselves
};

Status check_shape(const ExampleSet& set, const JobSpec& spec, const char* file) {
  if (set.windows.empty()) return {};
  if (set.channels != spec.target.window.fields.size() || set.rows != spec.target.window.rows) {
    return fail(Code::invalid, "{} has windows of {} x {}, the target wants {} x {}", file, set.channels, set.rows,
                spec.target.window.fields.size(), spec.target.window.rows);
  }
  return {};
}

Status check_labels(const ExampleSet& set, const JobSpec& spec, const char* file) {
  for (size_t i = 0; i < set.windows.size(); ++i) {
    int32_t label = set.windows[i].label;
    if (label < 0 || static_cast<size_t>(label) >= spec.target.labels.size()) {
      return fail(Code::invalid, "{}: window {} has label {}, the target has {} classes", file, i, label, spec.target.labels.size());
    }
  }
  return {};
}

void measure(const ExampleSet& set, inference::WindowSpec& window) {
  window.mean.assign(set.channels, 0);
  window.deviation.assign(set.channels, 1);
  double count = static_cast<double>(set.windows.size()) * set.rows;
  for (uint32_t c = 0; c < set.channels; ++c) {
    double sum = 0, squares = 0;
    for (const LabelledWindow& w : set.windows) {
      for (uint32_t r = 0; r < set.rows; ++r) sum += w.data[c * set.rows + r];
    }
    double mean = sum / count;
    for (const LabelledWindow& w : set.windows) {
      for (uint32_t r = 0; r < set.rows; ++r) {
        double off = w.data[c * set.rows + r] - mean;
        squares += off * off;
      }
    }
    double deviation = std::sqrt(squares / count);
    window.mean[c] = static_cast<float>(mean);
    window.deviation[c] = deviation > 1e-12 ? static_cast<float>(deviation) : 1.0f;  // a constant channel stays as it is
  }
}

void normalise(ExampleSet& set, const inference::WindowSpec& window) {
  for (LabelledWindow& w : set.windows) w.data = inference::model_input(window, w.data.data(), 1);
  const auto [channels, rows] = inference::input_shape(window);
  set.channels = static_cast<uint32_t>(channels);
  set.rows = static_cast<uint32_t>(rows);
}

// Exemplars with as equal a number per class as there are, drawn by the job's seed.
ExampleSet draw_exemplars(const ExampleSet& from, uint32_t count, uint64_t seed) {
  std::map<int32_t, std::vector<size_t>> by_class;
  for (size_t i = 0; i < from.windows.size(); ++i) by_class[from.windows[i].label].push_back(i);
  Random random(seed ^ 0x5eedULL);
  for (auto& [label, rows] : by_class) std::shuffle(rows.begin(), rows.end(), random);
  ExampleSet out{from.channels, from.rows, {}};
  for (size_t round = 0; out.windows.size() < std::min<size_t>(count, from.windows.size()); ++round) {
    for (const auto& [label, rows] : by_class) {
      if (round < rows.size() && out.windows.size() < count) out.windows.push_back(from.windows[rows[round]]);
    }
  }
  return out;
}

Result<Job> read_inputs(const fs::path& folder) {
  Job job;
  job.folder = folder;
  SKERRY_ASSIGN(job.spec, read_job(folder));
  SKERRY_ASSIGN(job.train, read_examples(folder / kTrainFile));
  SKERRY_ASSIGN(job.holdout, read_examples(folder / kHoldoutFile));
  SKERRY_ASSIGN(job.calibration, read_examples(folder / kCalibrationFile));
  if (job.train.windows.empty()) return fail(Code::invalid, "{} has no windows to train on", kTrainFile);
  SKERRY_TRY(check_shape(job.train, job.spec, kTrainFile));
  SKERRY_TRY(check_shape(job.holdout, job.spec, kHoldoutFile));
  SKERRY_TRY(check_shape(job.calibration, job.spec, kCalibrationFile));
  SKERRY_TRY(check_labels(job.train, job.spec, kTrainFile));
  SKERRY_TRY(check_labels(job.holdout, job.spec, kHoldoutFile));
  return job;
}

Status read_reference(Job& job, const inference::Package& parent, fs::path& reference_file) {
  std::error_code error;
  reference_file = parent.file(kReferenceFile);
  if (!fs::exists(reference_file, error)) return {};
  SKERRY_ASSIGN(ExampleSet reference, read_examples(reference_file));
  SKERRY_TRY(check_shape(reference, job.spec, kReferenceFile));
  SKERRY_TRY(check_labels(reference, job.spec, kReferenceFile));
  job.replay = job.judged = ExampleSet{reference.channels, reference.rows, {}};
  for (size_t i = 0; i < reference.windows.size(); ++i) {
    ExampleSet& set = i % kReferenceJudgedEvery == kReferenceJudgedEvery - 1 ? job.judged : job.replay;
    set.windows.push_back(std::move(reference.windows[i]));
  }
  return {};
}

Result<Delta> read_residual(const fs::path& file) {
  Result<std::string> bytes = read_file(file, kPackageBytesMax);
  if (bytes.ok()) return decode_delta(*bytes);
  if (bytes.error().code == Code::not_found) return Delta{};
  return bytes.error();
}

// The node's own recent windows first, then what else is known, spread evenly.
ExampleSet calibration_windows(const Job& job) {
  ExampleSet out{job.train.channels, job.train.rows, {}};
  auto add = [&](const ExampleSet& from, size_t up_to) {
    size_t room = up_to > out.windows.size() ? up_to - out.windows.size() : 0;
    size_t count = std::min(room, from.windows.size());
    for (size_t i = 0; i < count; ++i) out.windows.push_back(from.windows[i * from.windows.size() / count]);
  };
  add(job.calibration, kCalibrationMax / 2);
  add(job.train, job.replay.windows.empty() ? kCalibrationMax : kCalibrationMax * 3 / 4);
  add(job.replay, kCalibrationMax);
  return out;
}

uint64_t peak_memory_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

Status write_progress(const fs::path& folder, const Progress& progress) {
  nlohmann::ordered_json json = {{"phase", progress.phase}, {"epoch", progress.epoch}, {"epochs", progress.epochs},
                                 {"loss", progress.loss}};
  return write_file_atomic(folder / "progress.json", json.dump() + "\n");
}

struct Judged {
  Evaluation holdout, reference;
};

Result<Judged> judge(const Job& job, const fs::path& model, const std::string& engine) {
  Judged out;
  SKERRY_ASSIGN(out.holdout, evaluate(model, engine, job.holdout));
  SKERRY_ASSIGN(out.reference, evaluate(model, engine, job.judged));
  return out;
}

// Two versions on the same windows. Of the next `overlap` - 1 windows after one that tells them apart, those that say the same count once.
// Doubted labels are no evidence; the parent contradicts them, so what the candidate loses is all counted.
Paired paired(const ExampleSet& set, const std::vector<Verdict>& verdicts, const Evaluation& parent, const Evaluation& candidate, size_t overlap) {
  Paired out;
  size_t gained_until = 0, lost_until = 0;
  for (size_t i = 0; i < set.windows.size(); ++i) {
    if (i < verdicts.size() && verdicts[i] == Verdict::doubted) continue;
    ++out.examples;
    const bool before = parent.answers[i] == set.windows[i].label, after = candidate.answers[i] == set.windows[i].label;
    out.parent_correct += before;
    out.candidate_correct += after;
    if (before == after) continue;
    ++(after ? out.gained : out.lost);
    size_t& until = after ? gained_until : lost_until;
    if (i < until) continue;
    ++(after ? out.gained_apart : out.lost_apart);
    until = i + overlap;
  }
  return out;
}

Status run(Job& job) {
  auto started = std::chrono::steady_clock::now();
  const JobSpec& spec = job.spec;
  inference::PackageInfo target = spec.target;
  fs::path staging = job.folder / "result.tmp", package = staging / "package";
  std::error_code error;
  fs::remove_all(staging, error);
  fs::create_directories(package, error);
  if (error) return fail(Code::unavailable, "cannot make {}: {}", package.string(), error.message());
  set_threads(spec.threads);

  std::optional<inference::Package> parent;
  std::string reference_bytes;
  if (spec.kind == JobKind::finetune) {
    SKERRY_ASSIGN(parent, inference::Package::open(job.folder / "parent", kPackageBytesMax));
    if (parent->info.labels != target.labels) return fail(Code::invalid, "the target's classes are not the parent's");
    target.window.mean = parent->info.window.mean;
    target.window.deviation = parent->info.window.deviation;
    fs::path reference_file;
    SKERRY_TRY(read_reference(job, *parent, reference_file));
    if (!job.replay.windows.empty()) {
      SKERRY_ASSIGN(reference_bytes, read_file(reference_file, kPackageBytesMax));
    }
  } else {
    measure(job.train, target.window);
    job.judged = draw_exemplars(job.train, spec.reference_examples, spec.seed);
    if (!job.judged.windows.empty()) reference_bytes = encode_examples(job.judged);
  }
  if (!reference_bytes.empty()) SKERRY_TRY(write_file_atomic(package / kReferenceFile, reference_bytes));
  for (ExampleSet* set : {&job.train, &job.holdout, &job.calibration, &job.replay, &job.judged}) normalise(*set, target.window);

  TrainInputs inputs;
  inputs.spec = spec;
  inputs.spec.target = target;
  inputs.train = job.train;
  inputs.holdout = job.holdout;
  inputs.reference = job.replay;
  inputs.parent_model = job.folder / "parent" / kModelFile;
  inputs.checkpoint = job.folder / "checkpoint.pt";
  inputs.verdicts = job.folder / "labels.json";
  SKERRY_ASSIGN(inputs.residual, read_residual(job.folder / kResidualFile));
  // Progress is for people: a full disk must not end the training here, the checkpoint will say it.
  inputs.progress = [&](const Progress& progress) { (void)write_progress(job.folder, progress); };
  SKERRY_ASSIGN(Trained trained, spec.kind == JobKind::fit ? fit_cnn1d(inputs) : finetune(inputs));

  target.engine = host_engine();
  (void)write_progress(job.folder, {"quantize", 0, 0, 0});
  SKERRY_ASSIGN(Artefact int8, int8_artefact(trained.model, calibration_windows(job), target.engine));
  target.int8_file = int8.file;
  target.no_plan = int8.no_plan;
  SKERRY_TRY(write_file_atomic(package / kModelFile, trained.model));
  SKERRY_TRY(write_file_atomic(package / target.int8_file, int8.bytes));
  SKERRY_TRY(inference::seal_package(package, target));

  (void)write_progress(job.folder, {"judge", 0, 0, 0});
  JobReport report;
  SKERRY_ASSIGN(Judged candidate, judge(job, package / target.int8_file, target.engine));
  SKERRY_ASSIGN(Evaluation fp32, evaluate(package / kModelFile, target.engine, job.holdout));
  // A window shares its records with the ones after it, which are evidence of the same.
  const size_t overlap = (target.window.rows + target.window.stride - 1) / target.window.stride;
  report.gate.holdout = paired(job.holdout, {}, candidate.holdout, candidate.holdout, overlap);
  report.gate.reference = paired(job.judged, {}, candidate.reference, candidate.reference, 1);
  report.gate.finite = candidate.holdout.finite && candidate.reference.finite;
  report.candidate_fp32_holdout_correct = fp32.correct;
  if (parent) {
    SKERRY_ASSIGN(Judged before, judge(job, parent->file(parent->info.int8_file), parent->info.engine));
    report.gate.holdout = paired(job.holdout, trained.verdicts.holdout, before.holdout, candidate.holdout, overlap);
    report.gate.reference = paired(job.judged, {}, before.reference, candidate.reference, 1);  // drawn one by one: none overlap
    report.gate.labels = count(trained.verdicts);
    trained.delta.model = target.name;
    trained.delta.base_version = parent->info.version;
    trained.delta.version = target.version;
    trained.delta.base_digest = parent->digest;
    std::string bytes = encode_delta(trained.delta);
    report.delta_bytes = bytes.size();
    SKERRY_TRY(write_file_atomic(staging / "delta.bin", bytes));
    trained.residual.model = target.name;
    trained.residual.base_version = trained.residual.version = target.version;
    if (!trained.residual.tensors.empty()) SKERRY_TRY(write_file_atomic(staging / kResidualFile, encode_delta(trained.residual)));
  }
  report.parameters = trained.parameters;
  report.changed_parameters = trained.changed_parameters;
  report.epochs = trained.epochs;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  report.peak_memory_bytes = peak_memory_bytes();
  SKERRY_TRY(write_file_atomic(staging / "report.json", to_json(report)));
  SKERRY_TRY(publish_folder(staging, job.folder / "result"));
  (void)write_progress(job.folder, {"done", 0, 0, 0});
  fs::remove(inputs.checkpoint, error);
  return {};
}

}  // namespace

Status run_job(const fs::path& folder) {
  SKERRY_ASSIGN(Job job, read_inputs(folder));
  std::error_code error;
  if (fs::exists(folder / "result", error)) return {};
  return run(job);
}

Result<std::string> check_job(const fs::path& folder) {
  SKERRY_ASSIGN(JobResult result, read_result(folder, kPackageBytesMax));
  if (result.delta.empty()) return fail(Code::invalid, "{} has no delta: it was a fit", folder.string());
  SKERRY_ASSIGN(Delta delta, decode_delta(result.delta));
  SKERRY_ASSIGN(inference::Package parent, inference::Package::open(folder / "parent", kPackageBytesMax));
  if (parent.digest != delta.base_digest) return fail(Code::corrupt, "the delta is of another parent than {}", parent.folder.string());
  SKERRY_ASSIGN(std::vector<NamedTensor> base, read_parameters(parent.file(kModelFile)));
  SKERRY_ASSIGN(std::vector<NamedTensor> candidate, read_parameters(result.package / kModelFile));
  for (const TensorDelta& tensor : delta.tensors) {
    auto found = std::find_if(base.begin(), base.end(), [&](const NamedTensor& t) { return t.name == tensor.name; });
    if (found == base.end()) return fail(Code::corrupt, "the delta changes {}, which the parent does not have", tensor.name);
    SKERRY_TRY(apply_delta(tensor, found->values));
  }
  if (base.size() != candidate.size()) return fail(Code::corrupt, "parent and candidate have different parameters");
  uint64_t values = 0;
  for (size_t i = 0; i < base.size(); ++i) {
    if (base[i].name != candidate[i].name || base[i].values.size() != candidate[i].values.size() ||
        std::memcmp(base[i].values.data(), candidate[i].values.data(), base[i].values.size() * sizeof(float)) != 0) {
      return fail(Code::corrupt, "{}: parent + delta is not the candidate", candidate[i].name);
    }
    values += base[i].values.size();
  }
  return fmt::format("parent {}/{} + delta = {}/{}: {} parameters in {} tensors are equal bit for bit", delta.model,
                     delta.base_version, delta.model, delta.version, values, base.size());
}

}  // namespace skerry::learning::worker
