#include "inference/plan/internal/arena.h"

#include <algorithm>
#include <numeric>

#include "inference/plan/executor.h"

namespace skerry::inference::plan {
namespace {

struct Block {  // memory that one or several tensors share
  size_t bytes = 0, from = SIZE_MAX, to = 0;  // steps, both included
  size_t offset = kNowhere;
};

class Layout {
 public:
  Layout(const Plan& plan, int64_t batch) : plan_(plan), batch_(batch), block_of_(plan.tensors.size()), blocks_(plan.tensors.size()) {
    std::iota(block_of_.begin(), block_of_.end(), 0);
  }

  Result<Arena> run() {
    is_input_.resize(plan_.tensors.size());
    for (uint32_t id : plan_.inputs) is_input_[id] = true;
    last_use_.assign(plan_.tensors.size(), 0);
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      if (plan_.steps[i].op == Op::reshape) block_of_[plan_.steps[i].outputs[0]] = block_of_[plan_.steps[i].inputs[0]];
    }
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      for (uint32_t id : plan_.steps[i].inputs) {
        if (id != kNoTensor) last_use_[block_of_[id]] = i;
      }
    }
    for (uint32_t id : plan_.outputs) last_use_[block_of_[id]] = plan_.steps.size();
    Arena out;
    out.in_place.resize(plan_.steps.size());
    for (size_t i = 0; i < plan_.steps.size(); ++i) out.in_place[i] = merge_residual(i);
    measure();
    SKERRY_TRY(place(out));
    out.offset.assign(plan_.tensors.size(), kNowhere);
    for (uint32_t id = 0; id < plan_.tensors.size(); ++id) {
      const size_t block = block_of_[id];
      if (plan_.tensors[id].is_constant()) continue;
      if (is_input_[block]) {
        const auto at = std::find(plan_.inputs.begin(), plan_.inputs.end(), static_cast<uint32_t>(block));
        out.from_input.emplace_back(id, static_cast<size_t>(at - plan_.inputs.begin()));
      } else {
        out.offset[id] = blocks_[block].offset;
      }
    }
    return out;
  }

 private:
  // The output takes over the memory of its residual when nobody needs that later, and the step itself does not read it otherwise.
  bool merge_residual(size_t at) {
    const Step& step = plan_.steps[at];
    if ((step.op != Op::convolution && step.op != Op::linear) || step.input(3) == kNoTensor) return false;
    const size_t residual = block_of_[step.inputs[3]], x = block_of_[step.inputs[0]];
    if (residual == x || is_input_[residual] || last_use_[residual] != at) return false;
    const uint32_t y = step.outputs[0];
    const size_t old = block_of_[y];
    for (size_t& block : block_of_) {
      if (block == old) block = residual;
    }
    last_use_[residual] = std::max(last_use_[residual], last_use_[old]);
    return true;
  }

  void measure() {
    auto seen = [&](uint32_t id, size_t step) {
      Block& block = blocks_[block_of_[id]];
      block.from = std::min(block.from, step);
      block.to = std::max(block.to, step);
      block.bytes = std::max(block.bytes, static_cast<size_t>(elements(plan_.dims(id, batch_))) * bytes_of(plan_.tensors[id].type));
    };
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      for (uint32_t id : plan_.steps[i].inputs) {
        if (id != kNoTensor) seen(id, i);
      }
      for (uint32_t id : plan_.steps[i].outputs) seen(id, i);
    }
    for (uint32_t id : plan_.outputs) seen(id, plan_.steps.size());
  }

  // Largest first, each at the lowest place where no other of its time lies.
  Status place(Arena& out) {
    std::vector<size_t> order;
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const bool ours = !plan_.tensors[b].is_constant() && !is_input_[b] && blocks_[b].bytes > 0;
      if (ours) order.push_back(b);
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks_[a].bytes > blocks_[b].bytes; });
    std::vector<size_t> placed;  // by offset
    for (size_t b : order) {
      Block& block = blocks_[b];
      const size_t bytes = (block.bytes + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
      size_t at = 0;
      for (size_t other : placed) {
        const Block& o = blocks_[other];
        if (o.to < block.from || block.to < o.from) continue;
        if (at + bytes <= o.offset) break;
        at = std::max(at, o.offset + (o.bytes + kDataAlignment - 1) / kDataAlignment * kDataAlignment);
      }
      block.offset = at;
      out.bytes = std::max(out.bytes, at + bytes);
      if (out.bytes > kArenaBytesMax) {
        return fail(Code::exhausted, "an answer for {} samples would take over {} bytes of memory: send fewer at once", batch_, kArenaBytesMax);
      }
      placed.insert(std::upper_bound(placed.begin(), placed.end(), at, [&](size_t a, size_t p) { return a < blocks_[p].offset; }), b);
    }
    return {};
  }

  const Plan& plan_;
  const int64_t batch_;
  std::vector<size_t> block_of_;
  std::vector<Block> blocks_;
  std::vector<bool> is_input_;
  std::vector<size_t> last_use_;  // per block
};

}  // namespace

Result<Arena> plan_arena(const Plan& plan, int64_t batch) { return Layout(plan, batch).run(); }

}  // namespace skerry::inference::plan
