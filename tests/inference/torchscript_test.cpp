// What LibTorch itself answers is the measure.
#include "inference/frontends/torchscript.h"

#include <torch/script.h>
#include <torch/torch.h>

#include <sstream>

#include "inference/frontends/onnx.h"
#include "tests/inference/frontend_support.h"
#include "tests/support/real_data.h"

// LibTorch has a CHECK of its own.
#undef CHECK
#define CHECK(...) INTERNAL_CATCH_TEST("CHECK", Catch::ResultDisposition::ContinueOnFailure, __VA_ARGS__)

using namespace skerry;
using namespace skerry::inference::graph;
using inference::frontends::from_torchscript;
using skerry::test::answers;
using skerry::test::random_array;

namespace {

std::string saved(torch::jit::Module& module) {
  std::ostringstream out;
  module.save(out);
  return out.str();
}

Result<Graph> read(const std::string& file, const std::vector<Shape>& inputs) {
  return from_torchscript(std::as_bytes(std::span(file)), inputs);
}

// A module whose parameters are random tensors of these shapes.
torch::jit::Module module_of(const std::string& source, const std::vector<std::pair<std::string, std::vector<int64_t>>>& parameters) {
  torch::manual_seed(1);
  torch::jit::Module module("Net");
  module.register_attribute("training", c10::BoolType::get(), false);
  for (const auto& [name, shape] : parameters) module.register_parameter(name, torch::randn(shape) * 0.5, false);
  module.define(source);
  return module;
}

at::Tensor tensor_of(const Array& array) { return torch::tensor(array.data).reshape(array.shape); }

std::vector<float> own_answer(torch::jit::Module& module, const Array& input) {
  torch::NoGradGuard no_grad;
  c10::IValue out = module.forward({tensor_of(input)});
  at::Tensor tensor = out.isTuple() ? out.toTuple()->elements()[0].toTensor() : out.toTensor();
  tensor = tensor.contiguous();
  return {tensor.data_ptr<float>(), tensor.data_ptr<float>() + tensor.numel()};
}

// The module of this forward(), LibTorch's answer and ours, with a batch of 3 through a graph of unknown batch.
Graph check_same(const std::string& body, Shape input, const std::vector<std::pair<std::string, std::vector<int64_t>>>& parameters = {}) {
  INFO(body);
  torch::jit::Module module = module_of("def forward(self, x: Tensor):\n" + body, parameters);
  Array x = random_array(input, 5, -2, 2);
  std::vector<float> wanted = own_answer(module, x);
  Shape unknown = input;
  unknown[0] = -1;
  Result<Graph> graph = read(saved(module), {unknown});
  INFO((graph.ok() ? "" : graph.error().message));
  REQUIRE(graph.ok());
  std::vector<float> got = answers(*graph, {x})[0].data;
  INFO(describe(*graph));
  REQUIRE(got.size() == wanted.size());
  CHECK(skerry::test::distance(got, wanted) < 1e-5);
  return *graph;
}

std::string refusal(const std::string& body, Shape input,
                    const std::vector<std::pair<std::string, std::vector<int64_t>>>& parameters = {}) {
  torch::jit::Module module = module_of("def forward(self, x: Tensor):\n" + body, parameters);
  input[0] = -1;
  Result<Graph> graph = read(saved(module), {input});
  REQUIRE_FALSE(graph.ok());
  INFO(graph.error().message);
  CHECK(graph.error().code == Code::unavailable);
  return graph.error().message;
}

}  // namespace

TEST_CASE("torchscript: our own network for human activities") {
  Graph graph = check_same(R"(
  x = torch.max_pool1d(torch.relu(torch.conv1d(x, self.w1, self.b1, [1], [2], [1], 1)), [2], [2], [0], [1], False)
  x = torch.max_pool1d(torch.relu(torch.conv1d(x, self.w2, self.b2, [1], [2], [1], 1)), [2], [2], [0], [1], False)
  x = torch.relu(torch.conv1d(x, self.w3, self.b3, [1], [2], [1], 1))
  return torch.linear(torch.mean(x, [-1], False), self.head, self.bias)
)",
                           {3, 9, 128},
                           {{"w1", {32, 9, 5}},
                            {"b1", {32}},
                            {"w2", {48, 32, 5}},
                            {"b2", {48}},
                            {"w3", {48, 48, 5}},
                            {"b3", {48}},
                            {"head", {6, 48}},
                            {"bias", {6}}});
  CHECK(graph.nodes.size() == 10);
}

