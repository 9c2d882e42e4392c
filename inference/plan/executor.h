// A plan made ready for this machine: kernels and primitives per batch size, memory planned ahead, weights packed once.
// Batches are answered in powers of two up to kBatchMax, each size prepared when it first comes; a plan whose batch is not everywhere the
// outermost dimension is prepared for the very sizes that come.
// Threads: run() from any number; each has a context of its own, kept for the next. Nothing is allocated here once the contexts are there;
// oneDNN makes a table of its arguments at each call.
// Owns: the plan, packed weights, contexts.
// On failure: unavailable when the library can't do a step on this machine, exhausted for memory, internal when a step fails.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/plan/plan.h"

namespace skerry::inference::plan {

inline constexpr int64_t kBatchMax = 32;                   // in one go
inline constexpr int64_t kRequestMax = 1 << 16;            // samples of one run()
inline constexpr uint64_t kArenaBytesMax = 1ULL << 30;     // of one context

struct ExecutorOptions {
  int threads = 1;  // of one inference
};

struct StepReport {  // how a step is run here
  std::string name, op, implementation, precision;
};

class Executor {
 public:
  // Prepares batch 1, so that what this machine can't do is known now. Error: unavailable, exhausted.
  static Result<std::shared_ptr<const Executor>> make(Plan plan, const ExecutorOptions& options = {});
  ~Executor();

  static std::string instruction_set();  // what of this processor is used: "avx512_core_vnni"
  const Plan& plan() const { return plan_; }
  // Row-major f32 of `batch` samples, one pointer per input and output of the plan. Error: invalid (batch), internal, exhausted.
  Status run(int64_t batch, const float* const* inputs, float* const* outputs) const;

  // Elements of one sample.
  int64_t input_elements(size_t i) const { return input_elements_[i]; }
  int64_t output_elements(size_t i) const { return output_elements_[i]; }
  std::vector<StepReport> report() const;
  uint64_t arena_bytes(int64_t batch) const;  // of one context, 0 when that size was not needed yet
  // Median nanoseconds of each step at batch 1, in the order of the plan: for people who look for time.
  std::vector<double> profile(int rounds) const;

 private:
  struct Prepared;
  struct Context;
  struct State;

  Executor(Plan plan, const ExecutorOptions& options);
  Result<Prepared*> prepared(int64_t batch) const;
  Result<std::unique_ptr<Prepared>> prepare(int64_t batch) const;
  Result<std::unique_ptr<Context>> make_context(const Prepared& prepared) const;
  Result<std::unique_ptr<Context>> take_context(Prepared& prepared) const;
  Status run_prepared(int64_t batch, const float* const* inputs, float* const* outputs) const;
  Status run_in(const Prepared& prepared, Context& context, const float* const* inputs, float* const* outputs) const;

  const Plan plan_;
  const ExecutorOptions options_;
  std::vector<int64_t> input_elements_, output_elements_;
  bool splits_ = false;  // the batch is the outermost dimension of all inputs and outputs
  const std::unique_ptr<State> state_;
};

}  // namespace skerry::inference::plan
