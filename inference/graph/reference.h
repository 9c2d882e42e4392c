// A plain interpreter of graphs in fp32: the oracle that plans are tested against, and what calibration runs. Clarity before speed.
// Quantized values lie on the grid of their quantization: dequantized where they are used, rounded (half to even) and saturated where they
// are made, as QuantizeLinear and DequantizeLinear of ONNX define it. No integer accumulators: int8 kernels may differ in the last step.
// Threads: one at a time. Owns: the constants as floats. On failure: names the input or the node; allocates at most kLiveElementsMax
// floats.
#pragma once

#include <functional>
#include <vector>

#include "inference/graph/graph.h"

namespace skerry::inference::graph {

struct Array {
  Shape shape;
  std::vector<float> data;  // row-major
};

inline constexpr int64_t kLiveElementsMax = int64_t{1} << 28;  // of all values that live at one moment

class Reference {
 public:
  // Called with each input and each computed value, in order, before it is freed.
  using Tap = std::function<void(ValueId, const Array&)>;

  // Error: as check() says.
  static Result<Reference> open(Graph graph);

  // Inputs as the graph lists them, any batch (the same for all). Error: invalid for shapes that don't fit, exhausted beyond
  // kLiveElementsMax.
  Result<std::vector<Array>> run(const std::vector<Array>& inputs, const Tap& tap = {});

  const Graph& graph() const { return graph_; }

 private:
  Status prepare(const std::vector<Array>& inputs);

  Graph graph_;
  Graph concrete_;                // with the batch of the last call
  std::vector<Array> constants_;  // by value; empty for computed ones
  std::vector<size_t> last_use_;  // by value: the node after which it is freed
};

// The outputs of one node all of whose inputs are constants; shapes must be inferred. For constant folding.
std::vector<Array> evaluate(const Graph& graph, const Node& node);

// Rounds to the grid of value.quantization, if it has one.
void snap(const Value& value, Array& array);

}  // namespace skerry::inference::graph
