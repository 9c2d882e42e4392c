#include "learning/worker/compile_command.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "base/file.h"
#include "inference/compile/compile.h"
#include "inference/frontends/onnx.h"
#include "inference/frontends/tflite.h"
#include "inference/frontends/torchscript.h"
#include "inference/package.h"
#include "inference/plan/executor.h"
#include "learning/job.h"
#include "learning/worker/plan_artefact.h"

namespace skerry::learning::worker {

const char* const kCompileHelp = R"(skerry-worker compile SOURCE [--output plan.bin] [--calibration FILE] [--error-max 0.05] [--shape 9,128] [--json]

Makes an int8 plan of a model, for the plan runtime that skerryd serves with, and says what became of each layer.

  SOURCE         a package folder (its model.pt), or a file: .onnx (opset 11 to 17), .tflite, .pt (TorchScript)
  --output       where the plan goes; plan.bin by default
  --calibration  what the model really sees: it decides the range of every int8 tensor. FILE is NAME.examples as in a job or a package, or
                 NAME.f32: little-endian floats, sample after sample, as the model takes them. A package is calibrated with its own
                 reference.examples when it has them. Without any, the plan stays fp32, or int8 as far as the file is quantized already:
                 scales of a quantized ONNX or TensorFlow Lite file are kept
  --error-max    what int8 may change of the outputs, as relative L2 over the calibration. Beyond it layers go back to fp32, those first that
                 cost the outputs most for the time that they take
  --shape        of one sample, for .pt files alone: TorchScript does not say it
  --json         the report as JSON

An operation that a plan does not have is named with its layer; such a model is served by LibTorch as before.
)";

namespace {

namespace fs = std::filesystem;
using inference::compile::Compiled;
using inference::compile::LayerReport;
using inference::graph::Array;
using inference::graph::Graph;
using inference::graph::Shape;

constexpr uint64_t kFileBytesMax = 512 << 20;

struct Command {
  fs::path source, output = "plan.bin", calibration;
  inference::compile::Options options;
  Shape shape;
  bool json = false;
};

Result<double> number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0)) return fail(Code::invalid, "'{}' is no number from 0 on", text);
  return value;
}

Result<Shape> shape_of(const std::string& text) {
  Shape shape;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    SKERRY_ASSIGN(double size, number(text.substr(at, end - at)));
    if (size < 1 || size > 1e6 || shape.size() == 5) return fail(Code::invalid, "'{}' is no shape: write it like 9,128", text);
    shape.push_back(static_cast<int64_t>(size));
    at = end + 1;
  }
  return shape;
}

Result<Command> parse(const std::vector<std::string>& words) {
  Command out;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool takes_value = word == "--output" || word == "--calibration" || word == "--error-max" || word == "--shape";
    if (takes_value && i + 1 == words.size()) return fail(Code::invalid, "{} wants a value", word);
    if (word == "--json") {
      out.json = true;
    } else if (word == "--output") {
      out.output = words[++i];
    } else if (word == "--calibration") {
      out.calibration = words[++i];
    } else if (word == "--error-max") {
      SKERRY_ASSIGN(out.options.error_max, number(words[++i]));
    } else if (word == "--shape") {
      SKERRY_ASSIGN(out.shape, shape_of(words[++i]));
    } else if (word.starts_with("-") || !out.source.empty()) {
      return fail(Code::invalid, "'{}' is not understood: --help explains", word.substr(0, 100));
    } else {
      out.source = word;
    }
  }
  if (out.source.empty()) return fail(Code::invalid, "name a package folder or a model file; --help explains");
  return out;
}

Result<Graph> read_file_graph(const fs::path& file, const std::string& bytes, const Shape& shape) {
  const auto content = std::as_bytes(std::span(bytes));
  if (file.extension() == ".onnx") return inference::frontends::from_onnx(content);
  if (file.extension() == ".tflite") return inference::frontends::from_tflite(content);
  if (file.extension() != ".pt") return fail(Code::invalid, "{} is none of .onnx, .tflite and .pt", file.string());
  if (shape.empty()) return fail(Code::invalid, "{}: say the shape of a sample, like --shape 9,128", file.string());
  Shape with_batch = shape;
  with_batch.insert(with_batch.begin(), -1);
  return inference::frontends::from_torchscript(content, {with_batch});
}

Result<Graph> read_graph(const fs::path& file, const Shape& shape) {
  SKERRY_ASSIGN(std::string bytes, read_file(file, kFileBytesMax));
  auto graph = read_file_graph(file, bytes, shape);
  if (graph.ok()) return graph;
  return Error{graph.error().code, fmt::format("{}: {}", file.string(), graph.error().message)};
}

