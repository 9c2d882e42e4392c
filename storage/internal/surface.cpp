// Format: unit, x axis, y axis | degree of x u8, of y u8 | coefficients, zigzag varints, those of y^0 first | residuals, an integer stream
//   unit   kind u8: decimal, then the exponent u8 (values are counts / 10^exponent, residuals are counts);
//          or binary, then the exponent i16 and the shift u8 (predictions are counts * 2^exponent; residuals are of bit patterns without the
//          low bits that are zero in all values, as those of what was measured in float32)
//   axis   middle f64 | exponent i16: a coordinate is (value - middle) * 2^exponent, at most 1 in size
#include "storage/internal/surface.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "storage/internal/float_scale.h"
#include "storage/internal/integer_stream.h"

namespace skerry::storage::internal {
namespace {

__extension__ using Wide = __int128;

constexpr unsigned kDegreeMax = 7;
constexpr unsigned kCoordinateBits = 50;  // of a coordinate, after the point
constexpr unsigned kCoefficientBits = 6;  // of a coefficient, after the point: rounding them must not move a prediction
constexpr uint8_t kDecimal = 1, kBinary = 2;
constexpr int kDecimalsMax = 22;  // powers of ten up to here are doubles
constexpr int kExponentMax = 1100;
constexpr unsigned kShiftMax = 52;
constexpr size_t kFitRows = 2048;  // that a fit looks at

struct Unit {
  uint8_t kind = kBinary;
  int exponent = 0;
  unsigned shift = 0;
};

struct Axis {
  double middle = 0;
  int exponent = 0;
};

struct Surface {
  Axis x, y;
  unsigned x_degree = 0, y_degree = 0;
  std::vector<int64_t> coefficients;
  size_t terms() const { return (size_t{x_degree} + 1) * (y_degree + 1); }
};

double power_of_ten(int exponent) {
  double power = 1;
  while (exponent-- > 0) power *= 10;  // exact up to kDecimalsMax
  return power;
}

// Of `kCoordinateBits`; 0 for what no writer writes.
int64_t coordinate(const Axis& axis, double value) {
  const double d = std::ldexp(value - axis.middle, axis.exponent + static_cast<int>(kCoordinateBits));
  return std::fabs(d) <= 0x1p50 ? to_count(d) : 0;
}

std::vector<int64_t> coordinates(const Axis& axis, std::span<const double> values) {
  std::vector<int64_t> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = coordinate(axis, values[i]);
  return out;
}

uint64_t times(uint64_t factor, int64_t coordinate) {
  return static_cast<uint64_t>(static_cast<Wide>(static_cast<int64_t>(factor)) * coordinate >> kCoordinateBits);
}

// Counts; they wrap around as they may in what is damaged.
int64_t predict(const Surface& surface, int64_t x, int64_t y) {
  uint64_t sum = 0;
  for (size_t j = surface.y_degree + 1; j-- > 0;) {
    uint64_t row = 0;
    for (size_t i = surface.x_degree + 1; i-- > 0;) {
      row = times(row, x) + static_cast<uint64_t>(surface.coefficients[j * (surface.x_degree + 1) + i]);
    }
    sum = times(sum, y) + row;
  }
  return static_cast<int64_t>(sum) >> kCoefficientBits;
}

uint64_t bits(double value) { return std::bit_cast<uint64_t>(value); }

// What residuals count from: counts of a decimal unit, else bit patterns.
uint64_t expected(const Unit& unit, int64_t count) {
  if (unit.kind == kDecimal) return static_cast<uint64_t>(count);
  const uint64_t half = unit.shift > 0 ? uint64_t{1} << (unit.shift - 1) : 0;
  return (bits(std::ldexp(static_cast<double>(count), unit.exponent)) + half) >> unit.shift;
}

uint64_t number_of(const Unit& unit, double divisor, double value) {
  return unit.kind == kDecimal ? static_cast<uint64_t>(nearest_count({Scale::Rule::divide, divisor}, value)) : bits(value) >> unit.shift;
}

double value_of(const Unit& unit, double divisor, uint64_t number) {
  return unit.kind == kDecimal ? from_count(static_cast<int64_t>(number)) / divisor : std::bit_cast<double>(number << unit.shift);
}

// ---- finding one

// Of nearly all values, and as much again: what is far from the others gets no coordinate, and a residual of its own.
Axis axis_of(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  const auto part = static_cast<std::ptrdiff_t>(sorted.size() / 64);
  auto value_at = [&](std::ptrdiff_t place) {
    std::nth_element(sorted.begin(), sorted.begin() + place, sorted.end());
    return sorted[static_cast<size_t>(place)];
  };
  const double low = value_at(part), high = value_at(static_cast<std::ptrdiff_t>(sorted.size()) - 1 - part);
  const double middle = low / 2 + high / 2;
  const double reach = std::max(high / 2 - low / 2, std::fabs(middle) * 0x1p-40);
  return {middle, reach > 0 ? -std::ilogb(reach) - 2 : 0};
}

std::optional<Unit> unit_of(std::span<const double> z) {
  double largest = 0;
  for (double value : z) largest = std::max(largest, std::fabs(value));
  for (int exponent = 0; exponent <= kDecimalsMax && largest * power_of_ten(exponent) < kCountMax; ++exponent) {
    const Scale scale{Scale::Rule::divide, power_of_ten(exponent)};
    auto is_hit = [&](double value) { return bits(apply(scale, nearest_count(scale, value))) == bits(value); };
    if (std::all_of(z.begin(), z.end(), is_hit)) return Unit{kDecimal, exponent};
  }
  const int exponent = largest > 0 ? std::ilogb(largest) - 49 : 0;
  if (std::abs(exponent) >= kExponentMax || largest > 0x1p1000 || (largest > 0 && largest < 0x1p-900)) return std::nullopt;
  uint64_t any = 0;
  for (double value : z) any |= bits(value);
  return Unit{kBinary, exponent, any == 0 ? 0 : std::min<unsigned>(static_cast<unsigned>(std::countr_zero(any)), kShiftMax)};
}

// What a fit looks at: coordinates as doubles, and the counts.
struct Points {
  std::vector<double> x, y, z;
  std::vector<uint8_t> taken;  // not an outlier
};

void terms_at(const Points& points, size_t row, unsigned x_degree, unsigned y_degree, double* out) {
  double y_power = 1;
  for (unsigned j = 0; j <= y_degree; ++j) {
    double power = y_power;
    for (unsigned i = 0; i <= x_degree; ++i) {
      *out++ = power;
      power *= points.x[row];
    }
    y_power *= points.y[row];
  }
}

// Symmetric and positive definite, in place, the lower half (Cholesky). A direction in which the rows do not lie gets nothing.
class Normal {
 public:
  explicit Normal(size_t n) : n_(n), a_(n * n, 0.0) {}
  void add(const double* terms) {
    for (size_t i = 0; i < n_; ++i) {
      for (size_t j = 0; j <= i; ++j) a_[i * n_ + j] += terms[i] * terms[j];
    }
  }
  void factor() {
    for (size_t i = 0; i < n_; ++i) {
      const double before = a_[i * n_ + i];
      for (size_t j = 0; j <= i; ++j) {
        double sum = a_[i * n_ + j];
        for (size_t k = 0; k < j; ++k) sum -= a_[i * n_ + k] * a_[j * n_ + k];
        if (j < i) a_[i * n_ + j] = sum * a_[j * n_ + j];
        else a_[i * n_ + i] = sum > before * 1e-13 ? 1 / std::sqrt(sum) : 0;  // its inverse
      }
    }
  }
  void solve(std::vector<double>& b) const {
    for (size_t i = 0; i < n_; ++i) {
      for (size_t k = 0; k < i; ++k) b[i] -= a_[i * n_ + k] * b[k];
      b[i] *= a_[i * n_ + i];
    }
    for (size_t i = n_; i-- > 0;) {
      for (size_t k = i + 1; k < n_; ++k) b[i] -= a_[k * n_ + i] * b[k];
      b[i] *= a_[i * n_ + i];
    }
  }

