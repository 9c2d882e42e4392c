#include "inference/plan/internal/onednn.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <type_traits>

#include "inference/plan/internal/fold.h"
#include "inference/plan/internal/geometry.h"

namespace skerry::inference::plan {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using graph::Activation;
using tag = memory::format_tag;

memory::data_type type_of(Type type) {
  return type == Type::f32 ? memory::data_type::f32 : type == Type::i8 ? memory::data_type::s8 : memory::data_type::u8;
}

void append_activation(dnnl::post_ops& ops, const graph::ActivationSpec& a, float scale) {
  switch (a.kind) {
    case Activation::none: return;
    case Activation::relu: return ops.append_eltwise(scale, algorithm::eltwise_relu, 0, 0);
    case Activation::relu6: return ops.append_eltwise(scale, algorithm::eltwise_clip, 0, 6);
    case Activation::clip: return ops.append_eltwise(scale, algorithm::eltwise_clip, a.alpha, a.beta);
    case Activation::leaky_relu: return ops.append_eltwise(scale, algorithm::eltwise_relu, a.alpha, 0);
    case Activation::sigmoid: return ops.append_eltwise(scale, algorithm::eltwise_logistic, 0, 0);
    case Activation::hard_sigmoid:  // max(0, min(1, alpha x + beta))
      ops.append_eltwise(1, algorithm::eltwise_linear, a.alpha, a.beta);
      return ops.append_eltwise(scale, algorithm::eltwise_clip, 0, 1);
    case Activation::tanh: return ops.append_eltwise(scale, algorithm::eltwise_tanh, 0, 0);
    case Activation::silu: return ops.append_eltwise(scale, algorithm::eltwise_swish, 1, 0);
    case Activation::hard_swish: return ops.append_eltwise(scale, algorithm::eltwise_hardswish, 0, 0);
    case Activation::gelu: return ops.append_eltwise(scale, algorithm::eltwise_gelu_erf, 0, 0);
    case Activation::elu: return ops.append_eltwise(scale, algorithm::eltwise_elu, a.alpha, 0);
  }
}

void append_bounds(dnnl::post_ops& ops, const Folded& folded) {
  if (!folded.bounded) return;
  if (folded.low == 0 && std::isinf(folded.high)) return ops.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
  ops.append_eltwise(1, algorithm::eltwise_clip, std::max(folded.low, std::numeric_limits<float>::lowest()),
                     std::min(folded.high, std::numeric_limits<float>::max()));
}

// Without VNNI two products are added in 16 bits, which are too few for the largest bytes: the library then answers something else. With
// weights of seven bits they always fit. For signed inputs it halves the weights itself.
bool halves_weights(const Plan& plan, const Step& step) { return plan.tensors[step.inputs[0]].type == Type::u8 && !uses_vnni(); }

int8_t halved(int8_t weight) { return static_cast<int8_t>(std::lrint(weight / 2.0)); }

// The library's sums are then of other weights: what was folded of the input's zero point, and the factor.
void fold_halved(const Plan& plan, const Step& step, Folded& folded) {
  const Dims shape = plan.dims(step.inputs[1], 1);
  const size_t each = static_cast<size_t>(elements(shape)) / folded.factor.size();
  const auto* w = plan.constant<int8_t>(step.inputs[1]);
  const int32_t zero = folded.padding_zero != 0 ? 0 : plan.tensors[step.inputs[0]].zero_point;
  for (size_t c = 0; c < folded.factor.size(); ++c) {
    int64_t lost = 0;
    for (size_t i = c * each; i < (c + 1) * each; ++i) lost += w[i] - 2 * halved(w[i]);
    folded.offset[c] += folded.factor[c] * static_cast<float>(lost * zero);
    folded.factor[c] *= 2;
  }
}

struct Attributes {
  dnnl::primitive_attr attributes;
  std::vector<float> bias;  // empty: none
};

Attributes attributes_of(const Plan& plan, const Step& step) {
  Attributes out;
  out.attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const bool residual = step.input(3) != kNoTensor;
  dnnl::post_ops ops;
  if (!plan.tensors[step.inputs[0]].is_quantized()) {
    if (residual) ops.append_sum(1.0f);
    append_activation(ops, step.activation, 1.0f);
    if (step.input(2) != kNoTensor) {
      const float* bias = plan.constant<float>(step.inputs[2]);
      out.bias.assign(bias, bias + plan.tensors[step.inputs[1]].shape[0]);
    }
  } else {
    Folded folded = fold(plan, step);
    if (halves_weights(plan, step)) fold_halved(plan, step, folded);
    // The library scales after it added the bias.
    for (size_t c = 0; c < folded.factor.size(); ++c) out.bias.push_back(folded.offset[c] / folded.factor[c]);
    if (std::all_of(out.bias.begin(), out.bias.end(), [](float b) { return b == 0; })) out.bias.clear();
    out.attributes.set_output_scales(1 << 1, folded.factor);
    if (folded.padding_zero != 0) out.attributes.set_zero_points(DNNL_ARG_SRC, 0, {folded.padding_zero});
    if (residual) ops.append_sum(folded.residual, 0, type_of(plan.tensors[step.inputs[3]].type));
    if (folded.activate) {
      append_activation(ops, step.activation, folded.output_factor);
      if (folded.output_zero != 0) ops.append_eltwise(1, algorithm::eltwise_linear, 1, folded.output_zero);
    } else {
      append_bounds(ops, folded);
    }
  }
  out.attributes.set_post_ops(ops);
  return out;
}

class PrimitiveOfLibrary final : public Primitive {
 public:
  size_t scratch_bytes() const override { return scratch.get_size(); }
  bool adds_in_place() const override { return residual; }
  std::string implementation() const override { return name; }
  Result<std::unique_ptr<Call>> bind(std::byte* x_at, std::byte* y_at, std::byte* scratch_at) const override;

