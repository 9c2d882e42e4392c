// A model as a graph of typed operations, independent of where it came from: ONNX, TFLite and TorchScript frontends make one, passes rewrite
// it, quantization annotates it, the plan compiler consumes it.
// Conventions: channels first (NCHW, NCL) as in ONNX and PyTorch; a frontend of a channels-last format inserts transposes, which passes remove.
// Only the first dimension of an input may be unknown: the batch, -1. Nodes are in topological order. Values are in single-assignment form.
// Threads: a value type. On failure: check() names the node; no function here trusts that a graph from a file is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace skerry::inference::graph {

enum class ElementType : uint8_t { f32 = 1, i8 = 2, u8 = 3, i32 = 4, i64 = 5, boolean = 6 };
const char* to_string(ElementType type);
size_t bytes_of(ElementType type);

using Shape = std::vector<int64_t>;
using ValueId = uint32_t;
inline constexpr ValueId kNoValue = UINT32_MAX;  // an optional input that is left out

// Affine: real = scale * (stored - zero_point). Per tensor when there is one scale, else one per index of `axis`.
struct Quantization {
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
  int32_t axis = 0;
  bool operator==(const Quantization&) const = default;
};

// Row-major, little-endian. Shared: copies of a graph do not copy weights.
using Bytes = std::shared_ptr<const std::vector<std::byte>>;

struct Value {
  std::string name;
  ElementType type = ElementType::f32;
  Shape shape;
  std::optional<Quantization> quantization;  // what the source says, or calibration found; type i8, u8 or i32 (biases) then
  Bytes constant;                            // null: computed, or an input

  bool is_constant() const { return constant != nullptr; }
};

enum class Activation : uint8_t { none, relu, relu6, clip, leaky_relu, sigmoid, hard_sigmoid, tanh, silu, hard_swish, gelu, elu };

struct ActivationSpec {  // alpha, beta: clip [alpha, beta]; leaky_relu, elu: alpha; hard_sigmoid: max(0, min(1, alpha x + beta))
  Activation kind = Activation::none;
  float alpha = 0, beta = 0;
  bool operator==(const ActivationSpec&) const = default;
};

// What each operation takes. Spatial lists have one entry per spatial dimension (1 or 2).
struct Conv {            // x [n, c, s…], weights [out, c / groups, k…], bias [out] or kNoValue, residual (after fusion) or kNoValue
  std::vector<int64_t> strides, dilations, pads_begin, pads_end;
  int64_t groups = 1;
  ActivationSpec activation;  // after the residual was added
};
struct Linear {          // x […, in], weights [out, in], bias [out] or kNoValue, residual or kNoValue
  ActivationSpec activation;
};
struct MatMul {};        // a […, m, k], b […, k, n]; neither is a constant matrix (else: linear)
struct Pool {            // x [n, c, s…]
  enum class Kind : uint8_t { max, average } kind = Kind::max;
  std::vector<int64_t> kernel, strides, pads_begin, pads_end;
  bool count_padding = false;  // average: divide by the whole kernel
};
struct Reduce {          // x; mean, sum or max over axes (ascending, not negative, not the batch)
  enum class Kind : uint8_t { mean, sum, max } kind = Kind::mean;
  std::vector<int64_t> axes;
  bool keep_dimensions = true;
};
struct Binary {          // a, b: broadcast as NumPy does
  enum class Kind : uint8_t { add, sub, mul, div, min, max, pow } kind = Kind::add;
  ActivationSpec activation;
};
struct Activate {        // x
  ActivationSpec activation;
};
struct Unary {           // x
  enum class Kind : uint8_t { sqrt, exp, log, neg, abs, reciprocal } kind = Kind::sqrt;
};
struct Softmax {         // x, over one axis
  int64_t axis = -1;
  bool log = false;
};
struct BatchNorm {       // x [n, c, …], scale [c], shift [c], mean [c], variance [c]
  float epsilon = 1e-5f;
};
struct LayerNorm {       // x, scale, shift (or kNoValue): over the dimensions from `axis` on
  int64_t axis = -1;
  float epsilon = 1e-5f;
};
struct Concat { int64_t axis = 0; };      // any number of inputs
struct Reshape { Shape shape; };          // x; -1 at most once, at the batch when the batch is unknown
struct Transpose { std::vector<int64_t> permutation; };
struct Pad {             // x; per dimension
  std::vector<int64_t> begin, end;
  float value = 0;
};
struct Slice {           // x; per axis named
  std::vector<int64_t> axes, begin, end, step;
};
// x [t, n, in], weights [directions, gates * hidden, in], recurrent weights [directions, gates * hidden, hidden], bias
// [directions, 2 * gates * hidden] (input's, then recurrent) or kNoValue, initial h [directions, n, hidden] or kNoValue, LSTM: initial c or kNoValue.
// Outputs: all h [t, directions, n, hidden], last h, LSTM: last c. Gates in ONNX's order: GRU z r h, LSTM i o f c.
struct Recurrent {
  enum class Kind : uint8_t { gru, lstm } kind = Kind::gru;
  enum class Direction : uint8_t { forward, reverse, both } direction = Direction::forward;
  int64_t hidden = 0;
  bool reset_after = false;  // GRU: ONNX's linear_before_reset, which is PyTorch's form
};
struct Quantize {};      // f32 -> the output value's quantization
struct Dequantize {};    // the input value's quantization -> f32

using Operation = std::variant<Conv, Linear, MatMul, Pool, Reduce, Binary, Activate, Unary, Softmax, BatchNorm, LayerNorm, Concat, Reshape, Transpose,
                               Pad, Slice, Recurrent, Quantize, Dequantize>;
const char* name_of(const Operation& operation);  // "conv"

struct Node {
  std::string name;  // as in the source: for errors and reports
  Operation operation;
  std::vector<ValueId> inputs, outputs;
};

// Bounds; check() refuses what lies beyond.
inline constexpr size_t kNodesMax = 1 << 14;
inline constexpr size_t kValuesMax = 1 << 16;
inline constexpr size_t kRankMax = 6;
inline constexpr int64_t kElementsMax = int64_t{1} << 28;  // of one value, batch 1

struct Graph {
  std::string source;  // "onnx", "tflite", "torchscript": for reports
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs, outputs;

  ValueId add_value(Value value);
  ValueId add_constant(std::string name, Shape shape, const std::vector<float>& data);
  // One node with one output of a shape that infer_shapes() fills in. Returns the output.
  ValueId add_node(std::string name, Operation operation, std::vector<ValueId> inputs);

  const Value& value(ValueId id) const { return values[id]; }
  Value& value(ValueId id) { return values[id]; }
};

int64_t elements(const Shape& shape);  // -1 counts as 1; -1 when negative or over kElementsMax
std::vector<float> real_values(const Value& constant);  // dequantized, row-major; of a constant that check() has seen

// begin and end of entry i on an axis of this length: negative ones count from the end, what lies outside is cut off.
struct SliceRange {
  int64_t begin = 0, end = 0;
};
SliceRange slice_range(const Slice& op, size_t i, int64_t length);

// Fills in shape and type of every computed value. Error: invalid, naming node and shapes; unavailable for what is not representable.
Status infer_shapes(Graph& graph);
// Structure: ids in range, single assignment, topological order, inputs and constants as each operation takes them, bounds. Error: invalid.
Status check(const Graph& graph);
// For people and tests: a node a line.
std::string describe(const Graph& graph);

}  // namespace skerry::inference::graph
