#include "inference/features.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <numbers>

#include "base/check.h"

namespace skerry::inference {
namespace {

// In place; the size is a power of two. Cooley and Tukey (1965), decimation in time.
void fourier(std::vector<std::complex<double>>& x) {
  const size_t n = x.size();
  for (size_t i = 1, j = 0; i < n; ++i) {
    size_t bit = n >> 1;
    for (; (j & bit) != 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(x[i], x[j]);
  }
  for (size_t length = 2; length <= n; length <<= 1) {
    const double angle = -2 * std::numbers::pi / static_cast<double>(length);
    const std::complex<double> step(std::cos(angle), std::sin(angle));
    for (size_t from = 0; from < n; from += length) {
      std::complex<double> turn = 1;
      for (size_t k = 0; k < length / 2; ++k, turn *= step) {
        const auto even = x[from + k], odd = x[from + k + length / 2] * turn;
        x[from + k] = even + odd;
        x[from + k + length / 2] = even - odd;
      }
    }
  }
}

double mean_of(const std::vector<float>& values) {
  double sum = 0;
  for (float value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Mean square of the part of a signal whose frequency lies in [from, to) Hz, without its mean: over all frequencies that is its variance
// (Parseval). Zeros fill it up to a power of two.
double band_power(const std::vector<float>& values, double from_hz, double to_hz, double rate_hz) {
  const double mean = mean_of(values);
  std::vector<std::complex<double>> spectrum(std::bit_ceil(values.size()));
  for (size_t i = 0; i < values.size(); ++i) spectrum[i] = values[i] - mean;
  fourier(spectrum);
  const size_t n = spectrum.size();
  double power = 0;
  for (size_t k = 0; k <= n / 2; ++k) {
    const double hz = static_cast<double>(k) * rate_hz / static_cast<double>(n);
    if (hz < from_hz || hz >= to_hz) continue;
    power += std::norm(spectrum[k]) * (k == 0 || 2 * k == n ? 1 : 2);  // the other half mirrors this one
  }
  return power / (static_cast<double>(n) * static_cast<double>(values.size()));
}

double of_window(const FeatureSpec& feature, const std::vector<float>& values, double rate_hz) {
  double squares = 0;
  switch (feature.kind) {
    case FeatureSpec::Kind::mean: return mean_of(values);
    case FeatureSpec::Kind::min: return *std::min_element(values.begin(), values.end());
    case FeatureSpec::Kind::max: return *std::max_element(values.begin(), values.end());
    case FeatureSpec::Kind::rms:
      for (float value : values) squares += static_cast<double>(value) * value;
      return std::sqrt(squares / static_cast<double>(values.size()));
    case FeatureSpec::Kind::deviation: {
      const double mean = mean_of(values);
      for (float value : values) squares += (value - mean) * (value - mean);
      return std::sqrt(squares / static_cast<double>(values.size()));
    }
    case FeatureSpec::Kind::band: return band_power(values, feature.from_hz, feature.to_hz, rate_hz);
    case FeatureSpec::Kind::rows: break;
  }
  SKERRY_CHECK(false, "a feature of rows is no number");
  return 0;
}

// One field as it is, several as the length of the vector that they are.
std::vector<float> source_of(const WindowSpec& spec, const FeatureSpec& feature, const float* window) {
  std::vector<float> out(spec.rows);
  for (const std::string& name : feature.of) {
    const auto field = std::find(spec.fields.begin(), spec.fields.end(), name) - spec.fields.begin();
    const float* values = window + static_cast<size_t>(field) * spec.rows;
    for (uint32_t row = 0; row < spec.rows; ++row) out[row] = feature.of.size() == 1 ? values[row] : out[row] + values[row] * values[row];
  }
  if (feature.of.size() > 1) {
    for (float& value : out) value = std::sqrt(value);
  }
  return out;
}

void append_features(const WindowSpec& spec, const float* window, std::vector<float>& out) {
  const double rate_hz = 1e9 / static_cast<double>(spec.period.count());
  for (const FeatureSpec& feature : spec.features) {
    std::vector<float> values = source_of(spec, feature, window);
    if (feature.kind == FeatureSpec::Kind::rows) out.insert(out.end(), values.begin(), values.end());
    else out.push_back(static_cast<float>(of_window(feature, values, rate_hz)));
  }
}

}  // namespace

std::array<int64_t, 2> input_shape(const WindowSpec& spec) {
  if (spec.features.empty()) return {static_cast<int64_t>(spec.fields.size()), spec.rows};
  const bool rows = spec.features.front().kind == FeatureSpec::Kind::rows;
  return {static_cast<int64_t>(spec.features.size()), rows ? spec.rows : 1};
}

std::vector<float> model_input(const WindowSpec& spec, const float* windows, size_t count) {
  const size_t window = spec.fields.size() * spec.rows;
  std::vector<float> out;
  if (spec.features.empty()) {
    out.assign(windows, windows + count * window);
  } else {
    for (size_t i = 0; i < count; ++i) append_features(spec, windows + i * window, out);
  }
  normalise(spec, out.data(), count);
  return out;
}

}  // namespace skerry::inference
