#include "learning/worker/parameters.h"

#include <algorithm>
#include <cmath>

namespace skerry::learning::worker {
namespace {

constexpr int kLevels = 15;            // to either side of zero: five bits a value; what is lost is carried over
constexpr int kResidualLevels = 127;

// Adds what was left over the last time to the change, where it may travel this time.
std::vector<std::vector<float>> carried_over(const Parameters& parameters, const Delta& residual) {
  std::vector<std::vector<float>> out;
  for (size_t i = 0; i < parameters.names.size(); ++i) {
    std::vector<float> values(static_cast<size_t>(parameters.parent[i].numel()), 0.0f);
    for (const TensorDelta& tensor : residual.tensors) {
      if (tensor.name == parameters.names[i]) (void)apply_delta(tensor, values);  // of another shape: of another model, left out
    }
    out.push_back(std::move(values));
  }
  return out;
}

// What is not zero of `values`, in `levels` steps to either side of it.
TensorDelta rounded(const std::string& name, const std::vector<float>& values, float scale, int levels) {
  TensorDelta out;
  out.name = name;
  out.elements = values.size();
  out.scale = scale;
  for (size_t k = 0; scale > 0 && k < values.size(); ++k) {
    const long value = std::clamp<long>(std::lround(values[k] / scale), -levels, levels);
    if (value == 0) continue;
    out.indices.push_back(static_cast<uint32_t>(k));
    out.values.push_back(static_cast<int8_t>(value));
  }
  return out;
}

float largest(const std::vector<std::vector<float>>& tensors) {
  float out = 0;
  for (const auto& values : tensors) {
    for (float value : values) out = std::max(out, std::abs(value));
  }
  return out;
}

}  // namespace

Result<Parameters> parameters_of(torch::jit::Module& module) {
  Parameters out;
  for (const auto& parameter : module.named_parameters()) {
    if (parameter.value.scalar_type() != torch::kFloat32) {
      return fail(Code::invalid, "parameter {} is not of type float32: only such models can be fine-tuned", parameter.name);
    }
    out.names.push_back(parameter.name);
    out.tensors.push_back(parameter.value.detach());  // shares its memory with the module
    out.parent.push_back(parameter.value.detach().clone());
  }
  if (out.tensors.empty()) return fail(Code::invalid, "the parent has no parameters: a frozen model can't be fine-tuned");
  return out;
}

std::vector<at::Tensor> masks_of_largest(const Parameters& parameters, double share) {
  std::vector<at::Tensor> moves, masks;
  for (size_t i = 0; i < parameters.tensors.size(); ++i) {
    moves.push_back((parameters.tensors[i] - parameters.parent[i]).abs().flatten());
  }
  at::Tensor all = torch::cat(moves);
  int64_t kept = std::clamp<int64_t>(std::llround(share * static_cast<double>(all.numel())), 1, all.numel());
  at::Tensor threshold = std::get<0>(torch::topk(all, kept)).min();
  for (const at::Tensor& parent : parameters.parent) {
    masks.push_back((moves[masks.size()] >= threshold).to(torch::kFloat32).reshape(parent.sizes()));
  }
  return masks;
}

std::vector<at::Tensor> masks_of_head(const Parameters& parameters) {
  auto layer = [](const std::string& name) { return name.substr(0, name.rfind('.') + 1); };
  std::vector<at::Tensor> masks;
  for (size_t i = 0; i < parameters.names.size(); ++i) {
    const bool head = layer(parameters.names[i]) == layer(parameters.names.back());
    masks.push_back(head ? torch::ones_like(parameters.parent[i]) : torch::zeros_like(parameters.parent[i]));
  }
  return masks;
}

std::vector<at::Tensor> masks_of_all(const Parameters& parameters) {
  std::vector<at::Tensor> masks;
  for (const at::Tensor& parent : parameters.parent) masks.push_back(torch::ones_like(parent));
  return masks;
}

void reset(Parameters& parameters) {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters.tensors.size(); ++i) parameters.tensors[i].copy_(parameters.parent[i]);
}

std::vector<at::Tensor> copies(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& tensor : tensors) out.push_back(tensor.detach().clone());
  return out;
}

Status settle(const Parameters& parameters, const std::vector<at::Tensor>& masks, const Delta& residual, Trained& trained) {
  std::vector<std::vector<float>> left = carried_over(parameters, residual), change;
  for (size_t i = 0; i < parameters.tensors.size(); ++i) {
    const at::Tensor moved = (parameters.tensors[i] - parameters.parent[i]).contiguous(), mask = masks[i].contiguous();
    std::vector<float> values(left[i].size());
    for (size_t k = 0; k < values.size(); ++k) {
      if (mask.data_ptr<float>()[k] == 0) continue;
      values[k] = moved.data_ptr<float>()[k] + left[i][k];
      left[i][k] = values[k];
    }
    change.push_back(std::move(values));
  }
  const float scale = largest(change) / kLevels;
  for (size_t i = 0; i < change.size(); ++i) {
    TensorDelta tensor = rounded(parameters.names[i], change[i], scale, kLevels);
    const at::Tensor parent = parameters.parent[i].contiguous();
    std::vector<float> values(parent.data_ptr<float>(), parent.data_ptr<float>() + parent.numel()), sent(change[i].size(), 0.0f);
    SKERRY_TRY(apply_delta(tensor, values));
    SKERRY_TRY(apply_delta(tensor, sent));
    parameters.tensors[i].copy_(torch::from_blob(values.data(), parent.sizes()));
    for (size_t k = 0; k < sent.size(); ++k) left[i][k] -= sent[k];
    if (!tensor.indices.empty()) trained.delta.tensors.push_back(std::move(tensor));
  }
  const float left_scale = largest(left) / kResidualLevels;
  for (size_t i = 0; i < left.size(); ++i) {
    TensorDelta tensor = rounded(parameters.names[i], left[i], left_scale, kResidualLevels);
    if (!tensor.indices.empty()) trained.residual.tensors.push_back(std::move(tensor));
  }
  return {};
}

}  // namespace skerry::learning::worker
