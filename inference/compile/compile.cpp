#include "inference/compile/compile.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "inference/compile/internal/equalize.h"
#include "inference/compile/internal/ranges.h"
#include "inference/compile/internal/rounding.h"
#include "inference/compile/lower.h"
#include "inference/graph/passes.h"
#include "inference/plan/executor.h"

namespace skerry::inference::compile {
namespace {

using graph::Array;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::Value;
using graph::ValueId;

constexpr int64_t kJudgedMax = 64;      // samples that sensitivities are measured on
constexpr uint64_t kStepPrice = 50'000;  // what a step costs besides its work, in multiplications

bool is_weighted(const Node& node) { return std::holds_alternative<graph::Conv>(node.operation) || std::holds_alternative<graph::Linear>(node.operation); }
ValueId input_of(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

// Gives out what it is given: on the grid of its input.
bool keeps_grid(const Node& node) {
  const auto* pool = std::get_if<graph::Pool>(&node.operation);
  return (pool && pool->kind == graph::Pool::Kind::max) || std::holds_alternative<graph::Reshape>(node.operation) ||
         std::holds_alternative<graph::Transpose>(node.operation) || std::holds_alternative<graph::Pad>(node.operation) ||
         std::holds_alternative<graph::Slice>(node.operation);
}

// Can work on integers, if what it gives is wanted as integers.
bool passes_integers(const Graph& graph, const Node& node) {
  if (const auto* binary = std::get_if<graph::Binary>(&node.operation)) {
    const Value &a = graph.value(node.inputs[0]), &b = graph.value(node.inputs[1]);
    return binary->kind == graph::Binary::Kind::add && !a.is_constant() && !b.is_constant() && a.shape == b.shape;
  }
  return keeps_grid(node) || std::holds_alternative<graph::Pool>(node.operation) || std::holds_alternative<graph::Activate>(node.operation) ||
         std::holds_alternative<graph::Concat>(node.operation);
}

// What is known of a graph's values on real samples.
struct Knowledge {
  std::map<ValueId, Range> ranges;
  std::map<size_t, Moments> moments;  // by node; empty: weights are rounded to the nearest
};

std::vector<int8_t> rounded_weights(const Graph& graph, size_t at, const std::vector<float>& real, const std::vector<float>& scale,
                                    const Knowledge& known) {
  const auto moments = known.moments.find(at);
  if (moments != known.moments.end() && moments->second.rows > 0) {
    const auto& grid = graph.value(graph.nodes[at].inputs[0]).quantization;
    const double step = grid ? grid->scale[0] : 0.0;
    return rounded(real, scale, moments->second, step * step / 12);
  }
  std::vector<int8_t> out(real.size());
  const size_t each = real.size() / scale.size();
  for (size_t i = 0; i < real.size(); ++i) out[i] = static_cast<int8_t>(std::clamp(std::lround(real[i] / scale[i / each]), -127L, 127L));
  return out;
}

// Weights on a grid per output channel, and the bias moved by what their rounding shifts the outputs on average (Nagel et al. 2019).
void quantize_weights(Graph& graph, size_t at, const Knowledge& known) {
  Node& node = graph.nodes[at];
  const Value old = graph.value(node.inputs[1]);
  const std::vector<float> real = graph::real_values(old);
  const auto channels = static_cast<size_t>(old.shape[0]), each = real.size() / channels;
  auto bytes = std::make_shared<std::vector<std::byte>>(real.size());
  graph::Quantization q;
  for (size_t c = 0; c < channels; ++c) {
    float top = 0;
    for (size_t i = 0; i < each; ++i) top = std::max(top, std::fabs(real[c * each + i]));
    q.scale.push_back(top > 1e-30f ? top / 127 : 1.0f);
    q.zero_point.push_back(0);
  }
  const std::vector<int8_t> stored = rounded_weights(graph, at, real, q.scale, known);
  std::vector<double> rounding(real.size());
  for (size_t i = 0; i < real.size(); ++i) {
    (*bytes)[i] = static_cast<std::byte>(stored[i]);
    rounding[i] = double{q.scale[i / each]} * stored[i] - double{real[i]};
  }
  node.inputs[1] = graph.add_value({old.name, graph::ElementType::i8, old.shape, std::move(q), std::move(bytes)});

  const auto seen = known.ranges.find(node.inputs[0]);
  const auto* conv = std::get_if<graph::Conv>(&node.operation);
  const size_t groups = conv ? static_cast<size_t>(conv->groups) : 1, per_group = static_cast<size_t>(old.shape[1]);
  const bool rows = !conv && graph.value(node.inputs[0]).shape.size() != 2;  // their means are not along the last dimension
  if (seen == known.ranges.end() || rows || seen->second.channel_means.size() != per_group * groups) return;
  const std::vector<double>& means = seen->second.channel_means;
  std::vector<float> bias(channels);
  if (input_of(node, 2) != kNoValue) bias = graph::real_values(graph.value(node.inputs[2]));
  const size_t window = each / per_group;
  for (size_t c = 0; c < channels; ++c) {
    double shift = 0;
    for (size_t i = 0; i < each; ++i) shift += rounding[c * each + i] * means[c / (channels / groups) * per_group + i / window];
    bias[c] = static_cast<float>(bias[c] - shift);
  }
  if (node.inputs.size() < 3) node.inputs.resize(3, kNoValue);
  node.inputs[2] = graph.add_constant(node.name + ".bias", {static_cast<int64_t>(channels)}, bias);
}

// Which values should be integers, when these nodes (by index) are.
std::vector<bool> wanted_values(const Graph& graph, const std::vector<bool>& integer) {
  std::vector<bool> wanted(graph.values.size());
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    const bool out = wanted[node.outputs[0]];
    auto want = [&](ValueId id) {
      if (id != kNoValue && !graph.value(id).is_constant()) wanted[id] = true;
    };
    if (is_weighted(node) && integer[i]) {
      want(node.inputs[0]);
      if (out) want(input_of(node, 3));
    } else if (out && passes_integers(graph, node)) {
      for (ValueId id : node.inputs) want(id);
    }
  }
  return wanted;
}

Graph annotated(const Graph& real, const std::vector<bool>& integer, const Knowledge& known) {
  Graph graph = real;
  const std::map<ValueId, Range>& ranges = known.ranges;
  const std::vector<bool> wanted = wanted_values(graph, integer);
  auto put = [&](ValueId id, const Range& range) {
    if (wanted[id]) graph.value(id) = on_grid(graph.value(id), range);
  };
  for (const auto& [id, range] : ranges) put(id, range);
  for (const Node& node : graph.nodes) {
    if (!std::holds_alternative<graph::Concat>(node.operation) || !wanted[node.outputs[0]]) continue;
    Range all;
    for (ValueId id : node.inputs) {
      const auto range = ranges.find(id);
      if (range == ranges.end()) continue;
      all.low = std::min(all.low, range->second.low);
      all.high = std::max(all.high, range->second.high);
    }
    for (ValueId id : node.inputs) {
      if (!graph.value(id).is_constant()) put(id, all);
    }
    put(node.outputs[0], all);
  }
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const Value& x = graph.value(node.inputs[0]);
    if (keeps_grid(node) && x.quantization && wanted[node.outputs[0]]) {
      graph.value(node.outputs[0]).type = x.type;
      graph.value(node.outputs[0]).quantization = x.quantization;
    }
    if (is_weighted(node) && integer[i]) quantize_weights(graph, i, known);
  }
  return graph;
}

using Outputs = std::vector<std::vector<float>>;

Result<Outputs> answers(plan::Plan plan, const std::vector<Array>& samples, int64_t count) {
  SKERRY_ASSIGN(std::shared_ptr<const plan::Executor> executor, plan::Executor::make(std::move(plan)));
  Outputs out(executor->plan().outputs.size());
  for (size_t i = 0; i < out.size(); ++i) out[i].resize(static_cast<size_t>(count * executor->output_elements(i)));
  const auto& shape = executor->plan().tensors[executor->plan().inputs[0]].shape;
  const bool fixed = std::find(shape.begin(), shape.end(), -1) == shape.end();
  for (int64_t at = 0; at < count; at += fixed ? 1 : count) {
    std::vector<const float*> from;
    std::vector<float*> to;
    for (size_t i = 0; i < samples.size(); ++i) from.push_back(samples[i].data.data() + at * executor->input_elements(i));
    for (size_t i = 0; i < out.size(); ++i) to.push_back(out[i].data() + at * executor->output_elements(i));
    SKERRY_TRY(executor->run(fixed ? 1 : count, from.data(), to.data()));
  }
  return out;
}

// NaN and infinities in either make it infinite.
double relative_error(const Outputs& got, const Outputs& expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    for (size_t k = 0; k < got[i].size(); ++k) {
      const double difference = double{got[i][k]} - expected[i][k];
      error += difference * difference;
      norm += double{expected[i][k]} * expected[i][k];
    }
  }
  const double out = norm > 0 ? std::sqrt(error / norm) : std::sqrt(error);
  return std::isfinite(out) ? out : std::numeric_limits<double>::infinity();
}

