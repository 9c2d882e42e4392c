#include "tests/bench/inference_latency.h"

#include <algorithm>
#include <iostream>

#include "inference/compile/compile.h"
#include "inference/plan/executor.h"
#include "tests/bench/inference_models.h"
#include "tests/bench/inference_peers.h"
#include "tests/bench/rounds.h"
#include "tests/inference/make_plan.h"

namespace skerry::bench {
namespace {

using inference::graph::Array;
using inference::plan::Executor;

constexpr double kBestAlone = 0.6, kBestTogether = 0.7;  // of the best peer's time, at batch 1 and 32

Result<inference::compile::Compiled> compiled(const BenchModel& model, int64_t calibration) {
  SKERRY_ASSIGN(inference::graph::Graph graph, read_onnx(model.onnx));
  return inference::compile::compile(std::move(graph), {realistic_samples(model, calibration, 1)});
}

// Median microseconds of `count` inferences.
Result<double> run_plan(const Executor& executor, const Array& samples, int64_t batch, int count) {
  std::vector<float> out(static_cast<size_t>(batch * executor.output_elements(0)));
  const float* from[] = {samples.data.data()};
  float* to[] = {out.data()};
  std::vector<double> us;
  for (int i = 0; i < count; ++i) {
    const Stopwatch watch;
    SKERRY_TRY(executor.run(batch, from, to));
    us.push_back(watch.seconds() * 1e6);
  }
  return median(us);
}

// Multiplications per microsecond of a large int8 matrix product.
Result<double> integer_peak() {
  constexpr int32_t kSize = 1024, kRows = 16;
  inference::plan::PlanBuilder b(1);
  using inference::plan::Op;
  using inference::plan::Type;
  const uint32_t x = b.input({-1, kRows, kSize});
  const uint32_t q = b.step(Op::quantize, {x}, b.tensor("q", Type::u8, {-1, kRows, kSize}, 0.02f));
  const uint32_t y = b.step(Op::linear, {q, b.weights({kSize, kSize})}, b.tensor("y", Type::u8, {-1, kRows, kSize}, 1.0f));
  const uint32_t s = b.step(Op::slice, {y}, b.tensor("s", Type::u8, {-1, 1, 1}, 1.0f), {0, 0, 0, 1, 1, 1});
  SKERRY_ASSIGN(std::shared_ptr<const Executor> executor,
                Executor::make(b.finish({b.step(Op::dequantize, {s}, b.tensor("out", Type::f32, {-1, 1, 1}))})));
  const Array samples{{1, kRows, kSize}, std::vector<float>(size_t{kRows} * kSize, 0.5f)};
  double best = 0;  // of many short ones: what others of this machine take away is no peak
  for (int i = 0; i < 200; ++i) {
    SKERRY_ASSIGN(double us, run_plan(*executor, samples, 1, 1));
    best = std::max(best, double{kRows} * kSize * kSize / us);
  }
  return best;
}

struct Contender {
  std::string name;
  std::unique_ptr<InferencePeer> peer;
  std::vector<double> us[2];  // rounds at batch 1 and 32
};

std::vector<Contender> contenders(const BenchModel& model, const std::filesystem::path& modules) {
  std::vector<Contender> out;
  auto add = [&](const std::string& runtime, const std::vector<std::filesystem::path>& files, auto make) {
    for (const auto& file : files) {
      PeerResult made = make(file);
      if (made.ok()) out.push_back({runtime + ":" + file.filename().string(), std::move(*made), {}});
      else std::cout << "# " << runtime << " without " << file.filename().string() << ": " << made.error().message << std::endl;
    }
  };
  add("onnxruntime", model.onnx_peers, [&](const auto& file) { return onnxruntime_peer(modules, file, model.shape); });
  add("tflite", model.tflite_peers, [&](const auto& file) { return tflite_peer(modules, file, model.shape); });
  add("libtorch", model.torch_peers, [&](const auto& file) { return torch_peer(file, model.shape); });
  return out;
}

struct Count {
  int rounds = 7, runs[2] = {300, 20};
  int64_t calibration = 64;
};

Result<std::vector<Figure>> measure(const BenchModel& model, const std::filesystem::path& modules, double peak, const Count& count) {
  SKERRY_ASSIGN(inference::compile::Compiled plan, compiled(model, count.calibration));
  SKERRY_ASSIGN(std::shared_ptr<const Executor> executor, Executor::make(plan.plan));
  const Array samples = realistic_samples(model, 32, 5);
  std::vector<Contender> peers = contenders(model, modules);
  std::vector<double> ours[2];
  constexpr int64_t kBatches[] = {1, 32};
  for (int round = 0; round <= count.rounds; ++round) {  // the first only warms up
    for (int b : {0, 1}) {
      SKERRY_ASSIGN(double us, run_plan(*executor, samples, kBatches[b], count.runs[b]));
      if (round > 0) ours[b].push_back(us / static_cast<double>(kBatches[b]));
      for (Contender& contender : peers) {
        auto theirs = contender.peer->run(kBatches[b], count.runs[b]);
        if (round == 0) continue;
        if (theirs.ok()) contender.us[b].push_back(*theirs / static_cast<double>(kBatches[b]));
        else if (b == 1 && !contender.us[0].empty()) contender.us[1].push_back(contender.us[0].back());  // a file for batches of one: one by one
      }
    }
  }
  std::vector<Figure> out;
  for (int b : {0, 1}) {
    Figure figure{fmt::format("inference.{}_b{}", model.name, kBatches[b]), median(ours[b]), "us", 0, Better::lower};
    double best = 0;
    std::string line, best_name;
    for (const Contender& contender : peers) {
      if (contender.us[b].empty()) continue;
      const double us = median(contender.us[b]);
      line += fmt::format(" {} {:.1f}", contender.name, us);
      if (best == 0 || us < best) best = us, best_name = contender.name;
    }
    std::cout << "# " << figure.name << ": ours " << fmt::format("{:.1f}", figure.value) << line << std::endl;
    if (best == 0) figure.skipped = "no peer could be measured (the lines above say why)";
    else figure.peer = Peer{best_name, figure.value / best};
    figure.target = best * (b == 0 ? kBestAlone : kBestTogether);
    out.push_back(std::move(figure));
  }
  const auto work = static_cast<double>(inference::plan::multiplies(executor->plan()));
  std::cout << fmt::format("# {}: {:.2f} M multiplications, {:.0f} G/s at batch 1, {:.0f} % of oneDNN's int8 matrix product here ({:.0f} G/s)\n", model.name,
                           work / 1e6, work / out[0].value / 1e3, 100 * work / out[0].value / peak, peak / 1e3)
            << std::flush;
  return out;
}

}  // namespace

Result<std::vector<Figure>> inference_latency(Size size, const Places& places) {
  SKERRY_ASSIGN(std::vector<BenchModel> models, bench_models(places.work));
  SKERRY_ASSIGN(double peak, integer_peak());
  std::cout << "# instruction set: " << Executor::instruction_set() << std::endl;
  Count count;
  if (size == Size::smoke) count = {1, {5, 2}, 8};
  std::vector<Figure> out;
  for (const BenchModel& model : models) {
    SKERRY_ASSIGN(std::vector<Figure> figures, measure(model, e2e::program_folder() / "../../peers/npm", peak, count));
    for (Figure& figure : figures) {
      figure.judged = size == Size::full;
      out.push_back(std::move(figure));
    }
  }
  if (models.size() == 1) std::cout << "# the MLPerf Tiny networks are not there (set SKERRY_TEST_DATA)" << std::endl;
  return out;
}

}  // namespace skerry::bench
