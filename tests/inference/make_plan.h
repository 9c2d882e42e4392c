// Builds plans by hand, with random weights: for tests and fuzz corpora of the plan runtime.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "inference/plan/plan.h"

namespace skerry::inference::plan {

class PlanBuilder {
 public:
  explicit PlanBuilder(uint64_t seed) : random(seed) {}

  uint32_t tensor(std::string name, Type type, std::vector<int32_t> shape, float scale = 0, int32_t zero_point = 0) {
    Tensor t{std::move(name), type, std::move(shape), {}, zero_point};
    if (type != Type::f32) t.scale = {scale};
    plan_.tensors.push_back(std::move(t));
    return static_cast<uint32_t>(plan_.tensors.size() - 1);
  }
  uint32_t input(std::vector<int32_t> shape) {
    const uint32_t id = tensor("input", Type::f32, std::move(shape));
    plan_.inputs.push_back(id);
    return id;
  }
  uint32_t weights(std::vector<int32_t> shape) {  // i8, a scale per output channel
    const uint32_t id = tensor("weights", Type::i8, shape, 1);
    Tensor& t = plan_.tensors[id];
    std::vector<int8_t> values(static_cast<size_t>(elements(plan_.dims(id, 1))));
    for (int8_t& v : values) v = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
    t.scale.clear();
    for (int32_t c = 0; c < shape[0]; ++c) t.scale.push_back(static_cast<float>(random.uniform(0.002, 0.02)));
    t.data_at = data_.add(values.data(), values.size());
    return id;
  }
  uint32_t reals(std::vector<int32_t> shape, double size = 1) {
    const uint32_t id = tensor("reals", Type::f32, std::move(shape));
    std::vector<float> values(static_cast<size_t>(elements(plan_.dims(id, 1))));
    for (float& v : values) v = static_cast<float>(random.normal() * size);
    plan_.tensors[id].data_at = data_.add(values.data(), values.size() * sizeof(float));
    return id;
  }
  uint32_t step(Op op, std::vector<uint32_t> inputs, uint32_t output, std::vector<int32_t> ints = {}, graph::ActivationSpec activation = {},
                std::vector<float> floats = {}) {
    plan_.steps.push_back({std::string(to_string(op)) + std::to_string(plan_.steps.size()), op, activation, std::move(inputs), {output}, std::move(ints),
                           std::move(floats)});
    return output;
  }
  Plan finish(std::vector<uint32_t> outputs) {
    plan_.outputs = std::move(outputs);
    std::move(data_).finish(plan_);
    return std::move(plan_);
  }

  Random random;

 private:
  Plan plan_;
  DataWriter data_;
};

// A small network with a residual, a pool and a linear step: int8 inside.
inline Plan small_plan(uint64_t seed) {
  PlanBuilder b(seed);
  const uint32_t x = b.input({-1, 3, 12});
  const uint32_t q = b.step(Op::quantize, {x}, b.tensor("q", Type::i8, {-1, 12, 3}, 0.05f), {0, 2, 1});
  const graph::ActivationSpec relu{graph::Activation::relu};
  const uint32_t c1 = b.step(Op::convolution, {q, b.weights({8, 1, 3, 3}), b.reals({8})}, b.tensor("c1", Type::u8, {-1, 12, 8}, 0.04f),
                             {1, 1, 1, 1, 0, 1, 0, 1, 1}, relu);
  const uint32_t c2 = b.step(Op::convolution, {c1, b.weights({8, 1, 3, 8}), b.reals({8})}, b.tensor("c2", Type::u8, {-1, 12, 8}, 0.05f),
                             {1, 1, 1, 1, 0, 1, 0, 1, 1}, relu);
  const uint32_t c3 = b.step(Op::convolution, {c2, b.weights({8, 1, 1, 8}), b.reals({8}), c1}, b.tensor("c3", Type::u8, {-1, 12, 8}, 0.09f),
                             {1, 1, 1, 1, 0, 0, 0, 0, 1}, relu);
  const uint32_t p = b.step(Op::average_pool, {c3}, b.tensor("p", Type::u8, {-1, 1, 8}, 0.06f), {1, 12, 1, 1, 0, 0, 0, 0, 0});
  const uint32_t r = b.step(Op::reshape, {p}, b.tensor("r", Type::u8, {-1, 8}, 0.06f));
  const uint32_t y = b.step(Op::linear, {r, b.weights({4, 8}), b.reals({4})}, b.tensor("y", Type::f32, {-1, 4}));
  return b.finish({y});
}

}  // namespace skerry::inference::plan
