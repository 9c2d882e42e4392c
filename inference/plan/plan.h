// A compiled model: what plan.bin says, checked. plan_format.h has the bytes, runtime.h runs it, graph/lower.h makes it.
// Threads: a value type; constants are shared and read only.
// Owns: the mapping of the file, or the bytes of constants.
// On failure: corrupt for damaged bytes, invalid for a plan that contradicts itself, each naming tensor or step. A plan that was opened
// can be run: every index, shape and size in it holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "inference/graph/graph.h"
#include "inference/plan/plan_format.h"

namespace skerry::inference::plan {

using Dims = std::vector<int64_t>;

const char* to_string(Type type);
const char* to_string(Op op);
size_t bytes_of(Type type);

struct Tensor {
  std::string name;
  Type type = Type::f32;
  std::vector<int32_t> shape;    // row-major; -1: the batch
  std::vector<float> scale;      // i8 and u8: real = scale * (stored - zero_point). Weights: one per output channel
  int32_t zero_point = 0;
  uint64_t data_at = kComputed;  // into data

  bool is_constant() const { return data_at != kComputed; }
  bool is_quantized() const { return type != Type::f32; }
};

struct Step {
  std::string name;  // as in the source, for reports
  Op op = Op::reshape;
  graph::ActivationSpec activation;
  std::vector<uint32_t> inputs, outputs;
  std::vector<int32_t> ints;
  std::vector<float> floats;

  uint32_t input(size_t i) const { return i < inputs.size() ? inputs[i] : kNoTensor; }
};

struct Plan {
  std::vector<Tensor> tensors;
  std::vector<Step> steps;
  std::vector<uint32_t> inputs, outputs;
  std::shared_ptr<const std::byte> data;  // on 64 bytes
  uint64_t data_bytes = 0;

  Dims dims(uint32_t tensor, int64_t batch) const;
  template <typename T>
  const T* constant(uint32_t tensor) const {
    return reinterpret_cast<const T*>(data.get() + tensors[tensor].data_at);
  }
};

int64_t elements(const Dims& dims);  // -1 when negative or over kElementsMax

// That every step fits its tensors at this batch size. Error: invalid, naming the step.
Status check(const Plan& plan, int64_t batch);
int64_t multiplies(const Plan& plan);  // of one sample: convolutions and linear steps

std::string encode(const Plan& plan);
// Copies constants. Error: corrupt, invalid.
Result<Plan> decode(std::string_view bytes);
// Maps the file. Error: not_found, unavailable, corrupt, invalid.
Result<Plan> open(const std::filesystem::path& file);

// Collects constants while a plan is made.
class DataWriter {
 public:
  uint64_t add(const void* bytes, size_t size);  // where it lies
  void finish(Plan& plan) &&;                    // sets data and data_bytes

 private:
  std::string bytes_;
};

}  // namespace skerry::inference::plan
