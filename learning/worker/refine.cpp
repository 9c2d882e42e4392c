#include "learning/worker/refine.h"

#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <new>
#include <numeric>
#include <span>
#include <sstream>

#include "inference/frontends/torchscript.h"
#include "inference/graph/channels.h"
#include "learning/worker/other_sensors.h"
#include "learning/worker/schedule.h"
#include "learning/worker/tensors.h"

namespace skerry::learning::worker {
namespace {

using inference::graph::ChannelGroups;
using inference::graph::Graph;
using inference::graph::kNoValue;
using inference::graph::Node;
using inference::graph::ValueId;
using torch::jit::Module;

constexpr int64_t kMultiple = 4;          // channels are kept in such steps
constexpr float kFirstMark = 7'000'001;   // of the tensors of a model that is traced: no number that its code has anyway

at::Tensor forward(Module& module, const at::Tensor& x) { return module.forward({x}).toTensor(); }

// Whatever tensors of reals the model holds: a saved one does not always tell buffers from other attributes.
std::map<std::string, at::Tensor> tensors_of(const Module& module) {
  std::map<std::string, at::Tensor> out;
  for (const auto& one : module.named_attributes()) {
    if (one.value.isTensor()) out.emplace(one.name, one.value.toTensor());
  }
  std::erase_if(out, [](const auto& one) { return !one.second.defined() || one.second.scalar_type() != torch::kFloat32 || one.second.dim() == 0; });
  return out;
}

ValueId input_of(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

// The model's graph, and which tensor of the model each of its constants is. To know that, a copy is read whose tensors each hold one number
// throughout: their own.
class Traced {
 public:
  static Result<Traced> open(const std::filesystem::path& model, uint32_t channels, uint32_t rows) {
    SKERRY_ASSIGN(Module copy, load_module(model));
    Traced out;
    {
      torch::NoGradGuard no_grad;
      for (auto& [name, tensor] : tensors_of(copy)) {
        out.names_.push_back(name);
        out.shapes_.push_back(tensor.sizes().vec());
        tensor.fill_(kFirstMark + static_cast<float>(out.names_.size() - 1));
      }
    }
    const std::string bytes = save_module(copy);
    SKERRY_ASSIGN(out.graph_, inference::frontends::from_torchscript(std::as_bytes(std::span(bytes)), {{-1, channels, rows}}));
    SKERRY_TRY(inference::graph::infer_shapes(out.graph_));
    return out;
  }

  const Graph& graph() const { return graph_; }
  // Empty: the constant is no tensor of the model as it is.
  std::string name_of(ValueId id) const {
    const auto& value = graph_.value(id);
    if (!value.is_constant()) return {};
    const std::vector<float> values = inference::graph::real_values(value);
    if (values.empty() || !std::all_of(values.begin(), values.end(), [&](float v) { return v == values[0]; })) return {};
    const double number = double{values[0]} - double{kFirstMark};
    if (!(number >= 0 && number < static_cast<double>(names_.size())) || number != std::floor(number)) return {};
    const auto at = static_cast<size_t>(number);
    return shapes_[at] == value.shape ? names_[at] : std::string{};
  }

 private:
  Graph graph_;
  std::vector<std::string> names_;
  std::vector<std::vector<int64_t>> shapes_;
};

// What is cut from one tensor of the model: these indices of a dimension stay.
struct Cut {
  int64_t dimension = 0;
  ValueId group = kNoValue;
};

// Which channels of each group go, and what of the model that concerns.
class ChannelPruning {
 public:
  ChannelPruning(const Traced& traced, const std::map<std::string, at::Tensor>& tensors)
      : traced_(traced), tensors_(tensors), groups_(traced.graph(), inference::graph::ChannelChange::removal) {
    std::map<std::string, int> uses;
    for (const Node& node : traced.graph().nodes) {
      for (size_t i = 1; i < node.inputs.size(); ++i) uses[name_of(node.inputs[i])] += 1;
    }
    for (const Node& node : traced.graph().nodes) fix_foreign(node, uses);
    for (const Node& node : traced.graph().nodes) look(node);
  }

  std::map<ValueId, at::Tensor> choose(double share) const {
    std::map<ValueId, at::Tensor> kept;
    for (const auto& [group, importance] : importance_) {
      const int64_t all = importance.numel();
      const int64_t wanted = (std::llround(static_cast<double>(all) * (1 - share)) + kMultiple - 1) / kMultiple * kMultiple;
      const int64_t count = std::clamp<int64_t>(wanted, 1, all);
      kept[group] = std::get<0>(std::get<1>(torch::topk(importance, count)).sort());
    }
    return kept;
  }

  const std::map<std::string, std::vector<Cut>>& cuts() const { return cuts_; }
  uint64_t channels() const {
    uint64_t sum = 0;
    for (const auto& [group, importance] : importance_) sum += static_cast<uint64_t>(importance.numel());
    return sum;
  }
  const std::string& kept() const { return kept_; }

 private:
  static bool is_weighted(const Node& node) {
    return std::holds_alternative<inference::graph::Conv>(node.operation) || std::holds_alternative<inference::graph::Linear>(node.operation);
  }

  std::string name_of(ValueId id) const { return id == kNoValue ? std::string{} : traced_.name_of(id); }

  // Nodes whose weights are no tensors of the model as they are (computed from several, or used twice) keep their channels.
  void fix_foreign(const Node& node, const std::map<std::string, int>& uses) {
    if (!is_weighted(node) && !std::holds_alternative<inference::graph::BatchNorm>(node.operation)) return;
    const bool own = std::all_of(node.inputs.begin() + 1, node.inputs.end(), [&](ValueId id) {
      const std::string name = name_of(id);
      return id == kNoValue || (!name.empty() && uses.at(name) == 1);
    });
    if (own) return;
    groups_.fix(node.inputs[0]);
    groups_.fix(node.outputs[0]);
    kept_ += (kept_.empty() ? "" : ", ") + node.name;
  }

  void look(const Node& node) {
    const ValueId x = node.inputs[0], y = node.outputs[0];
    if (is_weighted(node)) {
      const bool makes = groups_.is_free(y);
      if (makes) {
        cut(node.inputs[1], 0, y);
        if (input_of(node, 2) != kNoValue) cut(node.inputs[2], 0, y);
        const at::Tensor filters = tensors_.at(traced_.name_of(node.inputs[1])).detach().flatten(1).abs().sum(1);
        at::Tensor& sum = importance_[groups_.of(y)];
        const at::Tensor relative = filters / filters.mean().clamp_min(1e-12);
        sum = sum.defined() ? sum + relative : relative;
      }
      if (groups_.is_free(x)) cut(node.inputs[1], 1, x);
    } else if (std::holds_alternative<inference::graph::BatchNorm>(node.operation) && groups_.is_free(y)) {
      for (size_t i = 1; i < node.inputs.size(); ++i) cut(node.inputs[i], 0, y);
    }
  }
  void cut(ValueId constant, int64_t dimension, ValueId value) {
    cuts_[traced_.name_of(constant)].push_back({dimension, groups_.of(value)});
  }

  const Traced& traced_;
  const std::map<std::string, at::Tensor>& tensors_;
  ChannelGroups groups_;
  std::map<std::string, std::vector<Cut>> cuts_;
  std::map<ValueId, at::Tensor> importance_;  // per group, one number per channel
  std::string kept_;
};

Status prune_channels(Module& module, const std::filesystem::path& file, uint32_t channels, uint32_t rows, double share, Pruned& out) {
  SKERRY_ASSIGN(const Traced traced, Traced::open(file, channels, rows));
  std::map<std::string, at::Tensor> tensors = tensors_of(module);
  const ChannelPruning pruning(traced, tensors);
  out.channels_before = pruning.channels();
  out.kept = pruning.kept();
  if (out.channels_before == 0) {
    return fail(Code::invalid, "no channel of this model can be removed: what its layers give to each other goes through {}",
                out.kept.empty() ? "operations that need them all" : "weights that are computed or shared (" + out.kept + ")");
  }
  const std::map<ValueId, at::Tensor> kept = pruning.choose(share);
  for (const auto& [group, indices] : kept) out.channels_after += static_cast<uint64_t>(indices.numel());
  for (const auto& [name, cuts] : pruning.cuts()) {
    at::Tensor small = tensors.at(name).detach();
    for (const Cut& cut : cuts) {
      if (kept.contains(cut.group)) small = small.index_select(cut.dimension, kept.at(cut.group));
    }
    tensors.at(name).set_data(small.contiguous());
  }
  return {};
}

void prune_weights(Module& module, double share) {
  for (const auto& parameter : module.named_parameters()) {
    at::Tensor values = parameter.value.detach();
    if (values.dim() < 2) continue;  // biases and norms weigh little
    const int64_t gone = std::clamp<int64_t>(std::llround(share * static_cast<double>(values.numel())), 0, values.numel() - 1);
    if (gone == 0) continue;
    const at::Tensor order = std::get<1>(torch::topk(values.abs().flatten(), gone, 0, false));
    values.view(-1).index_fill_(0, order, 0.0f);
  }
}

Result<Pruned> prune_model(const std::filesystem::path& model, uint32_t channels, uint32_t rows, const PruneSpec& spec) {
  torch::NoGradGuard no_grad;
  SKERRY_ASSIGN(Module module, load_module(model));
  const at::Tensor probe = torch::zeros({2, channels, rows});
  const at::Tensor before = forward(module, probe);
  Pruned out;
  if (spec.channels > 0) SKERRY_TRY(prune_channels(module, model, channels, rows, spec.channels, out));
  if (spec.weights > 0) prune_weights(module, spec.weights);
  out.model = save_module(module);
  std::istringstream again(out.model);
  Module reloaded = torch::jit::load(again);
  try {
    if (forward(reloaded, probe).sizes() != before.sizes()) return fail(Code::invalid, "the model answers other shapes once its channels are removed");
  } catch (const std::exception& error) {
    return fail(Code::invalid, "the model's code has numbers of channels written in it, so that none can be removed: {}",
                std::string(error.what()).substr(0, 300));
  }
  return out;
}

class Lesson {
 public:
  Lesson(const TrainInputs& inputs, Module& student, Module& teacher, const RefineSpec& spec)
      : student_(student), spec_(spec), other_sensors_(inputs.spec), x_(windows_tensor(inputs.train)), y_(labels_tensor(inputs.train)), teacher_(teacher) {}

  at::Tensor operator()(const at::Tensor& rows, Random& random) {
    const at::Tensor x = other_sensors_(x_.index_select(0, rows), random), y = y_.index_select(0, rows);
    at::Tensor wanted;
    {
      torch::NoGradGuard no_grad;
      wanted = torch::softmax(forward(teacher_, x) / spec_.temperature, 1);
    }
    const at::Tensor answers = forward(student_, x);
    // Scaled by the temperature's square, so that gradients keep their size (Hinton et al. 2015); kl_div's mean is over elements.
    const double scale = spec_.temperature * spec_.temperature * static_cast<double>(answers.size(1));
    at::Tensor loss = (1 - spec_.label_weight) * scale * torch::kl_div(torch::log_softmax(answers / spec_.temperature, 1), wanted);
    const at::Tensor labelled = (y >= 0).nonzero().flatten();
    if (labelled.numel() > 0) {
      loss = loss + spec_.label_weight * torch::cross_entropy_loss(answers.index_select(0, labelled), y.index_select(0, labelled));
    }
    return loss;
  }

 private:
  Module& student_;
  const RefineSpec& spec_;
  OtherSensors other_sensors_;
  at::Tensor x_, y_;
  Module& teacher_;
};

Result<std::string> refine_model(const TrainInputs& inputs, const std::filesystem::path& student_file, const std::filesystem::path& teacher_file,
                                 const RefineSpec& spec) {
  SKERRY_ASSIGN(Module student, load_module(student_file));
  SKERRY_ASSIGN(Module teacher, load_module(teacher_file));
  {
    torch::NoGradGuard no_grad;
    const at::Tensor probe = torch::zeros({2, inputs.train.channels, inputs.train.rows});
    const at::Tensor ours = forward(student, probe), theirs = forward(teacher, probe);
    if (ours.dim() != 2 || ours.sizes() != theirs.sizes()) return fail(Code::invalid, "teacher and student do not answer the same classes");
  }
  Lesson lesson(inputs, student, teacher, spec);
  Phase phase;
  phase.name = "refine";
  phase.epochs = spec.epochs;
  phase.learning_rate = spec.learning_rate;
  phase.decay = true;
  phase.examples = static_cast<int64_t>(inputs.train.windows.size());
  phase.batch_size = inputs.spec.batch_size;
  for (const at::Tensor& leaf : student.parameters()) {
    phase.parameters.push_back(leaf);
    phase.masks.push_back(spec.keep_zeros && leaf.dim() > 1 ? (leaf.detach() != 0).to(torch::kFloat32) : torch::ones_like(leaf).detach());
  }
  phase.loss = [&](const at::Tensor& rows, Random& random) { return lesson(rows, random); };
  SKERRY_TRY(run_phase(inputs, phase));
  return save_module(student);
}

template <typename Work>
auto guarded(const char* what, Work work) -> decltype(work()) {
  try {
    torch::jit::setGraphExecutorOptimize(false);
    return work();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    return from_exception(error, what);
  }
}

}  // namespace

Result<Pruned> prune(const std::filesystem::path& model, uint32_t channels, uint32_t rows, const PruneSpec& spec) {
  return guarded("pruning", [&] { return prune_model(model, channels, rows, spec); });
}

Result<std::string> refine(const TrainInputs& inputs, const std::filesystem::path& student, const std::filesystem::path& teacher, const RefineSpec& spec) {
  return guarded("training", [&] { return refine_model(inputs, student, teacher, spec); });
}

Result<Size> size_of(const std::filesystem::path& model) {
  return guarded("reading the model", [&]() -> Result<Size> {
    SKERRY_ASSIGN(Module module, load_module(model));
    Size out;
    for (const auto& parameter : module.named_parameters()) {
      out.parameters += static_cast<uint64_t>(parameter.value.numel());
      out.not_zero += static_cast<uint64_t>(parameter.value.count_nonzero().item<int64_t>());
    }
    return out;
  });
}

}  // namespace skerry::learning::worker