TEST_CASE("torchscript: layers") {
  check_same("  return torch.conv2d(x, self.w, self.b, [2, 1], [1, 0], [1, 2], 2)\n", {3, 4, 9, 8}, {{"w", {6, 2, 3, 3}}, {"b", {6}}});
  check_same("  return torch.conv2d(x, self.w, None, [1], [1], [1], 4)\n", {3, 4, 5, 5}, {{"w", {4, 1, 3, 3}}});
  check_same("  return torch.conv1d(x, self.w, None, [1], 'same', [2], 1)\n", {3, 2, 9}, {{"w", {4, 2, 4}}});
  check_same("  return torch.addmm(self.b, x, torch.t(self.w))\n", {3, 4}, {{"w", {5, 4}}, {"b", {5}}});
  check_same("  return torch.matmul(x, self.w) + self.b\n", {3, 2, 4}, {{"w", {4, 5}}, {"b", {5}}});
  check_same("  return torch.matmul(x, torch.transpose(x, 1, 2))\n", {3, 2, 4});
  check_same("  return torch.batch_norm(x, self.g, self.b, self.m, torch.abs(self.v), False, 0.1, 1e-3, False)\n", {3, 4, 5},
             {{"g", {4}}, {"b", {4}}, {"m", {4}}, {"v", {4}}});
  check_same("  return torch.layer_norm(x, [4, 5], self.g, self.b, 1e-5, False)\n", {3, 4, 5}, {{"g", {4, 5}}, {"b", {4, 5}}});
}

TEST_CASE("torchscript: activations") {
  for (const char* f : {"torch.relu(x)",
                        "torch.sigmoid(x)",
                        "torch.tanh(x)",
                        "torch.clamp(x, -0.5, 0.7)",
                        "torch.clamp_min(x, 0.1)",
                        "torch.clamp(x, None, 0.5)",
                        "torch.softmax(x, 1)",
                        "torch.log_softmax(x, -1)",
                        "torch.abs(x)",
                        "torch.exp(x)",
                        "torch.sqrt(torch.abs(x))",
                        "torch.rsqrt(torch.abs(x) + 1)",
                        "torch.neg(x)",
                        "torch.reciprocal(x + 5)",
                        "x - 2 * x * x / 3",
                        "1 - x",
                        "torch.rsub(x, 2.0, 3)",
                        "torch.pow(x, 2)",
                        "torch.add(x, x, alpha=3)",
                        "torch.minimum(x, -x)"}) {
    check_same(std::string("  return ") + f + "\n", {3, 4, 5});
  }
  for (const char* f : {"silu(x)", "hardswish(x)", "hardsigmoid(x)", "gelu(x)", "leaky_relu(x, 0.2)", "relu6(x)", "elu(x, 0.5)",
                        "hardtanh(x, -0.5, 0.5)"}) {
    check_same(std::string("  return torch.") + f + "\n", {3, 4, 5});
  }
}

TEST_CASE("torchscript: pools") {
  check_same("  return torch.max_pool2d(x, [3, 2], [2, 2], [1, 0], [1, 1], True)\n", {3, 2, 8, 7});
  check_same("  return torch.max_pool2d(x, [2], [], [0], [1], False)\n", {3, 2, 8, 7});
  check_same("  return torch.avg_pool1d(x, [3], [2], [1], False, True)\n", {3, 2, 9});
  check_same("  return torch.avg_pool1d(x, [3], [2], [1], False, False)\n", {3, 2, 9});
  check_same("  return torch.avg_pool1d(x, [3], [2], [0], True, True)\n", {3, 2, 8});
  check_same("  return torch.adaptive_avg_pool1d(x, [1])\n", {3, 2, 9});
  check_same("  return torch.adaptive_avg_pool1d(x, [3])\n", {3, 2, 9});
}

