// ADWIN2 (Bifet & Gavalda 2007, "Learning from Time-Changing Data with Adaptive Windowing"): keeps as long a window of the newest values as
// has one mean; when two parts of it differ by more than chance allows, the older part is dropped and that is a change. Memory is
// logarithmic: values are kept as exponentially growing buckets.
// Threads: one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skerry::learning {

class Adwin {
 public:
  explicit Adwin(double delta) : delta_(delta) {}
  // True when the window was cut: what came before differs from what comes now.
  bool add(double value);
  uint64_t size() const;
  double mean() const;
  double mean_before() const { return mean_before_; }  // of the part that the last cut dropped

  std::vector<double> state() const;
  static Adwin from_state(double delta, const std::vector<double>& state);  // of state(); anything else begins anew

 private:
  struct Bucket {
    double count = 0, sum = 0, squares = 0;  // squares: sum of squared distances from the mean
  };
  static Bucket merge(const Bucket& a, const Bucket& b);
  void compress();
  bool cut();

  double delta_, mean_before_ = 0;
  std::vector<Bucket> buckets_;  // the oldest first; counts are powers of two, at most kPerSize of each
};

}  // namespace skerry::learning
