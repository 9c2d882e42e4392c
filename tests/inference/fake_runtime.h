// A runtime whose models are one line of text in their int8 file, so that package, engine and pipelines are
// tested without LibTorch:
//   "linear SCALE"  score k of a window = (k + 1) * SCALE * mean of the normalised window
//   "nan"           NaN for every window
//   "nan-above X"   NaN for a window whose mean is above X, else as linear 1
//   "short"         one score too few
//   "refuse"        can't be loaded
#pragma once

#include <atomic>
#include <cmath>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>

#include "base/file.h"
#include "inference/package.h"
#include "inference/runtime.h"

namespace skerry::inference::test {

class FakeSession final : public Session {
 public:
  FakeSession(std::string kind, float number, size_t labels)
      : kind_(std::move(kind)), number_(number), labels_(labels) {
    alive() += 1;
  }
  ~FakeSession() override { alive() -= 1; }

  Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) const override {
    std::vector<float> values = inputs[0].floats(), scores;
    auto batch = static_cast<size_t>(inputs[0].shape[0]);
    size_t per_window = values.size() / batch, labels = kind_ == "short" ? labels_ - 1 : labels_;
    for (size_t i = 0; i < batch; ++i) {
      double sum = 0;
      for (size_t j = 0; j < per_window; ++j) sum += values[i * per_window + j];
      auto mean = static_cast<float>(sum / static_cast<double>(per_window));
      bool nan = kind_ == "nan" || (kind_ == "nan-above" && mean > number_);
      for (size_t k = 0; k < labels; ++k)
        scores.push_back(nan ? NAN : static_cast<float>(k + 1) * (kind_ == "linear" ? number_ : 1) * mean);
    }
    return std::vector<Tensor>{
        Tensor::fp32("", {static_cast<int64_t>(batch), static_cast<int64_t>(labels)}, scores)};
  }

  static std::atomic<int>& alive() {
    static std::atomic<int> count{0};
    return count;
  }

 private:
  const std::string kind_;
  const float number_;
  const size_t labels_;
};

class FakeRuntime final : public Runtime {
 public:
  std::string name() const override { return "fake"; }
  Result<std::shared_ptr<Session>> load(const Package& package) override {
    SKERRY_ASSIGN(std::string text, read_file(package.file(package.info.int8_file), 1000));
    std::istringstream in(text);
    std::string kind;
    float number = 0;
    in >> kind >> number;
    if (kind == "refuse")
      return fail(Code::corrupt, "{} is refused", package.file(package.info.int8_file).string());
    return std::shared_ptr<Session>(std::make_shared<FakeSession>(kind, number, package.info.labels.size()));
  }
};

inline PackageInfo small_info(uint32_t version = 1) {  // [2, 4] -> 3, stride 2, a record per 10 ms
  PackageInfo info;
  info.name = "toy";
  info.version = version;
  info.architecture = "linear";
  info.engine = "onednn";
  info.labels = {"low", "middle", "high"};
  info.window.stream = "imu";
  info.window.fields = {"x", "y"};
  info.window.rows = 4;
  info.window.stride = 2;
  info.window.period = std::chrono::milliseconds(10);
  info.window.mean = {0, 0};
  info.window.deviation = {1, 1};
  return info;
}

// Seals a package of the fake runtime into `folder` and returns it.
inline std::filesystem::path make_package(const std::filesystem::path& folder, const PackageInfo& info,
                                          const std::string& model) {
  std::filesystem::create_directories(folder);
  SKERRY_CHECK(write_file_atomic(folder / info.int8_file, model).ok(), "test folder");
  Status sealed = seal_package(folder, info);
  SKERRY_CHECK(sealed.ok(), "{}", sealed.error().message);
  return folder;
}

}  // namespace skerry::inference::test
