// The JSON of Open Inference Protocol v2 inference: requests in by simdjson, answers out.
// Threads: any.
// On failure: invalid, naming the input and what is expected of it. Memory is bounded by a small multiple of the body.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/engine.h"

namespace skerry::node {

struct InferRequest {
  std::optional<std::string> id;
  std::vector<inference::Tensor> inputs;
  std::vector<std::string> outputs;  // empty: all
};

// Checks names, datatypes and shapes against the model's specs before any data is copied.
Result<InferRequest> parse_infer(const std::string& body, const inference::PackageInfo& info,
                                 const std::vector<inference::TensorSpec>& inputs, const std::vector<inference::TensorSpec>& outputs);

std::string write_infer(const inference::Answer& answer, const InferRequest& request);

}  // namespace skerry::node
