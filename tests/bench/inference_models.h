// The networks that inference is measured on, where their files lie and what a sample of them looks like.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/graph/reference.h"

namespace skerry::bench {

struct BenchModel {
  std::string name;                           // "kws"
  std::vector<int64_t> shape;                 // of one sample
  float low = -1, high = 1;                   // what its inputs are like: most lie between
  bool classifies = true;
  std::filesystem::path onnx;                 // fp32: what we compile
  std::vector<std::filesystem::path> onnx_peers, tflite_peers, torch_peers;
};

// `work`: a folder for the HAR network's files, made with random weights.
Result<std::vector<BenchModel>> bench_models(const std::filesystem::path& work);

Result<inference::graph::Graph> read_onnx(const std::filesystem::path& file);
// Pictures for models of pictures: discs that hide each other, as in photographs. Else smooth random signals over the range of the model's
// inputs: neighbours are alike, as in spectra, and samples differ in level and contrast.
inference::graph::Array realistic_samples(const BenchModel& model, int64_t count, uint64_t seed);

}  // namespace skerry::bench
