#include "inference/plan/executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <new>
#include <optional>

#include "inference/plan/internal/arena.h"
#include "inference/plan/internal/kernels.h"
#include "inference/plan/internal/onednn.h"

namespace skerry::inference::plan {
namespace {

constexpr size_t kPreparedMax = 16;  // batch sizes of one plan
constexpr size_t kIdleContextsMax = 16;
constexpr size_t kNearBytes = 512 << 10;  // of a context that stays in the second-level cache: more samples at once only get slower

struct AlignedDelete {
  void operator()(std::byte* at) const { ::operator delete(at, std::align_val_t{kDataAlignment}); }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedDelete>;

// One thing to run. A residual that could not be added in place is copied into the output first.
struct Slot {
  size_t step = 0;
  Kernel kernel;
  std::shared_ptr<const Primitive> primitive;
  size_t copy_bytes = 0;
};

bool batch_is_outermost(const Plan& plan) {
  auto outermost = [&](uint32_t id) {
    const auto& shape = plan.tensors[id].shape;
    return !shape.empty() && shape[0] == -1 && std::count(shape.begin(), shape.end(), -1) == 1;
  };
  return std::all_of(plan.inputs.begin(), plan.inputs.end(), outermost) && std::all_of(plan.outputs.begin(), plan.outputs.end(), outermost);
}

bool has_batch(const Plan& plan) {
  return std::any_of(plan.inputs.begin(), plan.inputs.end(), [&](uint32_t id) {
    const auto& shape = plan.tensors[id].shape;
    return std::find(shape.begin(), shape.end(), -1) != shape.end();
  });
}

}  // namespace

struct Executor::Prepared {
  int64_t batch = 0;
  std::vector<Slot> slots;
  Arena arena;
  size_t scratch_at = 0, bytes = 0;
  std::vector<size_t> output_bytes;  // per output of the plan
  std::mutex mutex;  // guards idle
  std::vector<std::unique_ptr<Context>> idle;
};

struct Executor::Context {
  AlignedBytes memory;
  std::vector<std::byte*> at;                 // per tensor
  std::vector<std::unique_ptr<Call>> calls;   // per slot, null for kernels
  std::vector<size_t> moving;                 // slots that read what a request brings
};

struct Executor::State {
  Library library;
  std::mutex mutex;  // guards the table and the library; Prepared ones stay where they are
  std::map<int64_t, std::unique_ptr<Prepared>> by_batch;
  int64_t part_max = 1;  // samples that are answered in one go
};

Executor::Executor(Plan plan, const ExecutorOptions& options)
    : plan_(std::move(plan)), options_(options), splits_(batch_is_outermost(plan_)), state_(std::make_unique<State>()) {
  for (uint32_t id : plan_.inputs) input_elements_.push_back(elements(plan_.dims(id, 1)));
  for (uint32_t id : plan_.outputs) output_elements_.push_back(elements(plan_.dims(id, 1)));
}
Executor::~Executor() = default;

Result<std::shared_ptr<const Executor>> Executor::make(Plan plan, const ExecutorOptions& options) {
  std::shared_ptr<Executor> executor(new Executor(std::move(plan), options));
  SKERRY_ASSIGN(Prepared * one, executor->prepared(1));
  SKERRY_ASSIGN(std::unique_ptr<Context> context, executor->take_context(*one));
  const size_t bytes = std::max<size_t>(one->bytes, 1);
  for (int64_t& part = executor->state_->part_max; part < kBatchMax && static_cast<size_t>(2 * part) * bytes <= kNearBytes;) part *= 2;
  one->idle.push_back(std::move(context));
  return std::shared_ptr<const Executor>(std::move(executor));
}

Result<std::unique_ptr<Executor::Prepared>> Executor::prepare(int64_t batch) const {
  SKERRY_TRY(check(plan_, batch));
  const ThreadScope threads(options_.threads);
  auto out = std::make_unique<Prepared>();
  out->batch = batch;
  SKERRY_ASSIGN(out->arena, plan_arena(plan_, batch));
  size_t scratch = 0;
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    const Step& step = plan_.steps[i];
    if (step.op == Op::reshape) continue;
    Slot slot;
    slot.step = i;
    if (step.op == Op::convolution || step.op == Op::linear) {
      slot.kernel = make_depthwise(plan_, step, batch);
      if (!slot.kernel.run) {
        SKERRY_ASSIGN(slot.primitive, state_->library.make(plan_, i, batch));
        scratch = std::max(scratch, slot.primitive->scratch_bytes());
      }
      if (step.input(3) != kNoTensor && !out->arena.in_place[i]) {
        slot.copy_bytes = static_cast<size_t>(elements(plan_.dims(step.outputs[0], batch))) * bytes_of(plan_.tensors[step.outputs[0]].type);
      }
    } else {
      slot.kernel = make_kernel(plan_, step, batch);
    }
    scratch = std::max(scratch, slot.kernel.scratch_bytes);
    out->slots.push_back(std::move(slot));
  }
  for (uint32_t id : plan_.outputs) out->output_bytes.push_back(static_cast<size_t>(elements(plan_.dims(id, batch))) * sizeof(float));
  out->scratch_at = out->arena.bytes;
  out->bytes = out->arena.bytes + scratch;
  if (out->bytes > kArenaBytesMax) {
    return fail(Code::exhausted, "an answer for {} samples would take {} bytes of memory, {} are allowed", batch, out->bytes, kArenaBytesMax);
  }
  return out;
}

Result<Executor::Prepared*> Executor::prepared(int64_t batch) const {
  std::lock_guard lock(state_->mutex);
  auto found = state_->by_batch.find(batch);
  if (found != state_->by_batch.end()) return found->second.get();
  if (state_->by_batch.size() >= kPreparedMax) {
    return fail(Code::exhausted, "this model is prepared for {} batch sizes already: send batches of a size that came before", kPreparedMax);
  }
  SKERRY_ASSIGN(std::unique_ptr<Prepared> made, prepare(batch));
  return state_->by_batch.emplace(batch, std::move(made)).first->second.get();
}

Result<std::unique_ptr<Executor::Context>> Executor::make_context(const Prepared& prepared) const {
  auto context = std::make_unique<Context>();
  context->memory.reset(static_cast<std::byte*>(::operator new(std::max<size_t>(prepared.bytes, 1), std::align_val_t{kDataAlignment}, std::nothrow)));
  if (!context->memory) return fail(Code::exhausted, "no memory for the {} bytes of an inference", prepared.bytes);
  std::memset(context->memory.get(), 0, prepared.bytes);
  context->at.resize(plan_.tensors.size());
  for (uint32_t t = 0; t < plan_.tensors.size(); ++t) {
    if (plan_.tensors[t].is_constant()) {
      context->at[t] = const_cast<std::byte*>(plan_.data.get() + plan_.tensors[t].data_at);
    } else if (prepared.arena.offset[t] != kNowhere) {
      context->at[t] = context->memory.get() + prepared.arena.offset[t];
    }
  }
  for (size_t i = 0; i < prepared.slots.size(); ++i) {
    const Slot& slot = prepared.slots[i];
    context->calls.emplace_back();
    if (!slot.primitive) continue;
    const Step& step = plan_.steps[slot.step];
    SKERRY_ASSIGN(context->calls.back(), slot.primitive->bind(context->at[step.inputs[0]], context->at[step.outputs[0]],
                                                              context->memory.get() + prepared.scratch_at));
    if (!context->at[step.inputs[0]]) context->moving.push_back(i);
  }
  return context;
}

Result<std::unique_ptr<Executor::Context>> Executor::take_context(Prepared& prepared) const {
  {
    std::lock_guard lock(prepared.mutex);
    if (!prepared.idle.empty()) {
      std::unique_ptr<Context> context = std::move(prepared.idle.back());
      prepared.idle.pop_back();
      return context;
    }
    prepared.idle.reserve(kIdleContextsMax);
  }
  return make_context(prepared);
}

Status Executor::run_in(const Prepared& prepared, Context& context, const float* const* inputs, float* const* outputs) const {
  for (const auto& [tensor, input] : prepared.arena.from_input) {
    context.at[tensor] = const_cast<std::byte*>(reinterpret_cast<const std::byte*>(inputs[input]));
  }
  for (size_t i : context.moving) {
    const Step& step = plan_.steps[prepared.slots[i].step];
    context.calls[i]->rebind(context.at[step.inputs[0]], context.at[step.outputs[0]]);
  }
  std::byte* const scratch = context.memory.get() + prepared.scratch_at;
  for (size_t i = 0; i < prepared.slots.size(); ++i) {
    const Slot& slot = prepared.slots[i];
    if (slot.copy_bytes > 0) {
      const Step& step = plan_.steps[slot.step];
      std::memcpy(context.at[step.outputs[0]], context.at[step.inputs[3]], slot.copy_bytes);
    }
    if (slot.kernel.run) slot.kernel.run(context.at.data(), scratch);
    else if (!context.calls[i]->run()) return fail(Code::internal, "step '{}' failed in oneDNN", plan_.steps[slot.step].name);
  }
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    std::memcpy(outputs[i], context.at[plan_.outputs[i]], prepared.output_bytes[i]);
  }
  return {};
}

