#include "learning/adwin.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace skerry::learning {
namespace {

constexpr size_t kPerSize = 5;      // M of the paper
constexpr double kPartMin = 5;      // values on either side of a cut
constexpr size_t kBucketsMax = 64 * kPerSize;

}  // namespace

Adwin::Bucket Adwin::merge(const Bucket& a, const Bucket& b) {
  if (a.count == 0) return b;
  const double n = a.count + b.count, apart = a.sum / a.count - b.sum / b.count;
  return {n, a.sum + b.sum, a.squares + b.squares + apart * apart * a.count * b.count / n};
}

// Whenever there are more than kPerSize buckets of a size, the two oldest of it become one.
void Adwin::compress() {
  for (size_t end = buckets_.size(); end > 0;) {
    size_t begin = end;
    while (begin > 0 && buckets_[begin - 1].count == buckets_[end - 1].count) --begin;
    if (end - begin <= kPerSize) {
      end = begin;
      continue;
    }
    buckets_[begin] = merge(buckets_[begin], buckets_[begin + 1]);
    buckets_.erase(buckets_.begin() + static_cast<std::ptrdiff_t>(begin) + 1);
    end = begin + 1;  // the merged one may be one too many of its size
  }
}

bool Adwin::cut() {
  Bucket all;
  for (const Bucket& b : buckets_) all = merge(all, b);
  const double variance = all.count > 0 ? all.squares / all.count : 0;
  // The confidence is shared among the cuts that are tried: about as many as the window's length has doublings.
  const double log_term = std::log(2 * std::log(std::max(all.count, 3.0)) / delta_);
  Bucket old;
  for (size_t i = 0; i + 1 < buckets_.size(); ++i) {
    old = merge(old, buckets_[i]);
    const double n0 = old.count, n1 = all.count - n0;
    if (n0 < kPartMin || n1 < kPartMin) continue;
    const double harmonic = 1 / (1 / n0 + 1 / n1);
    const double epsilon = std::sqrt(2 / harmonic * variance * log_term) + 2 / (3 * harmonic) * log_term;
    if (std::abs(old.sum / n0 - (all.sum - old.sum) / n1) <= epsilon) continue;
    mean_before_ = old.sum / n0;
    buckets_.erase(buckets_.begin());
    return true;
  }
  return false;
}

bool Adwin::add(double value) {
  if (!std::isfinite(value)) return false;
  buckets_.push_back({1, value, 0});
  compress();
  bool changed = false;
  while (buckets_.size() > 1 && cut()) changed = true;
  return changed;
}

uint64_t Adwin::size() const {
  double count = 0;
  for (const Bucket& b : buckets_) count += b.count;
  return static_cast<uint64_t>(count);
}

double Adwin::mean() const {
  double count = 0, sum = 0;
  for (const Bucket& b : buckets_) {
    count += b.count;
    sum += b.sum;
  }
  return count > 0 ? sum / count : 0;
}

std::vector<double> Adwin::state() const {
  std::vector<double> out;
  for (const Bucket& b : buckets_) out.insert(out.end(), {b.count, b.sum, b.squares});
  return out;
}

Adwin Adwin::from_state(double delta, const std::vector<double>& state) {
  Adwin out(delta);
  if (state.size() % 3 != 0 || state.size() / 3 > kBucketsMax) return out;
  for (size_t i = 0; i < state.size(); i += 3) {
    const bool sound = state[i] >= 1 && std::isfinite(state[i]) && std::isfinite(state[i + 1]) && std::isfinite(state[i + 2]) && state[i + 2] >= 0;
    if (!sound) return Adwin(delta);
    out.buckets_.push_back({state[i], state[i + 1], state[i + 2]});
  }
  return out;
}

}  // namespace skerry::learning
