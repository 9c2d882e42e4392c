// The randomness seam: a small seeded generator, so that every test and every job can be repeated from its seed.
// xoshiro256** (Blackman & Vigna 2018) seeded by splitmix64. Not for keys: those come from OpenSSL.
// Threads: one owner at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

namespace skerry {

class Random {
 public:
  using result_type = uint64_t;  // satisfies std::uniform_random_bit_generator, e.g. for std::shuffle

  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }
  uint64_t operator()() {
    uint64_t result = rotl(state_[1] * 5, 7) * 9, t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotl(state_[3], 45);
    return result;
  }

  uint64_t below(uint64_t n) { return n == 0 ? 0 : (*this)() % n; }                             // [0, n)
  double uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }                 // [0, 1)
  double uniform(double lo, double hi) { return lo + (hi - lo) * uniform(); }
  bool chance(double p) { return uniform() < p; }
  double normal() {  // mean 0, deviation 1 (Box & Muller 1958)
    double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }

 private:
  static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  uint64_t state_[4];
};

// A seed from the system, for ids and jitter outside tests.
uint64_t system_seed();

}  // namespace skerry