double agreement_of(const Outputs& got, const Outputs& expected, int64_t count) {
  const size_t each = got[0].size() / static_cast<size_t>(count);
  int64_t same = 0;
  for (int64_t n = 0; n < count; ++n) {
    auto top = [&](const std::vector<float>& all) {
      const auto from = all.begin() + n * static_cast<ptrdiff_t>(each);
      return std::max_element(from, from + static_cast<ptrdiff_t>(each)) - from;
    };
    same += top(got[0]) == top(expected[0]) ? 1 : 0;
  }
  return static_cast<double>(same) / static_cast<double>(count);
}

Status check_calibration(const Graph& graph, const std::vector<Array>& samples) {
  if (samples.size() != graph.inputs.size()) {
    return fail(Code::invalid, "calibration has {} inputs, the model {}: give one array per input", samples.size(), graph.inputs.size());
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    const Value& input = graph.value(graph.inputs[i]);
    graph::Shape shape = samples[i].shape, wanted = input.shape;
    if (shape.empty() || wanted.empty() || shape[0] < 1 || shape[0] != samples[0].shape[0]) return fail(Code::invalid, "calibration has no samples");
    shape[0] = wanted[0] = 1;
    const int64_t count = graph::elements(samples[i].shape);
    if (shape != wanted || count < 0 || samples[i].data.size() != static_cast<size_t>(count)) {
      return fail(Code::invalid, "calibration does not have the shape of the input '{}'", input.name);
    }
    if (std::any_of(samples[i].data.begin(), samples[i].data.end(), [](float v) { return !std::isfinite(v); })) {
      return fail(Code::invalid, "calibration has NaN or infinity: leave such samples out");
    }
  }
  return {};
}

