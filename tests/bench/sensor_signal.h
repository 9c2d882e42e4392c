// A signal as a nine-axis sensor of 16 bits would give it: several sines and noise per axis, in steps of a thousandth, 100 times a second.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>

#include "base/random.h"
#include "base/records.h"

namespace skerry::bench {

class SensorSignal {
 public:
  static constexpr size_t kFields = 9;
  static constexpr int64_t kStart = 1'763'942'400'000'000'000;  // 2025-11-24, midnight
  static constexpr int64_t kStep = 10'000'000;

  // The next `rows` records of series "imu".
  Batch next(size_t rows) {
    Batch batch;
    batch.series.name = "imu";
    for (size_t f = 0; f < kFields; ++f) batch.columns.push_back({"f" + std::to_string(f), std::vector<double>(rows), {}});
    for (size_t i = 0; i < rows; ++i, ++row_) {
      batch.times.push_back(kStart + row_ * kStep);
      for (size_t f = 0; f < kFields; ++f) std::get<0>(batch.columns[f].values)[i] = value(f);
    }
    return batch;
  }

 private:
  double value(size_t field) {
    const double t = static_cast<double>(row_) / 100, turn = 2 * std::numbers::pi, f = 1 + static_cast<double>(field);
    const double level = 4000 * std::sin(turn * t / (3600 * f)) + 1500 * std::sin(turn * t * 0.11 * f) + 300 * std::sin(turn * t * 1.7 * f);
    return std::clamp(std::round(level + 40 * random_.normal()), -32768.0, 32767.0) / 1000;
  }

  Random random_{1};
  int64_t row_ = 0;
};

}  // namespace skerry::bench
