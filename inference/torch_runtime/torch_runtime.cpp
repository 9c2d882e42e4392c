// libskerry_torch_runtime.so: runs TorchScript modules with LibTorch behind the C door of runtime_abi.h. The
// only file of this room that includes LibTorch. No exception leaves it.
//
// A module is frozen and then run by the bytecode interpreter itself, not by the graph executor: the executor
// profiles the first run and compiles in the second, 45 and 2 ms for a model of 0.1 ms, and again where it
// specialises. What is left is oneDNN, which prepares its kernels once per batch size (2 to 3 ms); the
// engine's warm-up takes the common sizes.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "inference/runtime_abi.h"
#include "inference/tensor.h"

using skerry::inference::DataType;

struct skerry_session {
  torch::jit::Module module;  // owns what the graph refers to
  torch::jit::Code code;
  size_t inputs;
};

struct skerry_answer {
  std::vector<at::Tensor> held;
  std::vector<skerry_tensor> tensors;
};

namespace {

void say(char* error, size_t bytes, const char* message) {
  if (error && bytes > 0) std::snprintf(error, bytes, "%s", message);
}

// c10's what() carries a stack trace; its first line is what a person needs.
std::string first_line(const std::exception& e) {
  const auto* c10_error = dynamic_cast<const c10::Error*>(&e);
  std::string text = c10_error ? c10_error->what_without_backtrace() : e.what();
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', end))
    text.replace(end, 1, " ");
  return text.substr(0, 500);
}

std::optional<at::ScalarType> scalar_type(uint8_t type) {
  switch (static_cast<DataType>(type)) {
    case DataType::fp32:
      return at::kFloat;
    case DataType::int64:
      return at::kLong;
    case DataType::int32:
      return at::kInt;
    case DataType::uint8:
      return at::kByte;
    case DataType::int8:
      return at::kChar;
    case DataType::boolean:
      return at::kBool;
    case DataType::fp64:
      return at::kDouble;
    default:
      return std::nullopt;
  }
}

std::optional<DataType> data_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DataType::fp32;
    case at::kLong:
      return DataType::int64;
    case at::kInt:
      return DataType::int32;
    case at::kByte:
      return DataType::uint8;
    case at::kChar:
      return DataType::int8;
    case at::kBool:
      return DataType::boolean;
    case at::kDouble:
      return DataType::fp64;
    default:
      return std::nullopt;
  }
}

// The number of threads is a property of each calling thread in OpenMP, and a new one starts with one per
// core.
void one_thread() {
  thread_local const bool done = (at::set_num_threads(1), true);
  (void)done;
}

// Weights are packed for the engine that is set while the module is read.
void set_engine(const std::string& engine) {
  at::QEngine wanted = engine == "qnnpack" ? at::QEngine::QNNPACK : at::QEngine::ONEDNN;
  const auto& known = at::globalContext().supportedQEngines();
  if (std::find(known.begin(), known.end(), wanted) == known.end()) {
    throw std::runtime_error("this LibTorch has no quantization engine '" + engine + "'");
  }
  at::globalContext().setQEngine(wanted);
}

skerry_session* load(const char* path, const char* engine, char* error, size_t error_bytes) {
  static std::mutex one_at_a_time;  // the engine is global
  std::lock_guard lock(one_at_a_time);
  try {
    one_thread();
    set_engine(engine);
    torch::jit::Module module = torch::jit::load(path, at::kCPU);
    if (!module.find_method("forward")) throw std::runtime_error("the module has no forward()");
    module.eval();
    module = torch::jit::freeze(module);
    auto graph = module.get_method("forward").graph()->copy();
    torch::jit::Inline(*graph);
    size_t inputs = graph->inputs().size() - 1;  // without self
    return new skerry_session{module, torch::jit::Code(graph, "forward"), inputs};
  } catch (const std::exception& e) {
    say(error, error_bytes, first_line(e).c_str());
  } catch (...) {
    say(error, error_bytes, "LibTorch threw something unknown");
  }
  return nullptr;
}

void unload(skerry_session* session) { delete session; }

at::Tensor borrowed(const skerry_tensor& tensor) {
  std::optional<at::ScalarType> type = scalar_type(tensor.type);
  if (!type || tensor.rank > SKERRY_RUNTIME_RANK_MAX)
    throw std::runtime_error("a tensor of an unknown type or rank was given");
  size_t bytes = at::elementSize(*type);
  for (uint32_t i = 0; i < tensor.rank; ++i) bytes *= static_cast<size_t>(tensor.shape[i]);
  if (bytes != tensor.bytes) throw std::runtime_error("a tensor's bytes don't fit its shape");
  return at::from_blob(const_cast<void*>(tensor.data), at::IntArrayRef(tensor.shape, tensor.rank),
                       at::TensorOptions(*type));
}

void append(skerry_answer& answer, const at::Tensor& value) {
  at::Tensor tensor = (value.is_quantized() ? value.dequantize() : value).contiguous();
  std::optional<DataType> type = data_type(tensor.scalar_type());
  if (!type || tensor.dim() > SKERRY_RUNTIME_RANK_MAX)
    throw std::runtime_error("the module answered a tensor of an unknown type or rank");
  skerry_tensor out{};
  out.type = static_cast<uint8_t>(*type);
  out.rank = static_cast<uint32_t>(tensor.dim());
  std::copy(tensor.sizes().begin(), tensor.sizes().end(), out.shape);
  out.data = tensor.data_ptr();
  out.bytes = tensor.nbytes();
  answer.held.push_back(std::move(tensor));
  answer.tensors.push_back(out);
}

skerry_answer* run(const skerry_session* session, const skerry_tensor* inputs, size_t count, char* error,
                   size_t error_bytes) {
  try {
    one_thread();
    c10::InferenceMode inference;
    if (count != session->inputs)
      throw std::runtime_error("the module takes " + std::to_string(session->inputs) + " inputs");
    torch::jit::Stack stack;
    stack.emplace_back(session->module._ivalue());
    for (size_t i = 0; i < count; ++i) stack.emplace_back(borrowed(inputs[i]));
    torch::jit::InterpreterState(session->code).run(stack);
    auto answer = std::make_unique<skerry_answer>();
    if (stack.size() != 1) throw std::runtime_error("the module answered nothing");
    if (stack[0].isTensor()) {
      append(*answer, stack[0].toTensor());
    } else if (stack[0].isTuple()) {
      for (const c10::IValue& value : stack[0].toTupleRef().elements()) append(*answer, value.toTensor());
    } else {
      throw std::runtime_error("the module answered neither a tensor nor a tuple of them");
    }
    return answer.release();
  } catch (const std::exception& e) {
    say(error, error_bytes, first_line(e).c_str());
  } catch (...) {
    say(error, error_bytes, "LibTorch threw something unknown");
  }
  return nullptr;
}

size_t outputs(const skerry_answer* answer, const skerry_tensor** first) {
  *first = answer->tensors.data();
  return answer->tensors.size();
}

void release(skerry_answer* answer) { delete answer; }

constexpr skerry_runtime kRuntime{SKERRY_RUNTIME_ABI, "torch-int8", load, unload, run, outputs, release};

}  // namespace

extern "C" const skerry_runtime* skerry_runtime_get(void) { return &kRuntime; }