  dnnl::engine engine;
  dnnl::primitive primitive;
  memory::desc x, y, scratch;
  memory weights, bias;
  bool residual = false;
  std::string name;
};

class CallOfLibrary final : public Call {
 public:
  CallOfLibrary(const PrimitiveOfLibrary& p, std::byte* x, std::byte* y, std::byte* scratch)
      : stream_(p.engine), primitive_(p.primitive), x_(p.x, p.engine, x), y_(p.y, p.engine, y), scratch_(p.scratch, p.engine, scratch) {
    arguments_ = {{DNNL_ARG_SRC, x_.get()}, {DNNL_ARG_WEIGHTS, p.weights.get()}, {DNNL_ARG_DST, y_.get()}, {DNNL_ARG_SCRATCHPAD, scratch_.get()}};
    if (p.bias) arguments_.push_back({DNNL_ARG_BIAS, p.bias.get()});
  }
  // The C function: the C++ one makes a map for every call.
  bool run() override {
    return dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data()) == dnnl_success;
  }
  void rebind(std::byte* x, std::byte* y) override {
    dnnl_memory_set_data_handle(x_.get(), x);
    dnnl_memory_set_data_handle(y_.get(), y);
  }

 private:
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  memory x_, y_, scratch_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

Result<std::unique_ptr<Call>> PrimitiveOfLibrary::bind(std::byte* x_at, std::byte* y_at, std::byte* scratch_at) const {
  try {
    return std::unique_ptr<Call>(std::make_unique<CallOfLibrary>(*this, x_at, y_at, scratch_at));
  } catch (const dnnl::error& error) {
    return fail(Code::internal, "oneDNN refuses memory for {}: {}", name, error.what());
  }
}

// [out, kh, kw, in] to [out, in, kh, kw]: the order from which the library packs without loss of speed or of sums.
template <typename T>
std::vector<T> channels_first(const T* from, const Dims& d) {
  std::vector<T> to(static_cast<size_t>(elements(d)));
  const int64_t window = d[1] * d[2];
  for (int64_t o = 0; o < d[0]; ++o) {
    for (int64_t k = 0; k < window; ++k) {
      for (int64_t i = 0; i < d[3]; ++i) to[static_cast<size_t>((o * d[3] + i) * window + k)] = from[(o * window + k) * d[3] + i];
    }
  }
  return to;
}

}  // namespace