Status Executor::run_prepared(int64_t batch, const float* const* inputs, float* const* outputs) const {
  SKERRY_ASSIGN(Prepared * ready, prepared(batch));
  SKERRY_ASSIGN(std::unique_ptr<Context> context, take_context(*ready));
  Status status = run_in(*ready, *context, inputs, outputs);
  std::lock_guard lock(ready->mutex);
  if (ready->idle.size() < kIdleContextsMax) ready->idle.push_back(std::move(context));
  return status;
}

Status Executor::run(int64_t batch, const float* const* inputs, float* const* outputs) const {
  if (batch < 1 || batch > kRequestMax) return fail(Code::invalid, "{} samples in one request, 1 to {} are allowed", batch, kRequestMax);
  if (batch != 1 && !has_batch(plan_)) return fail(Code::invalid, "this model takes one sample at a time, not {}", batch);
  const ThreadScope threads(options_.threads);
  if (!splits_) return run_prepared(batch, inputs, outputs);
  std::array<const float*, 16> from{};
  std::array<float*, 16> to{};
  if (plan_.inputs.size() > from.size() || plan_.outputs.size() > to.size()) return run_prepared(batch, inputs, outputs);
  std::copy_n(inputs, plan_.inputs.size(), from.begin());
  std::copy_n(outputs, plan_.outputs.size(), to.begin());
  while (batch > 0) {
    int64_t part = state_->part_max;
    while (part > batch) part /= 2;
    SKERRY_TRY(run_prepared(part, from.data(), to.data()));
    for (size_t i = 0; i < plan_.inputs.size(); ++i) from[i] += part * input_elements(i);
    for (size_t i = 0; i < plan_.outputs.size(); ++i) to[i] += part * output_elements(i);
    batch -= part;
  }
  return {};
}

