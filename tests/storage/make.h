// Small batches and predictions for the tests of this room.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "storage/record_format.h"
#include "storage/store.h"

namespace skerry::storage::test {

inline Batch values(const std::string& name, const std::vector<std::pair<int64_t, double>>& rows) {
  Batch batch;
  batch.series.name = name;
  std::vector<double> column;
  for (const auto& [time, value] : rows) {
    batch.times.push_back(time);
    column.push_back(value);
  }
  batch.columns.push_back({"v", std::move(column), {}});
  return batch;
}

inline Batch imu(const std::string& device, int64_t from_ns, size_t rows) {
  Batch batch;
  batch.series = {"imu", {{"device", device}}};
  std::vector<double> ax, ay;
  for (size_t i = 0; i < rows; ++i) {
    batch.times.push_back(from_ns + static_cast<int64_t>(i) * 20'000'000);
    ax.push_back(static_cast<double>(i) * 0.25);
    ay.push_back(-static_cast<double>(i));
  }
  batch.columns = {{"ax", std::move(ax), {}}, {"ay", std::move(ay), {}}};
  return batch;
}

inline Prediction prediction(const std::string& model, uint32_t version, const std::string& series, int64_t from_ns,
                             int64_t rows) {
  Prediction p;
  p.model = model;
  p.version = version;
  p.series = series;
  p.window = {from_ns, from_ns + rows};
  p.window_rows = static_cast<uint32_t>(rows);
  p.at_ns = from_ns + rows;
  p.scores = {0.25f, 0.75f};
  p.top = 1;
  return p;
}

inline std::vector<double> read_values(const Store& store, const std::string& name, TimeRange range,
                                       size_t rows_max = 1 << 20) {
  auto back = store.read({name, {}}, range, rows_max);
  INFO((back.ok() ? "" : back.error().message));
  REQUIRE(back.ok());
  return std::get<0>(back->columns.at(0).values);
}

}  // namespace skerry::storage::test
