// What all frontends share: a graph that knows its shapes while it is built, folds constants at once and never grows beyond its source.
// Threads: a value type. On failure: names the node.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inference/graph/graph.h"

namespace skerry::inference::frontends {

// Of one dimension that is the batch: a name of its own among the integers that shape calculations deal in.
inline constexpr int64_t kBatch = INT64_MIN;

// Names from files go into errors, logs and reports: printable, and not longer than a line.
std::string printable(std::string_view name);

class Builder {
 public:
  // `source_bytes`: size of the file. Constants that are made from its data may take a multiple of it.
  Builder(std::string source, size_t source_bytes);

  graph::ValueId input(std::string name, graph::ElementType type, graph::Shape shape);
  graph::ValueId constant(std::string name, graph::Shape shape, const std::vector<float>& data);
  graph::ValueId constant(graph::Value value) { return graph_.add_value(std::move(value)); }

  // One node, its shapes inferred. When all inputs are constants, and the result is no larger than they are, the result is a constant.
  Result<graph::ValueId> add(const std::string& name, graph::Operation operation, std::vector<graph::ValueId> inputs);
  Result<std::vector<graph::ValueId>> add(const std::string& name, graph::Operation operation, std::vector<graph::ValueId> inputs,
                                          size_t outputs);

  // A node that rounds a computed value to a grid.
  graph::ValueId quantize(const std::string& name, graph::ValueId x, graph::ElementType type, graph::Quantization quantization);

  // The same values in another shape or order: they stay on their grid. Nothing is added when nothing changes, or when it undoes what was
  // before.
  Result<graph::ValueId> reshape(const std::string& name, graph::ValueId x, graph::Shape shape);
  Result<graph::ValueId> transpose(const std::string& name, graph::ValueId x, std::vector<int64_t> permutation);

  // What joins, cuts or picks values: what comes out lies on the grid that all inputs lie on, if they do.
  Result<graph::ValueId> add_moving(const std::string& name, graph::Operation operation, std::vector<graph::ValueId> inputs);

  // A constant of real numbers, from any.
  Result<graph::ValueId> dequantized(graph::ValueId constant);

  // Resolves a target shape that may hold kBatch, -1 (what is left) and 1 where the batch of `x` stands once it is unknown.
  Result<graph::Shape> reshape_target(graph::ValueId x, std::vector<int64_t> target) const;

  // Before a copy of so many bytes is made. Error: exhausted.
  Status take(size_t bytes);

  const graph::Shape& shape(graph::ValueId id) const { return graph_.value(id).shape; }
  int64_t rank(graph::ValueId id) const { return static_cast<int64_t>(shape(id).size()); }
  bool is_constant(graph::ValueId id) const { return graph_.value(id).is_constant(); }
  graph::Graph& graph() { return graph_; }
  const graph::Graph& graph() const { return graph_; }

  // The whole: inputs in the order they were made, these outputs, checked; nodes that nothing depends on are left out.
  Result<graph::Graph> finish(std::vector<graph::ValueId> outputs);

 private:
  const graph::Node* maker_of(graph::ValueId id) const;

  graph::Graph graph_;
  std::map<graph::ValueId, size_t> makers_;                                               // index of the node
  std::map<std::pair<graph::ValueId, std::vector<int64_t>>, graph::ValueId> transposed_;  // constants: weights may be shared by many layers
  size_t bytes_left_;
};

// 0 … rank - 1, or Error: invalid.
Result<int64_t> normal_axis(int64_t axis, int64_t rank);

// Spatial window parameters of a pool or convolution, as sources state them.
struct WindowSpec {
  std::vector<int64_t> kernel, strides, dilations, pads_begin, pads_end;
};
// TensorFlow's SAME: as many outputs as ceil(in / stride); an odd padding goes to the end (SAME_UPPER), or to the beginning.
Status pad_same(WindowSpec& window, const graph::Shape& x, bool odd_at_end = true);
// More padding at the end, so that floor division gives what ceil division would; windows start inside the input or its left padding.
Status pad_for_ceil(WindowSpec& window, const graph::Shape& x);

}  // namespace skerry::inference::frontends
