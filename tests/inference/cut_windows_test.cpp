#include <catch2/catch.hpp>
#include <cmath>

#include "base/random.h"
#include "inference/pipeline.h"
#include "tests/inference/fake_runtime.h"

namespace skerry::inference {
namespace {

constexpr int64_t kPeriod = 10'000'000;

WindowSpec spec_of(uint32_t rows, uint32_t stride) {
  WindowSpec spec = test::small_info().window;
  spec.rows = rows;
  spec.stride = stride;
  return spec;
}

Batch records(std::vector<int64_t> times) {
  Batch batch;
  batch.series.name = "imu";
  std::vector<double> x, y;
  for (int64_t t : times) {
    x.push_back(static_cast<double>(t) * 1e-6);
    y.push_back(-static_cast<double>(t) * 1e-6);
  }
  batch.times = std::move(times);
  batch.columns = {{"x", x, {}}, {"y", y, {}}};
  return batch;
}

Batch slice(const Batch& all, size_t from, size_t to) {
  Batch part;
  part.series = all.series;
  part.times.assign(all.times.begin() + static_cast<ptrdiff_t>(from),
                    all.times.begin() + static_cast<ptrdiff_t>(to));
  for (const Column& column : all.columns) {
    const auto& values = std::get<std::vector<double>>(column.values);
    Column c{column.name,
             std::vector<double>(values.begin() + static_cast<ptrdiff_t>(from),
                                 values.begin() + static_cast<ptrdiff_t>(to)),
             {}};
    if (!column.present.empty()) {
      c.present.assign(column.present.begin() + static_cast<ptrdiff_t>(from),
                       column.present.begin() + static_cast<ptrdiff_t>(to));
    }
    part.columns.push_back(std::move(c));
  }
  return part;
}

// A stream as it comes in the field: mostly regular, some jitter, lost records, long gaps, absent values.
Batch random_records(Random& random, size_t count) {
  std::vector<int64_t> times;
  int64_t t = 1'000'000'000;
  for (size_t i = 0; i < count; ++i) {
    t += kPeriod + static_cast<int64_t>(random.below(kPeriod / 2));
    if (random.chance(0.05)) t += kPeriod;  // one lost: no gap yet
    if (random.chance(0.03)) t += 3 * kPeriod + static_cast<int64_t>(random.below(100)) * kPeriod;
    times.push_back(t);
  }
  Batch batch = records(times);
  if (random.chance(0.5)) {
    batch.columns[1].present.assign(count, 1);
    for (uint8_t& present : batch.columns[1].present) present = random.chance(0.04) ? 0 : 1;
  }
  return batch;
}

std::vector<storage::TimeRange> ranges(const std::vector<Window>& windows) {
  std::vector<storage::TimeRange> out;
  for (const Window& window : windows) out.push_back(window.range);
  return out;
}

}  // namespace

TEST_CASE("cut_windows: windows of rows records every stride, channel by channel") {
  auto cut =
      cut_windows(spec_of(4, 2),
                  records({0, 1 * kPeriod, 2 * kPeriod, 3 * kPeriod, 4 * kPeriod, 5 * kPeriod, 6 * kPeriod}));
  REQUIRE(cut.ok());
  REQUIRE(cut->windows.size() == 2);
  CHECK(cut->windows[0].range == storage::TimeRange{0, 3 * kPeriod + 1});
  CHECK(cut->windows[1].range == storage::TimeRange{2 * kPeriod, 5 * kPeriod + 1});
  CHECK(cut->windows[0].data == std::vector<float>{0, 10, 20, 30, 0, -10, -20, -30});
  CHECK(cut->consumed == 4);
}

TEST_CASE("cut_windows: a gap, a repeated time and an absent value start a new window") {
  WindowSpec spec = spec_of(2, 2);
  auto starts = [&](const Batch& batch) {
    auto cut = cut_windows(spec, batch);
    REQUIRE(cut.ok());
    std::vector<int64_t> out;
    for (const Window& window : cut->windows) out.push_back(window.range.from_ns / kPeriod);
    return out;
  };
  CHECK(starts(records({0, 3 * kPeriod, 4 * kPeriod})) ==
        std::vector<int64_t>{0});  // exactly gap_factor is no gap
  CHECK(starts(records({0, 3 * kPeriod + 1, 4 * kPeriod + 1})) == std::vector<int64_t>{3});
  CHECK(starts(records({0, 0, kPeriod})) == std::vector<int64_t>{0});
  CHECK(starts(records({5 * kPeriod, 4 * kPeriod, 5 * kPeriod})) == std::vector<int64_t>{4});
  Batch absent = records({0, kPeriod, 2 * kPeriod, 3 * kPeriod, 4 * kPeriod});
  absent.columns[0].present = {1, 0, 1, 1, 1};
  CHECK(starts(absent) == std::vector<int64_t>{2});
  Batch huge = records({0, kPeriod, 2 * kPeriod, 3 * kPeriod});
  std::get<std::vector<double>>(huge.columns[0].values)[0] = 1e300;  // no float
  CHECK(starts(huge) == std::vector<int64_t>{1});
  CHECK(starts(records({INT64_MIN, INT64_MAX - 1})).empty());
  CHECK(starts(records({})).empty());
}

TEST_CASE(
    "cut_windows: integer and boolean fields are numbers, text and missing fields are refused by name") {
  Batch batch = records({0, kPeriod});
  batch.columns[0].values = std::vector<int64_t>{3, 4};
  batch.columns[1].values = std::vector<uint8_t>{1, 0};
  auto cut = cut_windows(spec_of(2, 1), batch);
  REQUIRE(cut.ok());
  CHECK(cut->windows.at(0).data == std::vector<float>{3, 4, 1, 0});
  batch.columns[1].values = std::vector<std::string>{"a", "b"};
  auto text = cut_windows(spec_of(2, 1), batch);
  REQUIRE_FALSE(text.ok());
  CHECK(text.error().code == Code::invalid);
  CHECK(text.error().message.find("'y'") != std::string::npos);
  batch.columns.pop_back();
  CHECK_FALSE(cut_windows(spec_of(2, 1), batch).ok());
}

TEST_CASE("cut_windows: whatever the gaps, every window is unbroken and a stride apart from its neighbour") {
  Random random(Catch::rngSeed());
  for (int round = 0; round < 200; ++round) {
    uint32_t rows = 1 + static_cast<uint32_t>(random.below(12)),
             stride = 1 + static_cast<uint32_t>(random.below(rows));
    WindowSpec spec = spec_of(rows, stride);
    Batch batch = random_records(random, random.below(120));
    auto cut = cut_windows(spec, batch);
    REQUIRE(cut.ok());
    REQUIRE(cut->consumed <= batch.rows());
    auto index = [&](int64_t t) {
      return static_cast<size_t>(std::find(batch.times.begin(), batch.times.end(), t) - batch.times.begin());
    };
    size_t before = SIZE_MAX;
    for (const Window& window : cut->windows) {
      size_t first = index(window.range.from_ns);
      REQUIRE(first + rows <= batch.rows());
      REQUIRE(window.range.to_ns == batch.times[first + rows - 1] + 1);
      for (size_t i = first; i < first + rows; ++i) {
        REQUIRE(batch.columns[1].has(i));
        if (i > first) REQUIRE(batch.times[i] - batch.times[i - 1] <= 3 * kPeriod);
        REQUIRE(window.data[i - first] == static_cast<float>(batch.columns[0].number(i)));
        REQUIRE(window.data[rows + i - first] == static_cast<float>(batch.columns[1].number(i)));
      }
      if (before != SIZE_MAX) REQUIRE(first >= before + stride);
      before = first;
    }
  }
}

TEST_CASE("cut_windows: record by record gives the same windows as all at once, and so does any chunking") {
  Random random(Catch::rngSeed() + 1);
  for (int round = 0; round < 200; ++round) {
    uint32_t rows = 1 + static_cast<uint32_t>(random.below(12)),
             stride = 1 + static_cast<uint32_t>(random.below(rows));
    WindowSpec spec = spec_of(rows, stride);
    Batch batch = random_records(random, random.below(120));
    size_t windows_max = random.chance(0.3) ? 1 + random.below(3) : SIZE_MAX,
           piece_max = random.chance(0.5) ? 1 : 1 + random.below(30);
    std::vector<Window> windows;
    size_t cursor = 0, arrived = 0;
    while (arrived < batch.rows()) {
      arrived = std::min(batch.rows(), arrived + 1 + random.below(piece_max));
      size_t found = 0;
      do {
        auto cut = cut_windows(spec, slice(batch, cursor, arrived), windows_max);
        REQUIRE(cut.ok());
        found = cut->windows.size();
        REQUIRE(found <= windows_max);
        cursor += cut->consumed;
        for (Window& window : cut->windows) windows.push_back(std::move(window));
      } while (found > 0);
    }
    REQUIRE(ranges(windows) == ranges(cut_windows(spec, batch)->windows));
  }
}

}  // namespace skerry::inference
