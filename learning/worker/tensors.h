// What the LibTorch files here share. Includes LibTorch: only for the .cpp files of this folder that need it.
#pragma once

#include <torch/script.h>

#include <filesystem>
#include <string>

#include "base/result.h"
#include "learning/job.h"

namespace skerry::learning::worker {

at::Tensor windows_tensor(const ExampleSet& set);  // [n, channels, rows]
at::Tensor labels_tensor(const ExampleSet& set);   // [n] int64
Result<torch::jit::Module> load_module(const std::filesystem::path& file);
std::string save_module(const torch::jit::Module& module);
Error from_exception(const std::exception& error, const std::string& what);

}  // namespace skerry::learning::worker
