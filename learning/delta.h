// What a fine-tuning changed: sparse, int8 values with a scale, indices as gaps. By construction base + delta gives the version's weights
// bit for bit: the worker puts the decoded delta, not the raw change, into the package. What rounding left over (the error feedback of
// Karimireddy et al. 2019) is carried to the next fine-tuning in the same format.
// On failure: decode answers corrupt for hostile input, allocating no more than a small multiple of its size.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace skerry::learning {

struct TensorDelta {
  std::string name;                 // parameter name in the TorchScript module
  uint64_t elements = 0;            // of the whole tensor
  float scale = 0;
  std::vector<uint32_t> indices;    // ascending
  std::vector<int8_t> values;       // change = value * scale
};

// Tensors are applied in order; a squashed delta has one of the same name per step.
struct Delta {
  std::string model;
  uint32_t base_version = 0, version = 0;
  std::string base_digest;          // package digest of the base
  std::vector<TensorDelta> tensors;
};

std::string encode_delta(const Delta& delta);
Result<Delta> decode_delta(std::string_view bytes);

// One delta that leads where `first` and then `next` lead, bit for bit. Error: invalid when `next` does not begin where `first` ends.
Result<Delta> squash(Delta first, const Delta& next);

// tensor += values * scale at the indices, in float, rounded after each of the two operations: bit for bit the same everywhere.
// Error: invalid when the tensor has another size.
Status apply_delta(const TensorDelta& delta, std::vector<float>& tensor);

}  // namespace skerry::learning