TEST_CASE("torchscript: shapes, and calculations with them") {
  check_same("  return x.view(x.size(0), -1)\n", {3, 4, 5});
  check_same("  return x.reshape([x.size(0), x.size(1) * x.size(2)])\n", {3, 4, 5});
  check_same("  return torch.flatten(x, 1)\n", {3, 4, 5});
  check_same("  n, c, t = x.size()\n  return x.view(n, c // 2, 2, t).transpose(1, 2).contiguous().view(n, c, t)\n",
             {3, 4, 5});  // channel shuffle
  check_same("  return x.permute([0, 2, 1]).unsqueeze(-1).squeeze(3)\n", {3, 4, 5});
  check_same("  a, b = torch.chunk(x, 2, 1)\n  return torch.cat([b, a], 1)\n", {3, 4, 5});
  check_same("  return x[:, 1:3, ::2] + x[:, -1].unsqueeze(1)[:, :, 0:3]\n", {3, 4, 5});
  check_same("  return x.select(2, -1)\n", {3, 4, 5});
  check_same("  return torch.constant_pad_nd(x, [1, 2, 0, 3], 0.5)\n", {3, 4, 5});
  check_same("  return torch.mean(x, [1, 2], True) + torch.sum(x, [-1], True) + torch.amax(x, [1], True)\n", {3, 4, 5});
  check_same("  assert x.dim() == 3, 'three dimensions are wanted'\n  return x * 2\n", {3, 4, 5});
}

TEST_CASE("torchscript: what writes in place changes every name of it") {
  check_same("  y = x + 1\n  z = torch.relu_(y)\n  return y + z\n", {3, 4});
  check_same("  y = x * 2\n  y += x\n  return torch.sigmoid_(y)\n", {3, 4});
  CHECK(refusal("  y = x * 2\n  z = y.view(-1, 2, 2)\n  z += 1\n  return y\n", {3, 4}).find("writes into a view") != std::string::npos);
  CHECK(refusal("  y = x * 2\n  z = y.view(-1, 2, 2)\n  y += 1\n  return z\n", {3, 4}).find("writes into a tensor that has views") !=
        std::string::npos);
}

TEST_CASE("torchscript: recurrent layers in both directions and over each other") {
  const std::vector<std::pair<std::string, std::vector<int64_t>>> gru = {{"w0", {12, 3}}, {"r0", {12, 4}}, {"b0", {12}}, {"c0", {12}}};
  check_same(R"(
  h = torch.zeros([1, x.size(0), 4])
  out, last = torch.gru(x, h, [self.w0, self.r0, self.b0, self.c0], True, 1, 0.0, False, False, True)
  return out[:, -1] + last[0]
)",
             {3, 6, 3}, gru);
  check_same(R"(
  h = torch.zeros([4, x.size(0), 2])
  out, last = torch.gru(x, h,
    [self.a, self.b, self.c, self.d, self.a, self.b, self.c, self.d,
     self.e, self.b, self.c, self.d, self.e, self.b, self.c, self.d], True, 2, 0.0, False, True, True)
  return torch.cat([out.flatten(1), last.transpose(0, 1).flatten(1)], 1)
)",
             {3, 5, 3}, {{"a", {6, 3}}, {"b", {6, 2}}, {"c", {6}}, {"d", {6}}, {"e", {6, 4}}});
  check_same(R"(
  h = torch.zeros([1, x.size(0), 4])
  out, last, cell = torch.lstm(x, [h, h], [self.w, self.r, self.b, self.c], True, 1, 0.0, False, False, True)
  return torch.cat([out.flatten(1), last[0], cell[0]], 1)
)",
             {3, 6, 3}, {{"w", {16, 3}}, {"r", {16, 4}}, {"b", {16}}, {"c", {16}}});
  check_same(R"(
  out, last, cell = torch.lstm(x.transpose(0, 1), [self.start, self.start],
    [self.w, self.r, self.w, self.r], False, 1, 0.0, False, True, False)
  return out.transpose(0, 1)
)",
             {1, 6, 3}, {{"w", {8, 3}}, {"r", {8, 2}}, {"start", {2, 1, 2}}});
}

