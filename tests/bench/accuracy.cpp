#include "tests/bench/accuracy.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "inference/engine.h"
#include "inference/windows.h"
#include "node/fit/fit.h"

namespace skerry::bench {
namespace {

using Index = std::map<std::string, std::string>;

double percent(uint32_t correct, uint32_t of) { return of == 0 ? 0 : 100.0 * correct / of; }

struct Data {
  std::vector<plugins::Recording> recordings;
  inference::WindowSpec window;
  std::vector<std::string> labels;

  Result<learning::ExampleSet> windows(const node::Chooses& chosen) const {
    return node::windows_of(recordings, window, labels, chosen);
  }
};

// What the int8 artefacts of two versions answer, as a node would.
class Judge {
 public:
  explicit Judge(const std::filesystem::path& models) : models_(models) {
    inference::Options options;
    options.models = models;
    engine_ = std::make_unique<inference::Engine>(options, inference::make_plan_runtime(inference::make_torch_runtime({})), system_clock());
  }
  Result<double> accuracy(const std::filesystem::path& package, const learning::ExampleSet& windows) {
    SKERRY_ASSIGN(const inference::Package installed, inference::install_package(package, models_, learning::kPackageBytesMax));
    const inference::PackageInfo& info = installed.info;
    SKERRY_TRY(engine_->load(info.name, info.version));
    uint32_t right = 0;
    for (const learning::LabelledWindow& window : windows.windows) {
      SKERRY_ASSIGN(inference::Answer answer, engine_->infer(info.name, info.version, {inference::make_input(info.window, {&window.data})}));
      const std::vector<float> scores = answer.outputs.front().floats();
      right += std::max_element(scores.begin(), scores.end()) - scores.begin() == window.label;
    }
    return percent(right, static_cast<uint32_t>(windows.windows.size()));
  }

 private:
  const std::filesystem::path models_;
  std::unique_ptr<inference::Engine> engine_;
};

Result<learning::JobResult> finetune(const AccuracyOptions& options, const inference::Package& base, uint32_t version, const learning::ExampleSet& own) {
  learning::JobSpec spec;
  spec.target = base.info;
  spec.target.version = version;
  spec.target.parent = base.info.version;
  spec.seed = options.seed;
  const std::filesystem::path job = options.scratch / fmt::format("job-{}", version);
  SKERRY_TRY(learning::write_job(job, spec, own, {own.channels, own.rows, {}}, {own.channels, own.rows, {}}, base));
  return node::run_job_folder(job, options.worker);
}

node::FitOptions fit_options(const AccuracyOptions& options) {
  node::FitOptions fit;
  fit.model = "har";
  fit.models = options.scratch / "models";
  fit.worker = options.worker;
  fit.recordings.path = options.data;
  fit.recordings.stream = "motion";
  fit.seed = options.seed;
  fit.training = options.training;
  fit.epochs = options.epochs;
  for (const std::string& user : options.unseen) fit.exclude["subject"] += (fit.exclude["subject"].empty() ? "" : ",") + user;
  fit.progress = options.progress;
  return fit;
}

}  // namespace

Result<BaseAccuracy> measure_base_accuracy(const AccuracyOptions& options) {
  SKERRY_ASSIGN(node::Fitted fitted, node::fit(fit_options(options)));
  const learning::GateInputs& gate = fitted.report.gate;
  return BaseAccuracy{percent(gate.holdout.candidate_correct, gate.holdout.examples),
                      percent(fitted.report.candidate_fp32_holdout_correct, gate.holdout.examples)};
}

Result<Accuracy> measure_accuracy(const AccuracyOptions& options) {
  auto say = [&](const std::string& line) {
    if (options.progress) options.progress(line);
  };
  auto unseen = [&](const Index& index) {
    return std::find(options.unseen.begin(), options.unseen.end(), index.at("subject")) != options.unseen.end();
  };
  auto short_trial = [](const Index& index) { return std::atoi(index.at("trial").c_str()) >= 11; };

  const node::FitOptions fit = fit_options(options);
  SKERRY_ASSIGN(node::Fitted fitted, node::fit(fit));
  SKERRY_ASSIGN(inference::Package base, inference::Package::open(fitted.package, learning::kPackageBytesMax));

  Accuracy out;
  const learning::GateInputs& gate = fitted.report.gate;
  out.base_int8 = percent(gate.holdout.candidate_correct, gate.holdout.examples);
  out.base_fp32 = percent(fitted.report.candidate_fp32_holdout_correct, gate.holdout.examples);
  out.parameters = fitted.report.parameters;
  out.base_seconds = fitted.report.seconds;
  say(fmt::format("base on {} windows of unseen people: int8 {:.2f} %, fp32 {:.2f} %", gate.holdout.examples, out.base_int8, out.base_fp32));

  Data data;
  SKERRY_ASSIGN(data.recordings, node::read_labelled(fit.recordings));
  data.window = base.info.window;
  data.labels = base.info.labels;
  std::vector<std::string> users = options.unseen;
  if (users.size() > options.personalised_max) users.resize(options.personalised_max);
  double n = static_cast<double>(users.size());
  Judge judge(options.scratch / "judged");
  uint32_t version = base.info.version + 1;
  for (const std::string& user : users) {
    auto is_own = [&](const Index& index) { return index.at("subject") == user; };
    SKERRY_ASSIGN(learning::ExampleSet own, data.windows([&](const Index& i) { return is_own(i) && !short_trial(i); }));
    SKERRY_ASSIGN(learning::ExampleSet own_short, data.windows([&](const Index& i) { return is_own(i) && short_trial(i); }));
    SKERRY_ASSIGN(learning::ExampleSet others,
                  data.windows([&](const Index& i) { return unseen(i) && !is_own(i) && short_trial(i); }));
    SKERRY_ASSIGN(const learning::JobResult tuned, finetune(options, base, version++, own));
    SKERRY_ASSIGN(const double own_before, judge.accuracy(base.folder, own_short));
    SKERRY_ASSIGN(const double own_after, judge.accuracy(tuned.package, own_short));
    SKERRY_ASSIGN(const double others_before, judge.accuracy(base.folder, others));
    SKERRY_ASSIGN(const double others_after, judge.accuracy(tuned.package, others));
    say(fmt::format("user {}: own {:.2f} -> {:.2f} %, others {:.2f} -> {:.2f} %, {} of {} labels contradicted, {} doubted", user, own_before, own_after,
                    others_before, others_after, tuned.report.gate.labels.contradicted, tuned.report.gate.labels.labels, tuned.report.gate.labels.doubted));
    out.own_before += own_before / n;
    out.own_after += own_after / n;
    out.others_before += others_before / n;
    out.others_after += others_after / n;
    out.peak_memory_bytes = std::max(out.peak_memory_bytes, tuned.report.peak_memory_bytes);
    out.finetune_seconds += tuned.report.seconds / n;
    out.delta_bytes += static_cast<double>(tuned.report.delta_bytes) / n;
  }
  return out;
}

}  // namespace skerry::bench
