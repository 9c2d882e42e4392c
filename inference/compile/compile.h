// A model's graph made into a plan: simplified, its layers quantized where that costs little, lowered. What the source quantized itself keeps
// the source's scales.
// Threads: one model, one thread. On failure: unavailable for an operation that is missing, naming it (the model can then be served by
// LibTorch); invalid for a graph or calibration that does not fit.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "inference/graph/graph.h"
#include "inference/graph/reference.h"
#include "inference/plan/plan.h"

namespace skerry::inference::compile {

struct Options {
  size_t samples_max = 256;     // calibration samples that are looked at
  double error_max = 0.05;      // relative L2 of the outputs that int8 may cost, over the calibration samples; beyond, layers stay fp32
  size_t real_layers_max = 64;  // that stay fp32 before the rest is taken as it is
  double spare_share = 0.05;    // of the model's work that may stay fp32 even so, where that helps the outputs most
};

struct LayerReport {
  std::string name, operation, precision;  // "conv", "int8"
  double sensitivity = -1;                 // relative L2 of the outputs when this layer alone is int8; -1: not measured
  uint64_t multiplies = 0, weight_bytes = 0;
};

struct Compiled {
  plan::Plan plan;
  std::vector<LayerReport> layers;   // convolutions and linear layers
  std::vector<std::string> recurrent;  // GRU and LSTM: in fp32, because their state would be rounded anew at every step
  bool quantized_by_source = false;  // then error says nothing: there is no fp32 original
  double error = 0;                  // relative L2 of the outputs to the fp32 model's
  double agreement = 1;              // share of samples whose largest output is the same
  size_t samples = 0;                // that both were measured on
};

// `calibration`: one array per input of the graph, with as many samples each; none: everything stays fp32.
Result<Compiled> compile(graph::Graph graph, const std::vector<graph::Array>& calibration, const Options& options = {});

}  // namespace skerry::inference::compile
