// The daemon's side of the LibTorch runtime: finds the library, loads it at the first model, and speaks its C
// door.
#include <dlfcn.h>
#include <stdlib.h>

#include <array>
#include <cstring>
#include <mutex>

#include "inference/runtime.h"
#include "inference/runtime_abi.h"

namespace skerry::inference {
namespace {

constexpr const char* kLibrary = "libskerry_torch_runtime.so";
constexpr size_t kErrorBytes = 1024;

std::filesystem::path beside_the_program() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / kLibrary;
}

class TorchSession final : public Session {
 public:
  TorchSession(const skerry_runtime& runtime, skerry_session* session)
      : runtime_(runtime), session_(session) {}
  ~TorchSession() override { runtime_.unload(session_); }

  Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) const override {
    std::vector<skerry_tensor> given(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].shape.size() > SKERRY_RUNTIME_RANK_MAX) {
        return fail(Code::invalid, "input '{}' has more than {} dimensions", inputs[i].name,
                    SKERRY_RUNTIME_RANK_MAX);
      }
      given[i].type = static_cast<uint8_t>(inputs[i].type);
      given[i].rank = static_cast<uint32_t>(inputs[i].shape.size());
      for (size_t d = 0; d < inputs[i].shape.size(); ++d) given[i].shape[d] = inputs[i].shape[d];
      given[i].data = inputs[i].data.data();
      given[i].bytes = inputs[i].data.size();
    }
    std::array<char, kErrorBytes> error{};
    skerry_answer* answer = runtime_.run(session_, given.data(), given.size(), error.data(), error.size());
    if (!answer) return fail(Code::internal, "{}", error.data());
    const skerry_tensor* first = nullptr;
    size_t count = runtime_.outputs(answer, &first);
    std::vector<Tensor> outputs(count);
    for (size_t i = 0; i < count; ++i) {
      outputs[i].type = static_cast<DataType>(first[i].type);
      outputs[i].shape.assign(first[i].shape, first[i].shape + first[i].rank);
      outputs[i].data.resize(first[i].bytes);
      if (first[i].bytes > 0) std::memcpy(outputs[i].data.data(), first[i].data, first[i].bytes);
    }
    runtime_.release(answer);
    return outputs;
  }

 private:
  const skerry_runtime& runtime_;
  skerry_session* session_;
};

class TorchRuntime final : public Runtime {
 public:
  explicit TorchRuntime(std::filesystem::path library)
      : library_(library.empty() ? beside_the_program() : std::move(library)) {}

  std::string name() const override { return "torch-int8"; }

  Result<std::shared_ptr<Session>> load(const Package& package) override {
    SKERRY_ASSIGN(const skerry_runtime* runtime, open_library());
    std::string path = package.file(package.info.int8_file).string();
    std::array<char, kErrorBytes> error{};
    skerry_session* session =
        runtime->load(path.c_str(), package.info.engine.c_str(), error.data(), error.size());
    if (!session) return fail(Code::corrupt, "{} can't be loaded: {}", path, error.data());
    return std::shared_ptr<Session>(std::make_shared<TorchSession>(*runtime, session));
  }

 private:
  // Never closed again: LibTorch registers things for the life of the process. A missing library is looked
  // for again at the next load.
  Result<const skerry_runtime*> open_library() {
    std::lock_guard lock(mutex_);
    if (runtime_) return runtime_;
    void* handle = ::dlopen(library_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const char* reason = ::dlerror();
      return fail(
          Code::unavailable,
          "the LibTorch runtime {} can't be loaded: {}; install it there or set inference.torch_runtime",
          library_.string(), reason ? reason : "unknown");
    }
    auto get = reinterpret_cast<decltype(&skerry_runtime_get)>(::dlsym(handle, "skerry_runtime_get"));
    const skerry_runtime* runtime = get ? get() : nullptr;
    if (!runtime || runtime->abi != SKERRY_RUNTIME_ABI) {
      ::dlclose(handle);
      return fail(
          Code::unavailable,
          "{} is not a runtime for this program (it has abi {}, {} is needed): install both from one build",
          library_.string(), runtime ? std::to_string(runtime->abi) : "none", SKERRY_RUNTIME_ABI);
    }
    runtime_ = runtime;
    return runtime_;
  }

  const std::filesystem::path library_;
  std::mutex mutex_;
  const skerry_runtime* runtime_ = nullptr;
};

}  // namespace

std::unique_ptr<Runtime> make_torch_runtime(std::filesystem::path library) {
  // Read by OpenBLAS and OpenMP when they are loaded: without these, each would start a thread per core for
  // windows of a few kilobytes.
  ::setenv("OPENBLAS_NUM_THREADS", "1", 0);
  ::setenv("OMP_NUM_THREADS", "1", 0);
  return std::make_unique<TorchRuntime>(std::move(library));
}

}  // namespace skerry::inference