Result<std::vector<Array>> read_samples(const fs::path& file, const Graph& graph, const inference::WindowSpec* window) {
  if (graph.inputs.size() != 1) return fail(Code::invalid, "a model of {} inputs can't be calibrated from one file", graph.inputs.size());
  if (file.extension() == ".examples") {
    SKERRY_ASSIGN(ExampleSet set, read_examples(file));
    if (set.windows.empty()) return fail(Code::invalid, "{} has no windows", file.string());
    if (window && (set.channels != window->mean.size() || set.rows != window->rows)) {
      return fail(Code::invalid, "{} has windows of {} x {}, the package wants {} x {}", file.string(), set.channels, set.rows, window->mean.size(),
                  window->rows);
    }
    for (LabelledWindow& w : set.windows) {
      if (window) inference::normalise(*window, w.data.data(), 1);
    }
    return std::vector<Array>{windows_array(set)};
  }
  if (file.extension() != ".f32") return fail(Code::invalid, "{} is neither .examples nor .f32", file.string());
  SKERRY_ASSIGN(std::string bytes, read_file(file, kFileBytesMax));
  Array array{graph.value(graph.inputs[0]).shape, std::vector<float>(bytes.size() / sizeof(float))};
  if (!array.data.empty()) std::memcpy(array.data.data(), bytes.data(), array.data.size() * sizeof(float));
  if (!array.shape.empty()) array.shape[0] = 1;
  const auto each = static_cast<size_t>(std::max<int64_t>(inference::graph::elements(array.shape), 1));
  if (array.shape.empty() || array.data.empty() || bytes.size() % (each * sizeof(float)) != 0) {
    return fail(Code::invalid, "{} has {} bytes, no whole number of samples of {} floats", file.string(), bytes.size(), each);
  }
  array.shape[0] = static_cast<int64_t>(array.data.size() / each);
  return std::vector<Array>{std::move(array)};
}

std::string as_json(const Compiled& compiled, const Command& command, size_t bytes) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerReport& layer : compiled.layers) {
    nlohmann::ordered_json one = {{"name", layer.name}, {"operation", layer.operation}, {"precision", layer.precision},
                                  {"multiplies", layer.multiplies}, {"weight_bytes", layer.weight_bytes}};
    if (layer.sensitivity >= 0) one["sensitivity"] = layer.sensitivity;
    layers.push_back(std::move(one));
  }
  nlohmann::ordered_json out = {{"source", command.source.string()}, {"plan", command.output.string()}, {"bytes", bytes},
                                {"instruction_set", inference::plan::Executor::instruction_set()},
                                {"quantized_by_source", compiled.quantized_by_source}, {"calibration_samples", compiled.samples}};
  if (compiled.samples > 0) out["relative_error"] = compiled.error, out["same_top_class"] = compiled.agreement;
  out["layers"] = std::move(layers);
  if (!compiled.recurrent.empty()) out["recurrent_in_fp32"] = compiled.recurrent;
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string as_text(const Compiled& compiled, const Command& command, size_t bytes) {
  std::string out = fmt::format("{:<6} {:>11} {:>12} {:>12}  layer\n", "", "sensitivity", "multiplies", "weights");
  for (const LayerReport& layer : compiled.layers) {
    const std::string sensitivity = layer.sensitivity >= 0 ? fmt::format("{:.5f}", layer.sensitivity) : "-";
    out += fmt::format("{:<6} {:>11} {:>12} {:>12}  {} {}\n", layer.precision, sensitivity, layer.multiplies, layer.weight_bytes, layer.operation, layer.name);
  }
  for (const std::string& name : compiled.recurrent) {
    out += fmt::format("fp32   recurrent {}: in integers its state would be rounded anew at every step\n", name);
  }
  if (compiled.samples > 0) {
    out += fmt::format("outputs differ from fp32 by {:.4f} (relative L2 over {} samples); the largest is the same in {:.1f} %\n", compiled.error,
                       compiled.samples, 100 * compiled.agreement);
  } else {
    out += compiled.quantized_by_source ? "the scales of the source are kept\n" : "fp32: without --calibration nothing is quantized\n";
  }
  return out + fmt::format("{}: {} bytes, runs here with {}\n", command.output.string(), bytes, inference::plan::Executor::instruction_set());
}

}  // namespace

Result<std::string> compile_command(const std::vector<std::string>& words) {
  SKERRY_ASSIGN(Command command, parse(words));
  fs::path model = command.source;
  inference::PackageInfo info;
  std::error_code ignored;
  const bool package = fs::is_directory(command.source, ignored);
  if (package) {
    SKERRY_ASSIGN(inference::Package opened, inference::Package::open(command.source, kFileBytesMax));
    info = opened.info;
    model = opened.file("model.pt");
    command.shape = {static_cast<int64_t>(info.window.mean.size()), info.window.rows};
    if (command.calibration.empty() && fs::exists(opened.file(kReferenceFile), ignored)) command.calibration = opened.file(kReferenceFile);
  }
  SKERRY_ASSIGN(Graph graph, read_graph(model, command.shape));
  std::vector<Array> samples;
  if (!command.calibration.empty()) {
    SKERRY_ASSIGN(samples, read_samples(command.calibration, graph, package ? &info.window : nullptr));
  }
  SKERRY_ASSIGN(Compiled compiled, inference::compile::compile(std::move(graph), samples, command.options));
  SKERRY_TRY(inference::plan::Executor::make(compiled.plan));  // what can't run here is not written
  const std::string bytes = inference::plan::encode(compiled.plan);
  SKERRY_TRY(write_file_atomic(command.output, bytes));
  return command.json ? as_json(compiled, command, bytes.size()) : as_text(compiled, command, bytes.size());
}

}  // namespace skerry::learning::worker
