// The plan of a model, as the int8 artefact of a package: compiled from TorchScript with real windows, and judged by the runtime that will
// serve it.
// Threads: one job at a time. On failure: unavailable when a plan lacks an operation of the model, naming it: LibTorch serves it then.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "inference/compile/compile.h"
#include "learning/job.h"
#include "learning/worker/quantize.h"

namespace skerry::learning::worker {

// `model`: the bytes of model.pt. `calibration`: normalised windows. Error: unavailable, invalid.
Result<inference::compile::Compiled> compile_model(const std::string& model, const ExampleSet& calibration);

struct Artefact {
  std::string file, bytes;  // "plan.bin"
  std::string no_plan;      // why it is LibTorch's
};
// A plan, or what LibTorch quantizes when there can be none.
Result<Artefact> int8_artefact(const std::string& model, const ExampleSet& calibration, const std::string& engine);

// As evaluate(), of a plan.bin.
Result<Evaluation> evaluate_plan(const std::filesystem::path& file, const ExampleSet& examples);

// The windows as one array [n, channels, rows].
inference::graph::Array windows_array(const ExampleSet& set);

}  // namespace skerry::learning::worker