 private:
  const size_t n_;
  std::vector<double> a_;
};

// Least squares over the rows that are taken. The normal equations lose half of the digits; solving again for what is left of the rows
// brings them back. Returns the residuals.
std::vector<double> fit(const Points& points, unsigned x_degree, unsigned y_degree, std::vector<double>& coefficients) {
  const int rounds = (x_degree + 1) * (y_degree + 1) > 4 ? 4 : 2;
  const size_t n = (size_t{x_degree} + 1) * (y_degree + 1), rows = points.z.size();
  std::vector<double> terms(rows * n);
  for (size_t r = 0; r < rows; ++r) terms_at(points, r, x_degree, y_degree, &terms[r * n]);
  Normal normal(n);
  for (size_t r = 0; r < rows; ++r) {
    if (points.taken[r] != 0) normal.add(&terms[r * n]);
  }
  normal.factor();
  coefficients.assign(n, 0);
  std::vector<double> left = points.z;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> correction(n, 0);
    for (size_t r = 0; r < rows; ++r) {
      if (points.taken[r] == 0) continue;
      for (size_t i = 0; i < n; ++i) correction[i] += terms[r * n + i] * left[r];
    }
    normal.solve(correction);
    for (size_t i = 0; i < n; ++i) coefficients[i] += correction[i];
    for (size_t r = 0; r < rows; ++r) {
      double predicted = 0;
      for (size_t i = 0; i < n; ++i) predicted += terms[r * n + i] * coefficients[i];
      left[r] = points.z[r] - predicted;
    }
  }
  return left;
}

double middle_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The same once more without the rows that are far off, which would pull the others' predictions towards them.
std::vector<double> fit_without_outliers(Points& points, unsigned x_degree, unsigned y_degree, std::vector<double>& coefficients) {
  constexpr double kFarOff = 16;  // times what the middle one is off
  std::fill(points.taken.begin(), points.taken.end(), uint8_t{1});
  std::vector<double> off;
  for (int round = 0; round < 3; ++round) {
    off = fit(points, x_degree, y_degree, coefficients);
    for (double& o : off) o = std::isfinite(o) ? std::fabs(o) : HUGE_VAL;
    const double limit = kFarOff * middle_of(off);
    size_t changed = 0;
    for (size_t r = 0; r < off.size(); ++r) {
      const uint8_t taken = off[r] <= limit ? 1 : 0;
      changed += taken != points.taken[r] ? 1 : 0;
      points.taken[r] = taken;
    }
    if (changed == 0) break;
  }
  return off;
}

// Bits that residuals like these take, and the coefficients.
double bits_of(const std::vector<double>& off, size_t rows, size_t terms) {
  double sum = 0;
  for (double o : off) sum += std::log2(std::min(o, 0x1p62) * 2 + 1);
  return sum / static_cast<double>(off.size()) * static_cast<double>(rows) + static_cast<double>(terms) * 56;
}

Points points_of(const Surface& surface, const Unit& unit, std::span<const double> x, std::span<const double> y, std::span<const double> z) {
  Points points;
  const size_t rows = std::min(z.size(), kFitRows);
  for (size_t r = 0; r < rows; ++r) {
    const size_t at = r * z.size() / rows;
    points.x.push_back(std::ldexp(static_cast<double>(coordinate(surface.x, x[at])), -static_cast<int>(kCoordinateBits)));
    points.y.push_back(std::ldexp(static_cast<double>(coordinate(surface.y, y[at])), -static_cast<int>(kCoordinateBits)));
    points.z.push_back(unit.kind == kDecimal ? z[at] * power_of_ten(unit.exponent) : std::ldexp(z[at], -unit.exponent));
  }
  points.taken.resize(rows);
  return points;
}

// Rounded; false when they would not fit.
bool set_coefficients(const std::vector<double>& found, Surface& surface) {
  double sum = 0;
  surface.coefficients.clear();
  for (double c : found) {
    const double scaled = std::ldexp(c, kCoefficientBits);
    sum += std::fabs(scaled);
    if (!(sum < 0x1p61)) return false;
    surface.coefficients.push_back(std::llrint(scaled));
  }
  return true;
}

// The degrees that take the fewest bits, tried from few terms to many as long as that pays.
bool choose(const Unit& unit, std::span<const double> x, std::span<const double> y, std::span<const double> z, Surface& surface) {
  constexpr std::array<std::array<unsigned, 2>, 7> kDegrees = {{{1, 1}, {2, 2}, {3, 3}, {6, 3}, {3, 6}, {5, 5}, {7, 7}}};
  Points points = points_of(surface, unit, x, y, z);
  constexpr double kGain = 0.97;
  double fewest = std::numeric_limits<double>::infinity();
  int useless = 0;  // in succession
  std::vector<double> coefficients;
  for (const auto& [x_degree, y_degree] : kDegrees) {
    const size_t terms = (size_t{x_degree} + 1) * (y_degree + 1);
    if (terms * 2 > points.z.size()) break;
    if (useless == 2) break;
    const double needed = bits_of(fit_without_outliers(points, x_degree, y_degree, coefficients), z.size(), terms);
    Surface tried = surface;
    tried.x_degree = x_degree;
    tried.y_degree = y_degree;
    useless = needed < fewest * kGain ? 0 : useless + 1;
    if (!(needed < fewest) || !set_coefficients(coefficients, tried)) continue;
    surface = std::move(tried);
    fewest = needed;
  }
  return !surface.coefficients.empty();
}

// Of a sample: z as it is, but around zero.
Points sample_points(std::span<const double> x, std::span<const double> y, std::span<const double> z) {
  const Axis x_axis = axis_of(x), y_axis = axis_of(y);
  Points points;
  double sum = 0;
  for (size_t r = 0; r < z.size(); ++r) {
    points.x.push_back(std::ldexp(x[r] - x_axis.middle, x_axis.exponent));
    points.y.push_back(std::ldexp(y[r] - y_axis.middle, y_axis.exponent));
    sum += z[r];
  }
  for (double value : z) points.z.push_back(value - sum / static_cast<double>(z.size()));
  points.taken.assign(z.size(), 1);
  return points;
}

// ---- bytes

void put_unit(const Unit& unit, Writer& out) {
  out.u8(unit.kind);
  if (unit.kind == kDecimal) return out.u8(static_cast<uint8_t>(unit.exponent));
  out.fixed16(static_cast<uint16_t>(unit.exponent));
  out.u8(static_cast<uint8_t>(unit.shift));
}

bool take_unit(Reader& in, Unit& unit) {
  unit.kind = in.u8();
  if (unit.kind == kDecimal) {
    unit.exponent = in.u8();
    return in.ok() && unit.exponent <= kDecimalsMax;
  }
  unit.exponent = static_cast<int16_t>(in.fixed16());
  unit.shift = in.u8();
  return in.ok() && unit.kind == kBinary && std::abs(unit.exponent) <= kExponentMax && unit.shift <= kShiftMax;
}

void put_axis(const Axis& axis, Writer& out) {
  out.f64(axis.middle);
  out.fixed16(static_cast<uint16_t>(axis.exponent));
}

bool take_axis(Reader& in, Axis& axis) {
  axis.middle = in.f64();
  axis.exponent = static_cast<int16_t>(in.fixed16());
  return in.ok() && std::abs(axis.exponent) <= kExponentMax;
}

bool take_surface(Reader& in, Surface& surface) {
  if (!take_axis(in, surface.x) || !take_axis(in, surface.y)) return false;
  surface.x_degree = in.u8();
  surface.y_degree = in.u8();
  if (!in.ok() || surface.x_degree > kDegreeMax || surface.y_degree > kDegreeMax) return false;
  surface.coefficients.resize(surface.terms());
  for (int64_t& c : surface.coefficients) c = unzigzag(in.varint());
  return in.ok();
}

}  // namespace

