// The seam between the daemon and whatever executes a model: the plan runtime (plan/) for packages with a plan.bin, LibTorch for the rest, in
// libskerry_torch_runtime.so, loaded with dlopen so that skerryd does not link it (runtime_abi.h is the C door).
// Threads: Session::run may be called from many threads at once.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/package.h"
#include "inference/tensor.h"

namespace skerry::inference {

class Session {
 public:
  virtual ~Session() = default;
  // Inputs already checked against the specs. Error: invalid (the model refused the shapes), internal.
  virtual Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) const = 0;
  virtual std::string description() const { return {}; }  // for people and metadata: "plan avx512_core_vnni"
  virtual std::string platform() const { return "pytorch_torchscript"; }  // as clients of the Open Inference Protocol are told
  virtual std::string no_plan() const { return {}; }      // why it is no plan that answers; empty: it is one
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual std::string name() const = 0;  // "torch-int8"
  // Loads the int8 artefact. Error: corrupt, invalid, unavailable (the library is missing: names the path).
  virtual Result<std::shared_ptr<Session>> load(const Package& package) = 0;
};

// `library` empty: libskerry_torch_runtime.so beside the program. Nothing is loaded before the first load(): a node without models stays
// small. Once loaded it stays for the life of the process. Call before threads start: it sets environment variables of the libraries below.
std::unique_ptr<Runtime> make_torch_runtime(std::filesystem::path library);

// Plans by the plan runtime; packages without one, and plans that can't run here while their package has model.int8.pt, by `other` (may be null).
std::unique_ptr<Runtime> make_plan_runtime(std::unique_ptr<Runtime> other);

}  // namespace skerry::inference
