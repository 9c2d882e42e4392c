#include "learning/worker/refine_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "inference/features.h"
#include "inference/package.h"
#include "inference/plan/executor.h"
#include "learning/job.h"
#include "learning/worker/plan_artefact.h"
#include "learning/worker/refine.h"

namespace skerry::learning::worker {
namespace {

namespace fs = std::filesystem;
using inference::Package;
using inference::PackageInfo;

constexpr const char* kModelFile = "model.pt";
constexpr size_t kCalibrationMax = 512;
constexpr int kLatencyRounds = 300;

struct Command {
  fs::path source, student, output, train, holdout;
  uint32_t version = 0;  // 0: the next
  PruneSpec prune;
  RefineSpec refine;
  uint64_t seed = 1;
  bool json = false;
};

// ---- what a package is worth

struct Judged {
  std::string name;
  double accuracy = 0, accuracy_fp32 = 0;  // percent of the holdout: the plan that serves, the model in fp32
  uint64_t parameters = 0, not_zero = 0, model_bytes = 0, plan_bytes = 0;
  int64_t multiplies = 0;  // of one window
  double us = 0;           // median of one window, one thread, here
};

struct Data {
  ExampleSet train, holdout;  // normalised
};

Result<double> median_us(const inference::plan::Executor& executor, const ExampleSet& windows) {
  std::vector<float> scores(static_cast<size_t>(executor.output_elements(0)));
  std::vector<double> us;
  for (int i = 0; i < kLatencyRounds; ++i) {
    const float* from[] = {windows.windows[static_cast<size_t>(i) % windows.windows.size()].data.data()};
    float* to[] = {scores.data()};
    const auto start = std::chrono::steady_clock::now();
    SKERRY_TRY(executor.run(1, from, to));
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(us.begin(), us.begin() + kLatencyRounds / 2, us.end());
  return us[kLatencyRounds / 2];
}

double percent(const Evaluation& evaluation, const ExampleSet& of) {
  return 100.0 * evaluation.correct / static_cast<double>(std::max<size_t>(of.windows.size(), 1));
}

// Compiles the model in `folder`, writes its plan there and judges both.
Result<Judged> judge(const std::string& name, const fs::path& folder, const Data& data) {
  Judged out{name};
  SKERRY_ASSIGN(const std::string model, read_file(folder / kModelFile, kPackageBytesMax));
  ExampleSet calibration{data.train.channels, data.train.rows, {}};
  const size_t count = std::min(kCalibrationMax, data.train.windows.size());
  for (size_t i = 0; i < count; ++i) calibration.windows.push_back(data.train.windows[i * data.train.windows.size() / count]);
  SKERRY_ASSIGN(inference::compile::Compiled compiled, compile_model(model, calibration));
  const std::string plan = inference::plan::encode(compiled.plan);
  SKERRY_TRY(write_file_atomic(folder / inference::kPlanFile, plan));
  SKERRY_ASSIGN(Evaluation served, evaluate(folder / inference::kPlanFile, host_engine(), data.holdout));
  SKERRY_ASSIGN(Evaluation real, evaluate(folder / kModelFile, host_engine(), data.holdout));
  out.accuracy = percent(served, data.holdout);
  out.accuracy_fp32 = percent(real, data.holdout);
  SKERRY_ASSIGN(Size size, size_of(folder / kModelFile));
  out.parameters = size.parameters;
  out.not_zero = size.not_zero;
  out.model_bytes = model.size();
  out.plan_bytes = plan.size();
  out.multiplies = inference::plan::multiplies(compiled.plan);
  SKERRY_ASSIGN(auto executor, inference::plan::Executor::make(std::move(compiled.plan)));
  SKERRY_ASSIGN(out.us, median_us(*executor, data.holdout));
  return out;
}

std::string as_json(const std::vector<Judged>& rows, const Command& command, const Pruned& pruned) {
  nlohmann::ordered_json out = {{"package", command.output.string()}};
  if (pruned.channels_before > 0) {
    out["channels"] = {{"before", pruned.channels_before}, {"after", pruned.channels_after}};
    if (!pruned.kept.empty()) out["channels"]["kept_whole"] = pruned.kept;
  }
  for (const Judged& row : rows) {
    out[row.name] = {{"accuracy_percent", row.accuracy},     {"accuracy_fp32_percent", row.accuracy_fp32}, {"parameters", row.parameters},
                     {"parameters_not_zero", row.not_zero},  {"model_bytes", row.model_bytes},             {"plan_bytes", row.plan_bytes},
                     {"multiplications", row.multiplies},    {"latency_us", row.us}};
  }
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string as_text(const std::vector<Judged>& rows, const Command& command, const Pruned& pruned) {
  std::string out = fmt::format("{:<10} {:>9} {:>9} {:>11} {:>11} {:>11} {:>11} {:>12} {:>9}\n", "", "int8 %", "fp32 %", "parameters", "not zero", "model bytes",
                                "plan bytes", "multiplies", "us");
  for (const Judged& row : rows) {
    out += fmt::format("{:<10} {:>9.2f} {:>9.2f} {:>11} {:>11} {:>11} {:>11} {:>12} {:>9.1f}\n", row.name, row.accuracy, row.accuracy_fp32, row.parameters,
                       row.not_zero, row.model_bytes, row.plan_bytes, row.multiplies, row.us);
  }
  if (pruned.channels_before > 0) out += fmt::format("channels between layers: {} of {} are left\n", pruned.channels_after, pruned.channels_before);
  if (!pruned.kept.empty()) out += fmt::format("kept whole, because their weights are computed or shared: {}\n", pruned.kept);
  return out + fmt::format("{}: a package; import it with skerry models import\n", command.output.string());
}

// ---- what is read

Status check(const ExampleSet& set, const fs::path& file, const PackageInfo& info, bool needs_labels) {
  if (set.windows.empty()) return fail(Code::invalid, "{} has no windows", file.string());
  if (set.channels != info.window.fields.size() || set.rows != info.window.rows) {
    return fail(Code::invalid, "{} has windows of {} x {}, the package wants {} x {}", file.string(), set.channels, set.rows, info.window.fields.size(),
                info.window.rows);
  }
  for (size_t i = 0; i < set.windows.size(); ++i) {
    const int32_t label = set.windows[i].label;
    if (label >= static_cast<int32_t>(info.labels.size()) || label < -1 || (needs_labels && label < 0)) {
      return fail(Code::invalid, "{}: window {} has label {}, the package has {} classes", file.string(), i, label, info.labels.size());
    }
  }
  return {};
}

Result<ExampleSet> windows_of(const fs::path& file, const PackageInfo& info, bool needs_labels) {
  SKERRY_ASSIGN(ExampleSet set, read_examples(file));
  SKERRY_TRY(check(set, file, info, needs_labels));
  for (LabelledWindow& w : set.windows) {
    w.data = inference::model_input(info.window, w.data.data(), 1);
    if (!std::all_of(w.data.begin(), w.data.end(), [](float v) { return std::isfinite(v); })) {
      return fail(Code::invalid, "{} has NaN or infinity: leave such windows out", file.string());
    }
  }
  const auto [channels, rows] = inference::input_shape(info.window);
  set.channels = static_cast<uint32_t>(channels);
  set.rows = static_cast<uint32_t>(rows);
  return set;
}

Result<Data> read_data(const Command& command, const Package& package) {
  fs::path train = command.train;
  std::error_code ignored;
  if (train.empty()) {
    train = package.file(kReferenceFile);
    if (!fs::exists(train, ignored)) return fail(Code::invalid, "the package has no {}: name windows to train on with --train", kReferenceFile);
  }
  Data data;
  SKERRY_ASSIGN(data.train, windows_of(train, package.info, false));
  SKERRY_ASSIGN(data.holdout, windows_of(command.holdout, package.info, true));
  return data;
}

// A folder beside the result, gone at the end.
class Workshop {
 public:
  static Result<Workshop> open(const fs::path& output) {
    std::error_code error;
    if (fs::exists(output, error)) return fail(Code::invalid, "{} is there already: name another --output", output.string());
    Workshop out(output.string() + fmt::format(".tmp-{}", ::getpid()));
    for (const char* part : {"before", "after", "other"}) fs::create_directories(out.folder_ / part, error);
    if (error) return fail(Code::unavailable, "cannot make {}: {}", out.folder_.string(), error.message());
    return out;
  }
  Workshop(Workshop&& from) noexcept : folder_(std::exchange(from.folder_, {})) {}
  ~Workshop() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  fs::path operator/(const char* part) const { return folder_ / part; }

 private:
  explicit Workshop(fs::path folder) : folder_(std::move(folder)) {}
  fs::path folder_;
};

Result<std::string> refined(const Command& command, const PackageInfo& info, const Data& data, const fs::path& student, const fs::path& teacher,
                            const fs::path& checkpoint) {
  TrainInputs inputs;
  inputs.spec.target = info;
  inputs.spec.seed = command.seed;
  inputs.train = data.train;
  inputs.checkpoint = checkpoint;
  inputs.progress = [](const Progress&) {};
  return refine(inputs, student, teacher, command.refine);
}

// The folder `made` has model.pt and plan.bin; the rest comes from the package it was made of.
Status publish(const Command& command, const Package& from, const std::string& note, const fs::path& made) {
  PackageInfo info = from.info;
  info.version = command.version > 0 ? command.version : from.info.version + 1;
  info.parent = 0;  // no delta leads from one to the other
  info.int8_file = inference::kPlanFile;
  info.no_plan.clear();
  info.note = note;
  std::error_code ignored;
  if (fs::exists(from.file(kReferenceFile), ignored)) {
    SKERRY_ASSIGN(const std::string reference, read_file(from.file(kReferenceFile), kPackageBytesMax));
    SKERRY_TRY(write_file_atomic(made / kReferenceFile, reference));
  }
  SKERRY_TRY(inference::seal_package(made, info));
  return publish_folder(made, command.output);
}

Status copy_model(const Package& from, const fs::path& folder) {
  SKERRY_ASSIGN(const std::string model, read_file(from.file(kModelFile), kPackageBytesMax));
  return write_file_atomic(folder / kModelFile, model);
}

std::string report_of(const std::vector<Judged>& rows, const Command& command, const Pruned& pruned) {
  return command.json ? as_json(rows, command, pruned) : as_text(rows, command, pruned);
}

Result<std::string> run_prune(const Command& command) {
  set_threads(1);
  SKERRY_ASSIGN(Package package, Package::open(command.source, kPackageBytesMax));
  SKERRY_ASSIGN(Workshop workshop, Workshop::open(command.output));
  SKERRY_ASSIGN(Data data, read_data(command, package));
  SKERRY_TRY(copy_model(package, workshop / "before"));
  SKERRY_ASSIGN(Judged before, judge("before", workshop / "before", data));
  SKERRY_ASSIGN(Pruned pruned, prune(workshop / "before" / kModelFile, data.train.channels, data.train.rows, command.prune));
  SKERRY_TRY(write_file_atomic(workshop / "after" / kModelFile, pruned.model));
  std::vector<Judged> rows = {before};
  SKERRY_ASSIGN(Judged untrained, judge("pruned", workshop / "after", data));
  rows.push_back(untrained);
  if (command.refine.epochs > 0) {
    SKERRY_ASSIGN(std::string model, refined(command, package.info, data, workshop / "after" / kModelFile, workshop / "before" / kModelFile,
                                             workshop / "other" / "checkpoint.pt"));
    SKERRY_TRY(write_file_atomic(workshop / "after" / kModelFile, model));
  }
  SKERRY_ASSIGN(Judged after, judge("after", workshop / "after", data));
  rows.push_back(after);
  const std::string note = fmt::format("pruned from version {}: {:.0f} % of the channels, {:.0f} % of the weights", package.info.version,
                                       100 * command.prune.channels, 100 * command.prune.weights);
  SKERRY_TRY(publish(command, package, note, workshop / "after"));
  return report_of(rows, command, pruned);
}

Result<std::string> run_distill(const Command& command) {
  set_threads(1);
  SKERRY_ASSIGN(Package teacher, Package::open(command.source, kPackageBytesMax));
  SKERRY_ASSIGN(Package student, Package::open(command.student, kPackageBytesMax));
  if (teacher.info.labels != student.info.labels) return fail(Code::invalid, "teacher and student do not know the same classes in the same order");
  SKERRY_ASSIGN(Workshop workshop, Workshop::open(command.output));
  // Both see windows as the student's package normalises them; a teacher with another normalisation would see others than it learned.
  const bool alike = teacher.info.window.fields == student.info.window.fields && teacher.info.window.rows == student.info.window.rows &&
                     teacher.info.window.mean == student.info.window.mean && teacher.info.window.deviation == student.info.window.deviation &&
                     teacher.info.window.features == student.info.window.features;
  if (!alike) return fail(Code::invalid, "teacher and student see different windows: give the student the teacher's [window] and its normalisation");
  SKERRY_ASSIGN(Data data, read_data(command, teacher));
  SKERRY_TRY(copy_model(teacher, workshop / "other"));
  SKERRY_TRY(copy_model(student, workshop / "before"));
  SKERRY_ASSIGN(Judged taught_by, judge("teacher", workshop / "other", data));
  SKERRY_ASSIGN(Judged before, judge("before", workshop / "before", data));
  SKERRY_ASSIGN(std::string model, refined(command, student.info, data, workshop / "before" / kModelFile, workshop / "other" / kModelFile,
                                           workshop / "other" / "checkpoint.pt"));
  SKERRY_TRY(write_file_atomic(workshop / "after" / kModelFile, model));
  SKERRY_ASSIGN(Judged after, judge("after", workshop / "after", data));
  SKERRY_TRY(publish(command, student, fmt::format("distilled from {}/{}", teacher.info.name, teacher.info.version), workshop / "after"));
  return report_of({taught_by, before, after}, command, {});
}

// ---- words

void shared_words(CLI::App& app, Command& command) {
  app.add_option("--output", command.output, "folder of the new package; it must not be there yet")->required();
  app.add_option("--holdout", command.holdout, "labelled windows that nothing was trained on (NAME.examples, as in a job): what is judged on")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--train", command.train, "windows to train on; those without a label count by the teacher's answer alone. The package's own "
                                           "reference.examples by default")
      ->check(CLI::ExistingFile);
  app.add_option("--epochs", command.refine.epochs, "passes over the training windows")->capture_default_str()->check(CLI::Range(0, 10'000));
  app.add_option("--learning-rate", command.refine.learning_rate, "of Adam")->capture_default_str()->check(CLI::Range(1e-7, 1.0));
  app.add_option("--temperature", command.refine.temperature, "softens the answers that are learned from: higher shows more of the other classes")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 100.0));
  app.add_option("--label-weight", command.refine.label_weight, "of the labels beside those answers, 0 to 1")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app.add_option("--version", command.version, "of the new package; the next one by default")->check(CLI::Range(1u, inference::kVersionMax));
  app.add_option("--seed", command.seed, "the same seed and data give the same model")->capture_default_str();
  app.add_flag("--json", command.json, "the report as JSON");
}

// Help as text; nothing: the words are understood.
Result<std::string> parsed(CLI::App& app, const std::vector<std::string>& words) {
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
  try {
    app.parse(std::move(reversed));
    return std::string{};
  } catch (const CLI::CallForHelp&) {
    return app.help();
  } catch (const CLI::Error& error) {
    return fail(Code::invalid, "{}; --help explains", std::string(error.what()).substr(0, 300));
  }
}

}  // namespace

Result<std::string> prune_command(const std::vector<std::string>& words) {
  Command command;
  CLI::App app{"Makes a package smaller by taking out what contributes least, and trains the rest until it answers as before.\n", "skerry-worker prune"};
  app.add_option("PACKAGE", command.source, "the package folder: NAME/VERSION")->required()->check(CLI::ExistingDirectory);
  auto* channels = app.add_option("--channels", command.prune.channels,
                                  "share of the channels between layers that goes, 0 to 0.95. They disappear: tensors, plan and time of an answer shrink");
  auto* weights = app.add_option("--weights", command.prune.weights,
                                 "share of the weights of each layer that becomes zero, 0 to 0.99. Shapes and time stay: the package compresses better");
  channels->check(CLI::Range(0.0, 0.95));
  weights->check(CLI::Range(0.0, 0.99));
  shared_words(app, command);
  app.footer(R"(Channels go by the L1 norm of the filters that make them, in multiples of four; those that a residual adds to each other go together.
What a grouped convolution, a concatenation or a flattening sees stays whole. Then the model is trained against the answers of the
model it was made of. Accuracy, bytes and time of an answer are shown before, right after pruning and at the end.

  skerry-worker prune models/har/3 --channels 0.5 --holdout unseen.examples --output har-small
  skerry models import har-small)");
  SKERRY_ASSIGN(std::string help, parsed(app, words));
  if (!help.empty()) return help;
  if (command.prune.channels == 0 && command.prune.weights == 0) return fail(Code::invalid, "say what goes: --channels 0.5, or --weights 0.5; --help explains");
  return run_prune(command);
}

Result<std::string> distill_command(const std::vector<std::string>& words) {
  Command command;
  command.refine.keep_zeros = false;
  CLI::App app{"Teaches a small model to answer as a large one does (Hinton et al. 2015).\n", "skerry-worker distill"};
  app.add_option("TEACHER", command.source, "package whose answers are learned")->required()->check(CLI::ExistingDirectory);
  app.add_option("STUDENT", command.student, "package whose model learns: its code and its weights are where it starts")->required()->check(CLI::ExistingDirectory);
  shared_words(app, command);
  app.footer(R"(Both must know the same classes and see the same windows. Windows without a label help too: the teacher answers them. The result is
the student's package with new weights; accuracy, bytes and time of an answer are shown of the teacher, and of the student before and
after.

  skerry-worker distill models/har/3 small/1 --train all.examples --holdout unseen.examples --output small-taught)");
  SKERRY_ASSIGN(std::string help, parsed(app, words));
  return help.empty() ? run_distill(command) : Result<std::string>(help);
}

}  // namespace skerry::learning::worker
