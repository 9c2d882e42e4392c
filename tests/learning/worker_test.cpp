// The real skerry-worker on a small synthetic set: three classes that differ in frequency, seen by a sensor and by a shifted one.
#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <thread>

#include "base/file.h"
#include "base/random.h"
#include "learning/job.h"
#include "tests/support/small_disk.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::test::TempDir;
namespace fs = std::filesystem;

namespace {

const fs::path kWorker = fs::path(SKERRY_BIN_DIR) / "skerry-worker";
constexpr uint32_t kChannels = 3, kRows = 32;

// A shifted sensor has another gain, and its class 0 looks a good deal like class 1 of others.
ExampleSet windows(uint32_t count, uint64_t seed, bool shifted) {
  Random random(seed);
  ExampleSet set{kChannels, kRows, {}};
  for (uint32_t i = 0; i < count; ++i) {
    int32_t label = static_cast<int32_t>(i % 3);
    double frequency = 0.15 + 0.12 * label + (shifted ? (label == 0 ? 0.10 : 0.06) : 0), phase = random.uniform(0, 6.28);
    LabelledWindow window{{}, label};
    for (uint32_t c = 0; c < kChannels; ++c) {
      for (uint32_t r = 0; r < kRows; ++r) {
        window.data.push_back(static_cast<float>((shifted ? 1.3 : 1.0) * std::sin(frequency * 3 * r + phase + c) + 0.3 * random.normal()));
      }
    }
    set.windows.push_back(std::move(window));
  }
  return set;
}

JobSpec fit_spec() {
  JobSpec spec;
  spec.kind = JobKind::fit;
  spec.target.name = "waves";
  spec.target.version = 1;
  spec.target.architecture = "cnn1d";
  spec.target.engine = "onednn";
  spec.target.labels = {"slow", "middle", "fast"};
  spec.target.window.stream = "waves";
  spec.target.window.fields = {"a", "b", "c"};
  spec.target.window.rows = kRows;
  spec.target.window.stride = kRows;
  spec.target.window.period = std::chrono::milliseconds(20);
  spec.target.window.mean = {0, 0, 0};
  spec.target.window.deviation = {1, 1, 1};
  spec.full_epochs = 6;
  spec.reference_examples = 120;
  return spec;
}

pid_t start_worker(const std::string& verb, const fs::path& job) {
  pid_t pid = ::fork();
  if (pid == 0) {
    ::execl(kWorker.c_str(), kWorker.c_str(), verb.c_str(), job.c_str(), nullptr);
    ::_exit(127);
  }
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int worker(const std::string& verb, const fs::path& job) { return wait_for(start_worker(verb, job)); }

inference::Package base_in(const TempDir& dir) {
  fs::path job = dir / "base";
  REQUIRE(write_job(job, fit_spec(), windows(600, 1, false), windows(150, 2, false), {kChannels, kRows, {}}, std::nullopt).ok());
  REQUIRE(worker("run", job) == 0);
  auto result = read_result(job, 1 << 28);
  REQUIRE(result.ok());
  const GateInputs& gate = result->report.gate;
  CHECK(gate.finite);
  CHECK(gate.holdout.candidate_correct > 140);
  CHECK(std::abs(static_cast<int>(gate.holdout.candidate_correct) - static_cast<int>(result->report.candidate_fp32_holdout_correct)) <= 3);
  auto package = inference::Package::open(result->package, 1 << 28);
  REQUIRE(package.ok());
  return *package;
}

JobSpec finetune_spec(const inference::Package& parent) {
  JobSpec spec;
  spec.target = parent.info;
  spec.target.version = 2;
  spec.target.parent = 1;
  spec.target.training.sparsity = 0.05;
  spec.target.training.learning_rate = 4e-3;  // few windows, far from the base: few steps must do
  spec.seed = 5;
  return spec;
}

void write_finetune(const fs::path& job, const inference::Package& parent) {
  REQUIRE(write_job(job, finetune_spec(parent), windows(240, 3, true), windows(150, 4, true), windows(60, 5, true), parent).ok());
}

}  // namespace

TEST_CASE("skerry-worker: fits a base, fine-tunes it for a shifted sensor, and base + delta is the candidate bit for bit") {
  TempDir dir;
  inference::Package base = base_in(dir);
  CHECK(base.info.engine != "");
  CHECK(base.info.window.deviation[0] != 1.0f);
  fs::path job = dir / "tuned";
  write_finetune(job, base);
  REQUIRE(worker("run", job) == 0);
  auto result = read_result(job, 1 << 28);
  REQUIRE(result.ok());
  const GateInputs& gate = result->report.gate;
  INFO(to_json(result->report));
  CHECK(gate.holdout.candidate_correct > gate.holdout.parent_correct);
  CHECK(gate.reference.candidate_correct + 2 >= gate.reference.parent_correct);
  CHECK(gate.reference.examples == 30);
  CHECK(result->report.changed_parameters > 0);
  CHECK(static_cast<double>(result->report.changed_parameters) <= 0.05 * static_cast<double>(result->report.parameters) + 1);
  CHECK(worker("check", job) == 0);
  CHECK(worker("run", job) == 0);  // done already: nothing to do

  // check is able to fail
  inference::PackageInfo info = inference::Package::open(job / "result/package", 1 << 28)->info;
  fs::copy_file(base.file("model.pt"), job / "result/package/model.pt", fs::copy_options::overwrite_existing);
  REQUIRE(inference::seal_package(job / "result/package", info).ok());
  CHECK(worker("check", job) == 3);

  // A loss that is no number ends the job, without a result.
  fs::path diverges = dir / "diverges";
  ExampleSet train = windows(60, 1, true);
  for (LabelledWindow& window : train.windows) window.data[0] = std::numeric_limits<float>::max();
  REQUIRE(write_job(diverges, finetune_spec(base), train, windows(30, 4, true), windows(30, 5, true), base).ok());
  CHECK(worker("run", diverges) == 7);
  CHECK_FALSE(fs::exists(diverges / "result"));
}

TEST_CASE("skerry-worker: labels that all others contradict are not learned from") {
  TempDir dir;
  const inference::Package base = base_in(dir);
  const fs::path job = dir / "mistaken";
  ExampleSet train = windows(240, 3, false);  // what the base knows well
  for (size_t i = 0; i < train.windows.size(); i += 10) train.windows[i].label = (train.windows[i].label + 1) % 3;
  REQUIRE(write_job(job, finetune_spec(base), train, windows(120, 4, false), {kChannels, kRows, {}}, base).ok());
  REQUIRE(worker("run", job) == 0);
  auto result = read_result(job, 1 << 28);
  REQUIRE(result.ok());
  const LabelCounts labels = result->report.gate.labels;
  INFO(to_json(result->report));
  CHECK(labels.labels == 360);
  CHECK(labels.doubted >= 20);
  CHECK(labels.contradicted <= 40);
  const Paired& held_out = result->report.gate.holdout;
  CHECK(held_out.examples + 5 >= 120);
  CHECK(held_out.lost <= 3);
  CHECK(fs::exists(job / "labels.json"));
}

TEST_CASE("skerry-worker: killed at several instants it goes on, to the same result") {
  TempDir dir;
  inference::Package base = base_in(dir);
  fs::path whole = dir / "whole", broken = dir / "broken";
  write_finetune(whole, base);
  write_finetune(broken, base);
  REQUIRE(worker("run", whole) == 0);
  Random random(Catch::rngSeed());
  int kills = 0;
  for (; kills < 6 && !fs::exists(broken / "result"); ++kills) {
    pid_t pid = start_worker("run", broken);
    std::this_thread::sleep_for(std::chrono::milliseconds(200 + random.below(900)));
    ::kill(pid, SIGKILL);
    wait_for(pid);
  }
  REQUIRE(worker("run", broken) == 0);
  auto first = read_result(whole, 1 << 28), second = read_result(broken, 1 << 28);
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  CHECK(first->delta == second->delta);
  CHECK(worker("check", broken) == 0);
}

TEST_CASE("skerry-worker: a bad job ends with a code and a last line that says why") {
  TempDir dir;
  CHECK(worker("run", dir / "nothing") == 2);
  CHECK(worker("dance", dir / "nothing") == 2);

  fs::path empty = dir / "empty";
  REQUIRE(write_job(empty, fit_spec(), {kChannels, kRows, {}}, {kChannels, kRows, {}}, {kChannels, kRows, {}}, std::nullopt).ok());
  CHECK(worker("run", empty) == 2);

  fs::path wrong_label = dir / "wrong-label";
  ExampleSet train = windows(30, 1, false);
  train.windows[7].label = 3;
  REQUIRE(write_job(wrong_label, fit_spec(), train, {kChannels, kRows, {}}, {kChannels, kRows, {}}, std::nullopt).ok());
  CHECK(worker("run", wrong_label) == 2);

  fs::path damaged = dir / "damaged";
  REQUIRE(write_job(damaged, fit_spec(), windows(30, 1, false), {kChannels, kRows, {}}, {kChannels, kRows, {}}, std::nullopt).ok());
  fs::resize_file(damaged / kTrainFile, 100);
  CHECK(worker("run", damaged) == 3);

  // A checkpoint that is garbage counts as none.
  fs::path garbage = dir / "garbage";
  REQUIRE(write_job(garbage, fit_spec(), windows(60, 1, false), {kChannels, kRows, {}}, {kChannels, kRows, {}}, std::nullopt).ok());
  REQUIRE(write_file_atomic(garbage / "checkpoint.pt", std::string(5000, 'x')).ok());
  CHECK(worker("run", garbage) == 0);
}

TEST_CASE("skerry-worker: the artefact of a job is a plan; compile makes one from the package, and says what it can't do") {
  TempDir dir;
  const inference::Package base = base_in(dir);
  CHECK(base.info.int8_file == inference::kPlanFile);
  CHECK(base.info.no_plan.empty());
  const fs::path plan = dir / "made.bin", printed = dir / "printed";
  auto compile = [&](const std::string& arguments) {
    int status = std::system(fmt::format("{} compile {} --output {} > {} 2>&1", kWorker.string(), arguments, plan.string(), printed.string()).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  auto text = [&] { return read_file(printed, 1 << 20).value_or(""); };
  CHECK(compile(base.folder.string() + " --json") == 0);
  CHECK(fs::file_size(plan) > 1000);
  CHECK(text().find("\"precision\": \"int8\"") != std::string::npos);
  CHECK(text().find("\"sensitivity\"") != std::string::npos);

  fs::remove(plan);
  CHECK(compile(base.file("model.pt").string()) == 2);
  CHECK(text().find("--shape") != std::string::npos);
  REQUIRE(write_file_atomic(dir / "bad.onnx", std::string(100, 'x')).ok());
  CHECK(compile((dir / "bad.onnx").string()) != 0);
  CHECK(text().find("bad.onnx") != std::string::npos);
  REQUIRE(write_file_atomic(dir / "odd.f32", std::string(10, 'x')).ok());
  CHECK(compile(base.file("model.pt").string() + " --shape 3,32 --calibration " + (dir / "odd.f32").string()) == 2);
  CHECK_FALSE(fs::exists(plan));
}

TEST_CASE("worker: a disk that fills up under a job ends it with its exit code, and the job is done once there is room") {
  TempDir dir;
  auto disk = skerry::test::SmallDisk::make(dir / "disk", 8192);
  if (!disk) {
    WARN("skipped: no right to mount a small file system");
    return;
  }
  const fs::path job = dir / "disk" / "job";
  const ExampleSet train = windows(120, 1, false), holdout = windows(30, 2, false);
  REQUIRE(write_job(job, fit_spec(), train, holdout, {kChannels, kRows, {}}, std::nullopt).ok());
  uintmax_t used = 0;
  for (const auto& entry : fs::recursive_directory_iterator(dir / "disk")) used += entry.is_regular_file() ? (entry.file_size() + 4095) / 4096 * 4 : 4;
  REQUIRE(disk->resize(used + 16));
  CHECK(wait_for(start_worker("run", job)) == 5);
  CHECK_FALSE(fs::exists(job / "result"));
  CHECK(read_job(job).ok());
  REQUIRE(disk->resize(8192));
  CHECK(wait_for(start_worker("run", job)) == 0);
  CHECK(fs::exists(job / "result"));
}
