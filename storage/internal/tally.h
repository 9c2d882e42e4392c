// What one bucket knows of one field so far: count, extremes, sum, deviation, first and last, and the values themselves where
// percentiles are asked. Taken from rows of a column, or from the header of a chunk.
// Variances are put together as in Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983).
// Threads: one.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/records.h"
#include "storage/chunk.h"

namespace skerry::storage::internal {

__extension__ using Int128 = __int128;

struct TallyNeeds {
  bool extremes = false, sum = false, deviation = false, ends = false, values = false;
};

class Tally {
 public:
  explicit Tally(FieldType type) : type_(type) {}

  // Rows [from, to) of a column of the tally's type.
  void add(const Column& column, size_t from, size_t to, const TallyNeeds& needs);
  // Whether a chunk's header says all that is needed, to the last bit for integers.
  static bool suffices(const ChunkColumn& column, const TallyNeeds& needs);
  void add(const ChunkColumn& column);
  void clear();

  uint64_t count() const { return count_; }
  size_t values() const { return values_.size(); }  // that are held
  // Of numbers; only what was needed, and only with a count above 0.
  double mean() const;
  double deviation() const { return deviation_; }
  double percentile(double percent);  // in between: linear, as NumPy's default. NaN when a value is NaN
  // In the field's own type, booleans as int64.
  double float_min() const { return float_min_ > float_max_ ? kNan : float_min_; }  // NaN when there is nothing else
  double float_max() const { return float_min_ > float_max_ ? kNan : float_max_; }
  double float_sum() const { return float_sum_; }
  int64_t int_min() const { return int_min_; }
  int64_t int_max() const { return int_max_; }
  Int128 int_sum() const { return int_sum_; }
  using Value = std::variant<std::monostate, double, int64_t, std::string>;
  const Value& first() const { return first_; }
  const Value& last() const { return last_; }

 private:
  static constexpr double kNan = __builtin_nan(""), kInf = __builtin_inf();

  template <typename T>
  void add_numbers(const std::vector<T>& values, const Column& column, size_t from, size_t to, const TallyNeeds& needs);
  void add_piece(const double* values, size_t n, const TallyNeeds& needs);
  void add_piece(const int64_t* values, size_t n, const TallyNeeds& needs);
  void add_strings(const std::vector<std::string>& values, const Column& column, size_t from, size_t to, const TallyNeeds& needs);
  void add_deviation(uint64_t count, double mean, double deviation);

  FieldType type_;
  uint64_t count_ = 0;
  double float_min_ = kInf, float_max_ = -kInf, float_sum_ = 0;
  int64_t int_min_ = INT64_MAX, int_max_ = INT64_MIN;
  Int128 int_sum_ = 0;
  uint64_t moments_ = 0;  // values that mean_ and deviation_ are of
  double mean_ = 0, deviation_ = 0;
  Value first_, last_;
  std::vector<double> values_;
};

}  // namespace skerry::storage::internal
