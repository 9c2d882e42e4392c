// The layers with weights and windows, for the reference interpreter. Shapes have been checked; the output is allocated, its data is set
// here.
#pragma once

#include <vector>

#include "inference/graph/reference.h"

namespace skerry::inference::graph {

float activated(const ActivationSpec& spec, float x);

// Null pointers: optional inputs that are left out.
void run_conv(const Conv& op, const Array& x, const Array& weights, const Array* bias, const Array* residual, Array& out);
void run_linear(const Linear& op, const Array& x, const Array& weights, const Array* bias, const Array* residual, Array& out);
void run_matmul(const Array& a, const Array& b, Array& out);
void run_pool(const Pool& op, const Array& x, Array& out);

struct RecurrentInputs {
  const Array& x;
  const Array& weights;
  const Array& recurrent_weights;
  const Array* bias = nullptr;
  const Array* initial_h = nullptr;
  const Array* initial_c = nullptr;
};
// out: all h, last h, LSTM: last c; as many as the node has.
void run_recurrent(const Recurrent& op, const RecurrentInputs& in, const std::vector<Array*>& out);

}  // namespace skerry::inference::graph
