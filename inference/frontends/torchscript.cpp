#include "inference/frontends/torchscript.h"

#include <fmt/format.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <new>
#include <set>
#include <sstream>

#include "inference/frontends/internal/torchscript_walker.h"
#include "inference/graph/internal/shapes.h"

namespace skerry::inference::frontends {

using graph::kNoValue;
using graph::ValueId;

namespace {

// Arithmetic and bookkeeping on what is known: run by LibTorch itself. Nothing here reads files, draws randomness or makes large things.
const std::set<std::string> kCalculations = {"aten::add",
                                             "aten::sub",
                                             "aten::mul",
                                             "aten::div",
                                             "aten::floordiv",
                                             "aten::remainder",
                                             "aten::neg",
                                             "aten::eq",
                                             "aten::ne",
                                             "aten::lt",
                                             "aten::le",
                                             "aten::gt",
                                             "aten::ge",
                                             "aten::__and__",
                                             "aten::__or__",
                                             "aten::__not__",
                                             "aten::__is__",
                                             "aten::__isnot__",
                                             "aten::__getitem__",
                                             "aten::len",
                                             "aten::Int",
                                             "aten::Float",
                                             "aten::Bool",
                                             "aten::ceil",
                                             "aten::floor",
                                             "prim::min",
                                             "prim::max",
                                             "aten::IntImplicit",
                                             "aten::ScalarImplicit",
                                             "aten::FloatImplicit",
                                             "aten::floor_divide"};

bool is_batch(const c10::IValue& value) { return value.isInt() && value.toInt() == kBatch; }

// What stays true of the batch although it is not known.
Result<c10::IValue> of_batch(const std::string& type, const std::vector<c10::IValue>& in) {
  const bool first = is_batch(in[0]);
  const c10::IValue& other = in[in.size() > 1 && first ? 1 : 0];
  const bool one = other.isInt() && other.toInt() == 1, zero = other.isInt() && other.toInt() == 0;
  if (type == "aten::Int" || type == "aten::ScalarImplicit" || type == "aten::IntImplicit") return c10::IValue(kBatch);
  if (in.size() >= 2) {
    if (type == "aten::mul" && one) return c10::IValue(kBatch);
    if (first && one && (type == "aten::floordiv" || type == "aten::floor_divide")) return c10::IValue(kBatch);
    if (zero && (type == "aten::add" || (first && type == "aten::sub"))) return c10::IValue(kBatch);
  }
  return fail(Code::unavailable, "calculates with the batch size");
}

std::string first_line(const char* text) {
  std::string line(text);
  return printable(line.substr(0, line.find('\n')));
}

}  // namespace

Result<ValueId> TorchWalker::value(const Item& item, const std::string& name) {
  if (item.id != kNoValue) return item.id;
  std::vector<float> data;
  graph::Shape shape = {1};
  if (item.known.isTensor()) {
    at::Tensor tensor = item.known.toTensor();
    if (!tensor.defined() || tensor.is_quantized() || !(tensor.is_floating_point() || at::isIntegralType(tensor.scalar_type(), true))) {
      return fail(Code::unavailable, "computes with a constant of type {}", tensor.defined() ? toString(tensor.scalar_type()) : "none");
    }
    SKERRY_TRY(builder_.take(static_cast<size_t>(tensor.numel()) * sizeof(float)));
    at::Tensor flat = tensor.detach().to(at::kFloat).contiguous();
    data.assign(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
    shape = tensor.sizes().vec();
  } else if (item.known.isScalar() && !is_batch(item.known)) {
    data = {item.known.toScalar().toFloat()};
  } else {
    return fail(Code::unavailable, "computes with what is no tensor ({})", item.is_list ? "a list" : item.known.tagKind());
  }
  return builder_.constant(name, std::move(shape), data);
}

Result<ValueId> TorchWalker::value(Call& call, size_t i) {
  if (i >= call.count()) return fail(Code::invalid, "input {} is missing", i);
  std::string name = printable(call.node->input(i)->debugName());
  SKERRY_ASSIGN(ValueId id, value(call.in[i], name));
  if (call.in[i].known.isTensor()) items_[call.node->input(i)].id = id;  // constants are made once
  return id;
}

Result<ValueId> TorchWalker::optional_value(Call& call, size_t i) {
  if (call.none(i)) return kNoValue;
  return value(call, i);
}

Result<std::vector<ValueId>> TorchWalker::values(Call& call, size_t i) {
  if (i >= call.count()) return fail(Code::invalid, "input {} is missing", i);
  std::vector<ValueId> ids;
  std::vector<Item> list = call.in[i].list;
  if (!call.in[i].is_list && call.in[i].known.isTensorList()) {
    for (const at::Tensor& tensor : call.in[i].known.toTensorVector()) list.push_back({kNoValue, tensor});
  }
  for (const Item& entry : list) {
    SKERRY_ASSIGN(ValueId id, value(entry, fmt::format("{}.{}", call.name, ids.size())));
    ids.push_back(id);
  }
  if (ids.empty()) return fail(Code::unavailable, "input {} is no list of tensors", i);
  return ids;
}

Result<int64_t> TorchWalker::integer(const Call& call, size_t i) const {
  if (i < call.count() && call.in[i].known.isInt()) return call.in[i].known.toInt();
  if (i < call.count() && call.in[i].known.isBool()) return call.in[i].known.toBool() ? 1 : 0;
  return fail(Code::unavailable, "input {} is no number that is known before the model runs", i);
}

Result<int64_t> TorchWalker::integer(const Call& call, size_t i, int64_t otherwise) const {
  if (call.none(i)) return otherwise;
  return integer(call, i);
}

Result<double> TorchWalker::real(const Call& call, size_t i, double otherwise) const {
  if (call.none(i)) return otherwise;
  const c10::IValue& known = call.in[i].known;
  if (known.isScalar() && !is_batch(known)) return known.toScalar().toDouble();
  return fail(Code::unavailable, "input {} is no number that is known before the model runs", i);
}

Result<std::vector<int64_t>> TorchWalker::integers(const Call& call, size_t i) const {
  if (i >= call.count()) return fail(Code::invalid, "input {} is missing", i);
  if (call.in[i].known.isIntList()) return call.in[i].known.toIntVector();
  if (call.in[i].known.isInt()) return std::vector<int64_t>{call.in[i].known.toInt()};
  if (!call.in[i].is_list) return fail(Code::unavailable, "input {} is no list of integers", i);
  std::vector<int64_t> out;
  for (const Item& entry : call.in[i].list) {
    if (entry.id != kNoValue || !entry.known.isInt()) return fail(Code::unavailable, "input {} is not known before the model runs", i);
    out.push_back(entry.known.toInt());
  }
  return out;
}

Result<std::vector<int64_t>> TorchWalker::integers(const Call& call, size_t i, size_t count, int64_t otherwise) const {
  if (call.none(i)) return std::vector<int64_t>(count, otherwise);
  SKERRY_ASSIGN(std::vector<int64_t> list, integers(call, i));
  if (list.empty()) return std::vector<int64_t>(count, otherwise);
  if (list.size() == 1) list.resize(count, list[0]);
  if (list.size() != count) return fail(Code::invalid, "input {} has {} entries, should have {}", i, list.size(), count);
  return list;
}

Status TorchWalker::set(const Call& call, size_t output, Item item) {
  if (output >= call.node->outputs().size()) return fail(Code::invalid, "has no output {}", output);
  items_[call.node->output(output)] = std::move(item);
  return {};
}

// In-place operators change what every name of the tensor means from here on.
Status TorchWalker::set(const Call& call, ValueId id, bool view) {
  if (call.in_place && !call.in.empty()) {
    const Item& target = call.in[0];
    if (target.view || target.id == kNoValue) return fail(Code::unavailable, "writes into a view or a constant");
    const ValueId old = target.id;
    for (auto& [unused, entry] : items_) {
      if (entry.view && entry.base == old) return fail(Code::unavailable, "writes into a tensor that has views");
      if (entry.id == old) entry.id = id;
    }
  }
  if (!view) return set(call, 0, Item{id});
  const Item& from = call.in.at(0);
  return set(call, 0, Item{id, {}, {}, false, true, from.view ? from.base : from.id});
}

Status TorchWalker::add(const Call& call, graph::Operation operation, std::vector<ValueId> inputs) {
  SKERRY_ASSIGN(ValueId id, builder_.add(call.name, std::move(operation), std::move(inputs)));
  return set(call, id);
}

Status TorchWalker::constant(const torch::jit::Node& node) {
  c10::optional<c10::IValue> known = torch::jit::toIValue(node.output());
  items_[node.output()] = {kNoValue, known ? *known : c10::IValue()};
  return {};
}

// A branch whose condition is known; both must be alike to the rest of the graph.
Status TorchWalker::branch(const torch::jit::Node& node) {
  const Item& condition = item(node.input(0));
  if (!condition.known.isBool()) return fail(Code::unavailable, "operator prim::If depends on what the model computes: not supported");
  const torch::jit::Block& taken = *node.blocks().at(condition.known.toBool() ? 0 : 1);
  SKERRY_TRY(walk_block(taken));
  for (size_t i = 0; i < node.outputs().size(); ++i) items_[node.output(i)] = item(taken.outputs().at(i));
  return {};
}

Status TorchWalker::structure(const torch::jit::Node& node, bool& done) {
  const std::string type = node.kind().toQualString();
  done = true;
  if (type == "prim::Constant") return constant(node);
  if (type == "prim::If") return branch(node);
  if (type == "prim::RaiseException") return fail(Code::invalid, "the model refuses inputs of this shape");
  if (type == "prim::GetAttr") {
    const Item& owner = item(node.input(0));
    if (!owner.known.isObject()) return fail(Code::invalid, "reads an attribute of what is no module");
    items_[node.output()] = {kNoValue, owner.known.toObject()->getAttr(node.s(c10::attr::name))};
    return {};
  }
  if (type == "prim::ListConstruct" || type == "prim::TupleConstruct") {
    Item list;
    list.is_list = true;
    for (const torch::jit::Value* input : node.inputs()) list.list.push_back(item(input));
    items_[node.output()] = std::move(list);
    return {};
  }
  if (type == "prim::ListUnpack" || type == "prim::TupleUnpack") {
    const Item list = item(node.input(0));
    if (!list.is_list || list.list.size() != node.outputs().size()) return fail(Code::unavailable, "unpacks a list that is not known");
    for (size_t i = 0; i < node.outputs().size(); ++i) items_[node.output(i)] = list.list[i];
    return {};
  }
  if (type == "prim::NumToTensor" || type == "prim::unchecked_cast" || type == "prim::Uninitialized") {
    items_[node.output()] = node.inputs().empty() ? Item{} : item(node.input(0));
    return {};
  }
  if (type == "prim::dtype" || type == "prim::device" || type == "aten::format" || type == "aten::warn") {  // for messages and assertions
    for (const torch::jit::Value* output : node.outputs()) items_[output] = {kNoValue, std::string()};
    return {};
  }
  done = false;
  return {};
}

Result<bool> TorchWalker::calculate(Call& call) {
  if (!kCalculations.contains(call.type) || call.in.empty()) return false;
  if (call.type == "aten::__getitem__" && call.in[0].is_list) {
    SKERRY_ASSIGN(int64_t index, integer(call, 1));
    SKERRY_ASSIGN(index, normal_axis(index, static_cast<int64_t>(call.in[0].list.size())));
    SKERRY_TRY(set(call, 0, call.in[0].list[static_cast<size_t>(index)]));
    return true;
  }
  if (call.type == "aten::len" && call.in[0].is_list) {
    SKERRY_TRY(set(call, 0, Item{kNoValue, static_cast<int64_t>(call.in[0].list.size())}));
    return true;
  }
  std::vector<c10::IValue> operands;
  bool batch = false;
  for (const Item& in : call.in) {
    if (in.id != kNoValue && (call.type == "aten::__is__" || call.type == "aten::__isnot__")) {  // a tensor is not None
      SKERRY_TRY(set(call, 0, Item{kNoValue, call.type == "aten::__isnot__"}));
      return true;
    }
    if (in.id != kNoValue || in.is_list || in.known.isTensor()) return false;
    operands.push_back(in.known);
    batch = batch || is_batch(in.known);
  }
  if (batch) {
    SKERRY_ASSIGN(c10::IValue result, of_batch(call.type, operands));
    SKERRY_TRY(set(call, 0, Item{kNoValue, std::move(result)}));
    return true;
  }
  if (call.node->maybeOperator() == nullptr || call.node->outputs().size() != 1) return false;
  for (const torch::jit::Value* input : call.node->inputs()) {
    if (input->type()->isSubtypeOf(*c10::TensorType::get())) return false;  // a number in a tensor's place
  }
  torch::jit::Stack stack(operands.begin(), operands.end());
  call.node->getOperation()(stack);
  SKERRY_TRY(set(call, 0, Item{kNoValue, torch::jit::pop(stack)}));
  return true;
}

Status TorchWalker::walk_node(const torch::jit::Node& node) {
  bool done = false;
  SKERRY_TRY(structure(node, done));
  if (done) return {};
  Call call{&node, node.outputs().empty() ? "" : printable(node.output(0)->debugName()), node.kind().toQualString()};
  for (const torch::jit::Value* input : node.inputs()) call.in.push_back(item(input));
  auto named = [&](const Error& error) {
    if (error.message.starts_with("node '" + call.name + "'")) return error;
    return fail(error.code, "node '{}' ({}): {}", call.name, call.type, error.message);
  };
  Result<bool> calculated = calculate(call);
  if (!calculated) return named(calculated.error());
  if (*calculated) return {};
  auto handler = handlers().find(call.type);
  if (handler == handlers().end() && call.type.ends_with('_') && !call.type.ends_with("__")) {
    const std::string written = call.type;
    call.type.pop_back();
    handler = handlers().find(call.type);
    call.in_place = handler != handlers().end();
    if (!call.in_place) call.type = written;
  }
  if (handler == handlers().end())
    return fail(Code::unavailable, "operator {} (TorchScript) of '{}' is not supported", call.type, call.name);
  Status status = (this->*handler->second)(call);
  return status.ok() ? status : Status(named(status.error()));
}

Status TorchWalker::walk_block(const torch::jit::Block& block) {
  for (const torch::jit::Node* node : block.nodes()) SKERRY_TRY(walk_node(*node));
  return {};
}

Result<std::vector<ValueId>> TorchWalker::outputs(const torch::jit::Block& block) {
  std::vector<Item> items;
  for (const torch::jit::Value* output : block.outputs()) {
    const Item& found = item(output);
    if (found.is_list) items.insert(items.end(), found.list.begin(), found.list.end());
    if (!found.is_list) items.push_back(found);
  }
  std::vector<ValueId> ids;
  for (const Item& found : items) {
    if (found.id == kNoValue || builder_.is_constant(found.id))
      return fail(Code::unavailable, "an output of the model is a constant, or nested");
    ids.push_back(found.id);
  }
  return ids;
}

Result<graph::Graph> TorchWalker::walk(const torch::jit::Graph& from, const std::vector<graph::Shape>& inputs) {
  if (from.inputs().size() != inputs.size() + 1) {
    return fail(Code::invalid, "the module takes {} inputs, {} shapes are given", from.inputs().size() - 1, inputs.size());
  }
  items_[from.inputs()[0]] = {kNoValue, module_._ivalue()};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const torch::jit::Value* input = from.inputs()[i + 1];
    items_[input] = {builder_.input(printable(input->debugName()), graph::ElementType::f32, inputs[i])};
  }
  SKERRY_TRY(walk_block(*from.block()));
  SKERRY_ASSIGN(std::vector<ValueId> ids, outputs(*from.block()));
  return builder_.finish(std::move(ids));
}

Result<graph::Graph> from_torchscript(std::span<const std::byte> file, const std::vector<graph::Shape>& inputs) {
  try {
    std::istringstream stream(std::string(reinterpret_cast<const char*>(file.data()), file.size()));
    torch::jit::Module module = torch::jit::load(stream, at::kCPU);
    module.eval();
    module = torch::jit::freeze(module, c10::nullopt, false);  // what it would fold, passes.h folds; here weights stay what they are in the file
    std::shared_ptr<torch::jit::Graph> graph = module.get_method("forward").graph()->copy();
    torch::jit::Inline(*graph);
    torch::jit::EliminateDeadCode(graph);
    return TorchWalker(module, file.size()).walk(*graph, inputs);
  } catch (const std::bad_alloc&) {
    return fail(Code::exhausted, "the module needs more memory than there is");
  } catch (const std::exception& error) {
    return fail(Code::invalid, "LibTorch can't read the module: {}", first_line(error.what()));
  }
}

}  // namespace skerry::inference::frontends
