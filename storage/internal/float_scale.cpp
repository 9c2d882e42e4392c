#include "storage/internal/float_scale.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

namespace skerry::storage::internal {
namespace {

constexpr size_t kRuns = 8, kRunValues = 12;  // of the sample: neighbours, because counts are stored as differences
constexpr size_t kFew = 16;                   // values that tell whether a divisor is worth a look at the whole sample
// Persistent: a divisor is written as its place. Decimal numbers first, then what loggers write of a minute: means of two to six readings
// that are whole or decimal numbers themselves.
constexpr size_t kPowersOfTen = 17;
constexpr double kDivisors[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6, 1e7, 1e8, 1e9,  1e10,  1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 12,   60,  120, 600, 1200, 6000, 12000};
constexpr uint8_t kMultiply = 0xff;  // in the place of a divisor's number: a factor follows

struct Sample {
  std::array<double, kRuns * kRunValues> values;
  size_t size = 0;
  std::span<const double> span() const { return {values.data(), size}; }
};

Sample sample_of(std::span<const double> values) {
  Sample sample;
  auto add = [&](std::span<const double> run) {
    std::copy(run.begin(), run.end(), sample.values.begin() + static_cast<std::ptrdiff_t>(sample.size));
    sample.size += run.size();
  };
  if (values.size() <= sample.values.size()) {
    add(values);
    return sample;
  }
  for (size_t r = 0; r < kRuns; ++r) add(values.subspan(r * (values.size() - kRunValues) / (kRuns - 1), kRunValues));
  return sample;
}

unsigned bits_of(int64_t difference) { return static_cast<unsigned>(std::bit_width(zigzag(difference))); }

struct Bits {
  size_t counts = 0, missed = 0;
  size_t all() const { return counts + missed; }
};

// Bits of the steps between counts and of what the products miss the values by. Stops when it is more than `limit`.
Bits bits_with(Scale scale, std::span<const double> sample, size_t limit) {
  Bits bits;
  int64_t before = nearest_count(scale, sample[0]);
  for (double value : sample) {
    const int64_t count = nearest_count(scale, value);
    const uint64_t missed = std::bit_cast<uint64_t>(value) - std::bit_cast<uint64_t>(apply(scale, count));
    bits.counts += bits_of(count - before);
    bits.missed += bits_of(static_cast<int64_t>(missed));
    if (bits.all() > limit) break;
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
      divisor -= static_cast<double>(static_cast<int64_t>(divisor / rest)) * rest;  // fmod, as closely as the tolerance asks
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
  said.reserve(sample.size());
  for (double value : sample) {
    const double count = value / divisor;
    if (!(std::fabs(count) < kCountMax)) continue;
    const double whole = from_count(nearest_count({Scale::Rule::divide, 1}, count));
    if (whole != 0) said.push_back(value / whole);
  }
  if (said.empty()) return {};
  std::nth_element(said.begin(), said.begin() + static_cast<std::ptrdiff_t>(said.size() / 2), said.end());
  const double middle = said[said.size() / 2];
  const double up = std::nextafter(middle, INFINITY), down = std::nextafter(middle, 0);
  return {middle, up, down, std::nextafter(up, INFINITY), std::nextafter(down, 0)};
}

// Tries what is likely and cheap first; each step answers true when nothing is missed and the counts are small, which ends the search.
class Search {
 public:
  explicit Search(std::span<const double> sample) : sample_(sample) {}

  // The smallest power of ten for which a few of the values all are decimal numbers.
  bool decimals() {
    const size_t few = std::min(sample_.size(), kFew);
    for (size_t p = 0; p < kPowersOfTen; ++p) {
      const Scale scale{Scale::Rule::divide, kDivisors[p]};
      auto is_hit = [&](double value) {
        return std::bit_cast<uint64_t>(apply(scale, nearest_count(scale, value))) == std::bit_cast<uint64_t>(value);
      };
      size_t hits = 0;
      while (hits < few && is_hit(sample_[hits * sample_.size() / few])) ++hits;  // mostly the first tells
      if (hits == few) return consider(scale);
    }
    return false;
  }

  bool multiples() {
    if (sample_.size() < kWorthFactor) return false;
    const double divisor = common_divisor(sample_);
    if (!(divisor > 0)) return false;
    bool clear = false;
    for (double scale : scales_near(divisor, sample_)) clear |= std::isnormal(scale) && consider({Scale::Rule::multiply, scale});
    return clear;
  }

  void divisors() {
    for (double divisor : kDivisors) consider({Scale::Rule::divide, divisor});
  }

  ScaleFound found() const { return {best_, static_cast<double>(fewest_) / static_cast<double>(sample_.size())}; }

 private:
  static constexpr size_t kWorthFactor = 4;   // values, for which a factor of 8 bytes may pay
  static constexpr size_t kClearBits = 12;    // a value: with more, another scale may have smaller counts

  bool consider(Scale scale) {
    const Bits bits = bits_with(scale, sample_, fewest_);
    if (bits.all() >= fewest_) return false;
    fewest_ = bits.all();
    best_ = scale;
    return bits.missed == 0 && bits.all() <= kClearBits * sample_.size();
  }

  std::span<const double> sample_;
  Scale best_;
  size_t fewest_ = SIZE_MAX;
};

}  // namespace

ScaleFound find_scale(std::span<const double> values) {
  if (values.empty()) return {};
  const Sample sample = sample_of(values);
  Search search(sample.span());
  if (!search.decimals() && !search.multiples()) search.divisors();
  return search.found();
}

void put_scale(Scale scale, Writer& out) {
  const auto* place = std::find(std::begin(kDivisors), std::end(kDivisors), scale.factor);
  if (scale.rule == Scale::Rule::divide) return out.u8(static_cast<uint8_t>(place - std::begin(kDivisors)));
  out.u8(kMultiply);
  out.f64(scale.factor);
}

bool take_scale(Reader& in, Scale& scale) {
  const uint8_t place = in.u8();
  if (place == kMultiply) {
    scale = {Scale::Rule::multiply, in.f64()};
    return in.ok();
  }
  if (!in.ok() || place >= std::size(kDivisors)) return false;
  scale = {Scale::Rule::divide, kDivisors[place]};
  return true;
}

}  // namespace skerry::storage::internal
