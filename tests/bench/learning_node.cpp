#include "tests/bench/learning_node.h"

#include <dirent.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/file.h"
#include "learning/worker_process.h"
#include "tests/e2e/support/process.h"
#include "tests/e2e/support/records.h"

namespace skerry::bench {
namespace {

using namespace std::chrono_literals;

constexpr size_t kRowsPerWrite = 2000;

class NoUplink final : public sync::Uplink {
 public:
  Result<sync::HelloReply> hello(const sync::Hello&) override { return fail(Code::unavailable, "there is no network here"); }
  uint64_t begin(uint64_t, sync::Batch, sync::Lane) override { return 0; }  // never: a HELLO comes first
  std::vector<sync::Answer> answers(Duration) override { return {}; }
  std::vector<sync::Answer> give_up() override { return {}; }
  sync::Traffic traffic() const override { return {}; }
};

class Load final : public learning::LoadProbe {
 public:
  explicit Load(const std::atomic<bool>* busy) : busy_(busy) {}
  learning::LoadSample sample(double) override { return {.cpu_others = busy_ != nullptr && *busy_ ? 1.0 : 0.0}; }

 private:
  const std::atomic<bool>* busy_;
};

}  // namespace

Result<std::unique_ptr<LearningNode>> LearningNode::open(const inference::Package& base, const std::filesystem::path& folder,
                                                         Duration holdout_stretch, const std::atomic<bool>* busy) {
  std::unique_ptr<LearningNode> out(new LearningNode(base));
  config::Config config;
  config.node.name = "bench";
  config.node.data_dir = folder;
  config.storage.path = folder / "store";
  config.inference.models = folder / "models";
  config.learning.jobs = folder / "jobs";
  config.learning.idle_for = 1s;
  config.learning.job_time_max = 1000h;  // the worker takes real seconds, in which hours pass here
  config.learning.holdout_stretch = holdout_stretch;
  config.sync.enabled = false;
  SKERRY_TRY(inference::install_package(base.folder, config.inference.models, learning::kPackageBytesMax));
  node::Seams seams;
  seams.clock = &out->clock_;
  seams.uplink = std::make_unique<NoUplink>();
  seams.worker = learning::make_worker_launcher(e2e::program_folder() / "skerry-worker", learning::WorkerPriority::foreground);
  seams.probe = std::make_unique<Load>(busy);
  seams.seed = 1;
  SKERRY_ASSIGN(out->node_, node::Node::open(config, std::move(seams)));
  return out;
}

Status LearningNode::ingest(const e2e::Piece& piece) {
  for (size_t from = 0; from < piece.records.rows(); from += kRowsPerWrite) {
    SKERRY_TRY(node_->ingest({e2e::slice(piece.records, from, std::min(from + kRowsPerWrite, piece.records.rows()))}));
  }
  clock_.advance(Duration(piece.to_ns() - piece.from_ns()));
  while (node_->step_pipelines() == Duration::zero()) {
  }
  return {};
}

Status LearningNode::label(const e2e::Piece& piece) {
  learning::LabelRequest request;
  request.model = base_.info.name;
  request.series = piece.records.series.text();
  request.range = {piece.from_ns(), piece.to_ns()};
  request.label = piece.label;
  SKERRY_TRY(node_->label(request));
  return {};
}

Status LearningNode::label_each(const e2e::Piece& piece, const Says& says) {
  SKERRY_ASSIGN(auto answers, node_->store().predictions(base_.info.name, piece.records.series.text(), {piece.from_ns(), piece.to_ns()}, 100'000));
  for (const storage::Prediction& answer : answers) {
    learning::LabelRequest request;
    request.prediction = number(answer.id);
    request.label = says(piece.label);
    SKERRY_TRY(node_->label(request));
  }
  return {};
}

Result<std::string> LearningNode::learn() {
  const std::string& model = base_.info.name;
  node_->learner().train_now(model);
  const uint64_t before = node_->learner().status().jobs_ended;
  auto ended = [&] {
    const learning::LearnerStatus status = node_->learner().status();
    return status.jobs_ended > before &&
           std::all_of(status.trials.begin(), status.trials.end(), [](const learning::TrialStatus& trial) { return trial.stage == "probation"; });
  };
  const auto limit = std::chrono::steady_clock::now() + 10min;
  while (!ended()) {
    if (std::chrono::steady_clock::now() > limit) return fail(Code::unavailable, "no job ended: {}", node_->learner().status().why);
    clock_.advance(node_->step_learning());
    if (node_->learner().status().state.starts_with("training")) std::this_thread::sleep_for(5ms);
  }
  const auto newest = node_->models().decisions().newest(model, 1);
  return newest.empty() ? std::string() : fmt::format("{}/{} {} {}: {}", model, newest[0].version, newest[0].step, newest[0].outcome, newest[0].reason);
}

Status LearningNode::let_learn() {
  const auto limit = std::chrono::steady_clock::now() + 10min;
  for (int quiet = 0; quiet < 4; ++quiet) {  // idle_for passes between the first look and the last
    step_learning();
    while (!node_->learner().status().state.starts_with("waiting")) {
      if (std::chrono::steady_clock::now() > limit) return fail(Code::unavailable, "no job ended: {}", node_->learner().status().why);
      step_learning();
      std::this_thread::sleep_for(5ms);
    }
  }
  return {};
}

Duration LearningNode::step_learning() {
  const Duration next = node_->step_learning();
  clock_.advance(next);
  return next;
}

uint32_t LearningNode::serving() const { return node_->engine().serving(base_.info.name).value_or(0); }

Result<double> LearningNode::accuracy(const learning::ExampleSet& windows, std::optional<uint32_t> version) {
  if (version) SKERRY_TRY(node_->engine().load(base_.info.name, *version));
  size_t right = 0;
  for (const learning::LabelledWindow& window : windows.windows) {
    SKERRY_ASSIGN(inference::Answer answer, node_->engine().infer(base_.info.name, version, {inference::make_input(base_.info.window, {&window.data})}));
    const std::vector<float> scores = answer.outputs.front().floats();
    right += std::max_element(scores.begin(), scores.end()) - scores.begin() == window.label;
  }
  return windows.windows.empty() ? 0 : 100.0 * static_cast<double>(right) / static_cast<double>(windows.windows.size());
}

std::optional<Child> child_of(pid_t parent) {
  std::optional<Child> found;
  DIR* proc = ::opendir("/proc");
  while (const dirent* entry = proc == nullptr ? nullptr : ::readdir(proc)) {
    Result<std::string> stat = read_file(std::string("/proc/") + entry->d_name + "/stat", 4096);
    char state = 0;
    int of = 0;
    const size_t name_ends = stat.ok() ? stat->rfind(')') : std::string::npos;
    if (name_ends == std::string::npos || std::sscanf(stat->c_str() + name_ends + 1, " %c %d", &state, &of) != 2) continue;
    if (of == parent) found = Child{static_cast<pid_t>(std::atoi(entry->d_name)), state == 'T'};
  }
  if (proc != nullptr) ::closedir(proc);
  return found;
}

double folder_mb(const std::filesystem::path& folder) {
  double bytes = 0;
  std::error_code ignored;
  for (std::filesystem::recursive_directory_iterator it(folder, ignored), end; it != end; it.increment(ignored)) {
    if (it->is_regular_file(ignored)) bytes += static_cast<double>(it->file_size(ignored));
  }
  return bytes / 1e6;
}

Result<inference::Package> without_gate(const inference::Package& base, const std::filesystem::path& folder) {
  std::filesystem::copy(base.folder, folder, std::filesystem::copy_options::recursive);
  inference::PackageInfo info = base.info;
  info.gate.examples_min = 1;
  info.gate.gain_min = -1;
  info.gate.reference_loss_max = 1;
  info.gate.unexplained_max = 1;
  info.rollout.shadow_agreement_min = 0;
  info.rollout.rollback_loss = 1;
  info.training.epochs = 1;
  SKERRY_TRY(inference::seal_package(folder, info));
  return inference::Package::open(folder, learning::kPackageBytesMax);
}

}  // namespace skerry::bench
