#include "learning/worker/other_sensors.h"

#include <cmath>

namespace skerry::learning::worker {

OtherSensors::OtherSensors(const JobSpec& spec) : gain_(spec.augment), angle_(spec.rotate) {
  const inference::WindowSpec& window = spec.target.window;
  mean_ = torch::tensor(window.mean).reshape({1, -1, 1});
  deviation_ = torch::tensor(window.deviation).reshape({1, -1, 1});
  auto ends = [&](size_t i, char c) { return i < window.fields.size() && window.fields[i].ends_with(c); };
  for (size_t i = 0; i < window.fields.size(); ++i) {
    if (ends(i, 'x') && ends(i + 1, 'y') && ends(i + 2, 'z')) vectors_.push_back(static_cast<int64_t>(i));
  }
}

at::Tensor OtherSensors::operator()(at::Tensor x, Random& random) const {
  if (angle_ > 0 && !vectors_.empty()) x = turned(x, random);
  if (gain_ <= 0) return x;
  at::Tensor gain = torch::empty({x.size(0), x.size(1), 1}), offset = torch::empty({x.size(0), x.size(1), 1});
  for (int64_t i = 0; i < gain.numel(); ++i) {
    gain.data_ptr<float>()[i] = static_cast<float>(1 + gain_ * random.normal());
    offset.data_ptr<float>()[i] = static_cast<float>(gain_ * random.normal());
  }
  return x * gain + offset;
}

// The device as a whole is turned: every vector of a window by the same rotation.
at::Tensor OtherSensors::turned(const at::Tensor& x, Random& random) const {
  at::Tensor rotations = torch::empty({x.size(0), 3, 3});
  for (int64_t n = 0; n < x.size(0); ++n) {
    double a = angle_ * random.normal(), b = angle_ * random.normal(), c = angle_ * random.normal();
    double theta = std::sqrt(a * a + b * b + c * c), s = theta > 0 ? std::sin(theta) / theta : 1;
    double k = theta > 0 ? (1 - std::cos(theta)) / (theta * theta) : 0.5;  // Rodrigues' formula
    double r[9] = {1 - k * (b * b + c * c), k * a * b - s * c,         k * a * c + s * b,
                   k * a * b + s * c,       1 - k * (a * a + c * c),   k * b * c - s * a,
                   k * a * c - s * b,       k * b * c + s * a,         1 - k * (a * a + b * b)};
    for (int i = 0; i < 9; ++i) rotations.data_ptr<float>()[9 * n + i] = static_cast<float>(r[i]);
  }
  at::Tensor raw = x * deviation_ + mean_;
  for (int64_t first : vectors_) {
    at::Tensor vector = raw.slice(1, first, first + 3);
    vector.copy_(torch::bmm(rotations, vector));
  }
  return (raw - mean_) / deviation_;
}

}  // namespace skerry::learning::worker
