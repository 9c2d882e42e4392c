// Turns the nodes of an ONNX model into nodes of a graph, one after the other, with all shapes known on the way. Three things can stand
// behind a name: a value of the graph, known integers (what shapes are calculated with), a constant of the file.
// Threads: one. On failure: names the operator and its node.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "inference/frontends/internal/builder.h"
#include "inference/frontends/internal/onnx_model.h"

namespace skerry::inference::frontends {

struct Ints {  // small; kBatch stands for the unknown batch
  graph::Shape shape;
  std::vector<int64_t> data;
};
inline constexpr int64_t kIntsMax = 4096;

// Shape calculation on known integers: Gather, Concat, Slice, arithmetic, … Null: not such an operator.
using IntsFold = Result<Ints> (*)(const OnnxNode&, const std::vector<std::optional<Ints>>&);
IntsFold ints_fold(const std::string& type);

enum class BatchRule { free, as_given };  // free: a first dimension of 1 of every input is taken for an unknown batch

class OnnxConverter {
 public:
  explicit OnnxConverter(const OnnxModel& model) : model_(model), builder_("onnx", model.file_bytes) {}
  Result<graph::Graph> convert(BatchRule rule);

 private:
  struct Item {
    graph::ValueId id = graph::kNoValue;
    std::optional<Ints> ints;
    const OnnxTensor* tensor = nullptr;
    bool stored = false;  // the name means the integers of a quantized value, not the real numbers
  };
  using Handler = Status (OnnxConverter::*)(const OnnxNode&);
  static const std::map<std::string, Handler>& handlers();

  Status add_inputs(BatchRule rule);
  Status convert_node(const OnnxNode& node);
  Result<std::vector<graph::ValueId>> outputs();
  Result<bool> fold(const OnnxNode& node);

  // Operands by position. `has`: given and not "".
  static bool has(const OnnxNode& node, size_t i) { return i < node.inputs.size() && !node.inputs[i].empty(); }
  Result<const Item*> item(const OnnxNode& node, size_t i) const;
  Result<graph::ValueId> value(const OnnxNode& node, size_t i);
  Result<graph::ValueId> optional_value(const OnnxNode& node, size_t i);
  std::optional<Ints> known_ints(const OnnxNode& node, size_t i) const;
  Result<std::vector<int64_t>> ints(const OnnxNode& node, size_t i) const;
  Result<std::vector<float>> known_reals(const OnnxNode& node, size_t i);
  // An operand that older opsets give as an attribute.
  Result<std::vector<int64_t>> ints_or_attribute(const OnnxNode& node, size_t i, const std::string& attribute) const;

  Status set(const OnnxNode& node, size_t output, graph::ValueId id, bool stored = false);
  Status set(const OnnxNode& node, Ints ints);
  Status add(const OnnxNode& node, graph::Operation operation, std::vector<graph::ValueId> inputs);
  // For operators that only move numbers: what comes out of stored integers are stored integers.
  Status set_moved(const OnnxNode& node, graph::ValueId id);
  Status add_moving(const OnnxNode& node, graph::Operation operation, std::vector<graph::ValueId> inputs);
  Result<WindowSpec> window(const OnnxNode& node, graph::ValueId x, std::vector<int64_t> kernel) const;

  // onnx_layers.cpp
  Status conv(const OnnxNode& node);
  Status gemm(const OnnxNode& node);
  Status matmul(const OnnxNode& node);
  Status pool(const OnnxNode& node);
  Status global_pool(const OnnxNode& node);
  Status batch_norm(const OnnxNode& node);
  Status layer_norm(const OnnxNode& node);
  Status softmax(const OnnxNode& node);
  Status recurrent(const OnnxNode& node);
  // onnx_elementwise.cpp
  Status activation(const OnnxNode& node);
  Status clip(const OnnxNode& node);
  Status prelu(const OnnxNode& node);
  Status binary(const OnnxNode& node);
  Status unary(const OnnxNode& node);
  Status erf(const OnnxNode& node);
  Status reduce(const OnnxNode& node);
  Status identity(const OnnxNode& node);
  Status cast(const OnnxNode& node);
  Status constant(const OnnxNode& node);
  // The only node that uses what this one gives, when it is of this type; and the number that is its other operand.
  const OnnxNode* only_user(const std::string& name, const std::string& type) const;
  const OnnxNode* maker(const std::string& name, const std::string& type) const;
  std::optional<float> other_number(const OnnxNode& node, const std::string& name);
  // onnx_shapes.cpp
  Status shape_of(const OnnxNode& node);
  Status constant_of_shape(const OnnxNode& node);
  Status reshape(const OnnxNode& node);
  Status flatten(const OnnxNode& node);
  Status squeeze(const OnnxNode& node);
  Status unsqueeze(const OnnxNode& node);
  Status transpose(const OnnxNode& node);
  Status concat(const OnnxNode& node);
  Status slice(const OnnxNode& node);
  Status split(const OnnxNode& node);
  Status gather(const OnnxNode& node);
  Status pad(const OnnxNode& node);
  Status expand(const OnnxNode& node);
  // onnx_quantized.cpp
  Status quantize(const OnnxNode& node);
  Status dequantize(const OnnxNode& node);
  Status qlinear_conv(const OnnxNode& node);
  Status qlinear_matmul(const OnnxNode& node);
  Result<graph::Quantization> quantization(const OnnxNode& node, size_t scale, size_t zero_point, graph::ElementType* type = nullptr);
  // A stored operand (graph value or integers from the file) on the grid that its node states.
  Result<graph::ValueId> on_grid(const OnnxNode& node, size_t x, size_t scale, size_t zero_point, int64_t axis);

  const OnnxModel& model_;
  Builder builder_;
  BatchRule rule_ = BatchRule::as_given;
  std::map<std::string, Item> items_;
  std::map<std::string, size_t> uses_;           // of names, by nodes and as outputs of the model
  std::set<const OnnxNode*> done_;               // ahead of their turn, with the node that they belong to
  std::map<graph::ValueId, std::string> maker_;  // the name that a node gave a value first
};

}  // namespace skerry::inference::frontends
