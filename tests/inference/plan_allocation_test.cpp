// An inference allocates nothing: counted where it would show, in operator new. A program of its own, because it replaces that for all of it.
#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <new>

#include "inference/plan/executor.h"
#include "tests/inference/make_plan.h"

namespace {

thread_local bool counting = false;
thread_local size_t ours = 0, of_library = 0;

// By who asked: oneDNN makes a table of its arguments at each call, which is not ours to change.
void count(const void* caller) {
  if (!counting) return;
  counting = false;  // dladdr may allocate
  Dl_info info{};
  const bool library = ::dladdr(caller, &info) != 0 && info.dli_fname != nullptr && std::strstr(info.dli_fname, "libdnnl") != nullptr;
  ++(library ? of_library : ours);
  counting = true;
}

void* allocate(size_t size, size_t alignment, const void* caller) {
  count(caller);
  void* at = alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size)
                                                    : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}

}  // namespace

void* operator new(size_t size) { return allocate(size, 1, __builtin_return_address(0)); }
void* operator new[](size_t size) { return allocate(size, 1, __builtin_return_address(0)); }
void* operator new(size_t size, std::align_val_t a) { return allocate(size, static_cast<size_t>(a), __builtin_return_address(0)); }
void* operator new[](size_t size, std::align_val_t a) { return allocate(size, static_cast<size_t>(a), __builtin_return_address(0)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept {  // std::stable_sort
  count(__builtin_return_address(0));
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* at) noexcept { std::free(at); }
void operator delete[](void* at) noexcept { std::free(at); }
void operator delete(void* at, size_t) noexcept { std::free(at); }
void operator delete[](void* at, size_t) noexcept { std::free(at); }
void operator delete(void* at, const std::nothrow_t&) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, size_t, std::align_val_t) noexcept { std::free(at); }

namespace skerry::inference::plan {

TEST_CASE("plan runtime: once a batch size was there, an inference allocates nothing of its own") {
  auto executor = Executor::make(small_plan(5));
  REQUIRE(executor.ok());
  for (int64_t batch : {1, 4, 7, 32, 40}) {
    CAPTURE(batch);
    std::vector<float> input(static_cast<size_t>(batch * (*executor)->input_elements(0)), 0.3f),
        output(static_cast<size_t>(batch * (*executor)->output_elements(0)));
    const float* from[] = {input.data()};
    float* to[] = {output.data()};
    for (int warm = 0; warm < 3; ++warm) REQUIRE((*executor)->run(batch, from, to).ok());
    ours = of_library = 0;
    counting = true;
    bool good = true;
    for (int i = 0; i < 20; ++i) good = (*executor)->run(batch, from, to).ok() && good;
    counting = false;
    CHECK(good);
    INFO(of_library << " by oneDNN");
    CHECK(ours == 0);
  }
  // The count is able to see one.
  counting = true;
  delete new int(1);
  void* volatile big = ::operator new(100);
  counting = false;
  ::operator delete(big);
  CHECK(ours > 0);
}

}  // namespace skerry::inference::plan
