#include "storage/internal/float_scale.h"

#include <algorithm>
#include <array>
#include <vector>

#include "storage/internal/coding.h"

namespace skerry::storage::internal {
namespace {

constexpr size_t kRuns = 8, kRunValues = 12;  // of the sample: neighbours, because counts are stored as differences
constexpr double kPowersOfTen[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16};
// What loggers write of a minute: means of two to six readings that are whole or decimal numbers themselves.
constexpr double kMeans[] = {12, 60, 120, 600, 1200, 6000, 12000};

std::vector<double> sample_of(std::span<const double> values) {
  if (values.size() <= kRuns * kRunValues) return {values.begin(), values.end()};
  std::vector<double> sample;
  for (size_t r = 0; r < kRuns; ++r) {
    const auto from = values.begin() + static_cast<std::ptrdiff_t>(r * (values.size() - kRunValues) / (kRuns - 1));
    sample.insert(sample.end(), from, from + kRunValues);
  }
  return sample;
}

unsigned bits_of(int64_t difference) { return static_cast<unsigned>(std::bit_width(zigzag(difference))); }

// Bits of the steps between counts and of what the products miss the values by. Stops when it is more than `limit`.
size_t bits_with(Scale scale, std::span<const double> sample, size_t limit) {
  size_t bits = 0;
  int64_t before = nearest_count(scale, sample[0]);
  for (double value : sample) {
    const int64_t count = nearest_count(scale, value);
    const uint64_t missed = std::bit_cast<uint64_t>(value) - std::bit_cast<uint64_t>(apply(scale, count));
    bits += bits_of(count - before) + bits_of(static_cast<int64_t>(missed));
    if (bits > limit) break;
    before = count;
  }
  return bits;
}

// Euclid's algorithm with a tolerance; 0 when the values have nothing in common that is worth it.
double common_divisor(std::span<const double> sample) {
  double largest = 0;
  for (double value : sample) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  const double tolerance = largest * 0x1p-36, smallest = largest * 0x1p-26;
  double divisor = largest;
  for (double value : sample) {
    if (!std::isfinite(value)) continue;
    double rest = std::fabs(value);
    if (rest <= tolerance) continue;
    while (rest > tolerance) {
      divisor = std::fmod(divisor, rest);
      std::swap(divisor, rest);
      if (divisor - rest <= tolerance) rest = 0;  // a whole multiple, but for the rounding
    }
    if (divisor < smallest) return 0;
  }
  return divisor;
}

// A value that was made as count * scale tells the scale but for its own rounding: the middle of what the sample says, and its neighbours.
std::array<double, 5> scales_near(double divisor, std::span<const double> sample) {
  std::vector<double> said;
  for (double value : sample) {
    const double count = std::nearbyint(value / divisor);
    if (std::isfinite(count) && count != 0) said.push_back(value / count);
  }
  if (said.empty()) return {};
  std::nth_element(said.begin(), said.begin() + static_cast<std::ptrdiff_t>(said.size() / 2), said.end());
  const double middle = said[said.size() / 2];
  const double up = std::nextafter(middle, INFINITY), down = std::nextafter(middle, 0);
  return {middle, up, down, std::nextafter(up, INFINITY), std::nextafter(down, 0)};
}

}  // namespace

ScaleFound find_scale(std::span<const double> values) {
  const std::vector<double> sample = sample_of(values);
  if (sample.empty()) return {};
  Scale best;
  size_t fewest = SIZE_MAX;
  auto consider = [&](Scale scale) {
    const size_t bits = bits_with(scale, sample, fewest);
    if (bits >= fewest) return;
    fewest = bits;
    best = scale;
  };
  for (double power : kPowersOfTen) consider({Scale::Rule::divide, power});
  for (double mean : kMeans) consider({Scale::Rule::divide, mean});
  if (const double divisor = common_divisor(sample); divisor > 0) {
    for (double scale : scales_near(divisor, sample)) {
      if (std::isnormal(scale)) consider({Scale::Rule::multiply, scale});
    }
  }
  return {best, static_cast<double>(fewest) / static_cast<double>(sample.size())};
}

}  // namespace skerry::storage::internal
