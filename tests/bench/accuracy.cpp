#include "tests/bench/accuracy.h"

#include <algorithm>
#include <cstdlib>

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

// Judged on several sets, the job is the same each time: equal seeds give equal models.
struct Judged {
  double before = 0, after = 0, seconds = 0, delta_bytes = 0;
};

Result<Judged> finetune(const AccuracyOptions& options, const inference::Package& base, const std::string& name,
                        const learning::ExampleSet& own, const learning::ExampleSet& judged) {
  learning::JobSpec spec;
  spec.target = base.info;
  spec.target.version = base.info.version + 1;
  spec.target.parent = base.info.version;
  spec.seed = options.seed;
  std::filesystem::path job = options.scratch / name;
  SKERRY_TRY(learning::write_job(job, spec, own, judged, {own.channels, own.rows, {}}, base));
  SKERRY_ASSIGN(learning::JobResult result, node::run_job_folder(job, options.worker));
  const learning::GateInputs& gate = result.report.gate;
  std::error_code ignored;
  std::filesystem::remove_all(job, ignored);
  return Judged{percent(gate.holdout.parent_correct, gate.holdout.examples), percent(gate.holdout.candidate_correct, gate.holdout.examples),
                result.report.seconds, static_cast<double>(result.report.delta_bytes)};
}

node::FitOptions fit_options(const AccuracyOptions& options) {
  node::FitOptions fit;
  fit.model = "har";
  fit.models = options.scratch / "models";
  fit.worker = options.worker;
  fit.recordings.path = options.data;
  fit.recordings.stream = "motion";
  fit.seed = options.seed;
  // 5 % cost the other people a point and the link five times the bytes, for 0.1 points of the owner's.
  fit.training.sparsity = 0.01;
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
  out.base_seconds = fitted.report.seconds;
  say(fmt::format("base on {} windows of unseen people: int8 {:.2f} %, fp32 {:.2f} %", gate.holdout.examples, out.base_int8, out.base_fp32));

  Data data;
  SKERRY_ASSIGN(data.recordings, node::read_labelled(fit.recordings));
  data.window = base.info.window;
  data.labels = base.info.labels;
  std::vector<std::string> users = options.unseen;
  if (users.size() > options.personalised_max) users.resize(options.personalised_max);
  double n = static_cast<double>(users.size());
  for (const std::string& user : users) {
    auto is_own = [&](const Index& index) { return index.at("subject") == user; };
    SKERRY_ASSIGN(learning::ExampleSet own, data.windows([&](const Index& i) { return is_own(i) && !short_trial(i); }));
    SKERRY_ASSIGN(learning::ExampleSet own_short, data.windows([&](const Index& i) { return is_own(i) && short_trial(i); }));
    SKERRY_ASSIGN(learning::ExampleSet others,
                  data.windows([&](const Index& i) { return unseen(i) && !is_own(i) && short_trial(i); }));
    SKERRY_ASSIGN(Judged mine, finetune(options, base, "own-" + user, own, own_short));
    SKERRY_ASSIGN(Judged theirs, finetune(options, base, "others-" + user, own, others));
    say(fmt::format("user {}: own {:.2f} -> {:.2f} %, others {:.2f} -> {:.2f} %", user, mine.before, mine.after, theirs.before,
                    theirs.after));
    out.own_before += mine.before / n;
    out.own_after += mine.after / n;
    out.others_before += theirs.before / n;
    out.others_after += theirs.after / n;
    out.finetune_seconds += mine.seconds / n;
    out.delta_bytes += mine.delta_bytes / n;
  }
  return out;
}

}  // namespace skerry::bench