double misfit(std::span<const double> x, std::span<const double> y, std::span<const double> z) {
  Points points = sample_points(x, y, z);
  std::vector<double> unused, off = fit(points, 1, 1, unused);
  // Mostly it does not follow, which the first look tells.
  size_t far = 0;
  for (size_t r = 0; r < z.size(); ++r) far += std::fabs(off[r]) > std::fabs(points.z[r]) / 2 ? 1 : 0;
  if (far > z.size() / 2) return 1;
  off = fit_without_outliers(points, 1, 1, unused);
  double varies = 0, misses = 0;
  for (size_t r = 0; r < z.size(); ++r) {
    if (points.taken[r] == 0) continue;
    varies += std::fabs(points.z[r]);
    misses += off[r];
  }
  return misses / varies;
}

bool may_pay(std::span<const double> x, std::span<const double> y, std::span<const double> z, double bits_per_value) {
  constexpr double kSmoothGain = 4;
  const std::optional<Unit> unit = unit_of(z);
  if (!unit) return false;
  double largest = 0;
  for (double value : z) largest = std::max(largest, std::fabs(value));
  const double step = unit->kind == kDecimal ? 1 / power_of_ten(unit->exponent) : std::ldexp(1, std::ilogb(largest) - 52 + static_cast<int>(unit->shift));
  Points points = sample_points(x, y, z);
  std::vector<double> unused;
  const double plane = middle_of(fit_without_outliers(points, 1, 1, unused)), curved = middle_of(fit_without_outliers(points, 3, 3, unused));
  return std::log2(plane / step + 1) + 2 < bits_per_value * 7 / 8 || curved * kSmoothGain < plane;
}