struct Library::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::map<size_t, std::vector<memory>> packed;  // by step: a layout each

  memory packed_weights(const Plan& plan, size_t at, const memory::dims& dims, tag plain, const memory::desc& wanted) {
    for (const memory& known : packed[at]) {
      if (known.get_desc() == wanted) return known;
    }
    const Step& step = plan.steps[at];
    const Tensor& tensor = plan.tensors[step.inputs[1]];
    const Dims shape = plan.dims(step.inputs[1], 1);
    memory to(wanted, engine);
    auto pack = [&](auto* values) {
      using T = std::remove_const_t<std::remove_pointer_t<decltype(values)>>;
      std::vector<T> ordered = shape.size() == 4 ? channels_first(values, shape) : std::vector<T>(values, values + elements(shape));
      if constexpr (std::is_same_v<T, int8_t>) {
        if (halves_weights(plan, step)) std::transform(ordered.begin(), ordered.end(), ordered.begin(), halved);
      }
      memory from({dims, type_of(tensor.type), plain}, engine, ordered.data());
      dnnl::primitive_attr attributes;
      if (tensor.type == Type::i8) attributes.set_output_scales(0, {1.0f});
      dnnl::stream stream(engine);
      dnnl::reorder(dnnl::reorder::primitive_desc(from, to, attributes)).execute(stream, from, to);
      stream.wait();
    };
    if (tensor.type == Type::i8) pack(plan.constant<int8_t>(step.inputs[1]));
    else pack(plan.constant<float>(step.inputs[1]));
    packed[at].push_back(to);
    return to;
  }

  memory bias_memory(const std::vector<float>& bias) {
    memory out({{static_cast<int64_t>(bias.size())}, memory::data_type::f32, tag::x}, engine);
    std::memcpy(out.get_data_handle(), bias.data(), bias.size() * sizeof(float));
    return out;
  }

  template <typename PrimitiveOf, typename Description>
  void finish(PrimitiveOfLibrary& out, const Plan& plan, size_t at, const Attributes& attributes, const memory::dims& weights, tag plain,
              const Description& description) {
    const typename PrimitiveOf::primitive_desc made(description, attributes.attributes, engine);
    out.engine = engine;
    out.primitive = PrimitiveOf(made);
    out.x = made.src_desc();
    out.y = made.dst_desc();
    out.scratch = made.scratchpad_desc();
    out.weights = packed_weights(plan, at, weights, plain, made.weights_desc());
    if (!attributes.bias.empty()) out.bias = bias_memory(attributes.bias);
    out.residual = plan.steps[at].input(3) != kNoTensor;
    out.name = made.impl_info_str();
  }

  void convolution(PrimitiveOfLibrary& out, const Plan& plan, size_t at, int64_t batch) {
    const Step& step = plan.steps[at];
    const Image x = image_of(plan.dims(step.inputs[0], batch)), y = image_of(plan.dims(step.outputs[0], batch));
    const Dims w = plan.dims(step.inputs[1], 1);
    const Window window = convolution_window(step, w);
    const int64_t groups = step.ints[kGroups];
    const Attributes attributes = attributes_of(plan, step);
    memory::dims weights = {w[0], w[3], w[1], w[2]};
    if (groups > 1) weights = {groups, w[0] / groups, w[3], w[1], w[2]};
    const memory::desc source({x.n, x.c, x.h, x.w}, type_of(plan.tensors[step.inputs[0]].type), tag::nhwc),
        packed_as(weights, type_of(plan.tensors[step.inputs[1]].type), tag::any),
        target({y.n, y.c, y.h, y.w}, type_of(plan.tensors[step.outputs[0]].type), tag::nhwc);
    const memory::dims strides = {window.stride_h, window.stride_w}, dilations = {window.dilation_h - 1, window.dilation_w - 1},
                       begin = {window.top, window.left}, end = {window.bottom, window.right};
    const memory::desc bias({w[0]}, memory::data_type::f32, tag::x);
    using Convolution = dnnl::convolution_forward;
    const auto description =
        attributes.bias.empty()
            ? Convolution::desc(prop_kind::forward_inference, algorithm::convolution_direct, source, packed_as, target, strides, dilations, begin, end)
            : Convolution::desc(prop_kind::forward_inference, algorithm::convolution_direct, source, packed_as, bias, target, strides, dilations,
                                begin, end);
    finish<Convolution>(out, plan, at, attributes, weights, groups > 1 ? tag::goihw : tag::oihw, description);
  }

  void linear(PrimitiveOfLibrary& out, const Plan& plan, size_t at, int64_t batch) {
    const Step& step = plan.steps[at];
    const Dims w = plan.dims(step.inputs[1], 1);
    const int64_t rows = rows_of(plan.dims(step.inputs[0], batch));
    const Attributes attributes = attributes_of(plan, step);
    const memory::desc source({rows, w[1]}, type_of(plan.tensors[step.inputs[0]].type), tag::nc),
        packed_as({w[0], w[1]}, type_of(plan.tensors[step.inputs[1]].type), tag::any),
        target({rows, w[0]}, type_of(plan.tensors[step.outputs[0]].type), tag::nc);
    const memory::desc bias({w[0]}, memory::data_type::f32, tag::x);
    using InnerProduct = dnnl::inner_product_forward;
    const auto description = attributes.bias.empty() ? InnerProduct::desc(prop_kind::forward_inference, source, packed_as, target)
                                                     : InnerProduct::desc(prop_kind::forward_inference, source, packed_as, bias, target);
    finish<InnerProduct>(out, plan, at, attributes, {w[0], w[1]}, tag::oi, description);
  }
};

