// Which values of a graph share their channels (dimension 1): what is done to a channel of one must be done to it in all of them. For
// evening out channels before quantization, and for removing them.
// Threads: values. On failure: none; the graph must be whole and have its shapes.
#pragma once

#include <vector>

#include "inference/graph/graph.h"

namespace skerry::inference::graph {

enum class ChannelChange {
  scaling,  // a channel times a positive number, undone by what reads it
  removal   // a channel is gone, and with it the weights that make and read it
};

class ChannelGroups {
 public:
  ChannelGroups(const Graph& graph, ChannelChange change);

  ValueId of(ValueId id) const;  // the group's name: one of its values
  // Neither an input or output of the graph, nor read or made by what the change is not possible for.
  bool is_free(ValueId id) const { return !fixed_[of(id)] && !graph_.value(id).is_constant(); }
  void fix(ValueId id) {
    if (id != kNoValue) fixed_[of(id)] = true;
  }

 private:
  void look(const Node& node);
  void weighted(const Node& node, const ActivationSpec& activation);
  bool passes(const Node& node) const;
  bool goes_through(const ActivationSpec& activation) const;
  bool same_shape(ValueId a, ValueId b) const;
  void tie(ValueId a, ValueId b);

  const Graph& graph_;
  const ChannelChange change_;
  std::vector<ValueId> parent_;
  std::vector<bool> fixed_;
};

}  // namespace skerry::inference::graph
