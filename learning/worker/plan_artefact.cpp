#include "learning/worker/plan_artefact.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "inference/frontends/torchscript.h"
#include "inference/package.h"
#include "inference/plan/executor.h"

namespace skerry::learning::worker {

using inference::plan::Executor;

inference::graph::Array windows_array(const ExampleSet& set) {
  inference::graph::Array out{{static_cast<int64_t>(set.windows.size()), set.channels, set.rows}, {}};
  for (const LabelledWindow& window : set.windows) out.data.insert(out.data.end(), window.data.begin(), window.data.end());
  return out;
}

Result<inference::compile::Compiled> compile_model(const std::string& model, const ExampleSet& calibration) {
  if (calibration.windows.empty()) return fail(Code::invalid, "no windows to calibrate the plan with");
  SKERRY_ASSIGN(inference::graph::Graph graph,
                inference::frontends::from_torchscript(std::as_bytes(std::span(model)), {{-1, calibration.channels, calibration.rows}}));
  return inference::compile::compile(std::move(graph), {windows_array(calibration)});
}

Result<Artefact> int8_artefact(const std::string& model, const ExampleSet& calibration, const std::string& engine) {
  auto compiled = compile_model(model, calibration);
  if (compiled.ok() && std::isfinite(compiled->error)) return Artefact{inference::kPlanFile, inference::plan::encode(compiled->plan), {}};
  const std::string reason = compiled.ok() ? "its plan answers NaN or infinity" : compiled.error().message;
  SKERRY_ASSIGN(std::string bytes, quantize(model, calibration, engine));
  return Artefact{inference::kTorchFile, std::move(bytes), reason.substr(0, 1000)};
}

Result<Evaluation> evaluate_plan(const std::filesystem::path& file, const ExampleSet& examples) {
  Evaluation out;
  if (examples.windows.empty()) return out;
  SKERRY_ASSIGN(inference::plan::Plan plan, inference::plan::open(file));
  SKERRY_ASSIGN(std::shared_ptr<const Executor> executor, Executor::make(std::move(plan)));
  const inference::plan::Plan& ready = executor->plan();
  const inference::plan::Dims wanted = {1, examples.channels, examples.rows};
  if (ready.inputs.size() != 1 || ready.dims(ready.inputs[0], 1) != wanted || ready.outputs.size() != 1) {
    return fail(Code::invalid, "{} does not take windows of {} x {}", file.string(), examples.channels, examples.rows);
  }
  const auto classes = static_cast<size_t>(executor->output_elements(0));
  std::vector<float> scores(classes);
  for (const LabelledWindow& window : examples.windows) {
    const float* from[] = {window.data.data()};
    float* to[] = {scores.data()};
    SKERRY_TRY(executor->run(1, from, to));
    const bool finite = std::all_of(scores.begin(), scores.end(), [](float s) { return std::isfinite(s); });
    const auto answer = finite ? static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin()) : -1;
    out.finite = out.finite && finite;
    out.correct += finite && answer == window.label ? 1 : 0;
    out.answers.push_back(answer);
  }
  return out;
}

}  // namespace skerry::learning::worker
