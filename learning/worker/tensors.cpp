#include "learning/worker/tensors.h"

#include <cstring>
#include <new>
#include <sstream>

#include "base/file.h"

namespace skerry::learning::worker {

at::Tensor windows_tensor(const ExampleSet& set) {
  int64_t elements = static_cast<int64_t>(set.channels) * set.rows;
  at::Tensor out = torch::empty({static_cast<int64_t>(set.windows.size()), set.channels, set.rows});
  float* to = out.data_ptr<float>();
  for (const LabelledWindow& window : set.windows) {
    std::memcpy(to, window.data.data(), sizeof(float) * elements);
    to += elements;
  }
  return out;
}

at::Tensor labels_tensor(const ExampleSet& set) {
  at::Tensor out = torch::empty({static_cast<int64_t>(set.windows.size())}, torch::kInt64);
  int64_t* to = out.data_ptr<int64_t>();
  for (const LabelledWindow& window : set.windows) *to++ = window.label;
  return out;
}

Result<torch::jit::Module> load_module(const std::filesystem::path& file) {
  try {
    torch::jit::Module module = torch::jit::load(file.string());
    module.eval();
    return module;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return from_exception(error, fmt::format("{} is not a TorchScript model", file.string()));
  }
}

std::string save_module(const torch::jit::Module& module) {
  std::ostringstream out;
  module.save(out);
  return std::move(out).str();
}

Error from_exception(const std::exception& error, const std::string& what) {
  std::string text = error.what();
  if (const auto* torch_error = dynamic_cast<const c10::Error*>(&error)) text = torch_error->what_without_backtrace();
  if (text.find("not enough memory") != std::string::npos) throw std::bad_alloc();
  constexpr size_t kTextMax = 400;
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  if (text.size() > kTextMax) text = text.substr(0, kTextMax) + "...";
  return fail(Code::invalid, "{}: {}", what, text);
}

}  // namespace skerry::learning::worker