std::vector<Array> first(const std::vector<Array>& samples, size_t count) {
  std::vector<Array> out = samples;
  for (Array& array : out) {
    const auto all = static_cast<size_t>(array.shape[0]), kept = std::min(all, count), each = array.data.size() / all;
    std::vector<float> data;  // spread evenly
    for (size_t i = 0; i < kept; ++i) {
      const size_t at = i * all / kept;
      data.insert(data.end(), array.data.begin() + static_cast<ptrdiff_t>(at * each), array.data.begin() + static_cast<ptrdiff_t>((at + 1) * each));
    }
    array.shape[0] = static_cast<int64_t>(kept);
    array.data = std::move(data);
  }
  return out;
}

constexpr double kStrengths[] = {0.25, 0.5, 0.75};  // of evening channels out: which is best differs between networks
constexpr size_t kTried = 32;                        // samples for the choice

class Compiler {
 public:
  Compiler(Graph graph, std::vector<Array> samples, const Options& options)
      : graph_(std::move(graph)), samples_(std::move(samples)), options_(options), integer_(graph_.nodes.size()) {}

  Result<Compiled> run() {
    count_ = std::min<int64_t>(samples_[0].shape[0], kJudgedMax);
    SKERRY_ASSIGN(plan::Plan real, lower(graph_));
    SKERRY_ASSIGN(expected_, answers(real, samples_, count_));
    for (size_t i = 0; i < graph_.nodes.size(); ++i) integer_[i] = is_weighted(graph_.nodes[i]);
    SKERRY_TRY(even_out());
    SKERRY_ASSIGN(known_.ranges, measure_ranges(graph_, samples_));
    SKERRY_ASSIGN(known_.moments, measure_moments(graph_, samples_));
    SKERRY_ASSIGN(std::vector<size_t> order, by_price());
    spare(order);
    Compiled out;
    size_t next = 0;
    for (;;) {
      SKERRY_ASSIGN(out.plan, lower(annotated(graph_, integer_, known_)));
      SKERRY_ASSIGN(Outputs got, answers(out.plan, samples_, count_));
      out.error = relative_error(got, expected_);
      out.agreement = agreement_of(got, expected_, count_);
      if (out.error <= options_.error_max || next == std::min(order.size(), options_.real_layers_max)) break;
      integer_[order[next++]] = false;
    }
    out.samples = static_cast<size_t>(count_);
    out.layers = layers();
    return out;
  }

 private:
  // The network with its channels evened out as strongly as it answers best in integers, or as it was.
  Status even_out() {
    const std::vector<Array> few = first(samples_, kTried);
    const int64_t count = few[0].shape[0];
    SKERRY_ASSIGN(plan::Plan real, lower(graph_));
    SKERRY_ASSIGN(const Outputs expected, answers(real, few, count));
    Knowledge known;
    auto error_of = [&](const Graph& graph) -> Result<double> {
      SKERRY_ASSIGN(known.ranges, measure_ranges(graph, few));
      SKERRY_ASSIGN(plan::Plan plan, lower(annotated(graph, integer_, known)));
      SKERRY_ASSIGN(Outputs got, answers(std::move(plan), few, count));
      return relative_error(got, expected);
    };
    SKERRY_ASSIGN(double least, error_of(graph_));
    const std::map<ValueId, Range> as_it_was = known.ranges;
    Graph best = graph_;
    for (double strength : kStrengths) {
      Graph tried = equalized(graph_, as_it_was, strength);
      SKERRY_ASSIGN(double error, error_of(tried));
      if (error < least) least = error, best = std::move(tried);
    }
    graph_ = std::move(best);
    return {};
  }

