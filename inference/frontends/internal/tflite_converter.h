// Turns the operators of a TensorFlow Lite model into nodes of a graph, one after the other. A tensor of four dimensions has up to two
// forms: as in the file (channels last) and channels first. Each is made when somebody asks for it.
// Threads: one. On failure: names the operator and its output.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "inference/frontends/internal/builder.h"
#include "inference/frontends/internal/tflite_model.h"

namespace skerry::inference::frontends {

class TfliteConverter {
 public:
  explicit TfliteConverter(const TfliteModel& model) : model_(model), builder_("tflite", model.file_bytes), items_(model.tensors.size()) {}

  // `free_batch`: a first dimension of 1 of every input is taken for an unknown batch.
  Result<graph::Graph> convert(bool free_batch);

 private:
  struct Item {
    graph::ValueId plain = graph::kNoValue;           // as in the file
    graph::ValueId channels_first = graph::kNoValue;  // [n, c, h, w]
    bool calculation = false;  // integers that shapes are calculated with; shapes are taken from what operators declare
  };
  using Handler = Status (TfliteConverter::*)(const TfliteOperator&);
  static const std::map<int32_t, Handler>& handlers();

  Status convert_operator(const TfliteOperator& op);
  std::string name_of(const TfliteOperator& op) const;

  static bool has(const TfliteOperator& op, size_t i) { return i < op.inputs.size() && op.inputs[i] >= 0; }
  Result<size_t> operand(const TfliteOperator& op, size_t i) const;
  const TfliteTensor& tensor(size_t index) const { return model_.tensors[index]; }
  Result<const TfliteTensor*> result(const TfliteOperator& op) const;
  // The two forms, and whichever there is already.
  Result<graph::ValueId> plain(size_t index);
  Result<graph::ValueId> channels_first(size_t index);
  bool is_channels_first(size_t index) const {
    return items_[index].plain == graph::kNoValue && items_[index].channels_first != graph::kNoValue;
  }
  Result<graph::ValueId> native(size_t index) { return is_channels_first(index) ? channels_first(index) : plain(index); }
  Result<graph::ValueId> constant(size_t index);
  Result<std::vector<int64_t>> ints(const TfliteOperator& op, size_t i) const;

  // Binds a computed value to output `o` of the operator, on the grid that the file states.
  Status set(const TfliteOperator& op, size_t o, graph::ValueId id, bool channels_first);
  Result<graph::ValueId> activated(const TfliteOperator& op, graph::ValueId id);
  Result<graph::ActivationSpec> fused(const TfliteOperator& op) const;
  // Weights for this input: as stored when it is quantized too, else the real numbers they stand for (hybrid models).
  Result<graph::ValueId> weights(const TfliteOperator& op, size_t i, std::vector<int64_t> permutation);
  Result<graph::ValueId> bias(const TfliteOperator& op, size_t i, graph::ValueId x, graph::ValueId weights);
  Status window(const TfliteOperator& op, graph::ValueId x, WindowSpec& spec) const;
  Status reshape_to(const TfliteOperator& op, graph::ValueId x, const graph::Shape& declared);

  Status conv(const TfliteOperator& op);
  Status pool(const TfliteOperator& op);
  Status fully_connected(const TfliteOperator& op);
  Status batch_matmul(const TfliteOperator& op);
  Status activation(const TfliteOperator& op);
  Status prelu(const TfliteOperator& op);
  Status binary(const TfliteOperator& op);
  Status unary(const TfliteOperator& op);
  Status softmax(const TfliteOperator& op);
  Status reduce(const TfliteOperator& op);
  Status concat(const TfliteOperator& op);
  Status pad(const TfliteOperator& op);
  Status reshape(const TfliteOperator& op);
  Status transpose(const TfliteOperator& op);
  Status slice(const TfliteOperator& op);
  Status strided_slice(const TfliteOperator& op);
  Status split(const TfliteOperator& op);
  Status quantize(const TfliteOperator& op);
  Status dequantize(const TfliteOperator& op);
  Status shape_calculation(const TfliteOperator& op);
  Status lstm(const TfliteOperator& op);

  const TfliteModel& model_;
  Builder builder_;
  std::vector<Item> items_;
};

}  // namespace skerry::inference::frontends
