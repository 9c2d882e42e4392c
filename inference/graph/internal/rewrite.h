// What passes share: who computes a value, who uses it, and edits that keep the graph whole.
// Threads: values. On failure: none; the graph was checked.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "inference/graph/graph.h"

namespace skerry::inference::graph {

inline constexpr size_t kNoNode = SIZE_MAX;

class Links {
 public:
  explicit Links(const Graph& graph) : producer_(graph.values.size(), kNoNode), uses_(graph.values.size()), consumer_(graph.values.size(), kNoNode) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      for (ValueId id : graph.nodes[i].outputs) producer_[id] = i;
      for (ValueId id : graph.nodes[i].inputs) {
        if (id == kNoValue) continue;
        uses_[id] += 1;
        consumer_[id] = i;
      }
    }
    for (ValueId id : graph.outputs) uses_[id] += 1, outputs_.push_back(id);
  }

  size_t producer(ValueId id) const { return producer_[id]; }
  size_t uses(ValueId id) const { return uses_[id]; }
  size_t consumer(ValueId id) const { return consumer_[id]; }  // one of them
  bool is_output(ValueId id) const { return std::find(outputs_.begin(), outputs_.end(), id) != outputs_.end(); }
  // Used by one node and by nobody else.
  bool is_private(ValueId id) const { return uses_[id] == 1 && !is_output(id); }

 private:
  std::vector<size_t> producer_, uses_, consumer_;
  std::vector<ValueId> outputs_;
};

inline void replace_uses(Graph& graph, ValueId from, ValueId to) {
  for (Node& node : graph.nodes) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
}

// The activation of operations that have one.
inline ActivationSpec* activation_of(Operation& operation) {
  if (auto* conv = std::get_if<Conv>(&operation)) return &conv->activation;
  if (auto* linear = std::get_if<Linear>(&operation)) return &linear->activation;
  if (auto* binary = std::get_if<Binary>(&operation)) return &binary->activation;
  return nullptr;
}

inline bool is_weighted(const Operation& operation) { return std::holds_alternative<Conv>(operation) || std::holds_alternative<Linear>(operation); }

inline ValueId input_or_none(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

inline void set_input(Node& node, size_t i, ValueId value) {
  if (node.inputs.size() <= i) node.inputs.resize(i + 1, kNoValue);
  node.inputs[i] = value;
}

inline void erase_marked(Graph& graph, const std::vector<bool>& gone) {
  size_t kept = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!gone[i]) {
      if (kept != i) graph.nodes[kept] = std::move(graph.nodes[i]);
      ++kept;
    }
  }
  graph.nodes.resize(kept);
}

}  // namespace skerry::inference::graph
