// Random graphs of small networks: for tests of passes, quantization and plans.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "inference/graph/graph.h"
#include "inference/graph/reference.h"

namespace skerry::inference::graph {

class GraphBuilder {
 public:
  explicit GraphBuilder(uint64_t seed) : random(seed) { graph.source = "test"; }

  ValueId input(Shape shape) {
    const ValueId id = graph.add_value({"input" + std::to_string(graph.inputs.size()), ElementType::f32, std::move(shape), {}, nullptr});
    graph.inputs.push_back(id);
    return id;
  }
  ValueId constant(Shape shape, double size = 1, double middle = 0) {
    std::vector<float> values(static_cast<size_t>(elements(shape)));
    for (float& v : values) v = static_cast<float>(middle + random.normal() * size);
    return graph.add_constant("constant" + std::to_string(graph.values.size()), std::move(shape), values);
  }
  ValueId node(Operation operation, std::vector<ValueId> inputs) {
    const ValueId id = graph.add_node(std::string(name_of(operation)) + std::to_string(graph.nodes.size()), std::move(operation), std::move(inputs));
    shapes();
    return id;
  }
  void shapes() {  // as far as the graph goes
    Graph copy = graph;
    copy.outputs = {copy.nodes.back().outputs[0]};
    if (infer_shapes(copy).ok()) graph.values = copy.values;
  }
  const Shape& shape(ValueId id) const { return graph.value(id).shape; }

  ValueId conv(ValueId x, int64_t out, int64_t k, int64_t stride = 1, int64_t groups = 1, bool bias = true) {
    const size_t spatial = shape(x).size() - 2;
    Shape w = {out, shape(x)[1] / groups};
    w.insert(w.end(), spatial, k);
    const std::vector<int64_t> strides(spatial, stride), ones(spatial, 1), pads(spatial, k / 2);
    const double fan = static_cast<double>(elements(w) / out);
    return node(Conv{strides, ones, pads, pads, groups, {}}, {x, constant(w, 1 / std::sqrt(fan)), bias ? constant({out}, 0.3) : kNoValue});
  }
  ValueId linear(ValueId x, int64_t out) {
    const int64_t in = shape(x).back();
    return node(Linear{}, {x, constant({out, in}, 1 / std::sqrt(static_cast<double>(in))), constant({out}, 0.3)});
  }
  ValueId activate(ValueId x, Activation kind) { return node(Activate{{kind, kind == Activation::leaky_relu ? 0.1f : 0.5f, 2.0f}}, {x}); }
  ValueId norm(ValueId x) {
    const int64_t c = shape(x)[1];
    std::vector<float> variance(static_cast<size_t>(c));
    for (float& v : variance) v = static_cast<float>(0.5 + random.uniform(0, 1));
    return node(BatchNorm{}, {x, constant({c}, 0.2, 1), constant({c}, 0.2), constant({c}, 0.2), graph.add_constant("variance", {c}, variance)});
  }
  Graph finish(std::vector<ValueId> outputs) {
    graph.outputs = std::move(outputs);
    return graph;
  }

  Random random;
  Graph graph;
};

inline std::vector<Array> samples(const Graph& graph, int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<Array> out;
  for (ValueId id : graph.inputs) {
    Array array{graph.value(id).shape, {}};
    array.shape[0] = array.shape[0] == -1 ? count : array.shape[0];
    array.data.resize(static_cast<size_t>(elements(array.shape)));
    for (float& v : array.data) v = static_cast<float>(random.normal());
    out.push_back(std::move(array));
  }
  return out;
}

// A network of a dozen layers with whatever the seed brings: residuals, norms, pools, channels-last detours, padding nodes.
inline Graph random_network(uint64_t seed) {
  GraphBuilder b(seed);
  Random& r = b.random;
  const bool image = r.below(2) == 0;
  ValueId x = b.input(image ? Shape{-1, 3, 12, 10} : Shape{-1, 5, 24});
  const std::vector<int64_t> last = image ? std::vector<int64_t>{0, 2, 3, 1} : std::vector<int64_t>{0, 2, 1},
                             back = image ? std::vector<int64_t>{0, 3, 1, 2} : std::vector<int64_t>{0, 2, 1};
  const Activation kinds[] = {Activation::relu, Activation::relu6, Activation::leaky_relu, Activation::hard_swish, Activation::tanh, Activation::clip};
  x = b.conv(x, 8, 3);
  for (int i = 0; i < 8; ++i) {
    const int64_t channels = b.shape(x)[1];
    const size_t spatial = b.shape(x).size() - 2;
    switch (r.below(9)) {
      case 0: x = b.activate(b.norm(b.conv(x, 8 + 4 * static_cast<int64_t>(r.below(3)), 3, 1, 1, r.below(2) == 0)), kinds[r.below(6)]); break;
      case 1: x = b.activate(b.conv(x, channels, 3, 1, channels), Activation::relu); break;
      case 2: {
        const ValueId y = b.conv(b.activate(b.conv(x, channels, 3), Activation::relu), channels, 3);
        x = b.activate(b.node(Binary{}, r.below(2) == 0 ? std::vector<ValueId>{x, y} : std::vector<ValueId>{y, x}), Activation::relu);
        break;
      }
      case 3: x = b.node(Transpose{back}, {b.activate(b.node(Transpose{last}, {x}), Activation::relu)}); break;
      case 4:
        if (b.shape(x).back() < 6) break;
        x = b.node(Pool{r.below(2) == 0 ? Pool::Kind::max : Pool::Kind::average, std::vector<int64_t>(spatial, 2), std::vector<int64_t>(spatial, 2),
                        std::vector<int64_t>(spatial, 0), std::vector<int64_t>(spatial, 0), false}, {x});
        break;
      case 5: {
        std::vector<int64_t> pads(spatial + 2, 1);
        pads[0] = pads[1] = 0;
        const ValueId padded = b.node(Pad{pads, pads, 0}, {x});
        Shape w = {channels, channels};
        w.insert(w.end(), spatial, 3);
        const std::vector<int64_t> ones(spatial, 1), zeros(spatial, 0);
        x = b.node(Conv{ones, ones, zeros, zeros, 1, {}}, {padded, b.constant(w, 0.2), kNoValue});
        break;
      }
      case 6: x = b.node(Concat{1}, {x, b.activate(b.conv(x, 4, 1), Activation::sigmoid)}); break;
      case 7: {
        Shape one(spatial + 2, 1);
        one[1] = channels;
        x = b.node(Binary{r.below(2) == 0 ? Binary::Kind::mul : Binary::Kind::add, {}}, {b.conv(x, channels, 1), b.constant(one, 0.3, 1)});
        break;
      }
      default: x = b.node(Slice{{1}, {0}, {channels}, {2}}, {x}); x = b.conv(x, 8, 1); break;
    }
  }
  std::vector<int64_t> axes;
  for (size_t d = 2; d < b.shape(x).size(); ++d) axes.push_back(static_cast<int64_t>(d));
  x = b.node(Reduce{Reduce::Kind::mean, axes, false}, {x});
  return b.finish({b.linear(b.activate(b.linear(x, 16), Activation::relu), 5)});
}

}  // namespace skerry::inference::graph
