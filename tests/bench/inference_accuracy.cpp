// int8 against fp32, ours and LibTorch's own: on people that a model never saw, and on random inputs that look like real ones.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include "base/file.h"
#include "inference/compile/compile.h"
#include "inference/plan/executor.h"
#include "tests/bench/accuracy.h"
#include "tests/bench/inference_latency.h"
#include "tests/bench/inference_models.h"
#include "tests/bench/inference_peers.h"
#include "tests/e2e/support/process.h"
#include "tests/support/real_data.h"

namespace skerry::bench {
namespace {

using inference::graph::Array;
using inference::plan::Executor;

struct Counts {
  int64_t calibration, judged;
};
constexpr Counts kFull{256, 1000}, kSmoke{8, 8};
constexpr uint64_t kCalibrationSeed = 1, kJudgedSeed = 77;
constexpr double kErrorMax = 0.1, kPointsMax = 0.3;

Result<std::vector<float>> answers(const inference::plan::Plan& plan, const Array& samples) {
  SKERRY_ASSIGN(std::shared_ptr<const Executor> executor, Executor::make(plan));
  std::vector<float> out(static_cast<size_t>(samples.shape[0] * executor->output_elements(0)));
  const float* from[] = {samples.data.data()};
  float* to[] = {out.data()};
  SKERRY_TRY(executor->run(samples.shape[0], from, to));
  return out;
}

struct Difference {
  double error = 0;        // relative L2
  double other_class = 0;  // percent of the samples
};

Difference difference(const std::vector<float>& got, const std::vector<float>& expected, int64_t count) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  const auto each = static_cast<ptrdiff_t>(got.size()) / count;
  int64_t parted = 0;
  for (ptrdiff_t n = 0; n < count; ++n) {
    auto top = [&](const std::vector<float>& all) { return std::max_element(all.begin() + n * each, all.begin() + (n + 1) * each) - all.begin(); };
    parted += top(got) != top(expected) ? 1 : 0;
  }
  return {std::sqrt(error / norm), 100.0 * static_cast<double>(parted) / static_cast<double>(count)};
}

// LibTorch's quantization of the same model, calibrated on the same samples.
Result<std::vector<float>> torch_int8_answers(const BenchModel& model, const Array& calibration, const Array& judged, const std::filesystem::path& work) {
  if (model.torch_peers.empty()) return fail(Code::unavailable, "there is no TorchScript of it");
  const std::filesystem::path samples = work / (model.name + ".f32"), result = work / (model.name + ".int8.pt");
  SKERRY_TRY(write_file_atomic(samples, {reinterpret_cast<const char*>(calibration.data.data()), calibration.data.size() * sizeof(float)}));
  std::string shape;
  for (int64_t size : model.shape) shape += (shape.empty() ? "" : ",") + std::to_string(size);
  const std::string command = fmt::format("{} --int8 {} {} {} {} 2>{}", (e2e::program_folder() / "inference_make_test_package").string(),
                                          model.torch_peers[0].string(), samples.string(), shape, result.string(), (work / "int8.log").string());
  if (std::system(command.c_str()) != 0) {
    auto said = read_file(work / "int8.log", 1 << 20);
    return fail(Code::unavailable, "LibTorch does not quantize it: {}", said.ok() ? said->substr(0, said->find('\n')) : "");
  }
  return torch_answers(result, judged);
}

Result<std::vector<Figure>> judge(const BenchModel& model, const Counts& counts, const std::filesystem::path& work) {
  const int64_t count = counts.judged;
  const Array calibration = realistic_samples(model, counts.calibration, kCalibrationSeed), judged = realistic_samples(model, count, kJudgedSeed);
  SKERRY_ASSIGN(inference::graph::Graph graph, read_onnx(model.onnx));
  SKERRY_ASSIGN(inference::compile::Compiled integer, inference::compile::compile(graph, {calibration}));
  SKERRY_ASSIGN(inference::compile::Compiled real, inference::compile::compile(graph, {}));
  SKERRY_ASSIGN(std::vector<float> got, answers(integer.plan, judged));
  SKERRY_ASSIGN(std::vector<float> expected, answers(real.plan, judged));
  const Difference ours = difference(got, expected, count);
  std::vector<Figure> out = {{"inference." + model.name + "_error", ours.error, "relative_l2", kErrorMax, Better::lower}};
  if (model.classifies) out.push_back({"inference." + model.name + "_other_class", ours.other_class, "points", kPointsMax, Better::lower});
  Figure beside{"inference." + model.name + "_error_beside_libtorch", 0, "ratio", 1, Better::lower};
  Figure over{"inference." + model.name + "_other_class_over_libtorch", 0, "points", 0, Better::lower};
  auto theirs = torch_int8_answers(model, calibration, judged, work);
  // HAR here has random weights, and LibTorch's are others: it is held against its own fp32.
  auto their_real = theirs.ok() ? torch_answers(model.torch_peers[0], judged) : theirs;
  if (theirs.ok() && their_real.ok() && theirs->size() == expected.size() && their_real->size() == expected.size()) {
    const Difference other = difference(*theirs, *their_real, count);
    beside.value = ours.error / other.error;
    over.value = ours.other_class - other.other_class;
    std::cout << fmt::format("# {}: LibTorch's int8 errs by {:.4f}, another class in {:.1f} points\n", model.name, other.error, other.other_class);
  } else {
    beside.skipped = over.skipped = theirs.ok() ? their_real.ok() ? "LibTorch gives other tensors" : their_real.error().message : theirs.error().message;
  }
  out.push_back(std::move(beside));
  if (model.classifies) out.push_back(std::move(over));
  return out;
}

Result<Figure> unseen_users(Size size, const Places& places) {
  Figure figure{"inference.har_unseen_users_loss", 0, "points", kPointsMax, Better::lower};
  AccuracyOptions options;
  options.data = test::real_data("motionsense");
  if (options.data.empty()) {
    figure.skipped = "MotionSense is not there (set SKERRY_TEST_DATA)";
    return figure;
  }
  options.scratch = places.work / "unseen";
  options.worker = e2e::program_folder() / "skerry-worker";
  if (size == Size::smoke) {
    figure.skipped = "a quick run leaves the training to ./bench main --quick";
    return figure;
  }
  std::filesystem::create_directories(options.scratch);
  SKERRY_ASSIGN(BaseAccuracy base, measure_base_accuracy(options));
  std::cout << fmt::format("# HAR on people it has not seen: int8 {:.2f} %, fp32 {:.2f} %\n", base.int8, base.fp32);
  figure.value = base.fp32 - base.int8;
  return figure;
}

}  // namespace

Result<std::vector<Figure>> inference_accuracy(Size size, const Places& places) {
  SKERRY_ASSIGN(std::vector<BenchModel> models, bench_models(places.work));
  std::vector<Figure> out;
  for (const BenchModel& model : models) {
    SKERRY_ASSIGN(std::vector<Figure> figures, judge(model, size == Size::full ? kFull : kSmoke, places.work));
    out.insert(out.end(), figures.begin(), figures.end());
  }
  SKERRY_ASSIGN(Figure unseen, unseen_users(size, places));
  out.push_back(std::move(unseen));
  for (Figure& figure : out) figure.judged = size == Size::full;
  return out;
}

}  // namespace skerry::bench
