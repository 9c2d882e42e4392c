// From a TorchScript fp32 model to the int8 artefact that serves, and what a model answers on examples.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "learning/job.h"

namespace skerry::learning::worker {

// The engine of this machine: "onednn" on x86, "qnnpack" on ARM.
std::string host_engine();

// Static post-training quantization: weights per channel, activations by what the calibration windows (normalised) show.
// Error: invalid when the model can't be quantized or its int8 form answers something else.
Result<std::string> quantize(const std::string& model, const ExampleSet& calibration, const std::string& engine);

struct Evaluation {
  uint32_t correct = 0;
  bool finite = true;
  std::vector<int32_t> answers;  // a class per window; -1: its outputs are not all finite
};
// `examples` normalised. A window whose outputs are not all finite is not correct.
Result<Evaluation> evaluate(const std::filesystem::path& model, const std::string& engine, const ExampleSet& examples);

}  // namespace skerry::learning::worker
