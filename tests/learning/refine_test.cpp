// `skerry-worker prune` and `distill`, the real program, on three classes of waves that differ in frequency.
#include <catch2/catch.hpp>
#include <stdio.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "inference/plan/executor.h"
#include "learning/job.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::learning;
using skerry::test::TempDir;
namespace fs = std::filesystem;

namespace {

constexpr uint32_t kChannels = 3, kRows = 32;

ExampleSet windows(uint32_t count, uint64_t seed, bool labelled = true) {
  Random random(seed);
  ExampleSet set{kChannels, kRows, {}};
  for (uint32_t i = 0; i < count; ++i) {
    const auto label = static_cast<int32_t>(i % 3);
    const double frequency = 0.15 + 0.12 * label, phase = random.uniform(0, 6.28);
    LabelledWindow window{{}, labelled ? label : -1};
    for (uint32_t c = 0; c < kChannels; ++c) {
      for (uint32_t r = 0; r < kRows; ++r) window.data.push_back(static_cast<float>(std::sin(frequency * 3 * r + phase + c) + 0.3 * random.normal()));
    }
    set.windows.push_back(std::move(window));
  }
  return set;
}

struct Said {
  int code = -1;
  std::string report, text;  // standard output, and both
};

Said worker(const std::string& words) {
  const TempDir dir;
  const fs::path errors = dir / "errors";
  const std::string command = (fs::path(SKERRY_BIN_DIR) / "skerry-worker").string() + " " + words + " 2>" + errors.string();
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Said out;
  char bytes[4096];
  for (size_t got; (got = ::fread(bytes, 1, sizeof bytes, pipe)) > 0;) out.report.append(bytes, got);
  const int status = ::pclose(pipe);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  out.text = out.report + read_file(errors, 1 << 20).value_or("");
  return out;
}

// A base of the worker's own kind, and the files that the commands take.
struct Bench {
  TempDir dir;
  fs::path base, train, holdout;

  Bench() : base(dir / "job/result/package"), train(dir / "train.examples"), holdout(dir / "holdout.examples") {
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
    REQUIRE(write_job(dir / "job", spec, windows(600, 1), windows(150, 2), {kChannels, kRows, {}}, std::nullopt).ok());
    REQUIRE(worker("run " + (dir / "job").string()).code == 0);
    REQUIRE(write_file_atomic(train, encode_examples(windows(600, 3))).ok());
    REQUIRE(write_file_atomic(holdout, encode_examples(windows(150, 4))).ok());
  }
  std::string words(const std::string& output) const {
    return fmt::format(" --train {} --holdout {} --output {} --json", train.string(), holdout.string(), (dir / output).string());
  }
};

nlohmann::json report(const Said& said) {
  INFO(said.text);
  REQUIRE(said.code == 0);
  const auto json = nlohmann::json::parse(said.report, nullptr, false);
  REQUIRE(json.is_object());
  return json;
}

}  // namespace

TEST_CASE("skerry-worker prune: half of the channels disappear from model and plan, and training brings the answers back") {
  const Bench bench;
  const auto json = report(worker("prune " + bench.base.string() + " --channels 0.5 --epochs 12" + bench.words("small")));
  INFO(json.dump(1));
  CHECK(json["channels"]["before"] == 32 + 48 + 48);
  CHECK(json["channels"]["after"] == 16 + 24 + 24);
  const auto &before = json["before"], &after = json["after"];
  CHECK(after["parameters"].get<double>() < 0.3 * before["parameters"].get<double>());
  CHECK(after["multiplications"].get<double>() < 0.35 * before["multiplications"].get<double>());
  CHECK(after["plan_bytes"] < before["plan_bytes"]);
  CHECK(after["model_bytes"] < before["model_bytes"]);
  CHECK(before["accuracy_percent"].get<double>() > 90);
  CHECK(after["accuracy_percent"].get<double>() > before["accuracy_percent"].get<double>() - 5);
  CHECK(after["latency_us"].get<double>() > 0);

  auto package = inference::Package::open(bench.dir / "small", 1 << 28);
  REQUIRE(package.ok());
  CHECK(package->info.version == 2);
  CHECK(package->info.parent == 0);
  CHECK(package->info.int8_file == inference::kPlanFile);
  auto plan = inference::plan::open(package->file(inference::kPlanFile));
  REQUIRE(plan.ok());
  CHECK(inference::plan::multiplies(*plan) == after["multiplications"].get<int64_t>());

  // What was pruned can be pruned again, and fine-tuned as any package: its parameters have the names that they had.
  report(worker("prune " + (bench.dir / "small").string() + " --channels 0.25 --epochs 1" + bench.words("smaller")));
  JobSpec spec;
  spec.target = package->info;
  spec.target.version = 3;
  spec.target.parent = 2;
  REQUIRE(write_job(bench.dir / "tune", spec, windows(120, 7), windows(60, 8), windows(30, 9), *package).ok());
  CHECK(worker("run " + (bench.dir / "tune").string()).code == 0);
}

