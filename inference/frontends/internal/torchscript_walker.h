// Walks an inlined TorchScript graph and builds ours. What is known before the model runs (numbers, lists, sizes, constant tensors) is
// calculated on the way; kBatch stands for the unknown batch among integers.
// Threads: one. On failure: names the operator; LibTorch's exceptions are the caller's to catch.
#pragma once

#include <torch/script.h>

#include <map>
#include <string>
#include <vector>

#include "inference/frontends/internal/builder.h"

namespace skerry::inference::frontends {

class TorchWalker {
 public:
  TorchWalker(torch::jit::Module module, size_t file_bytes) : module_(std::move(module)), builder_("torchscript", file_bytes) {}
  Result<graph::Graph> walk(const torch::jit::Graph& from, const std::vector<graph::Shape>& inputs);

 private:
  struct Item {
    graph::ValueId id = graph::kNoValue;  // a tensor of the graph
    c10::IValue known;                    // else: what is known now
    std::vector<Item> list;               // else, when is_list: a list or tuple of items
    bool is_list = false;
    bool view = false;  // shares memory with `base`: neither must be written into
    graph::ValueId base = graph::kNoValue;
  };
  // One node with its operands.
  struct Call {
    const torch::jit::Node* node;
    std::string name;  // of its first output
    std::string type;  // "aten::conv1d"
    bool in_place = false;
    std::vector<Item> in;

    size_t count() const { return in.size(); }
    bool none(size_t i) const { return i >= in.size() || (in[i].id == graph::kNoValue && !in[i].is_list && in[i].known.isNone()); }
  };
  using Handler = Status (TorchWalker::*)(Call&);
  static const std::map<std::string, Handler>& handlers();

  Status walk_block(const torch::jit::Block& block);
  Status walk_node(const torch::jit::Node& node);
  Status branch(const torch::jit::Node& node);
  Status constant(const torch::jit::Node& node);
  Status structure(const torch::jit::Node& node, bool& done);
  Result<bool> calculate(Call& call);
  Result<std::vector<graph::ValueId>> outputs(const torch::jit::Block& block);

  const Item& item(const torch::jit::Value* value) const { return items_.at(value); }
  Result<graph::ValueId> value(const Item& item, const std::string& name);
  Result<graph::ValueId> value(Call& call, size_t i);
  Result<graph::ValueId> optional_value(Call& call, size_t i);
  Result<std::vector<graph::ValueId>> values(Call& call, size_t i);
  Result<int64_t> integer(const Call& call, size_t i) const;
  Result<int64_t> integer(const Call& call, size_t i, int64_t otherwise) const;
  Result<double> real(const Call& call, size_t i, double otherwise) const;
  Result<std::vector<int64_t>> integers(const Call& call, size_t i) const;
  // A list of so many; one entry stands for all.
  Result<std::vector<int64_t>> integers(const Call& call, size_t i, size_t count, int64_t otherwise) const;

  Status set(const Call& call, graph::ValueId id, bool view = false);
  Status set(const Call& call, size_t output, Item item);
  Status add(const Call& call, graph::Operation operation, std::vector<graph::ValueId> inputs);
  Status activate(Call& call, graph::ActivationSpec spec);

  // torchscript_operators.cpp
  Status convolution(Call& call);
  Status linear(Call& call);
  Status addmm(Call& call);
  Status matmul(Call& call);
  Status batch_norm(Call& call);
  Status layer_norm(Call& call);
  Status activation(Call& call);
  Status hardtanh(Call& call);
  Status clamp(Call& call);
  Status gelu(Call& call);
  Status elu(Call& call);
  Status pool(Call& call);
  Status adaptive_pool(Call& call);
  Status binary(Call& call);
  Status unary(Call& call);
  Status reduce(Call& call);
  Status softmax(Call& call);
  Status concat(Call& call);
  Status flatten(Call& call);
  Status view(Call& call);
  Status squeeze(Call& call);
  Status unsqueeze(Call& call);
  Status transpose(Call& call);
  Status permute(Call& call);
  Status slice(Call& call);
  Status select(Call& call);
  Status split(Call& call);
  Status pad(Call& call);
  Status same(Call& call);
  Status size(Call& call);
  Status dimensions(Call& call);
  Status zeros(Call& call);
  Status recurrent(Call& call);
  Result<graph::ValueId> initial_state(const Item& given, int64_t layer, int64_t directions, const std::string& name);

  torch::jit::Module module_;
  Builder builder_;
  std::map<const torch::jit::Value*, Item> items_;
};

}  // namespace skerry::inference::frontends