bool encode_surface(std::span<const double> x, std::span<const double> y, std::span<const double> z, Writer& out) {
  const std::optional<Unit> unit = unit_of(z);
  if (!unit) return false;
  Surface surface;
  surface.x = axis_of(x);
  surface.y = axis_of(y);
  if (std::abs(surface.x.exponent) >= kExponentMax || std::abs(surface.y.exponent) >= kExponentMax) return false;
  if (!choose(*unit, x, y, z, surface)) return false;
  const std::vector<int64_t> at_x = coordinates(surface.x, x), at_y = coordinates(surface.y, y);
  const double divisor = unit->kind == kDecimal ? power_of_ten(unit->exponent) : 1;
  std::vector<int64_t> residuals(z.size());
  for (size_t i = 0; i < z.size(); ++i) {
    residuals[i] = static_cast<int64_t>(number_of(*unit, divisor, z[i]) - expected(*unit, predict(surface, at_x[i], at_y[i])));
  }
  put_unit(*unit, out);
  put_axis(surface.x, out);
  put_axis(surface.y, out);
  out.u8(static_cast<uint8_t>(surface.x_degree));
  out.u8(static_cast<uint8_t>(surface.y_degree));
  for (int64_t c : surface.coefficients) out.varint(zigzag(c));
  encode_integers(residuals, out);
  return true;
}

bool decode_surface(Reader& in, std::span<const double> x, std::span<const double> y, std::span<double> z) {
  Unit unit;
  Surface surface;
  if (!take_unit(in, unit) || !take_surface(in, surface)) return false;
  std::vector<int64_t> residuals(z.size());
  if (!decode_integers(in, residuals)) return false;
  const double divisor = unit.kind == kDecimal ? power_of_ten(unit.exponent) : 1;
  for (size_t i = 0; i < z.size(); ++i) {
    const int64_t count = predict(surface, coordinate(surface.x, x[i]), coordinate(surface.y, y[i]));
    z[i] = value_of(unit, divisor, expected(unit, count) + static_cast<uint64_t>(residuals[i]));
  }
  return true;
}

}  // namespace skerry::storage::internal