TEST_CASE("skerry-worker prune: channels that a residual adds to each other go together, with their normalisation") {
  TempDir dir;
  const std::string maker = (fs::path(SKERRY_BIN_DIR) / "inference_make_test_package").string(), package = (dir / "blocks").string();
  REQUIRE(std::system((maker + " " + package + " blocks 1").c_str()) == 0);
  ExampleSet set{2, 16, {}};
  Random random(3);
  for (int i = 0; i < 90; ++i) {
    LabelledWindow window{{}, i % 3};
    for (int k = 0; k < 32; ++k) window.data.push_back(static_cast<float>(random.normal()));
    set.windows.push_back(std::move(window));
  }
  REQUIRE(write_file_atomic(dir / "all.examples", encode_examples(set)).ok());
  const auto json = report(worker(fmt::format("prune {0} --channels 0.5 --epochs 1 --train {1} --holdout {1} --output {2} --json", package,
                                              (dir / "all.examples").string(), (dir / "small").string())));
  INFO(json.dump(1));
  CHECK(json["channels"]["before"] == 16 + 24);  // the two sides of the residual are one group
  CHECK(json["channels"]["after"] == 8 + 12);
  CHECK(json["after"]["multiplications"].get<double>() < 0.4 * json["before"]["multiplications"].get<double>());

  // Where one convolution stands for two layers, or its groups are in the code, channels stay, and it is said why.
  const std::string shared = (dir / "shared").string();
  REQUIRE(std::system((maker + " " + shared + " shared 1").c_str()) == 0);
  const Said said = worker(fmt::format("prune {0} --channels 0.5 --train {1} --holdout {1} --output {2}", shared, (dir / "all.examples").string(),
                                       (dir / "no").string()));
  INFO(said.text);
  CHECK(said.code == 2);
  CHECK(said.text.find("no channel of this model can be removed") != std::string::npos);
  CHECK_FALSE(fs::exists(dir / "no"));
}

TEST_CASE("skerry-worker prune: weights by magnitude become zero and stay so while the rest is trained") {
  const Bench bench;
  const auto json = report(worker("prune " + bench.base.string() + " --weights 0.7 --epochs 6" + bench.words("sparse")));
  INFO(json.dump(1));
  const auto &before = json["before"], &after = json["after"];
  CHECK(after["parameters"] == before["parameters"]);
  CHECK(after["parameters_not_zero"].get<double>() < 0.33 * before["parameters_not_zero"].get<double>());
  CHECK(after["accuracy_percent"].get<double>() > before["accuracy_percent"].get<double>() - 5);
  CHECK_FALSE(json.contains("channels"));
}

TEST_CASE("skerry-worker distill: a student learns from a teacher's answers to windows that nobody labelled") {
  const Bench bench;
  // A student that knows nothing: most of its channels are gone, and it was not trained since.
  report(worker("prune " + bench.base.string() + " --channels 0.75 --epochs 0 --version 9" + bench.words("student")));
  const fs::path unlabelled = bench.dir / "unlabelled.examples";
  REQUIRE(write_file_atomic(unlabelled, encode_examples(windows(600, 5, false))).ok());
  const auto json = report(worker(fmt::format("distill {} {} --train {} --holdout {} --output {} --epochs 20 --learning-rate 0.004 --json", bench.base.string(),
                                              (bench.dir / "student").string(), unlabelled.string(), bench.holdout.string(), (bench.dir / "taught").string())));
  INFO(json.dump(1));
  CHECK(json["after"]["accuracy_percent"].get<double>() > json["before"]["accuracy_percent"].get<double>());
  CHECK(json["after"]["accuracy_percent"].get<double>() > 85);
  CHECK(json["after"]["parameters"] == json["before"]["parameters"]);
  CHECK(json["after"]["multiplications"] < json["teacher"]["multiplications"]);
  auto package = inference::Package::open(bench.dir / "taught", 1 << 28);
  REQUIRE(package.ok());
  CHECK(package->info.version == 10);
}

TEST_CASE("skerry-worker prune and distill: wrong words and files are refused with what to do, and nothing is left behind") {
  const Bench bench;
  CHECK(worker("prune --help").text.find("--channels") != std::string::npos);
  CHECK(worker("distill --help").text.find("TEACHER") != std::string::npos);
  auto refused = [&](const std::string& words, const std::string& part) {
    const Said said = worker(words);
    INFO(said.text);
    CHECK(said.code >= 2);
    CHECK(said.text.find(part) != std::string::npos);
    CHECK_FALSE(fs::exists(bench.dir / "no"));
  };
  const std::string base = bench.base.string();
  refused("prune " + base + bench.words("no"), "--channels 0.5");
  refused("prune " + base + " --channels 1.5" + bench.words("no"), "--channels");
  refused("prune " + base + " --channels 0.5 --output " + (bench.dir / "no").string(), "--holdout");
  refused("prune " + base + " --channels 0.5 --holdout " + bench.train.string() + " --output " + base, "already");
  const fs::path others = bench.dir / "others.examples";
  REQUIRE(write_file_atomic(others, encode_examples({2, 8, {{std::vector<float>(16), 0}}})).ok());
  refused("prune " + base + " --channels 0.5 --holdout " + others.string() + " --output " + (bench.dir / "no").string(), "2 x 8");
  ExampleSet bad = windows(3, 1);
  bad.windows[1].data[5] = std::nanf("");
  REQUIRE(write_file_atomic(others, encode_examples(bad)).ok());
  refused("prune " + base + " --channels 0.5 --holdout " + others.string() + " --output " + (bench.dir / "no").string(), "not finite");
  for (const auto& entry : fs::directory_iterator(bench.dir.path())) CHECK(entry.path().string().find(".tmp-") == std::string::npos);
}