  uint64_t multiplies(const Node& node) const {
    graph::Shape out = graph_.value(node.outputs[0]).shape;
    const graph::Shape& weights = graph_.value(node.inputs[1]).shape;
    return static_cast<uint64_t>(graph::elements(weights) / weights[0] * graph::elements(out));
  }

  // Weighted nodes in the order in which they go back to fp32: those first that cost most as int8 for the time that they take.
  Result<std::vector<size_t>> by_price() {
    std::vector<size_t> order;
    std::map<size_t, double> price;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!is_weighted(graph_.nodes[i])) continue;
      std::vector<bool> alone(graph_.nodes.size());
      alone[i] = true;
      SKERRY_ASSIGN(plan::Plan plan, lower(annotated(graph_, alone, known_)));
      SKERRY_ASSIGN(Outputs got, answers(std::move(plan), samples_, count_));
      sensitivity_[i] = relative_error(got, expected_);
      price[i] = sensitivity_[i] * sensitivity_[i] / static_cast<double>(work(i));
      order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return price[a] > price[b]; });
    return order;
  }

  uint64_t work(size_t node) const { return multiplies(graph_.nodes[node]) + kStepPrice; }

  // Small layers that cost the outputs much stay fp32 whatever the error: they take little time (a first convolution, a depthwise one).
  void spare(std::vector<size_t>& order) {
    uint64_t all = 0, spared = 0;
    for (size_t node : order) all += work(node);
    std::erase_if(order, [&](size_t node) {
      if (static_cast<double>(spared + work(node)) > options_.spare_share * static_cast<double>(all)) return false;
      spared += work(node);
      integer_[node] = false;
      return true;
    });
  }

  std::vector<LayerReport> layers() const {
    std::vector<LayerReport> out;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (!is_weighted(node)) continue;
      const auto weights = static_cast<uint64_t>(graph::elements(graph_.value(node.inputs[1]).shape));
      out.push_back({node.name, graph::name_of(node.operation), integer_[i] ? "int8" : "fp32", sensitivity_.at(i), 0, weights * (integer_[i] ? 1 : 4)});
    }
    return out;
  }

  Graph graph_;
  const std::vector<Array> samples_;
  const Options options_;
  std::vector<bool> integer_;  // by node
  Knowledge known_;
  std::map<size_t, double> sensitivity_;
  Outputs expected_;
  int64_t count_ = 0;
};

// As the plan has them: for graphs that were not quantized here.
std::vector<LayerReport> layers_of(const plan::Plan& plan) {
  std::vector<LayerReport> out;
  for (const plan::Step& step : plan.steps) {
    if (step.op != plan::Op::convolution && step.op != plan::Op::linear) continue;
    const bool integer = plan.tensors[step.inputs[0]].is_quantized();
    const auto weights = static_cast<uint64_t>(plan::elements(plan.dims(step.inputs[1], 1)));
    out.push_back({step.name, plan::to_string(step.op), integer ? "int8" : "fp32", -1, 0, weights * (integer ? 1 : 4)});
  }
  return out;
}

bool is_quantized(const Graph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
    return is_weighted(node) && (graph.value(node.inputs[0]).quantization || graph.value(node.inputs[1]).quantization);
  });
}

void count_multiplies(Compiled& compiled) {
  size_t layer = 0;
  for (const plan::Step& step : compiled.plan.steps) {
    if ((step.op != plan::Op::convolution && step.op != plan::Op::linear) || layer >= compiled.layers.size()) continue;
    const auto weights = compiled.plan.dims(step.inputs[1], 1);
    compiled.layers[layer++].multiplies =
        static_cast<uint64_t>(plan::elements(weights) / weights[0] * plan::elements(compiled.plan.dims(step.outputs[0], 1)));
  }
}

}  // namespace

Result<Compiled> compile(Graph graph, const std::vector<Array>& calibration, const Options& options) {
  SKERRY_TRY(graph::infer_shapes(graph));
  free_batch(graph);
  SKERRY_TRY(graph::simplify(graph));
  Compiled out;
  std::vector<std::string> recurrent;
  for (const Node& node : graph.nodes) {
    if (std::holds_alternative<graph::Recurrent>(node.operation)) recurrent.push_back(node.name);
  }
  if (is_quantized(graph) || calibration.empty()) {
    out.quantized_by_source = is_quantized(graph);
    SKERRY_ASSIGN(out.plan, lower(graph));
    out.layers = layers_of(out.plan);
  } else {
    SKERRY_TRY(check_calibration(graph, calibration));
    SKERRY_ASSIGN(out, Compiler(std::move(graph), first(calibration, options.samples_max), options).run());
  }
  out.recurrent = std::move(recurrent);
  count_multiplies(out);
  return out;
}

}  // namespace skerry::inference::compile
