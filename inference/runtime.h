// The seam between the daemon and whatever executes a model. Today: LibTorch in libskerry_torch_runtime.so, loaded with dlopen so
// that skerryd does not link it (runtime_abi.h is the C door). The int8 plan will be a second Runtime.
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

}  // namespace skerry::inference
