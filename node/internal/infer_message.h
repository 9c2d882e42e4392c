// An inference request and its answer as the Open Inference Protocol v2 has them: a JSON text, and behind it the tensors that are sent as raw
// bytes (the binary tensor extension). The same for HTTP, where the raw tensors follow each other, and ZeroMQ, where each is a frame.
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
// Threads: any.
// On failure: invalid, naming the input and what is expected of it. Memory is bounded by a small multiple of what came.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "inference/engine.h"

namespace skerry::node {

struct RequestedOutput {
  std::string name;
  std::optional<bool> binary;  // none: as the request says
  uint32_t classes = 0;        // that many of the best, as "score:index:label"; 0: the tensor itself
};

struct InferRequest {
  std::optional<std::string> id;
  std::vector<inference::Tensor> inputs;
  std::vector<RequestedOutput> outputs;  // empty: all
  bool binary = false;                   // of outputs that do not say
  uint32_t priority = 0;
  std::optional<Duration> timeout;
};

// The raw tensors behind the JSON, handed out in order.
class RawTensors {
 public:
  RawTensors() = default;
  static RawTensors in_a_row(std::string_view bytes);
  static RawTensors in_frames(std::vector<std::string_view> frames);

  // `said`: what the request says of its size, `needed`: what the shape needs; 0: it can't be known. Error: invalid.
  Result<std::string_view> take(const std::string& input, std::optional<uint64_t> said, uint64_t needed);
  Status finish() const;  // Error: invalid when something is left
  bool empty() const { return parts_.empty(); }

 private:
  std::vector<std::string_view> parts_;
  bool frames_ = false;
  size_t next_ = 0;
};

// What the request is read against.
struct ModelSpecs {
  const inference::PackageInfo& info;
  const std::vector<inference::TensorSpec>& inputs;
  const std::vector<inference::TensorSpec>& outputs;
};

// Checks names, datatypes and shapes against the specs before any data is copied.
Result<InferRequest> parse_infer(std::string_view json, RawTensors raw, const ModelSpecs& model);
// A body that is nothing but the one input of the model, of batch 1; all outputs come back as raw bytes.
Result<InferRequest> parse_raw_infer(std::string_view body, const ModelSpecs& model);

// A message that has no URL: "model" and "version" (a number, or one as text) are in the JSON. `find` gets them and gives what the rest is read
// against. `id` is set as soon as it is known, for the refusal of what comes later. Error: invalid, or find's.
struct Address {
  std::string model;
  std::optional<uint32_t> version;
};
using FindModel = std::function<Result<ModelSpecs>(const Address&)>;
Result<InferRequest> parse_addressed(std::string_view json, RawTensors raw, const FindModel& find, std::optional<std::string>& id);

struct InferAnswer {
  std::string json;
  std::vector<std::string> raw;  // the outputs that are wanted so, in their order
};
InferAnswer write_infer(const inference::Answer& answer, const InferRequest& request, const inference::PackageInfo& info);

}  // namespace skerry::node
