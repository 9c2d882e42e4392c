#include <catch2/catch.hpp>
#include <cmath>

#include "base/file.h"
#include "inference/compile/compile.h"
#include "inference/engine.h"
#include "tests/inference/fake_runtime.h"
#include "tests/inference/make_graph.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

namespace skerry::inference {
namespace {

namespace fs = std::filesystem;
using test::FakeRuntime;
using test::make_package;
using test::small_info;

// [2, 4] -> 3, as small_info() says.
graph::Graph small_graph() {
  graph::GraphBuilder b(1);
  const auto x = b.input({-1, 2, 4});
  const auto y = b.activate(b.conv(x, 8, 3), graph::Activation::relu);
  return b.finish({b.linear(b.node(graph::Reduce{graph::Reduce::Kind::mean, {2}, false}, {y}), 3)});
}

std::string small_plan_file() {
  const graph::Graph graph = small_graph();
  auto compiled = compile::compile(graph, graph::samples(graph, 64, 2));
  REQUIRE(compiled.ok());
  return plan::encode(compiled->plan);
}

struct Bench {
  skerry::test::TempDir dir;
  skerry::test::SimClock clock;
  Engine engine{Options{.models = dir / "models"}, make_plan_runtime(std::make_unique<FakeRuntime>()), clock};

  PackageInfo info(uint32_t version) const {
    PackageInfo info = small_info(version);
    info.int8_file = kPlanFile;
    return info;
  }
  fs::path folder(uint32_t version) { return dir / "models/toy" / std::to_string(version); }
};

Tensor windows(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count * 8));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) * 0.7f);
  return Tensor::fp32("input", {count, 2, 4}, values);
}

}  // namespace

TEST_CASE("plan runtime: the engine serves a package by its plan, as the fp32 model would answer") {
  Bench b;
  make_package(b.folder(1), b.info(1), small_plan_file());
  Status loaded = b.engine.load("toy", 1);
  INFO((loaded.ok() ? "" : loaded.error().message));
  REQUIRE(loaded.ok());
  REQUIRE(b.engine.serve("toy", 1).ok());
  CHECK((*b.engine.find("toy", 1))->session->description().find("plan ") == 0);
  CHECK((*b.engine.find("toy", 1))->session->platform() == "skerry_plan");
  CHECK((*b.engine.find("toy", 1))->session->no_plan().empty());
  const Tensor input = windows(5);
  auto answer = b.engine.infer("toy", {}, {input});
  REQUIRE(answer.ok());
  auto reference = graph::Reference::open(small_graph());
  auto expected = reference->run({{input.shape, input.floats()}});
  REQUIRE(expected.ok());
  const std::vector<float> got = answer->outputs[0].floats();
  REQUIRE(got.size() == 15);
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(expected->front().data[i]).margin(0.1));
}

TEST_CASE("plan runtime: a package without a plan goes to the other runtime, with its reason kept in model.toml") {
  Bench b;
  PackageInfo info = small_info(2);
  info.no_plan = "node 'x' (gru): is not there";
  make_package(b.folder(2), info, "linear 1");
  auto opened = Package::open(b.folder(2), 1 << 20);
  REQUIRE(opened.ok());
  CHECK(opened->info.no_plan == info.no_plan);
  REQUIRE(b.engine.load("toy", 2).ok());
  CHECK((*b.engine.find("toy", 2))->session->description().empty());
  CHECK((*b.engine.find("toy", 2))->session->platform() == "pytorch_torchscript");
  CHECK((*b.engine.find("toy", 2))->session->no_plan() == info.no_plan);
}

TEST_CASE("plan runtime: a damaged plan is refused, or served by LibTorch's file when the package has one") {
  Bench b;
  std::string damaged = small_plan_file();
  damaged[200] = static_cast<char>(damaged[200] ^ 4);
  make_package(b.folder(3), b.info(3), damaged);
  Status refused = b.engine.load("toy", 3);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::corrupt);
  CHECK(refused.error().message.find("plan.bin") != std::string::npos);
  fs::create_directories(b.folder(4));
  REQUIRE(write_file_atomic(b.folder(4) / kTorchFile, "linear 1").ok());
  make_package(b.folder(4), b.info(4), damaged);
  REQUIRE(b.engine.load("toy", 4).ok());
  CHECK((*b.engine.find("toy", 4))->session->no_plan().find("checksum") != std::string::npos);
}

TEST_CASE("plan runtime: a plan of other shapes than its package says is refused") {
  Bench b;
  PackageInfo info = b.info(5);
  info.window.rows = 6;
  make_package(b.folder(5), info, small_plan_file());
  Status refused = b.engine.load("toy", 5);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::invalid);
}

}  // namespace skerry::inference
