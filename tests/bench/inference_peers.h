// What our plans are measured against: ONNX Runtime and TensorFlow Lite as node processes, LibTorch in this one. Each loads one file and
// answers the median time of an inference.
// Owns: its process. On failure: unavailable, with the peer's own words.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/graph/reference.h"

namespace skerry::bench {

class InferencePeer {
 public:
  virtual ~InferencePeer() = default;
  // Median microseconds of `count` inferences of `batch` samples.
  virtual Result<double> run(int64_t batch, int count) = 0;
};

using PeerResult = Result<std::unique_ptr<InferencePeer>>;

// `modules`: the folder that has node_modules. `shape`: of one sample.
PeerResult onnxruntime_peer(const std::filesystem::path& modules, const std::filesystem::path& file, const std::vector<int64_t>& shape);
PeerResult tflite_peer(const std::filesystem::path& modules, const std::filesystem::path& file, const std::vector<int64_t>& shape);
PeerResult torch_peer(const std::filesystem::path& file, const std::vector<int64_t>& shape);
// What LibTorch answers with this file. Error: unavailable, in its own words.
Result<std::vector<float>> torch_answers(const std::filesystem::path& file, const inference::graph::Array& samples);

}  // namespace skerry::bench
