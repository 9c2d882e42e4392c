#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "base/random.h"
#include "inference/engine.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::inference {
namespace {

namespace fs = std::filesystem;
using skerry::test::SimClock;
using skerry::test::TempDir;

bool torch_is_loaded() {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    if (line.find("libtorch") != std::string::npos || line.find("libc10") != std::string::npos) return true;
  }
  return false;
}
const bool kLoadedAtStart = torch_is_loaded();  // before main: what this program links

fs::path make_package(const fs::path& models, const std::string& kind, uint32_t version) {
  fs::path folder = models / kind / std::to_string(version);
  std::string command =
      fmt::format("{}/inference_make_test_package {} {} {}", SKERRY_BIN_DIR, folder.string(), kind, version);
  int status = std::system(command.c_str());
  INFO(command);
  REQUIRE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  return folder;
}

struct Bench {
  TempDir dir;
  SimClock clock;
  Engine engine{Options{.models = dir / "models"}, make_torch_runtime({}), clock};
  void serve(const std::string& kind, uint32_t version) {
    make_package(dir / "models", kind, version);
    Status loaded = engine.load(kind, version);
    INFO((loaded.ok() ? "" : loaded.error().message));
    REQUIRE(loaded.ok());
    REQUIRE(engine.serve(kind, version).ok());
  }
};

Tensor random_windows(uint64_t seed, int64_t batch, int64_t channels, int64_t rows) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(batch * channels * rows));
  for (float& value : values) value = static_cast<float>(random.normal());
  return Tensor::fp32("input", {batch, channels, rows}, values);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("torch runtime: the program does not link LibTorch and loads it with the first model") {
  CHECK_FALSE(kLoadedAtStart);
  Bench b;
  b.serve("small", 1);
  CHECK(torch_is_loaded());
}

TEST_CASE("torch runtime: an int8 module answers the same alone, in batches, and from four threads") {
  Bench b;
  b.serve("har", 1);
  constexpr int64_t kBatch = 7;
  Tensor all = random_windows(1, kBatch, 9, 128);
  auto answer = b.engine.infer("har", {}, {all});
  REQUIRE(answer.ok());
  const std::vector<float> expected = answer->outputs[0].floats();
  REQUIRE(expected.size() == kBatch * 6);
  CHECK(std::adjacent_find(expected.begin(), expected.end(), std::not_equal_to<>()) != expected.end());

  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<float> values = all.floats();
      for (int i = 0; i < 40; ++i) {
        auto at = static_cast<size_t>((i + t) % kBatch);
        std::vector<float> one(values.begin() + static_cast<ptrdiff_t>(at * 9 * 128),
                               values.begin() + static_cast<ptrdiff_t>((at + 1) * 9 * 128));
        auto alone = b.engine.infer("har", {}, {Tensor::fp32("input", {1, 9, 128}, one)});
        auto together = b.engine.infer("har", {}, {all});
        if (!alone.ok() || !together.ok() || together->outputs[0].floats() != expected ||
            !std::equal(expected.begin() + static_cast<ptrdiff_t>(at * 6),
                        expected.begin() + static_cast<ptrdiff_t>(at * 6 + 6),
                        alone->outputs[0].floats().begin())) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("torch runtime: int8 is close to the fp32 module it was made from") {
  Bench b;
  b.serve("small", 3);
  // The trainable module of the same package, served as if it were the artefact.
  PackageInfo info = Package::open(b.dir.path() / "models/small/3", 1 << 20)->info;
  info.version = 4;
  info.int8_file = "model.pt";
  fs::create_directories(b.dir.path() / "models/small/4");
  fs::copy_file(b.dir.path() / "models/small/3/model.pt", b.dir.path() / "models/small/4/model.pt");
  REQUIRE(seal_package(b.dir.path() / "models/small/4", info).ok());
  REQUIRE(b.engine.load("small", 4).ok());

  Tensor windows = random_windows(2, 16, 2, 16);
  auto int8 = b.engine.infer("small", 3, {windows}), fp32 = b.engine.infer("small", 4, {windows});
  REQUIRE(int8.ok());
  REQUIRE(fp32.ok());
  auto a = int8->outputs[0].floats(), e = fp32->outputs[0].floats();
  CHECK(a != e);
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - e[i]) * (a[i] - e[i]);
    norm += e[i] * e[i];
  }
  CHECK(std::sqrt(error / norm) < 0.1);
}