std::string Executor::instruction_set() { return plan::instruction_set(); }

uint64_t Executor::arena_bytes(int64_t batch) const {
  std::lock_guard lock(state_->mutex);
  auto found = state_->by_batch.find(batch);
  return found == state_->by_batch.end() ? 0 : found->second->bytes;
}

std::vector<StepReport> Executor::report() const {
  std::lock_guard lock(state_->mutex);
  std::vector<StepReport> out;
  for (const Slot& slot : state_->by_batch.at(1)->slots) {
    const Step& step = plan_.steps[slot.step];
    out.push_back({step.name, to_string(step.op), slot.primitive ? slot.primitive->implementation() : "own",
                   to_string(plan_.tensors[step.inputs[0]].type)});
  }
  return out;
}

std::vector<double> Executor::profile(int rounds) const {
  const ThreadScope threads(options_.threads);
  auto one = prepared(1);
  if (!one.ok()) return {};
  auto context = take_context(**one);
  if (!context.ok()) return {};
  std::vector<std::vector<float>> inputs;
  for (size_t i = 0; i < plan_.inputs.size(); ++i) inputs.emplace_back(static_cast<size_t>(input_elements(i)), 0.5f);
  for (const auto& [tensor, input] : (*one)->arena.from_input) (*context)->at[tensor] = reinterpret_cast<std::byte*>(inputs[input].data());
  for (size_t i : (*context)->moving) {
    const Step& step = plan_.steps[(*one)->slots[i].step];
    (*context)->calls[i]->rebind((*context)->at[step.inputs[0]], (*context)->at[step.outputs[0]]);
  }
  std::vector<double> out;
  std::vector<double> times(static_cast<size_t>(std::max(rounds, 1)));
  for (size_t i = 0; i < (*one)->slots.size(); ++i) {
    const Slot& slot = (*one)->slots[i];
    for (double& time : times) {
      const auto start = std::chrono::steady_clock::now();
      if (slot.kernel.run) slot.kernel.run((*context)->at.data(), (*context)->memory.get() + (*one)->scratch_at);
      else (void)(*context)->calls[i]->run();
      time = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
    }
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    out.push_back(times[times.size() / 2]);
  }
  return out;
}

}  // namespace skerry::inference::plan
