// Convolutions and linear steps as oneDNN primitives. Everything of the library stays behind this header.
// Threads: a Primitive is run from any number of threads, each with a Call of its own. Threads inside the library are held to what a
// ThreadScope says.
// Owns: weights in the layout that the library likes, shared between batch sizes that like the same.
// On failure: unavailable, with the library's status and the step; nothing is thrown out of here.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/plan/plan.h"

namespace skerry::inference::plan {

std::string instruction_set();  // "avx512_core_vnni": what the library uses of this processor, and may by ONEDNN_MAX_CPU_ISA
bool uses_vnni();               // AVX-512 with VNNI: our own kernels hold to the same level

// Debian's library forks OpenMP threads by itself: for the life of a scope, and in this thread alone, at most `threads`.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_ = 0;
};

// A primitive bound to the memory of one context.
class Call {
 public:
  virtual ~Call() = default;
  virtual bool run() = 0;                                        // false: the library refused
  virtual void rebind(std::byte* x, std::byte* y) = 0;           // tensors that move: inputs of a request
};

class Primitive {
 public:
  virtual ~Primitive() = default;
  virtual size_t scratch_bytes() const = 0;
  virtual bool adds_in_place() const = 0;  // the residual must lie in the output when it runs
  virtual std::string implementation() const = 0;
  virtual Result<std::unique_ptr<Call>> bind(std::byte* x, std::byte* y, std::byte* scratch) const = 0;
};

class Library {
 public:
  Library();
  ~Library();
  Result<std::shared_ptr<const Primitive>> make(const Plan& plan, size_t step, int64_t batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::inference::plan