TEST_CASE("torchscript: submodules are inlined, training is switched off") {
  torch::manual_seed(2);
  torch::jit::Module inner("Inner"), outer("Outer");
  inner.register_attribute("training", c10::BoolType::get(), true);
  inner.register_parameter("w", torch::randn({3, 4}), false);
  inner.define("def forward(self, x: Tensor):\n  return torch.dropout(torch.linear(x, self.w), 0.5, self.training)\n");
  outer.register_attribute("training", c10::BoolType::get(), true);
  outer.register_module("inner", inner);
  outer.define("def forward(self, x: Tensor):\n  return torch.relu(self.inner.forward(x))\n");
  Result<Graph> graph = read(saved(outer), {{-1, 4}});
  REQUIRE(graph.ok());
  outer.eval();
  Array x = random_array({3, 4}, 1);
  CHECK(skerry::test::distance(answers(*graph, {x})[0].data, own_answer(outer, x)) < 1e-5);
}

TEST_CASE("torchscript: what is missing, or can't be, names itself") {
  CHECK(refusal("  return torch.cumsum(x, 1)\n", {3, 4}).find("operator aten::cumsum (TorchScript)") != std::string::npos);
  CHECK(refusal("  for i in range(int(x.sum())):\n    x = x + 1\n  return x\n", {3, 4}).find("is over the batch") != std::string::npos);
  CHECK(refusal("  for i in range(x.size(1)):\n    x = x + 1\n  return x\n", {3, 4}).find("operator prim::Loop") != std::string::npos);
  CHECK(refusal("  return torch.mean(x)\n", {3, 4}).find("over the batch") != std::string::npos);
  CHECK(refusal("  return x.view([x.size(0) * 2, 2])\n", {3, 4}).find("calculates with the batch size") != std::string::npos);
}

TEST_CASE("torchscript: damaged files are refused with LibTorch's reason") {
  CHECK_FALSE(read("This is a text, not a model.", {{-1, 4}}).ok());
  CHECK_FALSE(read("", {{-1, 4}}).ok());
  torch::jit::Module module = module_of("def forward(self, x: Tensor):\n  return torch.relu(x)\n", {{"w", {100}}});
  std::string file = saved(module);
  for (size_t size : {file.size() / 4, file.size() / 2, file.size() - 1}) {
    Result<Graph> graph = read(file.substr(0, size), {{-1, 4}});
    REQUIRE_FALSE(graph.ok());
    CHECK(graph.error().code == Code::invalid);
  }
  CHECK(read(file, {{-1, 4}, {-1, 4}}).error().message.find("takes 1 inputs, 2 shapes are given") != std::string::npos);
}

TEST_CASE("torchscript: MLPerf Tiny's networks answer as in LibTorch and as from ONNX") {
  std::filesystem::path folder = skerry::test::real_data("mlperf-tiny");
  if (folder.empty()) return;
  const std::pair<const char*, Shape> models[] = {
      {"kws_fp32", {2, 1, 49, 10}}, {"ic_resnet8_fp32", {2, 3, 32, 32}}, {"vww_mobilenet_fp32", {2, 3, 96, 96}}, {"ad01_fp32", {2, 640}}};
  for (const auto& [name, shape] : models) {
    INFO(name);
    std::string file = skerry::test::read_all(folder / "converted" / (std::string(name) + ".pt"));
    Shape unknown = shape;
    unknown[0] = -1;
    Result<Graph> graph = read(file, {unknown});
    INFO((graph.ok() ? "" : graph.error().message));
    REQUIRE(graph.ok());
    const bool image = std::string(name) == "ic_resnet8_fp32";
    Array x = random_array(shape, 3, image ? 0.0f : -1.0f, image ? 255.0f : 1.0f);
    std::vector<float> ours = answers(*graph, {x})[0].data;
    std::istringstream stream(file);
    torch::jit::Module module = torch::jit::load(stream);
    Graph onnx = skerry::test::must_read(inference::frontends::from_onnx,
                                         skerry::test::read_all(folder / "converted" / (std::string(name) + ".onnx")));
    double from_torch = skerry::test::distance(ours, own_answer(module, x)),
           from_onnx = skerry::test::distance(ours, answers(onnx, {x})[0].data);
    std::cout << name << ": " << from_torch << " from LibTorch, " << from_onnx << " from ONNX\n";
    CHECK(from_torch < 1e-4);
    CHECK(from_onnx < 1e-5);
  }
  Result<Graph> quantized = read(skerry::test::read_all(folder / "converted" / "kws_int8_torch_onednn.pt"), {{-1, 1, 49, 10}});
  CHECK_FALSE(quantized.ok());
}