std::string instruction_set() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41: return "sse41";
    case dnnl::cpu_isa::avx: return "avx";
    case dnnl::cpu_isa::avx2: return "avx2";
    case dnnl::cpu_isa::avx2_vnni: return "avx2_vnni";
    case dnnl::cpu_isa::avx512_core: return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni: return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16: return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_amx: return "avx512_core_amx";
    default: return "generic";
  }
}

bool uses_vnni() {
  static const std::string level = instruction_set();
  return level == "avx512_core_vnni" || level == "avx512_core_bf16" || level == "avx512_core_amx";
}

namespace {

// Through the symbols that the library brings, whichever compiler built us; without OpenMP in it there is nothing to hold.
struct OpenMp {
  using Set = void (*)(int);
  using Get = int (*)();
  Set set = reinterpret_cast<Set>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  Get get = reinterpret_cast<Get>(::dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
};
const OpenMp& open_mp() {
  static const OpenMp functions;
  return functions;
}

}  // namespace

ThreadScope::ThreadScope(int threads) {
  const OpenMp& functions = open_mp();
  if (!functions.set || !functions.get) return;
  before_ = functions.get();
  if (before_ == threads) before_ = 0;
  else functions.set(threads);
}

ThreadScope::~ThreadScope() {
  if (before_ != 0) open_mp().set(before_);
}

Library::Library() : impl_(std::make_unique<Impl>()) {}
Library::~Library() = default;

Result<std::shared_ptr<const Primitive>> Library::make(const Plan& plan, size_t step, int64_t batch) {
  auto out = std::make_shared<PrimitiveOfLibrary>();
  try {
    if (plan.steps[step].op == Op::convolution) impl_->convolution(*out, plan, step, batch);
    else impl_->linear(*out, plan, step, batch);
    return std::shared_ptr<const Primitive>(std::move(out));
  } catch (const dnnl::error& error) {
    return fail(Code::unavailable, "step {} '{}' ({}): oneDNN can't do it here: {}", step, plan.steps[step].name, to_string(plan.steps[step].op),
                error.what());
  } catch (const std::bad_alloc&) {
    return fail(Code::exhausted, "step {} '{}': no memory for its weights", step, plan.steps[step].name);
  }
}

}  // namespace skerry::inference::plan