TEST_CASE("torch runtime: fifty swaps under load fail no request and free what they replace") {
  Bench b;
  b.serve("small", 1);
  const fs::path models = b.dir.path() / "models/small";
  PackageInfo info = Package::open(models / "1", 1 << 20)->info;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> answered{0}, failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      Tensor windows = random_windows(4, 1, 2, 16);
      while (!stop) {
        if (!b.engine.infer("small", {}, {windows}).ok()) ++failed;
        ++answered;
      }
    });
  }
  std::vector<std::weak_ptr<Session>> old;
  for (uint32_t version = 2; version <= 51; ++version) {
    fs::create_directories(models / std::to_string(version));
    fs::copy_file(models / "1" / info.int8_file, models / std::to_string(version) / info.int8_file);
    info.version = version;
    REQUIRE(seal_package(models / std::to_string(version), info).ok());
    old.push_back((*b.engine.find("small", version - 1))->session);
    CHECK(b.engine.load("small", version).ok());
    CHECK(b.engine.serve("small", version).ok());
    CHECK(b.engine.unload("small", version - 1).ok());
    uint64_t seen = answered;
    while (answered < seen + 4) std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(answered > 200);
  for (const auto& session : old) CHECK(session.expired());
}

TEST_CASE(
    "torch runtime: what LibTorch throws is an error of the request, and the next request is answered") {
  Bench b;
  b.serve("throws", 1);
  std::vector<float> loud(32, 9.0f);
  auto answer = b.engine.infer("throws", {}, {Tensor::fp32("input", {1, 2, 16}, loud)});
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().code == Code::internal);
  CHECK(has(answer.error().message, "throws/1"));
  CHECK_FALSE(has(answer.error().message, "\n"));
  CHECK(answer.error().message.size() < 700);
  CHECK(b.engine.infer("throws", {}, {random_windows(5, 1, 2, 16)}).ok());
}

TEST_CASE("torch runtime: a missing or foreign library is a clear error, and looked for again") {
  TempDir dir;
  SimClock clock;
  make_package(dir / "models", "fp32", 1);
  fs::path library = dir / "libskerry_torch_runtime.so";
  Engine engine(Options{.models = dir / "models"}, make_torch_runtime(library), clock);
  Status missing = engine.load("fp32", 1);
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().code == Code::unavailable);
  CHECK(has(missing.error().message, library.string()));
  std::ofstream(library) << "not a library";
  CHECK(engine.load("fp32", 1).error().code == Code::unavailable);
  fs::remove(library);
  fs::create_symlink(fs::path(SKERRY_BIN_DIR) / "libskerry_torch_runtime.so", library);
  CHECK(engine.load("fp32", 1).ok());

  fs::path other = dir / "libother.so";
  fs::create_symlink("/lib/x86_64-linux-gnu/libz.so.1", other);  // a library, but not a runtime
  Engine foreign(Options{.models = dir / "models"}, make_torch_runtime(other), clock);
  Status refused = foreign.load("fp32", 1);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::unavailable);
  CHECK(has(refused.error().message, "is not a runtime for this program"));
}

TEST_CASE("torch runtime: a module that is cut off, garbage, or of another shape is refused, never a crash") {
  TempDir dir;
  SimClock clock;
  fs::path good = make_package(dir / "models", "small", 1);
  Engine engine(Options{.models = dir / "models"}, make_torch_runtime({}), clock);
  PackageInfo info = Package::open(good, 1 << 20)->info;
  const std::string module = *read_file(good / info.int8_file, 1 << 20);
  Random random(Catch::rngSeed());
  auto seal = [&](const std::string& content) {  // a package whose checksums hold, with a bad module
    ++info.version;
    fs::path folder = dir.path() / "models/small" / std::to_string(info.version);
    fs::create_directories(folder);
    std::ofstream(folder / info.int8_file, std::ios::binary) << content;
    REQUIRE(seal_package(folder, info).ok());
    return engine.load("small", info.version);
  };
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{100}, module.size() / 2, module.size() - 1}) {
    Status loaded = seal(module.substr(0, bytes));
    INFO(bytes);
    REQUIRE_FALSE(loaded.ok());
    CHECK(loaded.error().code == Code::corrupt);
    CHECK(has(loaded.error().message, info.int8_file));
  }
  CHECK(seal(std::string(5000, 'x')).error().code == Code::corrupt);
  info.labels.push_back("d");
  CHECK(has(seal(module).error().message, "[1, 4]"));
  info.labels.pop_back();
  info.window.fields.push_back("f2");
  info.window.mean.push_back(0);
  info.window.deviation.push_back(1);
  Status wide = seal(module);
  REQUIRE_FALSE(wide.ok());
  CHECK(wide.error().code == Code::invalid);
}

TEST_CASE("torch runtime: an engine that this LibTorch lacks is named") {
  TempDir dir;
  SimClock clock;
  fs::path folder = make_package(dir / "models", "fp32", 1);
  PackageInfo info = Package::open(folder, 1 << 20)->info;
  info.engine = "qnnpack";
  REQUIRE(seal_package(folder, info).ok());
  Engine engine(Options{.models = dir / "models"}, make_torch_runtime({}), clock);
  Status loaded = engine.load("fp32", 1);
  if (!loaded.ok()) CHECK(has(loaded.error().message, "qnnpack"));
}

}  // namespace skerry::inference
